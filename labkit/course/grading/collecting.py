"""Find the submissions in a folder, in whatever layout a learning platform left them.

A folder a student, flat files named after the student, Moodle's and Canvas's names, nbgrader's `submitted/`, packs and
bare notebooks, all at once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.course.catalogue import STUDENT_ID
from labkit.course.exercises import slugs
from labkit.course.grading import intake, packs
from labkit.errors import SubmissionsMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOODLE = re.compile(r"(?P<who>.+?)_(?P<number>\d{3,})_assignsubmission_(?:file|onlinetext)_?(?P<rest>.*)")
_CANVAS = re.compile(r"(?P<who>[a-z0-9]+?)_(?P<late>LATE_)?(?P<number>\d+)_\d+_(?P<rest>.+)")
_SKIPPED = {".ipynb_checkpoints", "__MACOSX", ".git", "__pycache__", ".lab", "source", ".venv"}
_MOST_FILES = 20_000
_MOST_ZIP = 128 << 20


@dataclass(frozen=True, slots=True)
class Submission:
    """One student's work on one exercise, before anything was done with it.

    Attributes:
        submitter: What the file or folder calls the student.
        student: The student's id, which decides the variant.
        exercise: The exercise, or nothing if it can't be told.
        path: Where it came from.
        handed_in: When, by the file's own time.
        notebook: Its cells, or None.
        problem: Why there is no notebook, in a sentence.
        packed: Whether it is a pack, with files beside the notebook.
        notes: What was odd.
        digest: SHA-256 of the file.
        receipt: The receipt's id of a pack.
        late: Whether the platform marked it as late.
        number: The platform's number for the student.
    """

    submitter: str
    student: str
    exercise: str
    path: Path
    handed_in: dt.datetime
    notebook: intake.Notebook | None = None
    problem: str = ""
    packed: bool = False
    notes: tuple[str, ...] = ()
    digest: str = ""
    receipt: str = ""
    late: bool = False
    number: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    who: str
    rest: str
    late: bool = False
    number: str = ""


def collect(
    folder: Path,
    *,
    only: Sequence[str] = (),
    roster: dict[str, str] | None = None,
    known: Sequence[str] | None = None,
) -> list[Submission]:
    """Find all submissions below a folder, one for each student and exercise.

    Args:
        folder: Where they are.
        only: The exercises to grade; all without.
        roster: Student ids by what the platform calls them. Without one, a name that can be an id is the id, and for
            other names the notebook or the pack says whose it is.
        known: The exercises there are; the course's own without.

    Returns:
        The submissions, by student. Of several by one student for one exercise the newest counts.

    Raises:
        SubmissionsMissingError: There is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise SubmissionsMissingError(
            f"{folder} is no folder.", advice="Name the folder that holds the submissions.", path=folder
        )
    exercises = tuple(known if known is not None else slugs())
    found = [
        submission
        for item in _files(folder, exercises)
        for submission in _read(item, exercises, only, roster)
        if not only or submission.exercise in only
    ]
    found += _empty_handed(folder, found, exercises, only, roster)
    if not found:
        raise SubmissionsMissingError(
            f"Nothing in {folder} is a submission.",
            advice="It holds packs of `labkit submit` (*.zip) or notebooks (*.ipynb): one folder a student, or "
            "files named student_exercise.ipynb.",
            path=folder,
        )
    return _claimed_twice(_newest(found))


def _files(folder: Path, exercises: Sequence[str]) -> Iterable[_Found]:
    count = 0
    for path in sorted(folder.rglob("*")):
        count += 1
        if count > _MOST_FILES:
            return
        parts = path.relative_to(folder).parts
        if _SKIPPED & set(parts) or path.is_symlink() or path.suffix.lower() not in {".ipynb", ".zip"}:
            continue
        if any(parent.is_symlink() for parent in list(path.parents)[: len(parts)]) or not path.is_file():
            continue
        yield _named(path, parts, exercises)


def _named(path: Path, parts: Sequence[str], exercises: Sequence[str]) -> _Found:
    """Tell from a path who handed in what."""
    top = parts[0] if len(parts) > 1 else path.stem
    if match := _MOODLE.fullmatch(top):
        return _Found(path, match["who"].strip(), match["rest"] or path.stem, number=match["number"])
    if len(parts) > 1:
        return _Found(path, _without_exercise(parts[0], exercises), path.stem)
    if match := _CANVAS.fullmatch(path.stem):
        return _Found(path, match["who"], match["rest"], late=bool(match["late"]), number=match["number"])
    return _Found(path, _without_exercise(path.stem, exercises), path.stem)


def _without_exercise(name: str, exercises: Sequence[str]) -> str:
    """Take the exercise's slug, and what joins it to the student, off a name."""
    for slug in exercises:
        forms = "|".join(re.escape(form) for form in {slug, slug.replace("-", "_"), slug.replace("-", "")})
        if match := re.fullmatch(
            rf"(?:{forms})[-_. ](.+)|(.+?)[-_. ](?:{forms})(?:[-_. (]*\d*\)?)", name, re.IGNORECASE
        ):
            return str(match[1] or match[2])
    return name


def _read(
    item: _Found, exercises: Sequence[str], only: Sequence[str], roster: dict[str, str] | None
) -> list[Submission]:
    """Return the submissions in a file: a pack or a notebook is one, another zip file may hold several."""
    stamp = dt.datetime.fromtimestamp(item.path.stat().st_mtime, tz=dt.UTC)
    base = Submission(
        item.who, "", _guess(item.rest, exercises), item.path, stamp, late=item.late, number=item.number
    )
    size = item.path.stat().st_size
    if size > _MOST_ZIP:
        return [_whose(replace(base, problem=f"the file has {size >> 20} MB, which is too much"), "", roster)]
    data = item.path.read_bytes()
    base = replace(base, digest=hashlib.sha256(data).hexdigest())
    if item.path.suffix.lower() == ".ipynb":
        return _wanted(_with_notebook(base, data, roster), exercises, only)
    try:
        files = packs.unzip(data)
    except packs.PackError as error:
        return [_whose(replace(base, problem=str(error)), "", roster)]
    if pack := packs.read(files):
        packed = replace(base, packed=bool(pack.evidence), notes=pack.notes, receipt=packs.receipt(data))
        found = _with_notebook(packed, pack.notebook, roster, says=pack.student)
        if pack.exercise and found.exercise and pack.exercise != found.exercise:
            found = replace(found, notes=(*found.notes, f"its manifest says {pack.exercise[:40]!r}"))
        return [found]
    notebooks = {name: content for name, content in files.items() if name.lower().endswith(".ipynb")}
    if not notebooks:
        return [_whose(replace(base, problem="the zip file holds no notebook"), "", roster)]
    return [
        one
        for name, content in notebooks.items()
        for one in _wanted(
            _with_notebook(
                replace(
                    base,
                    exercise=_guess(Path(name).stem, exercises),
                    digest=hashlib.sha256(content).hexdigest(),
                ),
                content,
                roster,
            ),
            exercises,
            only,
        )
    ]


def _wanted(found: Submission, exercises: Sequence[str], only: Sequence[str]) -> list[Submission]:
    """Leave out notebooks of the course that are no exercise: whoever hands in a whole clone hands in those too."""
    if found.exercise in exercises:
        return [found]
    if found.problem and (not only or len(only) == 1):
        return [replace(found, exercise=only[0] if only else found.exercise)]
    return []


def _with_notebook(
    base: Submission, data: bytes, roster: dict[str, str] | None, says: str = ""
) -> Submission:
    try:
        notebook = intake.read(data)
    except intake.IntakeError as error:
        return _whose(replace(base, problem=str(error)), says, roster)
    notes = base.notes
    if notebook.exercise and base.exercise and notebook.exercise != base.exercise:
        notes = (*notes, f"named like {base.exercise}, and is {notebook.exercise[:40]}")
    found = replace(base, notebook=notebook, exercise=notebook.exercise or base.exercise, notes=notes)
    return _whose(found, says or notebook.student, roster)


def _whose(found: Submission, says: str, roster: dict[str, str] | None) -> Submission:
    """Settle the student's id: the roster's, or the platform's name if it is one, or what the work itself says."""
    notes = found.notes
    if roster is not None:
        student = roster.get(found.submitter, roster.get(found.number, ""))
        if not student:
            notes = (*notes, "not on the roster")
            student = plain_id(found.submitter)
    elif STUDENT_ID.fullmatch(found.submitter) and not found.number:
        student = found.submitter
    else:
        student = says if STUDENT_ID.fullmatch(says) else plain_id(found.submitter)
    if says and says != student:
        notes = (*notes, f"says that it is by {says[:40]!r}; graded with the variant of {student!r}")
    return replace(found, student=student, notes=notes)


def plain_id(name: str) -> str:
    """Return an id for a name that is none."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._@+-]+", ".", plain).strip("._@+-")[:48]
    return plain or f"student-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _guess(name: str, exercises: Sequence[str]) -> str:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for slug in exercises:
        if slug.replace("-", "") in plain:
            return slug
    return ""


def _empty_handed(
    folder: Path,
    found: Sequence[Submission],
    exercises: Sequence[str],
    only: Sequence[str],
    roster: dict[str, str] | None,
) -> list[Submission]:
    """Return who has a folder, or a line in the roster, and handed in nothing."""
    present = {submission.submitter for submission in found}
    students = {submission.student for submission in found}
    missing: list[Submission] = []
    wanted = list(only) or sorted({submission.exercise for submission in found if submission.exercise})[:1]
    exercise = wanted[0] if len(wanted) == 1 else ""
    for place in sorted(folder.iterdir()):
        if not place.is_dir() or place.is_symlink() or place.name in _SKIPPED or place.name.startswith("."):
            continue
        who = _named(place / "x.ipynb", (place.name, "x.ipynb"), exercises)
        if who.who in present:
            continue
        stamp = dt.datetime.fromtimestamp(place.stat().st_mtime, tz=dt.UTC)
        one = Submission(
            who.who, "", exercise, place, stamp, problem="the folder holds no notebook", number=who.number
        )
        missing.append(_whose(one, "", roster))
    there = students | {submission.student for submission in missing}
    for student in sorted(set((roster or {}).values()) - there):
        moment = dt.datetime.fromtimestamp(0, tz=dt.UTC)
        missing.append(
            Submission(student, student, exercise, folder, moment, problem="nothing was handed in")
        )
    return missing


def _newest(found: Sequence[Submission]) -> list[Submission]:
    """Keep one a student and exercise: the newest that can be read, or the newest."""
    best: dict[tuple[str, str, str], Submission] = {}
    for submission in sorted(found, key=lambda one: (one.notebook is not None, one.handed_in, str(one.path))):
        key = (submission.submitter, submission.student, submission.exercise)
        older = best.get(key)
        if older is not None:
            note = f"{older.path.name} left aside: of several, the newest that can be read counts"
            submission = replace(submission, notes=(*submission.notes, note))  # noqa: PLW2901
        best[key] = submission
    return sorted(best.values(), key=lambda one: (one.student, one.exercise, one.submitter))


def _claimed_twice(found: list[Submission]) -> list[Submission]:
    """Say where two people hand in as one student; each is graded, and kept apart."""
    counted = Counter((one.student, one.exercise) for one in found)
    out: list[Submission] = []
    for one in found:
        key = (one.student, one.exercise)
        if counted[key] > 1:
            others = [
                other.submitter
                for other in found
                if other is not one and (other.student, other.exercise) == key
            ]
            note = f"also handed in as {one.student!r} by {', '.join(others)[:100]}"
            out.append(replace(one, notes=(*one.notes, note)))
        else:
            out.append(one)
    return out


def places(found: Sequence[Submission]) -> list[str]:
    """Return a folder name for each submission: the student's id, and more where two would share it."""
    # Some file systems take Ada and ada for one.
    counted = Counter((one.student.lower(), one.exercise) for one in found)
    return [
        one.student
        if counted[one.student.lower(), one.exercise] == 1
        else f"{one.student}~{hashlib.sha256(one.submitter.encode()).hexdigest()[:6]}"
        for one in found
    ]
