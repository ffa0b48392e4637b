"""Written answers: a sheet that a person fills, and what they gave."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from labkit.course.grading.marks import Given
from labkit.course.grading.sheet import text_of
from labkit.course.scrub import without_keys
from labkit.errors import RosterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from labkit.course.exercise import Exercise
    from labkit.course.grading.results import Result

COLUMNS = ("student", "exercise", "rubric", "criterion", "most", "points", "comment", "answer")
_SHOWN = 2000


def sheet(
    results: Sequence[Result],
    exercises: Mapping[str, Exercise],
    given: Mapping[tuple[str, str, str, str], tuple[str, str]],
) -> str:
    """Return the sheet: a line for each criterion of each answer that was written.

    Args:
        results: The results.
        exercises: The exercises, by slug.
        given: What a person has filled in already, by student, exercise, rubric and criterion: points and comment.
    """
    lines: list[list[str]] = [list(COLUMNS)]
    for result in results:
        exercise = exercises.get(result.exercise)
        for rubric in exercise.rubrics if exercise else ():
            answer = result.written.get(rubric.id)
            for most, criterion in rubric.criteria if answer else ():
                points, comment = given.get((result.student, result.exercise, rubric.id, criterion), ("", ""))
                text = " ".join(without_keys(str(answer)).split())[:_SHOWN]
                lines.append(
                    [
                        result.student,
                        result.exercise,
                        rubric.id,
                        criterion,
                        f"{most:g}",
                        points,
                        comment,
                        text,
                    ]
                )
    return text_of(lines)


def filled(path: Path) -> dict[tuple[str, str, str, str], tuple[str, str]]:
    """Read a sheet that a person has filled.

    Returns:
        Points and comment as text, by student, exercise, rubric and criterion.

    Raises:
        RosterError: It can't be read, or points are no number, or more than the criterion has.
    """
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, ValueError, csv.Error) as error:
        raise _bad(path, f"it can't be read ({error})") from error
    found: dict[tuple[str, str, str, str], tuple[str, str]] = {}
    for number, line in enumerate(lines, start=2):
        try:
            key = (
                line["student"].removeprefix("'"),
                line["exercise"],
                line["rubric"],
                line["criterion"].removeprefix("'"),
            )
            points, comment = (line["points"] or "").strip(), line.get("comment") or ""
            if points and not 0 <= float(points) <= float(line["most"]):
                raise _bad(path, f"line {number}: {points} is not between 0 and {line['most']}")
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise _bad(path, f"line {number} is not as it was written") from error
        found[key] = (points, comment)
    return found


def given(
    lines: Mapping[tuple[str, str, str, str], tuple[str, str]],
) -> dict[tuple[str, str], dict[str, Given]]:
    """Return what a person gave, by student and exercise, then by rubric; only where every criterion has points."""
    collected: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = {}
    for (student, exercise, rubric, _), value in lines.items():
        collected.setdefault((student, exercise), {}).setdefault(rubric, []).append(value)
    return {
        key: {
            rubric: Given(sum(float(points) for points, _ in values), "; ".join(c for _, c in values if c))
            for rubric, values in rubrics.items()
            if all(points for points, _ in values)
        }
        for key, rubrics in collected.items()
    }


def _bad(path: Path, why: str) -> RosterError:
    return RosterError(
        f"{path.name}: {why}.",
        advice="Fill the columns points and comment of the file that `labkit grade` wrote, and leave the others.",
        path=path,
    )
