"""From what lies in the repository to pages: links, glossary terms, and lessons with their solutions folded away."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from labkit.course.site.executed import Executed

_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
_TERM = re.compile(r"^\*\*([^*]+)\*\*: (.+)$", re.MULTILINE)
_BOLD = re.compile(r"(?<!\[)\*\*([^*\n]+)\*\*")
_NOTEBOOK = re.compile(r'(?<=href=")(\d\d_[a-z0-9-]+)\.ipynb(?=["#])')
_SPEAKS = re.compile(r"^lab\.(?:predict|quiz|hint)\(", re.MULTILINE)
_FENCE = re.compile(r"(^```.*?^```[^\S\n]*$|^~~~.*?^~~~[^\S\n]*$)", re.MULTILINE | re.DOTALL)


def relinked(text: str, home: str, page: str, places: Mapping[str, str]) -> str:
    """Return Markdown whose relative links lead to pages.

    A link to a file that has no page becomes its words, with the file's name beside them.

    Args:
        text: The Markdown.
        home: The file that it is from, relative to the course's folder.
        page: The page that it goes to, relative to the site's root.
        places: The page of each file of the repository that has one.
    """

    def led(match: re.Match[str]) -> str:
        mark, words, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match[0]
        path, hash_, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
        if target not in places:
            bare = words.strip("`")
            return f"`{bare}`" if bare == target else f"{words} (`{target}`)"
        way = posixpath.relpath(places[target], posixpath.dirname(page) or ".")
        return f"{mark}[{words}]({way}{hash_}{anchor})"

    return _outside_fences(text, lambda part: _LINK.sub(led, part))


def _outside_fences(text: str, change: Any) -> str:
    parts = _FENCE.split(text)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def glossary_terms(text: str) -> list[str]:
    """Return the terms that a glossary explains."""
    return [term for term, _ in _TERM.findall(text)]


def glossary_page(text: str) -> str:
    """Return the glossary as Sphinx knows one, so that pages can link to its terms."""
    head = text[: match.start()] if (match := _TERM.search(text)) else text
    entries = "".join(f"{term}\n  {meaning}\n\n" for term, meaning in _TERM.findall(text))
    return f"{head}:::{{glossary}}\n{entries}:::\n"


def _forms(terms: Iterable[str]) -> dict[str, str]:
    """Return how a term may be spelt, in lower case, and the term."""
    found: dict[str, str] = {}
    for term in terms:
        low = term.lower()
        found |= {low: term, f"{low}s": term}
    return found


class Linker:
    """Makes a link of the first bold use of each term of the glossary.

    Args:
        terms: The terms of the glossary.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        self._forms = _forms(terms)
        self._seen: set[str] = set()

    def linked(self, text: str) -> str:
        """Return Markdown with the links in it; headings and code stay as they are."""
        return _outside_fences(
            text,
            lambda part: "\n".join(
                line if line.startswith("#") else _BOLD.sub(self._link, line) for line in part.split("\n")
            ),
        )

    def _link(self, match: re.Match[str]) -> str:
        words = match[1]
        term = self._forms.get(words.lower())
        if term is None or term in self._seen:
            return match[0]
        self._seen.add(term)
        return f"{{term}}`{words} <{term}>`"


def lesson_page(lesson: Executed, terms: Iterable[str], places: Mapping[str, str]) -> Any:
    """Return an executed lesson as a notebook that MyST-NB makes a page of.

    Args:
        lesson: The lesson.
        terms: The terms of the glossary.
        places: The page of each file of the repository that has one.
    """
    import nbformat

    notebook = nbformat.from_dict(lesson.notebook)
    home = f"notebooks/{lesson.source.notebook_name}"
    page = places[home]
    linker = Linker(terms)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = linker.linked(relinked(cell.source, home, page, places))
            continue
        if _SPEAKS.search(cell.source):
            cell.metadata["tags"] = [*cell.metadata.get("tags", ()), "speaks"]  # its lines wrap, see site.css
        for output in cell.outputs:
            # What the course draws may lead to other lessons.
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = _NOTEBOOK.sub(r"\1.html", output.data["text/html"])
        if cell.metadata.get("exercise"):
            # Who reads should think first; who only wants to see it opens it.
            cell.metadata["tags"] = ["hide-input"]
            cell.metadata["mystnb"] = {
                "code_prompt_show": "Show one solution",
                "code_prompt_hide": "Hide the solution",
            }
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_how_made(lesson), id="how-this-page-was-made"))
    return notebook


def _how_made(lesson: Executed) -> str:
    held = sum(claim["held"] for claim in lesson.claims)
    return (
        ":::{admonition} You are reading a lesson that was run\n:class: tip\n"
        f"Every output below is real: {held} of {len(lesson.claims)} claims held, in {lesson.seconds:.0f} seconds, on real "
        f"components.\nSolutions are folded away. To do it yourself, take the course and open "
        f"{{download}}`{lesson.source.notebook_name} <student/{lesson.source.notebook_name}>` with "
        "`python3 lab.py lab`: there the questions can be answered and the exercises checked.\n:::"
    )
