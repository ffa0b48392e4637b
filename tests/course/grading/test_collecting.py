"""labkit.course.grading.collecting: whose work is which, in every layout that platforms leave."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from labkit.course.grading import packs
from labkit.course.grading.batch import late_days
from labkit.course.grading.collecting import collect, places, plain_id
from labkit.errors import SubmissionsMissingError
from tests.course.grading.submissions import PLAN, notebook

KNOWN = ("sample", "first-boot")


def lay(folder: Path, name: str, student: str = "ada", content: bytes | None = None) -> Path:
    """Put a notebook, or other content, somewhere."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook(student, PLAN).encode() if content is None else content)
    return path


def pack_of(student: str, exercise: str = "sample") -> bytes:
    """Return a pack."""
    return packs.write(
        exercise=exercise, student=student, packed="2026-01-01T00:00:00+00:00", version="1",
        notebook=notebook(student, PLAN).encode(), evidence={"answers/sample/plan.json": b"{}"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "submitter", "student"),
    [
        ("ada/sample.ipynb", "ada", "ada"),
        ("ada/sample/sample.ipynb", "ada", "ada"),
        ("ada/my homework (final) 2.ipynb", "ada", "ada"),
        ("ada_sample.ipynb", "ada", "ada"),
        ("sample-ada.ipynb", "ada", "ada"),
        ("ada.lovelace_sample (1).ipynb", "ada.lovelace", "ada.lovelace"),
        ("Ada Lovelace_4711_assignsubmission_file_/sample.ipynb", "Ada Lovelace", "Ada.Lovelace"),
        ("Ada Lovelace_4711_assignsubmission_file_sample.ipynb", "Ada Lovelace", "Ada.Lovelace"),
        ("lovelaceada_4711_99_sample-1.ipynb", "lovelaceada", "lovelaceada"),
        ("sample-ada/notebooks/exercises/sample.ipynb", "ada", "ada"),
    ],
)
def test_usual_layouts_are_read(tmp_path: Path, name: str, submitter: str, student: str) -> None:
    """A folder a student, flat names, nbgrader's, Moodle's, Canvas's and whole clones: each gives one submission."""
    lay(tmp_path, name)
    (found,) = collect(tmp_path, known=KNOWN)
    assert (submitter, student, "sample") == (found.submitter, found.student, found.exercise)


def test_packs_say_whose_they_are_where_the_platform_does_not(tmp_path: Path) -> None:
    """Under a full name the pack's id counts; under a name that is an id, that one does, and the other is told."""
    lay(tmp_path, "Ada Lovelace_4711_assignsubmission_file_/x.zip", content=pack_of("al123"))
    lay(tmp_path, "bob/x.zip", content=pack_of("al123"))
    found = {one.submitter: one for one in collect(tmp_path, known=KNOWN)}
    assert ("al123", ()) == (found["Ada Lovelace"].student, found["Ada Lovelace"].notes)
    assert "bob" == found["bob"].student
    assert ("says that it is by 'al123'; graded with the variant of 'bob'",) == found["bob"].notes


def test_a_roster_decides(tmp_path: Path) -> None:
    """With a roster the platform's name or number gives the id, whatever the work says; strangers and absentees show."""
    lay(tmp_path, "Ada Lovelace_4711_assignsubmission_file_/x.zip", content=pack_of("someone"))
    lay(tmp_path, "stranger/sample.ipynb")
    found = {one.student: one for one in collect(tmp_path, known=KNOWN, roster={"4711": "ada", "Bob": "bob"})}
    assert {"ada", "stranger", "bob"} == set(found)
    assert "nothing was handed in" == found["bob"].problem
    assert "not on the roster" in found["stranger"].notes


def test_two_who_claim_one_id_are_kept_apart(tmp_path: Path) -> None:
    """Two submitters under one id are both graded, in folders of their own, and their rows say so."""
    lay(tmp_path, "Ada L_4711_assignsubmission_file_/x.zip", content=pack_of("al123"))
    lay(tmp_path, "Bob M_4712_assignsubmission_file_/x.zip", content=pack_of("al123"))
    found = collect(tmp_path, known=KNOWN)
    assert 2 == len(set(places(found)))
    assert all("also handed in as 'al123'" in one.notes[-1] for one in found)


def test_of_several_the_newest_that_can_be_read_counts(tmp_path: Path) -> None:
    """A damaged later file does not take the place of a good one; the others are named."""
    old = lay(tmp_path, "ada/sample.ipynb")
    new = lay(tmp_path, "ada/sample-2.ipynb")
    bad = lay(tmp_path, "ada/sample-3.ipynb", content=b"{")
    for age, path in ((300, old), (200, new), (100, bad)):
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    (found,) = collect(tmp_path, known=KNOWN)
    assert new == found.path
    assert "sample.ipynb left aside: of several, the newest that can be read counts" in found.notes


def test_what_is_renamed_is_known_by_what_it_opens(tmp_path: Path) -> None:
    """A notebook is of the exercise that it opens, and its row says that its name says otherwise."""
    lay(tmp_path, "ada/first-boot.ipynb")
    (found,) = collect(tmp_path, known=KNOWN)
    assert ("sample", ("named like first-boot, and is sample",)) == (found.exercise, found.notes)


def test_other_files_of_a_clone_are_left_alone(tmp_path: Path) -> None:
    """Checkpoints, sources, lessons and links are no submissions."""
    lay(tmp_path, "ada/.ipynb_checkpoints/sample-checkpoint.ipynb")
    lay(tmp_path, "ada/notebooks/source/sample.ipynb")
    lay(
        tmp_path,
        "ada/notebooks/02_tls.ipynb",
        content=notebook("ada", PLAN).replace("sample", "tls").encode(),
    )
    secret = tmp_path.parent / f"{tmp_path.name}-secret.ipynb"
    secret.write_text(notebook("eve", PLAN))
    (tmp_path / "eve").mkdir()
    (tmp_path / "eve/sample.ipynb").symlink_to(secret)
    found = collect(tmp_path, known=KNOWN)
    assert [("ada", "the folder holds no notebook"), ("eve", "the folder holds no notebook")] == [
        (one.student, one.problem) for one in found
    ]


def test_nothing_to_grade_is_said(tmp_path: Path) -> None:
    """No folder, and a folder without a submission, are errors with an advice."""
    with pytest.raises(SubmissionsMissingError, match="is no folder"):
        collect(tmp_path / "nowhere", known=KNOWN)
    with pytest.raises(SubmissionsMissingError, match="is a submission"):
        collect(tmp_path, known=KNOWN)


def test_lateness_is_counted_in_begun_days(tmp_path: Path) -> None:
    """A second late is a day; in time is none; a platform's mark alone is one day."""
    path = lay(tmp_path, "lovelaceada_LATE_4711_99_sample.ipynb")
    os.utime(path, (1_700_000_001, 1_700_000_001))
    (found,) = collect(tmp_path, known=KNOWN)
    moment = dt.datetime.fromtimestamp(1_700_000_000, tz=dt.UTC)
    assert 1 == late_days(found, moment)
    assert 1 == late_days(found, None)
    lay(tmp_path / "b", "ada/sample.ipynb")
    os.utime(tmp_path / "b/ada/sample.ipynb", (1_700_000_001, 1_700_000_001))
    (other,) = collect(tmp_path / "b", known=KNOWN)
    assert [1, 0, 2] == [
        late_days(other, moment),
        late_days(other, moment + dt.timedelta(seconds=1)),
        late_days(other, moment - dt.timedelta(days=1)),
    ]


@pytest.mark.parametrize("name", ["Łukasz Żak", "漢字", "..", "a/../b", "=cmd()", " "])
def test_every_name_gives_an_id(name: str) -> None:
    """A name in any script gives an id that is safe in a path."""
    found = plain_id(name)
    assert found
    assert Path(found).name == found
    assert not found.startswith((".", "="))
