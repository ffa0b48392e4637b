"""labkit.course.grading: marks, tables, rosters, sheets for a person, pages."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.course.grading import classview, feedback, marks, roster, rubrics, sheet
from labkit.course.grading.judging import load_exercise
from labkit.course.grading.marks import Given
from labkit.course.grading.results import Result, Run, Verdict, load, save
from labkit.course.scrub import Places
from labkit.errors import RosterError
from tests.course.grading.submissions import KEY, SAMPLE, SECRET

EXERCISE = load_exercise("sample", str(SAMPLE))
PLACES = Places(workspace=Path("/srv/kept/ada/run/workspace"), course=Path("/srv/course"))


def verdict(**more: Any) -> Verdict:
    """Return a verdict that is partly right."""
    base = Verdict(
        "sample.2", "double() doubles.", 1, 3, "partly", "1 of 3 right", "twice the number", "Try 7.", "Because.",
        "A hint.", "not-twice",
    )  # fmt: skip
    return replace(base, **more)


def result(**more: Any) -> Result:
    """Return a result of Ada's."""
    first = Verdict("sample.1", "The plan holds your number.", 2, 2, "passed")
    base = Result(
        "ada", "Ada L", "sample", "graded", verdicts=(first, verdict()), run=Run(ended=True), written={"sample.D1": "Why."}
    )  # fmt: skip
    return replace(base, **more)


def rows_of(
    found: Result, given: dict[str, Given] | None = None, penalty: float = 0.0
) -> list[dict[str, str]]:
    """Return the table of one result, read back."""
    persons = {(found.student, found.exercise): given or {}}
    mark = marks.mark(found, EXERCISE, given or {}, penalty=penalty)
    text = sheet.grades([(found, mark)], {"sample": EXERCISE}, persons)
    return list(csv.DictReader(io.StringIO(text)))


def test_points_of_machine_and_person_come_together() -> None:
    """A rubric waits for a person until there are points; then they count, and no more than it is worth."""
    (row,) = rows_of(result())
    assert ("3", "sample.D1", "3", "9", "needs a person") == (
        row["machine"], row["waiting_for_a_person"], row["total"], row["most"], row["sample.D1"]
    )  # fmt: skip
    (row,) = rows_of(result(), {"sample.D1": Given(99)})
    assert ("", "7", "99") == (row["waiting_for_a_person"], row["total"], row["sample.D1"])
    (row,) = rows_of(result(written={}))
    assert ("", "0") == (row["waiting_for_a_person"], row["sample.D1"])


def test_lateness_takes_its_part_and_no_more() -> None:
    """Each begun day takes its part of what was earned; nobody falls below nothing."""
    assert ("0.6", "2.4") == tuple(
        rows_of(result(late_days=2), penalty=0.1)[0][name] for name in ("penalty", "total")
    )
    assert "0" == rows_of(result(late_days=30), penalty=0.1)[0]["total"]


def test_a_failure_of_the_grader_is_no_zero() -> None:
    """Where the grader failed, fields of points are empty, and no platform is told a grade."""
    found = result(status="grader-failed", reason="the kernel did not start", verdicts=())
    (row,) = rows_of(found)
    assert ("", "", "the kernel did not start") == (row["total"], row["percent"], row["reason"])
    mark = marks.mark(found, EXERCISE, {})
    assert 1 == len(sheet.platform("moodle", [(found, mark)], {}).splitlines())


@pytest.mark.parametrize("name", ["=1+1", "+49 30", "-x", "@SUM(A1)", "=HYPERLINK(1)\n=2"])
def test_no_cell_is_a_formula(name: str) -> None:
    """What a student calls themselves is text in every spreadsheet, and stays in its line."""
    (row,) = rows_of(result(submitter=name))
    assert row["submitter"].startswith("'")
    assert 2 == len(sheet.text_of([["a"], [name]]).splitlines())


def test_platforms_get_their_columns() -> None:
    """Moodle's worksheet and Canvas's gradebook have the columns that their imports look for."""
    people = {"ada": roster.Person("ada", "Ada Lovelace", "ada@example.org", "4711", "S1", "ada", "A")}
    row = (result(), marks.mark(result(), EXERCISE, {}))
    (line,) = csv.DictReader(io.StringIO(sheet.platform("moodle", [row], people)))
    assert ("Participant 4711", "Ada Lovelace", "3.00", "9.00") == (
        line["Identifier"], line["Full name"], line["Grade"], line["Maximum grade"]
    )  # fmt: skip
    assert "sample.2: partly" in line["Feedback comments"]
    most, line = csv.DictReader(io.StringIO(sheet.platform("canvas", [row], people)))
    assert ("Points Possible", "9") == (most["Student"], most["sample"])
    assert ("Ada Lovelace", "4711", "S1", "ada", "3") == (
        line["Student"], line["ID"], line["SIS User ID"], line["SIS Login ID"], line["sample"]
    )  # fmt: skip


def test_a_sheet_is_filled_and_read_back(tmp_path: Path) -> None:
    """A line a criterion; points of all criteria are needed; what was filled stays when the sheet is written again."""
    text = rubrics.sheet([result(written={"sample.D1": f"=Why {KEY}"})], {"sample": EXERCISE}, {})
    assert SECRET not in text
    lines = list(csv.DictReader(io.StringIO(text)))
    assert ["says why", "says how"] == [line["criterion"] for line in lines]
    path = tmp_path / "rubrics.csv"

    def fill(*points: str) -> dict[tuple[str, str, str, str], tuple[str, str]]:
        out = io.StringIO()
        writer = csv.DictWriter(out, rubrics.COLUMNS)
        writer.writeheader()
        for line, value in zip(lines, points, strict=True):
            writer.writerow({**line, "points": value, "comment": "clear"})
        path.write_text(out.getvalue(), encoding="utf-8")
        return rubrics.filled(path)

    assert {} == rubrics.given(fill("2", ""))[("ada", "sample")]
    found = fill("2", "1.5")
    assert {"sample.D1": Given(3.5, "clear; clear")} == rubrics.given(found)[("ada", "sample")]
    again = csv.DictReader(io.StringIO(rubrics.sheet([result()], {"sample": EXERCISE}, found)))
    assert ["2", "1.5"] == [line["points"] for line in again]
    for wrong in ("3", "-1", "two"):
        with pytest.raises(RosterError):
            fill(wrong, "1")


def test_a_roster_is_read_as_platforms_export_it(tmp_path: Path) -> None:
    """Columns by the names that Moodle and Canvas give them; no id, and one twice, are errors."""
    path = tmp_path / "roster.csv"
    path.write_text(
        "﻿Identifier,Full name,Username,Email address\nParticipant 4711,Ada Lovelace,ada,a@example.org\n"
    )
    (ada,) = roster.read(path)
    assert ("ada", "Ada Lovelace", "4711") == (ada.student, ada.name, ada.number)
    assert {"ada", "Ada Lovelace", "4711", "lovelaceada"} <= set(roster.by_name([ada]))
    path.write_text("name\nAda\n")
    with pytest.raises(RosterError, match="no column"):
        roster.read(path)
    path.write_text("student\nada\nada\n")
    with pytest.raises(RosterError, match="twice"):
        roster.read(path)
    with pytest.raises(RosterError, match="can't be read"):
        roster.read(tmp_path / "none.csv")


def page_of(found: Result, given: dict[str, Given] | None = None) -> str:
    """Return a student's page."""
    return feedback.feedback(
        found, EXERCISE, marks.mark(found, EXERCISE, given or {}), given or {}, places=PLACES
    )


def test_feedback_says_what_to_do_and_not_the_answer() -> None:
    """Observed, expected, why, what to try, a hint, the criteria; no sample answer, no code of a check."""
    text = page_of(result())
    for words in (
        "1 of 3 right",
        "twice the number",
        "Because.",
        "Try 7.",
        "A hint.",
        "says why",
        "a person has",
    ):
        assert words in text
    assert "GOOD SAMPLE" not in text
    assert "WEAK SAMPLE" not in text
    assert "clear" in page_of(result(), {"sample.D1": Given(4, "clear")})


def test_feedback_is_safe_to_open() -> None:
    """Whatever a student wrote is text: no tag, no script, no key, no path of this machine; and nothing is loaded."""
    evil = f"<script>alert(1)</script> {KEY} /srv/kept/ada/run/workspace/x \x00\x1b[31m"
    found = result(
        reason=evil, status="stopped", notes=(evil,), submitter=evil, written={"sample.D1": f"<script>{KEY}"},
        verdicts=(verdict(observed=evil, advice=evil),), run=Run(ended=False, errors=(evil,)),
    )  # fmt: skip
    text = page_of(found)
    assert "<script" not in text
    assert SECRET not in text
    assert "/srv/kept" not in text
    assert "\x00" not in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text


def test_an_extra_check_is_named_without_its_code() -> None:
    """A check of the instructor's own is told with its sentence, and as theirs."""
    text = page_of(result(verdicts=(verdict(check="x1", objective="Something hidden.", extra=True),)))
    assert "Something hidden." in text
    assert "a check of your instructor" in text


def test_the_class_view_counts_mistakes_and_names_nobody() -> None:
    """Checks by how many passed, mistakes by how often and with what most were advised; no student stands there."""
    own = result(student="bob", submitter="Bob B", verdicts=(verdict(advice="Try 8."),))
    rows = [
        (found, marks.mark(found, EXERCISE, {}))
        for found in (result(), own, result(student="eve", submitter="Eve E"))
    ]
    text = classview.page(rows, {"sample": EXERCISE})
    assert "<code>not-twice</code> (3): Try 7." in text
    assert "Try 8." not in text
    assert text.index("sample.2") < text.index("sample.1")
    assert "bob" not in text
    assert "Ada" not in text


def test_results_are_kept_as_they_were(tmp_path: Path) -> None:
    """What was saved comes back; what is damaged, or of another format, is nothing."""
    path = tmp_path / "result.json"
    save(result(notes=("late",)), path)
    assert result(notes=("late",)) == load(path)
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    assert load(path) is None
    path.write_text("{")
    assert load(path) is None
    assert load(tmp_path / "none.json") is None
