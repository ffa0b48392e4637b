"""Pages that are written from the code: its modules, its commands, and what was proved."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import click

import labkit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from labkit.course.site.executed import Executed

_LEFT_OUT = ("cli", "course/lessons", "course/exercises", "devices/migrations")
"""Commands have pages of their own; lessons and exercises would show their answers."""


def library_pages() -> dict[str, str]:
    """Return a page in reStructuredText for each part of labkit, by file name; `api/index.rst` leads to them.

    A page has the public names in full, and a line for each module, so that one finds the place to read on.
    """
    modules = _modules()
    parts = sorted({name.split(".")[1] for name in modules if name.count(".") > 1})
    single = sorted(name for name in modules if name.count(".") == 1 and name.split(".")[1] not in parts)
    pages = {f"api/{part}.rst": _part_page(part, modules) for part in parts}
    pages["api/basics.rst"] = _title("labkit: what all parts share") + "".join(
        f".. automodule:: {name}\n   :members:\n\n" for name in single if not name.endswith("__")
    )
    lines = "".join(
        f"   * - :doc:`labkit.{part} </api/{part}>`\n     - {modules[f'labkit.{part}']}\n" for part in parts
    )
    names = "".join(f"   {name}\n" for name in ("basics", *parts))
    pages["api/index.rst"] = (
        _title("The library")
        + "Everything that a lesson does, it does by calling labkit. A part imports only from parts below it; a test "
        "holds the order.\n\n"
        + f".. list-table::\n   :header-rows: 1\n   :widths: 25 75\n\n   * - part\n     - what it is\n{lines}"
        + "   * - :doc:`basics </api/basics>`\n     - errors, outcomes, ports, processes, the workspace\n\n"
        + f".. toctree::\n   :hidden:\n\n{names}"
    )
    return pages


def _modules() -> dict[str, str]:
    """Return what each module says of itself in its first sentence, without importing it."""
    root = Path(labkit.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root).with_suffix("")
        if inner.as_posix().startswith(_LEFT_OUT) or inner.as_posix() in {"__init__", "__main__"}:
            continue
        parts = [part for part in inner.parts if part != "__init__"]
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[".".join(["labkit", *parts])] = " ".join(said.partition("\n\n")[0].split())
    return found


def _title(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}\n\n"


def _part_page(part: str, modules: Mapping[str, str]) -> str:
    name = f"labkit.{part}"
    rows = "".join(
        f"   * - ``{other.removeprefix('labkit.')}``\n     - {said}\n"
        for other, said in modules.items()
        if other.startswith(f"{name}.")
    )
    return (
        _title(name)
        + f".. automodule:: {name}\n   :members:\n   :imported-members:\n\n"
        + _title("Its modules", "-")
        + f".. list-table::\n   :header-rows: 1\n   :widths: 30 70\n\n   * - module\n     - what it is\n{rows}\n"
    )


def command_pages(cli: click.Group) -> dict[str, str]:
    """Return a page in Markdown for each command of `labkit`, by file name; `commands/index.md` leads to them."""
    context = click.Context(cli, info_name="labkit", max_content_width=100)
    pages, lines = {}, []
    for word in cli.list_commands(context):
        command = cli.get_command(context, word)
        if command is None:
            continue
        blocks = "".join(
            f"## {name}\n\n```text\n{text}\n```\n\n"
            for name, text in _helps(command, f"labkit {word}", context)
        )
        pages[f"commands/{word}.md"] = f"# labkit {word}\n\n{blocks}"
        lines.append(f"| [{word}]({word}.md) | {command.get_short_help_str(200)} |\n")
    listed = "".join(f"{word} <{word}>\n" for word in cli.list_commands(context))
    pages["commands/index.md"] = (
        "# Commands\n\nThis is what each command says with `--help`.\n"
        "In the course's folder `python3 lab.py ca` and `labkit ca` are the same; the first one sets up what is missing.\n\n"
        f"| command | what it does |\n| --- | --- |\n{''.join(lines)}\n```{{toctree}}\n:hidden:\n\n{listed}```\n"
    )
    return pages


def _helps(command: click.Command, name: str, parent: click.Context) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, max_content_width=100)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            if inner is not None:
                yield from _helps(inner, f"{name} {word}", context)


def claims_page(lessons: Sequence[Executed]) -> str:
    """Return the page of everything that was claimed, and the evidence."""
    count = sum(len(lesson.claims) for lesson in lessons)
    held = sum(claim["held"] for lesson in lessons for claim in lesson.claims)
    head = (
        "# What was proved\n\n"
        f"The lessons make {count} claims. In the run that these pages show, {held} of them held.\n"
        "A claim holds only if the verdict fell at the stage and for the reason that the lesson says.\n\n"
    )
    parts = [head]
    for lesson in lessons:
        parts.append(f"## {lesson.source.slug}\n\n[Read the lesson](lessons/{lesson.name}.ipynb).\n\n")
        parts.append("| claim | held | evidence |\n| --- | --- | --- |\n")
        parts += [
            f"| {_cell(claim['text'])} | {'yes' if claim['held'] else '**no**'} | {_cell(claim['evidence'])} |\n"
            for claim in lesson.claims
        ]
        parts.append("\n")
    versions = dict(pair for lesson in lessons for pair in lesson.versions.items())
    parts.append("## Made with\n\n| what | version |\n| --- | --- |\n")
    parts += [f"| {_cell(name)} | {_cell(version)} |\n" for name, version in versions.items()]
    return "".join(parts)


def _cell(text: str) -> str:
    """Return plain text as a cell of a Markdown table."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]<>$|~#^:@" else letter for letter in text)
    return escaped.replace("\n", " ")
