"""Lines of source files side by side, cut from the files when they are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Call:
    """Something that several programs do, each in its own words.

    Attributes:
        purpose: What it is for.
        patterns: A regular expression for each program, which finds its lines.
    """

    purpose: str
    patterns: tuple[str, ...]


def lines_with(path: Path, pattern: str) -> list[str]:
    """Return the lines of a file that a regular expression finds, without their indentation.

    Raises:
        ValueError: It finds none: the file has changed, and what is said about it has not.
    """
    found = [
        line.strip() for line in path.read_text(encoding="utf-8").splitlines() if re.search(pattern, line)
    ]
    if not found:
        text = f"{path.name} has no line for {pattern!r}"
        raise ValueError(text)
    return found


def side_by_side(title: str, programs: Sequence[tuple[str, Path]], calls: Sequence[Call]) -> Table:
    """Return what several programs do, in a table: a row a purpose, a column a program.

    Args:
        title: What it shows.
        programs: A heading and a file for each.
        calls: What they do.

    Raises:
        ValueError: A file has no such line.
    """
    rows = [
        (
            call.purpose,
            *(
                "\n".join(lines_with(path, pattern)) if pattern else "(not here)"
                for (_, path), pattern in zip(programs, call.patterns, strict=True)
            ),
        )
        for call in calls
    ]
    return Table(title, ("what it is for", *(heading for heading, _ in programs)), rows, code=True)
