"""From percent sources to notebooks: student copies that are committed, solved copies that are run.

A source is Python in jupytext's percent format and holds the solutions. In the student's copy each solution, between
its two markers, becomes one line that says that it is missing. The copies are byte-stable: an id is the hash of the
cell, so that a copy changes exactly where its source did. Where a source says "lesson **tls**", or "exercise" and a
slug, a copy has a link, so that sources hold no file names.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jupytext
import nbformat

from labkit.errors import DriftError, NotebookError
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
UNWRITTEN = "*Write your answer here, in place of this line.*"
TEXT_BEGIN, TEXT_END = "<!-- BEGIN SOLUTION -->", "<!-- END SOLUTION -->"
SECTIONS = ("What you proved", "In practice", "Questions", "Further reading")
EXERCISE_SECTIONS = ("What you hand in",)
_NAME = re.compile(r"\d\d_([a-z0-9-]+)\.py")
_EXERCISE_NAME = re.compile(r"([a-z0-9-]+)\.py")
_MAX_CODE_IN_A_ROW = 3
_SLUG = r"\*\*[a-z0-9-]+\*\*"
_MENTION = re.compile(rf"\b(?:[Ll]essons?|[Ee]xercises?) {_SLUG}(?:(?:,|,? and|,? or) {_SLUG})*")


@dataclass(frozen=True, slots=True)
class Source:
    """A notebook's source.

    Attributes:
        path: The file.
        slug: The lesson or exercise.
        graded: Whether it is a graded exercise.
    """

    path: Path
    slug: str
    graded: bool = False

    @property
    def notebook_name(self) -> str:
        """The file name of its copies."""
        return f"{self.path.stem}.ipynb"


def sources(folder: Path) -> list[Source]:
    """Return the sources in a folder, in order: of lessons, or in `exercises/source` of graded exercises.

    Raises:
        NotebookError: A file is not named NN_slug.py (slug.py for an exercise).
    """
    found = []
    graded = folder.absolute().parent.name == "exercises"
    for path in sorted(folder.glob("*.py")):
        match = (_EXERCISE_NAME if graded else _NAME).fullmatch(path.name)
        if match is None:
            raise _bad(path, f"its name is not {'slug.py' if graded else 'NN_slug.py'}")
        found.append(Source(path, match[1], graded))
    return found


def student(source: Source) -> str:
    """Return the student's copy as text: no solutions, no outputs.

    Raises:
        NotebookError: The source breaks a rule; see `lint`.
    """
    return _written(source, solved=False)


def solved(source: Source) -> str:
    """Return the solved copy as text: without markers and outputs.

    Raises:
        NotebookError: The source breaks a rule; see `lint`.
    """
    return _written(source, solved=True)


def build(folder: Path, target: Path) -> list[Path]:
    """Write the student copies of all sources in a folder.

    Returns:
        The copies that changed.

    Raises:
        NotebookError: A source breaks a rule; nothing was written.
    """
    made = {target / source.notebook_name: student(source) for source in sources(folder)}
    changed = [path for path, text in made.items() if _text(path) != text]
    for path in changed:
        write_atomic(path, made[path])
    return changed


def solution_of(path: Path, name: str) -> str:
    """Return the solution of an exercise from a source.

    Raises:
        NotebookError: There is none of that name.
    """
    for cell in _read(Source(path, path.stem)).cells:
        if cell.metadata.get("exercise") == name:
            return _without_markers(cell.source)
    raise _bad(path, f"there is no exercise {name!r}")


def check(folder: Path, target: Path) -> int:
    """Compare the committed copies with their sources.

    Returns:
        How many there are.

    Raises:
        DriftError: A copy is not what its source says, is missing, or has no source.
    """
    made = {target / source.notebook_name: student(source) for source in sources(folder)}
    drifted = [path for path, text in made.items() if _text(path) != text]
    drifted += sorted(set(target.glob("*.ipynb")) - set(made))
    if drifted:
        raise DriftError(
            f"Not what the sources say: {', '.join(path.name for path in drifted)}.",
            advice="Edit notebooks/source/, then: labkit notebooks build",
            paths=drifted,
        )
    return len(made)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _written(source: Source, *, solved: bool) -> str:
    notebook = read_checked(source)
    seen: set[str] = set()
    ways = _ways(source)
    for cell in notebook.cells:
        cell.source = _without_markers(cell.source) if solved else _without_solution(cell)
        if cell.cell_type == "markdown":
            cell.source = _linked(cell.source, ways)
        cell.id = _stable_id(cell, seen)
        cell.metadata = {
            key: cell.metadata[key]
            for key in sorted(cell.metadata)
            if key in {"exercise", "kind", "tags", "written"}
        }
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif cell.source.startswith("## Go deeper"):
            # JupyterLab folds the section away; Run All runs it all the same.
            cell.metadata["jp-MarkdownHeadingCollapsed"] = True
            cell.metadata["tags"] = ["go-deeper"]
    finish(notebook)
    return str(nbformat.writes(notebook, indent=1)) + "\n"


def mentions(text: str) -> list[str]:
    """Return the slugs of lessons and exercises that a text leads to."""
    return [slug for mention in _MENTION.findall(text) for slug in re.findall(r"\*\*([^*]+)\*\*", mention)]


def _ways(source: Source) -> dict[str, str]:
    """Return by slug how one gets from a copy of a source to the copies of the others."""
    home = source.path.absolute().parents[1]
    course = home.parent if source.graded else home
    others = [*sources(course / "source"), *sources(course / "exercises" / "source")]
    return {
        each.slug: Path(
            os.path.relpath(each.path.absolute().parents[1] / each.notebook_name, home)
        ).as_posix()
        for each in others
        if each.slug != source.slug
    }


def _linked(text: str, ways: Mapping[str, str]) -> str:
    def led(match: re.Match[str]) -> str:
        way = ways.get(match[0].strip("*"))
        return f"[{match[0]}]({way})" if way else match[0]

    return _MENTION.sub(lambda mention: re.sub(_SLUG, led, mention[0]), text)


def read_checked(source: Source) -> Any:
    """Read a source and hold it against the rules.

    Raises:
        NotebookError: It breaks one; see `lint`.
    """
    notebook = _read(source)
    lint(source, notebook)
    return notebook


def finish(notebook: Any) -> None:
    """Give a notebook the kernel and the format of the course."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)


def _read(source: Source) -> Any:
    try:
        return jupytext.read(source.path, fmt="py:percent")
    except (ValueError, UnicodeDecodeError) as error:
        raise _bad(source.path, str(error)) from error


def _stable_id(cell: Any, seen: set[str]) -> str:
    named = cell.metadata.get("exercise") or cell.metadata.get("written")
    base = str(named or hashlib.sha1(cell.source.encode()).hexdigest()[:10])  # noqa: S324 - no secret
    base = base.replace(".", "-")
    name, number = base, 2
    while name in seen:
        name, number = f"{base}-{number}", number + 1
    seen.add(name)
    return name


def _without_markers(text: str) -> str:
    return "\n".join(
        line for line in text.split("\n") if line.strip() not in {BEGIN, END, TEXT_BEGIN, TEXT_END}
    )


def _without_solution(cell: Any) -> str:
    stub = f"this exercise is yours to write; lab.hint('{cell.metadata.get('exercise')}') helps"
    kept: list[str] = []
    inside = False
    for line in cell.source.split("\n"):
        if line.strip() == BEGIN:
            indent = line[: len(line) - len(line.lstrip())]
            kept.append(f"{indent}# Write your code here, in place of the next line.")
            kept.append(f'{indent}raise NotImplementedError("{stub}")')
            inside = True
        elif line.strip() == TEXT_BEGIN:
            kept.append(UNWRITTEN)
            inside = True
        elif line.strip() in {END, TEXT_END}:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def lint(source: Source, notebook: Any) -> None:
    """Hold a source against the shape that every lesson has.

    Raises:
        NotebookError: The first rule that is broken.
    """
    cells = notebook.cells
    for broken, why in _broken(cells, EXERCISE_SECTIONS if source.graded else SECTIONS):
        if broken:
            raise _bad(source.path, why)


def _broken(cells: Sequence[Any], sections: Sequence[str]) -> Iterator[tuple[bool, str]]:
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = [cell for cell in cells if cell.cell_type == "code"]
    headings = [(len(marks), text) for marks, text in re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)]
    first = cells[0].source if cells else ""
    for part in ("What you'll do", "What you'll learn", "What you'll need"):
        yield part not in first, f"the first cell does not say **{part}**"
    for section in sections:
        yield section not in [text for _, text in headings], f"there is no section {section!r}"
    levels = [level for level, _ in headings]
    jumps = [b for a, b in pairwise(levels) if b > a + 1]
    yield levels.count(1) != 1 or bool(jumps), "headings begin with one # and go down one step at a time"
    yield (
        not code or len(code[0].source.strip().split("\n")) != 2,
        "the first code cell is import and open_lab",
    )
    yield "lab.close()" not in (code[-1].source if code else ""), "the last code cell closes the lab"
    yield bool(re.search(r"!\[\s*\]\(", prose)), "a picture has no alternative text"
    yield bool(re.search(r"^\|\s*\|.*\n\|\s*-", prose, re.MULTILINE)), "a column of a table has no heading"
    yield (
        "PRIVATE KEY" in prose + "".join(cell.source for cell in code),
        "key material has no place in a notebook",
    )
    yield any(re.search(r"^\s*[!%]", cell.source, re.MULTILINE) for cell in code), "no shell or magic lines"
    for cell in code:
        yield from _broken_code(cell)
    for cell in cells:
        marks = [line.strip() for line in cell.source.split("\n") if line.strip() in {TEXT_BEGIN, TEXT_END}]
        wanted = [TEXT_BEGIN, TEXT_END] if cell.metadata.get("written") else []
        yield (
            marks != wanted,
            f"a written answer stands between markers, and nothing else does: {cell.source[:40]!r}",
        )
    row = 0
    for cell in cells:
        row = row + 1 if cell.cell_type == "code" else 0
        yield (
            row > _MAX_CODE_IN_A_ROW,
            f"more than {_MAX_CODE_IN_A_ROW} code cells in a row: {cell.source[:40]!r}",
        )


def _broken_code(cell: Any) -> Iterator[tuple[bool, str]]:
    marks = [line.strip() for line in cell.source.split("\n") if line.strip() in {BEGIN, END}]
    yield marks not in ([], [BEGIN, END]), f"solution markers don't pair: {cell.source[:40]!r}"
    yield (
        bool(marks) != bool(cell.metadata.get("exercise")),
        f"exercise without solution, or reverse: {cell.source[:40]!r}",
    )
    above = (
        cell.source.partition(f"{BEGIN}\n")[0] if re.search(f"^{BEGIN}", cell.source, re.MULTILINE) else ""
    )
    # What stands above a stub is executed before the stub raises, and leaves the exercise half done.
    yield bool(above.strip()), f"a solution outside a function stands alone in its cell: {cell.source[:40]!r}"
    for text in (cell.source, _without_solution(cell)):
        try:
            ast.parse(text)
        except SyntaxError as error:
            yield True, f"line {error.lineno} of a cell does not parse: {error.text!r}"


def _bad(path: Path, why: str) -> NotebookError:
    return NotebookError(
        f"{path.name}: {why}.", advice="notebooks/source/00_start-here.py is the pattern.", path=path
    )
