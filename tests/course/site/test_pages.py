"""From what lies in the repository to pages."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from labkit.course import notebooks
from labkit.course.site import pages
from labkit.course.site.executed import Executed

PLACES = {
    "docs/glossary.md": "glossary.md",
    "docs/decisions/README.md": "decisions/index.md",
    "notebooks/04_mutual-tls.ipynb": "lessons/04_mutual-tls.ipynb",
}


@pytest.mark.parametrize(
    ("home", "page", "link", "expected"),
    [
        ("notebooks/05_revocation.ipynb", "lessons/05_revocation.ipynb", "[words](../docs/glossary.md#crl)", "[words](../glossary.md#crl)"),
        ("README.md", "index.md", "[it](notebooks/04_mutual-tls.ipynb)", "[it](lessons/04_mutual-tls.ipynb)"),
        ("docs/index.md", "index.md", "[why](decisions/README.md)", "[why](decisions/index.md)"),
        ("docs/decisions/README.md", "decisions/index.md", "[words](../glossary.md)", "[words](../glossary.md)"),
        ("docs/glossary.md", "glossary.md", "[the code](../labkit/clock.py)", "the code (`labkit/clock.py`)"),
        ("docs/glossary.md", "glossary.md", "[`lab.py`](../lab.py)", "`lab.py`"),
        ("docs/glossary.md", "glossary.md", "[RFC](https://www.rfc-editor.org/)", "[RFC](https://www.rfc-editor.org/)"),
        ("docs/glossary.md", "glossary.md", "[below](#here)", "[below](#here)"),
        ("docs/glossary.md", "glossary.md", "```\n[it](decisions/README.md)\n```", "```\n[it](decisions/README.md)\n```"),
    ],
)  # fmt: skip
def test_links_lead_to_pages(home: str, page: str, link: str, expected: str) -> None:
    """A link leads to the page of its file, or becomes words where there is none; what leads elsewhere stays."""
    assert expected == pages.relinked(link, home, page, PLACES)


def test_the_glossary_becomes_terms() -> None:
    """Each bold term with a meaning becomes an entry; what stands above stays."""
    text = "# Glossary\n\nWords.\n\n**ACL**: who may.\n\n**CRL**: what was revoked.\n"
    assert ["ACL", "CRL"] == pages.glossary_terms(text)
    page = pages.glossary_page(text)
    assert page.startswith("# Glossary\n\nWords.\n\n:::{glossary}\nACL\n  who may.\n")


def test_bold_words_become_links_once() -> None:
    """The first bold spelling of a term leads to the glossary; headings stay as they are, and links do."""
    linker = pages.Linker(["suite", "CRL", "tls"])
    assert "{term}`Suites <suite>` of **tls2**, [**tls**](02_tls.ipynb)" == linker.linked(
        "**Suites** of **tls2**, [**tls**](02_tls.ipynb)"
    )
    assert "a **suite** again\n## A **CRL**\n{term}`CRL <CRL>`" == linker.linked(
        "a **suite** again\n## A **CRL**\n**CRL**"
    )


@pytest.fixture
def lesson() -> Executed:
    """Return a lesson with an exercise, as if it had run."""
    from pathlib import Path

    source = next(s for s in notebooks.sources(Path("notebooks/source")) if s.slug == "mutual-tls")
    notebook = nbformat.reads(notebooks.solved(source), as_version=4)
    return Executed(source, notebook, ({"claim": "a", "held": True, "evidence": "", "text": "A."},), 2.0)


def test_solutions_are_folded_away(lesson: Executed) -> None:
    """Each exercise's cell hides its input, and no other cell does; the notebook of the run is not changed."""
    before = nbformat.writes(lesson.notebook)
    page = pages.lesson_page(lesson, [], PLACES)
    hidden = [cell for cell in page.cells if "hide-input" in cell.metadata.get("tags", ())]
    assert hidden == [cell for cell in page.cells if cell.metadata.get("exercise")]
    assert hidden
    assert before == nbformat.writes(lesson.notebook)
    nbformat.validate(page)


def test_links_in_outputs_lead_to_pages(lesson: Executed) -> None:
    """A link to a notebook that a figure of the course holds leads to that lesson's page."""
    cell = next(cell for cell in lesson.notebook.cells if cell.cell_type == "code")
    html = '<a href="05_revocation.ipynb">there</a> <a href="https://example.org/x.ipynb">elsewhere</a>'
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]
    page = pages.lesson_page(lesson, [], PLACES)
    (shown,) = [o.data["text/html"] for c in page.cells if c.cell_type == "code" for o in c.outputs]
    assert (
        '<a href="05_revocation.html">there</a> <a href="https://example.org/x.ipynb">elsewhere</a>' == shown
    )
    assert html == cell.outputs[0].data["text/html"]


def test_a_lesson_says_how_it_was_made(lesson: Executed) -> None:
    """Below its title a lesson's page says what held, and how to do it oneself."""
    page: Any = pages.lesson_page(lesson, [], PLACES)
    assert "1 of 1 claims held" in page.cells[1].source
    assert "04_mutual-tls.ipynb" in page.cells[1].source


def test_what_speaks_to_the_reader_wraps(lesson: Executed) -> None:
    """The words of predictions, quizzes and hints are marked so that their lines wrap; no other output is."""
    page: Any = pages.lesson_page(lesson, [], PLACES)
    marked = [cell.source for cell in page.cells if "speaks" in cell.metadata.get("tags", ())]
    assert marked
    assert all(("lab.predict(" in each or "lab.quiz(" in each or "lab.hint(" in each) for each in marked)
