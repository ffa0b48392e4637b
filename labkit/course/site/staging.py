"""Lay out what Sphinx reads: documents, executed lessons, reference. Only what changed is written, so that the next build is quick."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import nbformat

from labkit.course.site import assets, pages, reference
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import click

    from labkit.course.site.executed import Executed

_GUIDES = ("*.md", "decisions/*.md", "formats/*.md")
_ELSEWHERE = ("firmware/README.md", "firmware/arduino/README.md", "docker/README.md", "hub/README.md")
_TOP = ("CONTRIBUTING.md", "SECURITY.md")
_GLOSSARY = "docs/glossary.md"
_EXERCISES = "notebooks/exercises"
_MERMAID = "```mermaid\n"
_TO_DO = """:::{{admonition}} This one is graded
:class: note
Take {{download}}`{0} <student/{0}>`, or open it with `python3 lab.py lab`: the checks are in it.
:::"""

_CONTENTS = {
    "The course": ("lessons/index", "exercises/index", "claims", "glossary"),
    "Guides": (
        "students", "instructors", "pilot", "grading", "nbgrader", "hub/index",
        "hardware", "segmentation", "brokers", "containers", "docker/index", "*",
    ),
    "Reference": ("commands/index", "api/index", "formats/*", "firmware/index", "firmware/*"),
    "How it is built": ("performance", "load", "test-report", "decisions/index", "contributing", "security"),
}  # fmt: skip
"""What the side bar shows, in order; of a name that ends in * each page that stands nowhere else."""


def stage(course: Path, lessons: Sequence[Executed], commands: click.Group, target: Path) -> None:
    """Write everything that Sphinx reads into a folder, and remove what is not read any more.

    Args:
        course: The course's folder.
        lessons: The lessons to show.
        commands: The command line, whose help becomes pages.
        target: The folder.
    """
    places = _places(course, lessons)
    terms = pages.glossary_terms((course / _GLOSSARY).read_text(encoding="utf-8"))
    wanted: dict[str, str] = {}
    for home, page in places.items():
        if page.endswith(".md"):
            text = (course / home).read_text(encoding="utf-8")
            text = pages.glossary_page(text) if home == _GLOSSARY else text
            wanted[page] = pages.relinked(text, home, page, places)
    for lesson in lessons:
        page = places[f"notebooks/{lesson.source.notebook_name}"]
        wanted[page] = nbformat.writes(pages.lesson_page(lesson, terms, places)) + "\n"
        student = course / "notebooks" / lesson.source.notebook_name
        wanted[f"lessons/student/{student.name}"] = student.read_text(encoding="utf-8")
    wanted["lessons/index.md"] = _lessons_page(lessons)
    wanted |= _exercise_pages(course, places)
    wanted["claims.md"] = reference.claims_page(lessons)
    wanted |= reference.library_pages() | reference.command_pages(commands)
    if "lessons/00_start-here.ipynb" not in wanted:
        wanted["index.md"] = wanted["index.md"].replace("lessons/00_start-here", "lessons/index")
    wanted["index.md"] += _contents(wanted)
    wanted["decisions/index.md"] += _toctree(
        name for name in _documents_of(wanted) if name.startswith("decisions/0")
    )
    _draw(course, wanted, target)
    _write(target, wanted)
    shutil.copytree(course / "docs" / "_static", target / "_static", dirs_exist_ok=True)


def _draw(course: Path, wanted: dict[str, str], target: Path) -> None:
    """Have Mermaid beside the pages that need it; where it can't be had, their diagrams are shown as text."""
    drawn = [name for name, text in wanted.items() if name.endswith(".md") and _MERMAID in text]
    if not drawn:
        return
    found = assets.fetched(course, "mermaid")
    if found is not None:
        shutil.copytree(found, target / "_static" / "mermaid", dirs_exist_ok=True)
        return
    for name in drawn:
        wanted[name] = wanted[name].replace(_MERMAID, "```text\n")


def _places(course: Path, lessons: Sequence[Executed]) -> dict[str, str]:
    """Return the page of each file of the repository that has one."""
    found = {f"notebooks/{lesson.source.notebook_name}": f"lessons/{lesson.name}.ipynb" for lesson in lessons}
    for path in sorted((course / _EXERCISES).glob("*.ipynb")):
        found[f"{_EXERCISES}/{path.name}"] = f"exercises/{path.name}"
    for path in _documents(course):
        home = path.relative_to(course).as_posix()
        page = home.removeprefix("docs/").replace("README.md", "index.md")
        found[home] = page.lower() if home in _TOP else page
    return found


def _documents(course: Path) -> Iterator[Path]:
    for pattern in _GUIDES:
        yield from sorted((course / "docs").glob(pattern))
    for name in (*_ELSEWHERE, *_TOP):
        if (course / name).is_file():
            yield course / name


def _exercise_pages(course: Path, places: Mapping[str, str]) -> dict[str, str]:
    """Return a page for each graded exercise, as students get it: what is asked, and no answer."""
    wanted, rows, names = {}, [], []
    for path in sorted((course / _EXERCISES).glob("*.ipynb")):
        home = path.relative_to(course).as_posix()
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        title = notebook.cells[0].source.partition("\n")[0].lstrip("# ")
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = pages.relinked(cell.source, home, places[home], places)
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_TO_DO.format(path.name), id="how-to-do-it"))
        wanted[places[home]] = nbformat.writes(notebook) + "\n"
        wanted[f"exercises/student/{path.name}"] = text
        rows.append(f"| [{path.stem}]({path.name}) | {title} |\n")
        names.append(f"exercises/{path.stem}")
    if rows:
        wanted["exercises/index.md"] = (
            "# Graded exercises\n\nWhat is asked, and how it is judged. The answers are yours to write.\n\n"
            f"| exercise | what you do |\n| --- | --- |\n{''.join(rows)}{_toctree(names)}"
        )
    return wanted


def _lessons_page(lessons: Sequence[Executed]) -> str:
    from labkit.course.lessons import find

    rows, names = [], []
    for lesson in lessons:
        known = find(lesson.source.slug)
        number = lesson.name.partition("_")[0]
        rows.append(
            f"| {number} | [{known.title}]({lesson.name}.ipynb) | {known.minutes} | {len(lesson.claims)} |\n"
        )
        names.append(f"{number} {lesson.source.slug.replace('-', ' ')} <{lesson.name}>\n")
    return (
        "# Lessons\n\nEach lesson starts alone: it builds what the ones before it would have left.\n"
        "The minutes are estimates for the core path, until [a class was timed](../pilot.md).\n\n"
        f"| no. | lesson | minutes | claims |\n| --- | --- | --- | --- |\n{''.join(rows)}\n"
        f"```{{toctree}}\n:hidden:\n\n{''.join(names)}```\n"
    )


def _documents_of(wanted: Iterable[str]) -> list[str]:
    """Return the names by which Sphinx calls pages."""
    return sorted(name.rpartition(".")[0] for name in wanted if "/student/" not in name)


def _contents(wanted: Iterable[str]) -> str:
    """Return the side bar's contents. Each document finds its place, also one that was added yesterday."""
    left = [
        name
        for name in _documents_of(wanted)
        if not re.match(
            r"index$|lessons/\d|exercises/(?!index)|decisions/\d|api/(?!index)|commands/(?!index)", name
        )
    ]
    named = {name for names in _CONTENTS.values() for name in names}
    parts = []
    for caption, names in _CONTENTS.items():
        found = []
        for name in names:
            some = [each for each in left if fnmatch(each, name) and (each == name or each not in named)]
            if name == "*":
                some = [each for each in some if not each.startswith(("formats/", "firmware/"))]
            found += [each for each in some if each not in found]
        parts.append(_toctree(found, caption))
    return "".join(parts)


def _toctree(names: Iterable[str], caption: str = "") -> str:
    """Return a part of the side bar."""
    listed = "".join(f"/{name}\n" for name in names)
    options = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{options}\n{listed}```\n"


def _write(target: Path, wanted: dict[str, str]) -> None:
    for name, text in wanted.items():
        path = target / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            make_folder(path.parent)
            write_atomic(path, text, durable=False)
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_file() and not name.startswith("_") and name not in wanted:
            path.unlink()
