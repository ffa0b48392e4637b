"""Solutions, for people who learn alone: shown after honest attempts, and never where a course is graded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.course.lesson import NOT_ATTEMPTED, PASSED

if TYPE_CHECKING:
    from labkit.course.lesson import Check, CheckResult, Lesson
    from labkit.course.progress import Progress

ATTEMPTS = 3
"""How many different attempts unlock a solution, when all hints were taken."""


RELEASED = ".labkit-release.json"
"""The file that marks a copy of the course that was made for a class; it has no solutions to show."""


def note_attempt(record: Progress, name: str, result: CheckResult) -> None:
    """Remember an attempt, unless it found just what an earlier one found."""
    if result.status == NOT_ATTEMPTED:
        return
    mark = hashlib.sha256(f"{result.fault}\0{result.observed}".encode()).hexdigest()[:12]
    known = record.get("attempts", name) or []
    if mark not in known:
        record.set("attempts", name, [*known, mark][-20:])


def solution(record: Progress, lesson: Lesson, check: Check) -> str:
    """Return the solution of an exercise, or in words why not yet."""
    if os.environ.get("LABKIT_GRADED") or _released():
        return "No solutions while this is graded. lab.hint() has three hints."
    source = _source(lesson.slug)
    if source is None:
        return "This copy of the course has no solutions; ask who gave it to you. lab.hint() has three hints."
    tried = len(record.get("attempts", check.id) or [])
    hints = record.get("hints", check.id) or 0
    if record.get("checks", check.id) != PASSED:
        if tried < ATTEMPTS:
            left = ATTEMPTS - tried
            return (
                f"Not yet: {left} more attempt{'s' if left > 1 else ''} that lab.check() answers differently."
            )
        if hints < len(check.hints):
            return (
                f"Not yet: take the hints first, {len(check.hints) - hints} are left: lab.hint({check.id!r})"
            )
    from labkit.course.notebooks import solution_of

    return f"One solution of several ({check.id}):\n\n{solution_of(source, check.id)}"


def _released() -> bool:
    here = Path.cwd()
    return any((folder / RELEASED).is_file() for folder in (here, *here.parents))


def _source(slug: str) -> Path | None:
    here = Path.cwd()
    for folder in (here, *here.parents):
        for notebooks in (folder, folder / "notebooks"):
            for place in (notebooks / "source", notebooks / "exercises" / "source"):
                for path in (*place.glob(f"[0-9][0-9]_{slug}.py"), place / f"{slug}.py"):
                    if path.is_file():
                        return path
    return None
