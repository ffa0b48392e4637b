"""The shape of the answer-quality tables: right and wrong answers to every check, as data.

One module a lesson or exercise in this folder (`mutual_tls.py` for `mutual-tls`) holds

- `TABLE`: an `Answers` for each of its checks,
- `prepared(folder)`: a context manager that yields the subject which the checks are given: an open `Lab` for a lesson, a
  `Place` for an exercise. It is entered once for the whole table, so that all answers share one broker.

`tests/course/test_answers.py` runs them all; `python -m tests.answers` writes `docs/grading.md`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.course.judging import attempt
from labkit.course.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.course.exercise import Exercise
    from labkit.course.lesson import CheckResult

STUDENT = "ada"
"""Whose variant the tables of exercises are written for, unless they say otherwise."""


@dataclass(frozen=True, slots=True)
class Right:
    """An answer that must be accepted.

    Attributes:
        name: What is different about it.
        give: Puts it where the check looks.
    """

    name: str
    give: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer that must be rejected, for its own reason.

    Attributes:
        name: What is wrong with it.
        give: Puts it where the check looks.
        fault: The `CheckResult.fault` that it must be told.
        status: `failed`, or `partly` where part of it is right, or `not-attempted`.
        says: A word that its `observed` must hold.
    """

    name: str
    give: Callable[[Any], None]
    fault: str
    status: str = "failed"
    says: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """All answers to one check: at least two right ones, which differ, and three wrong ones.

    Attributes:
        check: The check's id.
        right: What must pass.
        wrong: What must not.
        touches: What is put back after each answer, below the workspace.
    """

    check: str
    right: tuple[Right, ...]
    wrong: tuple[Wrong, ...]
    touches: tuple[str, ...] = ("answers",)


@dataclass(slots=True)
class Place:
    """A workspace of an exercise, which the answers fill and the checks read.

    Attributes:
        exercise: The exercise.
        root: The workspace's folder.
        student: Whose variant it is.
        kept: What must outlive one check, such as a broker that all answers share; the checks don't see it.
    """

    exercise: Exercise
    root: Path
    student: str = STUDENT
    kept: ExitStack = field(default_factory=ExitStack)

    @property
    def variant(self) -> Any:
        """What the student got."""
        return self.exercise.variant(self.student)

    def write(self, relative: str, text: str | bytes) -> None:
        """Write a file of the answer."""
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


def verdict(check: Any, subject: Any) -> CheckResult:
    """Judge a check as the grader does."""
    if isinstance(subject, Place):
        with Work(subject.exercise, subject.root, subject.student) as work:
            return attempt(check, work)
    return attempt(check, subject)
