"""Every notebook in a real browser: it opens, its widgets answer, its checks speak, and nothing complains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from labkit.course import notebooks
from labkit.course.catalogue import find_any
from tests.browser.conftest import SHOTS

if TYPE_CHECKING:
    from tests.browser.lab_page import LabPage

SOURCES = [
    *notebooks.sources(Path("notebooks/source")),
    *notebooks.sources(Path("notebooks/exercises/source")),
]
WHOLE = ("start-here", "mutual-tls", "audit", "mtls-setup")
"""What is run from end to end in the browser; nbclient does that for the others."""

PLAIN = [
    nbformat.v4.new_markdown_cell(
        "# Title\n\n## Part\n\nWords and [a link](https://jupyter.org).\n\n| a | b |\n| - | - |\n| 1 | 2 |"
    ),
    nbformat.v4.new_code_cell(
        "import ipywidgets\nlong = '" + "x" * 300 + "'\nprint(long)\nipywidgets.Button(description='a')"
    ),
]
"""A notebook without anything of ours."""

OF_LAB = re.compile(r'<[a-z0-9-]+ [^>]*class="[^"]*\b(?:jp|cm|lm)-')

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def path_of(source: notebooks.Source, *, solved: bool) -> str:
    """Return where a notebook lies for JupyterLab."""
    folder = ("exercises/" if source.graded else "") + ("solved/" if solved else "")
    return folder + source.notebook_name


@pytest.fixture(scope="module")
def of_jupyter(lab_page: LabPage, course: Path) -> set[str]:
    """Return the rules that JupyterLab breaks by itself, measured on a notebook without anything of ours."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}  # without it JupyterLab asks which
    notebook = nbformat.v4.new_notebook(cells=PLAIN, metadata={"kernelspec": kernel})
    (course / "notebooks" / "plain.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    lab_page.open("plain.ipynb")
    lab_page.run_all()
    lab_page.wait_idle()
    found = violations(lab_page)
    lab_page.close_all()
    return set(found)


def violations(lab: LabPage) -> dict[str, str]:
    """Return the rules that axe finds broken in the notebook that is open, each with where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(lab.page, context=".jp-Notebook").response["violations"]
    places = {each["id"]: [node["html"][:160] for node in each["nodes"]] for each in found}
    # Elements of JupyterLab and of its editor carry its classes; nothing of ours does.
    ours = {rule: [html for html in nodes if not OF_LAB.match(html)] for rule, nodes in places.items()}
    return {rule: nodes[0] for rule, nodes in ours.items() if nodes}


def complaints(lab: LabPage, of_jupyter: set[str]) -> dict[str, str]:
    """Return what axe finds beyond JupyterLab's own."""
    return {rule: where for rule, where in violations(lab).items() if rule not in of_jupyter}


def touch_widget(lab: LabPage) -> None:
    """Where the notebook has a prediction, make it with the mouse, and see that it was recorded."""
    if not lab.has("lab.predict("):
        return
    cell = lab.index("lab.predict(")
    lab.run(cell)
    node = lab.node(cell)
    node.wait_for_selector("button.labkit-answer").click()
    node.wait_for_selector("text=Recorded:")


@pytest.mark.slow
@pytest.mark.parametrize("solved", [False, True], ids=["student", "solved"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.slug)
def test_a_notebook_opens_and_answers(
    lab: LabPage, of_jupyter: set[str], source: notebooks.Source, *, solved: bool
) -> None:
    """The first cell shows the lab, a prediction is recorded by a click, a check speaks, axe finds nothing of ours."""
    lab.open(path_of(source, solved=solved))
    assert "what is there" in lab.run(lab.index("open_lab("))
    touch_widget(lab)
    check = find_any(source.slug).checks[0].id
    said = [lab.ask(f'lab.check("{check}")', at=lab.index("lab.check(")) for _ in range(2)]
    assert all(check in each and re.search(r"passed|partly|not yet|not attempted", each) for each in said)
    assert complaints(lab, of_jupyter) == {}


@pytest.mark.slow
@pytest.mark.parametrize("slug", WHOLE)
def test_run_all(lab: LabPage, of_jupyter: set[str], slug: str) -> None:
    """The solved notebook runs from end to end in the browser without an error; a picture of it is kept."""
    source = next(source for source in SOURCES if source.slug == slug)
    lab.open(path_of(source, solved=True))
    lab.run_all()
    lab.wait_idle()
    assert [] == lab.errors()
    assert "passed" in lab.text(lab.index("lab.check("))
    lab.shot(SHOTS / f"{slug}.png")
    assert complaints(lab, of_jupyter) == {}


def test_hints_checks_and_quizzes_by_hand(lab: LabPage) -> None:
    """Three hints come one after the other, a typed answer is checked, and a quiz answers a click."""
    lab.open("00_start-here.ipynb")
    lab.run(lab.index("open_lab("))
    first = lab.index('lab.check("start-here.1")')
    assert re.search("not attempted|not yet", lab.run(first))  # an earlier test may have answered
    hints = [lab.ask('lab.hint("start-here.1")', at=first) for _ in range(3)]
    assert ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3"] == [hint.split(":")[0].strip() for hint in hints]
    quiz = lab.index("lab.quiz(")
    lab.run(quiz)
    node = lab.node(quiz)
    node.wait_for_selector("button.labkit-answer").click()
    node.wait_for_selector("text=/right|not quite/")


def recorded(button: Any) -> str:
    """Return what is said when the answer on a button was taken."""
    return f"Recorded: {button.inner_text().partition(': ')[2]}"


def test_a_prediction_without_a_mouse(lab: LabPage) -> None:
    """With the keyboard alone: Tab goes from answer to answer, Space and Enter take one, and typed words change it."""
    lab.open("00_start-here.ipynb")
    lab.run(lab.index("open_lab("))
    cell = lab.index("lab.predict(")
    said = lab.run(cell)
    node = lab.node(cell)
    first, second = node.query_selector_all("button.labkit-answer")[:2]
    first.focus()
    lab.page.keyboard.press("Space")
    node.wait_for_selector(f"text={recorded(first)}")
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.press("Enter")
    node.wait_for_selector(f"text={recorded(second)}")
    typed = said.partition("Without a mouse: ")[2].splitlines()[0]
    assert "Recorded:" in lab.ask(typed, at=cell)


def test_stop_restart_and_reload(lab: LabPage) -> None:
    """The stop button ends a cell and spares the lab; a restarted kernel and a reloaded page go on from the top."""
    lab.open("solved/00_start-here.ipynb")
    lab.run(lab.index("open_lab("))
    lab.type("import threading; print('waiting'); threading.Event().wait()", at=len(lab.cells) - 1)
    lab.start(len(lab.cells) - 1)
    lab.node(len(lab.cells) - 1).wait_for_selector("text=waiting")
    lab.interrupt()
    lab.wait_idle()
    assert "KeyboardInterrupt" in lab.text(len(lab.cells) - 1)
    assert "what is there" in lab.run(lab.index("open_lab("))
    lab.restart()
    lab.wait_idle()
    said = lab.run(lab.index("lab.predict("))
    assert "NameError" in said
    assert "The lab is not open in this kernel" in said
    assert "what is there" in lab.run(lab.index("open_lab("))
    lab.close_all()
    lab.load()
    lab.open("solved/00_start-here.ipynb")
    assert "what is there" in lab.run(lab.index("open_lab("))


def test_a_second_notebook_is_told_who_has_the_folder(lab: LabPage) -> None:
    """While one notebook works, another is told which one has the folder and what to do, without a traceback."""
    lab.open("00_start-here.ipynb")
    lab.run(lab.index("open_lab("))
    lab.open("02_tls.ipynb")
    said = lab.run(lab.index("open_lab("))
    assert "WorkspaceBusyError" in said
    assert "start-here" in said
    assert "Traceback" not in said


def test_the_course_so_far(lab: LabPage) -> None:
    """The progress page has a row for every lesson and exercise, and keeps up with what is done further down."""
    lab.open("02_tls.ipynb")
    first, last = lab.index("open_lab("), len(lab.cells) - 1
    lab.run(first)
    said = lab.ask("lab.progress()", at=last)
    assert [source.slug for source in SOURCES if source.slug not in said] == []
    node, claims = lab.node(last), len(find_any("tls").claims)
    all_held = f"tr:has(a:text-is('tls')) td:text-is('{claims} of {claims}')"
    node.wait_for_selector("a:text-is('tls')")
    assert node.query_selector(all_held) is None
    lab.ask("for claim in lab.lesson.claims: lab.record.set('claims', claim.id, True)", at=first)
    node.wait_for_selector(all_held)
