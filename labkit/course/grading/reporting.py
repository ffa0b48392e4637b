"""Grade a folder and write everything that is read afterwards: tables, feedback, what a class stumbles over."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import labkit
from labkit.course.grading import classview, feedback, marks, rubrics, sheet, similarity
from labkit.course.grading import roster as rosters
from labkit.course.grading.batch import DONE, KEPT, Batch
from labkit.course.grading.collecting import collect, places
from labkit.course.grading.judging import load_exercise
from labkit.course.grading.results import FAULT
from labkit.course.scrub import Places
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from labkit.course.exercise import Exercise
    from labkit.course.grading.batch import Rules
    from labkit.course.grading.marks import Given, Mark
    from labkit.course.grading.results import Result


@dataclass(frozen=True, slots=True)
class Graded:
    """A graded folder.

    Attributes:
        rows: Results and their marks.
        written: The files that were written: the table first, then the sheet of written answers.
    """

    rows: tuple[tuple[Result, Mark], ...]
    written: tuple[Path, ...]

    @property
    def faults(self) -> list[Result]:
        """Return the results that are the grader's failure."""
        return [result for result, _ in self.rows if result.status == FAULT]

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "submissions": [
                {**asdict(result), "mark": {**asdict(mark), "percent": round(mark.percent, 1)}}
                for result, mark in self.rows
            ],
            "written": [str(path) for path in self.written],
        }


def grade_folder(
    submissions: Path,
    *,
    table: Path,
    rules: Rules,
    pages: Path | None = None,
    keep: Path | None = None,
    roster: Path | None = None,
    filled: Path | None = None,
    only: Sequence[str] = (),
    penalty: float = 0.0,
    lms: str | None = None,
    on_event: Callable[[str, str, str, int, int], None] = lambda *_: None,
) -> Graded:
    """Grade a folder of submissions.

    Args:
        submissions: The folder.
        table: Where the table goes; the other tables stand beside it.
        rules: How to grade.
        pages: Where the pages go, if they are wanted.
        keep: Where executed work is kept; `SUBMISSIONS.graded` without.
        roster: Who is in the class.
        filled: A filled sheet of written answers.
        only: The exercises to grade.
        penalty: The part of the points that each begun day of lateness takes.
        lms: `moodle` or `canvas`, for a table that it takes.
        on_event: Told of student, exercise, what goes on, how many are done, and of how many.

    Raises:
        SubmissionsMissingError: There is nothing to grade.
        RosterError: A table that was given can't be used.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    people = _roster(roster)
    lines = _filled(filled)
    known = tuple(rules.files) or None
    found = collect(submissions, only=only, roster=_names(people), known=known)
    folder = keep or submissions.with_name(f"{submissions.resolve().name}.graded")
    counter = _Counter(len(found), on_event)
    batch = Batch(found, places(found), folder, rules, counter)
    results = batch.run()
    exercises = {
        slug: load_exercise(slug, rules.files.get(slug, ""))
        for slug in sorted({result.exercise for result in results if result.exercise})
    }
    return _write(
        results, batch, exercises, people, lines, table=table, pages=pages, penalty=penalty, lms=lms
    )


def _roster(path: Path | None) -> dict[str, rosters.Person]:
    return {person.student: person for person in rosters.read(path)} if path else {}


def _names(people: Mapping[str, rosters.Person]) -> dict[str, str] | None:
    return rosters.by_name(list(people.values())) if people else None


def _filled(path: Path | None) -> dict[tuple[str, str, str, str], tuple[str, str]]:
    return rubrics.filled(path) if path else {}


class _Counter:
    """Counts what is done, from several threads."""

    def __init__(self, of: int, on_event: Callable[[str, str, str, int, int], None]) -> None:
        self._of, self._on_event = of, on_event
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, place: str, exercise: str, what: str) -> None:
        with self._lock:
            self._done += what in {DONE, KEPT}
            self._on_event(place, exercise, what, self._done, self._of)


def _write(
    results: Sequence[Result],
    batch: Batch,
    exercises: Mapping[str, Exercise],
    people: Mapping[str, rosters.Person],
    lines: Mapping[tuple[str, str, str, str], tuple[str, str]],
    *,
    table: Path,
    pages: Path | None,
    penalty: float,
    lms: str | None,
) -> Graded:
    given = rubrics.given(lines)
    rows = tuple(
        (
            result,
            marks.mark(
                result,
                exercises.get(result.exercise),
                given.get((result.student, result.exercise), {}),
                penalty=penalty,
            ),
        )
        for result in results
    )
    make_folder(table.absolute().parent)
    written = [write_atomic(table, sheet.grades(rows, exercises, given), secret=True)]
    written.append(
        write_atomic(table.with_name("rubrics.csv"), rubrics.sheet(results, exercises, lines), secret=True)
    )
    if lms:
        for slug in exercises if lms == sheet.MOODLE else [""]:
            mine = [row for row in rows if not slug or row[0].exercise == slug]
            name = f"{table.stem}-{lms}{'-' if slug else ''}{slug}.csv"
            written.append(
                write_atomic(table.with_name(name), sheet.platform(lms, mine, people), secret=True)
            )
    pairs = similarity.pairs(
        results, [batch.folder(number) for number in range(len(results))], exercises, batch.patterns
    )
    written.append(write_atomic(batch.keep / "similarity.html", similarity.page(pairs), secret=True))
    written.append(write_atomic(batch.keep / "class.html", classview.page(rows, exercises), secret=True))
    if pages:
        written.append(_pages(rows, batch, exercises, given, pages))
    return Graded(rows, tuple(written))


def _pages(
    rows: Sequence[tuple[Result, Mark]],
    batch: Batch,
    exercises: Mapping[str, Exercise],
    given: Mapping[tuple[str, str], Mapping[str, Given]],
    pages: Path,
) -> Path:
    """Write a folder a student, so that each can be given away by itself."""
    course = Path(labkit.__file__).parents[1]
    for number, (result, mark) in enumerate(rows):
        folder = make_folder(pages / batch.places[number])
        text = feedback.feedback(
            result, exercises.get(result.exercise), mark, given.get((result.student, result.exercise), {}),
            places=Places(workspace=batch.folder(number) / "run" / "workspace", course=course),
        )  # fmt: skip
        write_atomic(folder / f"{result.exercise or 'unknown'}.html", text)
    return pages
