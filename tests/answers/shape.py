"""The shape of the answer-quality tables: right and wrong answers to every check, as data.

One module a lesson or exercise in this folder (`mutual_tls.py` for `mutual-tls`) holds

- `TABLE`: an `Answers` for each of its checks,
- `prepared(folder)`: a context manager that yields the subject which the checks are given: an open `Lab` for a lesson, a
  `Place` for an exercise. It is entered once for the whole table, so that all answers share one broker.

`tests/course/test_answers.py` runs them all; `python -m tests.answers` writes `docs/grading.md`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from labkit.course.judging import attempt
from labkit.course.lesson import NOT_ATTEMPTED, PASSED
from labkit.course.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

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
        slow: Whether judging it takes seconds; an ordinary run of the tests takes a slice of those.
    """

    name: str
    give: Callable[[Any], None]
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer that must be rejected, for its own reason.

    Attributes:
        name: What is wrong with it.
        give: Puts it where the check looks.
        fault: The `CheckResult.fault` that it must be told.
        status: `failed`, or `partly` where part of it is right, or `not-attempted`.
        says: A word that its `observed` must hold.
        slow: As in `Right`.
    """

    name: str
    give: Callable[[Any], None]
    fault: str
    status: str = "failed"
    says: str = ""
    slow: bool = False


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


def writing(relative: str, text: str | bytes) -> Callable[[Any], None]:
    """Return what lays a file on the shelf of a lesson or exercise, below `answers/` and its name."""

    def give(subject: Any) -> None:
        if isinstance(subject, Place):
            subject.write(f"answers/{subject.exercise.slug}/{relative}", text)
        else:
            content = text.encode() if isinstance(text, str) else text
            subject.workspace.write(f"answers/{subject.lesson.slug}/{relative}", content)

    return give


def laying(relative: str, value: Any) -> Callable[[Any], None]:
    """Return what lays a value on the shelf as JSON."""
    return writing(relative, json.dumps(value))


def handing(name: str, source: str) -> Callable[[Any], None]:
    """Return what hands in a function, as `lab.hand_in` does: the text of the cell that defines it."""
    return writing(f"{name}.py", dedent(source))


def verdict(check: Any, subject: Any) -> CheckResult:
    """Judge a check as the grader does."""
    if isinstance(subject, Place):
        with Work(subject.exercise, subject.root, subject.student) as work:
            return attempt(check, work)
    return attempt(check, subject)


def tried(answers: Answers, answer: Right | Wrong, subject: Any) -> CheckResult:
    """Give an answer, judge it, and put back what was there before."""
    lesson = subject.exercise if isinstance(subject, Place) else subject.lesson
    check = next(check for check in lesson.checks if check.id == answers.check)
    root = subject.root if isinstance(subject, Place) else subject.workspace.root
    with tempfile.TemporaryDirectory(prefix="labkit-kept-") as kept:
        for name in answers.touches:
            _copy(root / name, Path(kept) / name)
        try:
            answer.give(subject)
            return verdict(check, subject)
        finally:
            for name in answers.touches:
                _remove(root / name)
                _copy(Path(kept) / name, root / name)


def judged_rightly(answer: Right | Wrong, result: CheckResult) -> str:
    """Return why a verdict is not what an answer deserves; nothing if it is."""
    if isinstance(answer, Right):
        return (
            "" if (result.status, result.share) == (PASSED, 1.0) else f"a right answer was rejected: {result}"
        )
    if result.status == PASSED or result.share == 1.0:
        return f"a wrong answer was accepted: {result}"
    if (result.status, result.fault) != (answer.status, answer.fault):
        return f"rejected for another reason than {answer.fault} ({answer.status}): {result}"
    if answer.says not in result.observed:
        return f"does not say {answer.says!r}: {result}"
    if result.status != NOT_ATTEMPTED and not (result.observed and result.advice):
        return f"does not say what is there, or what to try: {result}"
    return ""


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists() or source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
