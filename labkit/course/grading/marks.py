"""From verdicts to marks: what a person adds, and what lateness takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.course.exercise import Exercise
    from labkit.course.grading.results import Result

NEEDS_A_PERSON = "needs a person"


@dataclass(frozen=True, slots=True)
class Given:
    """What a person gave for a written answer.

    Attributes:
        points: The points.
        comment: What they said.
    """

    points: float
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one submission.

    Attributes:
        machine: What the checks gave, and their most.
        person: What a person gave for written answers, and their most.
        waiting: Rubrics that no person has looked at.
        penalty: What lateness took.
        total: What is left.
        most: What the whole is worth.
    """

    machine: tuple[float, float]
    person: tuple[float, float]
    waiting: tuple[str, ...]
    penalty: float
    total: float
    most: float

    @property
    def percent(self) -> float:
        """The total as a part of a hundred."""
        return 100 * self.total / self.most if self.most else 0.0


def mark(
    result: Result, exercise: Exercise | None, given: Mapping[str, Given], *, penalty: float = 0.0
) -> Mark:
    """Return the mark of a submission.

    Args:
        result: What the machine found.
        exercise: The exercise, for its rubrics; None where it can't be told.
        given: What a person gave, by rubric.
        penalty: The part of the points that each begun day of lateness takes.
    """
    rubrics = exercise.rubrics if exercise else ()
    # Who wrote nothing has nothing for a person to look at.
    waiting = tuple(rubric.id for rubric in rubrics if rubric.id not in given and rubric.id in result.written)
    person = sum(min(given[rubric.id].points, rubric.points) for rubric in rubrics if rubric.id in given)
    possible = sum(rubric.points for rubric in rubrics)
    before = result.earned + person
    lost = before * min(1.0, penalty * result.late_days)
    return Mark(
        (result.earned, result.most), (person, possible), waiting, round(lost, 4), round(before - lost, 4),
        result.most + possible,
    )  # fmt: skip
