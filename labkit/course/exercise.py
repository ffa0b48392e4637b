"""A graded exercise as data: its checks, what a person judges, and what differs from student to student."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.course.lesson import Lesson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NOBODY = "self-learner"
"""Whose variant it is when nobody said who they are."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What one student gets.

    The same student gets the same variant for ever; keys are never part of it.

    Attributes:
        student: Who.
        values: What was drawn, by name: device ids, topics, ports, planted faults.
    """

    student: str
    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


class Draw:
    """Draws a student's values: chosen by a hash of who and what, so that no order of drawing changes them.

    Args:
        exercise: The exercise's slug.
        student: The student's id.
    """

    def __init__(self, exercise: str, student: str) -> None:
        self._seed = f"labkit variant 1\0{exercise}\0{student}"

    def number(self, name: str, low: int, high: int) -> int:
        """Return a number from `low` to `high`, both included."""
        digest = hashlib.sha256(f"{self._seed}\0{name}".encode()).digest()
        return low + int.from_bytes(digest[:8]) % (high - low + 1)

    def one(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of several."""
        return choices[self.number(name, 0, len(choices) - 1)]

    def several(self, name: str, choices: Sequence[Any], count: int) -> tuple[Any, ...]:
        """Return `count` different ones of several, in the order in which they were given."""
        ranked = sorted(
            range(len(choices)), key=lambda i: hashlib.sha256(f"{self._seed}\0{name}\0{i}".encode()).digest()
        )
        return tuple(choices[i] for i in sorted(ranked[:count]))


@dataclass(frozen=True, slots=True)
class Rubric:
    """A written answer that a person judges.

    Attributes:
        id: Its name in the notebook: the id of the cell in which it is written.
        objective: What is asked for, in a sentence.
        points: What it is worth.
        criteria: What a person looks for: points and words.
        good: A sample that earns them.
        weak: One that does not, and why it looks as if it did.
        minutes: How long it takes, estimated.
    """

    id: str
    objective: str
    points: float
    criteria: tuple[tuple[float, str], ...]
    good: str
    weak: str
    minutes: int = 10


@dataclass(frozen=True, slots=True)
class Exercise(Lesson):
    """A graded exercise. Its checks are given a `Work`, and see files and their own endpoints alone.

    Attributes:
        rubrics: What a person judges.
        vary: Draws a student's values.
    """

    rubrics: tuple[Rubric, ...] = ()
    vary: Callable[[Draw], Mapping[str, Any]] = lambda _: {}

    def variant(self, student: str) -> Variant:
        """Return what a student gets."""
        return Variant(student, self.vary(Draw(self.slug, student)))

    @property
    def points(self) -> float:
        """What the whole is worth."""
        return sum(check.points for check in self.checks) + sum(rubric.points for rubric in self.rubrics)
