"""Grades as tables: one with everything, and one that a learning platform takes."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from labkit.course.grading.marks import NEEDS_A_PERSON
from labkit.course.grading.results import FAULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.course.exercise import Exercise
    from labkit.course.grading.marks import Given, Mark
    from labkit.course.grading.results import Result
    from labkit.course.grading.roster import Person

MOODLE, CANVAS = "moodle", "canvas"

_FRONT = (
    "student", "submitter", "exercise", "status", "reason", "notes", "late_days", "penalty", "machine", "machine_most",
    "person", "person_most", "waiting_for_a_person", "total", "most", "percent", "receipt",
)  # fmt: skip

Row = tuple["Result", "Mark"]


def grades(
    rows: Sequence[Row],
    exercises: Mapping[str, Exercise],
    given: Mapping[tuple[str, str], Mapping[str, Given]],
) -> str:
    """Return the table of everything: a row a submission, with points and status of each check and each rubric.

    Args:
        rows: Results and their marks.
        exercises: The exercises, by slug.
        given: What a person gave, by student and exercise.
    """
    checks = list(dict.fromkeys(verdict.check for result, _ in rows for verdict in result.verdicts))
    rubrics = [rubric.id for exercise in exercises.values() for rubric in exercise.rubrics]
    header = [*_FRONT, *checks, *(f"{name} status" for name in checks), *rubrics]
    lines = []
    for result, mark in rows:
        found = {verdict.check: verdict for verdict in result.verdicts}
        own = exercises.get(result.exercise)
        mine = {rubric.id for rubric in own.rubrics} if own else set()
        persons = given.get((result.student, result.exercise), {})
        lines.append(
            [
                *_front(result, mark),
                *(_number(found[name].points) if name in found else "" for name in checks),
                *(found[name].status if name in found else "" for name in checks),
                *(_rubric(name, result, persons) if name in mine else "" for name in rubrics),
            ]
        )
    return text_of([header, *lines])


def _front(result: Result, mark: Mark) -> list[str]:
    # A grader that failed has found nothing out: an empty field is no zero.
    known = result.status != FAULT
    numbers = [mark.penalty, *mark.machine, *mark.person]
    return [
        result.student, result.submitter, result.exercise, result.status, result.reason, "; ".join(result.notes),
        str(result.late_days), *(_number(value) if known else "" for value in numbers),
        ", ".join(mark.waiting), _number(mark.total) if known else "", _number(mark.most),
        f"{mark.percent:.1f}" if known else "", result.receipt,
    ]  # fmt: skip


def _rubric(name: str, result: Result, persons: Mapping[str, Given]) -> str:
    if name in persons:
        return _number(persons[name].points)
    return NEEDS_A_PERSON if name in result.written else "0"


def platform(kind: str, rows: Sequence[Row], people: Mapping[str, Person]) -> str:
    """Return the table that a learning platform takes.

    Args:
        kind: `moodle` (the offline grading worksheet of one assignment) or `canvas` (an import of the gradebook).
        rows: Results and their marks.
        people: What the roster says of each student; may be empty.
    """
    usable = [(result, mark) for result, mark in rows if result.status != FAULT]
    return _moodle(usable, people) if kind == MOODLE else _canvas(usable, people)


def _moodle(rows: Sequence[Row], people: Mapping[str, Person]) -> str:
    header = [
        "Identifier",
        "Full name",
        "Email address",
        "Status",
        "Grade",
        "Maximum grade",
        "Feedback comments",
    ]
    lines = []
    for result, mark in rows:
        person = people.get(result.student)
        lines.append(
            [
                f"Participant {person.number}" if person and person.number else "",
                person.name if person and person.name else result.submitter,
                person.email if person else "",
                f"{result.exercise}: {result.status}" + (" - late" if result.late_days else ""),
                f"{mark.total:.2f}",
                f"{mark.most:.2f}",
                _comment(result, mark),
            ]
        )
    return text_of([header, *lines])


def _canvas(rows: Sequence[Row], people: Mapping[str, Person]) -> str:
    exercises = sorted({result.exercise for result, _ in rows})
    most = {result.exercise: mark.most for result, mark in rows}
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *exercises]
    lines = [["Points Possible", "", "", "", "", *(_number(most[name]) for name in exercises)]]
    for student in sorted({result.student for result, _ in rows}):
        person = people.get(student)
        marks = {result.exercise: mark for result, mark in rows if result.student == student}
        lines.append(
            [
                person.name if person and person.name else student,
                person.number if person else "",
                person.sis if person else "",
                person.login if person and person.login else student,
                person.section if person else "",
                *(_number(marks[name].total) if name in marks else "" for name in exercises),
            ]
        )
    return text_of([header, *lines])


def _comment(result: Result, mark: Mark) -> str:
    stuck = [f"{verdict.check}: {verdict.status}" for verdict in result.stuck]
    parts = [result.reason, "; ".join(stuck)]
    if mark.waiting:
        parts.append(f"still to be read: {', '.join(mark.waiting)}")
    return ". ".join(part for part in parts if part) or "All checks passed."


def _number(value: float) -> str:
    return f"{round(value, 2):g}"


def text_of(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as CSV that is safe to open in a spreadsheet."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[_cell(value) for value in line] for line in lines])
    return out.getvalue()


def _cell(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula, whatever a student called themselves."""
    plain = "".join(char if char.isprintable() else " " for char in value)
    return f"'{plain}" if plain[:1] in {"=", "+", "-", "@"} and not _is_number(plain) else plain


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
