"""Grade a folder of submissions: each is executed, judged and kept by itself, and none can stop the others."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import labkit
from labkit.clock import Deadline
from labkit.course.clearing import remove
from labkit.course.grading import execution, intake, judging, packs, results
from labkit.course.grading.confined import Limits, end_all
from labkit.course.grading.execution import Patience
from labkit.course.grading.results import FAULT, GRADED, STOPPED, UNREADABLE, Result, Run, Verdict
from labkit.course.lesson import NOT_ATTEMPTED, PASSED
from labkit.errors import LabError, SubmissionsMissingError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.course.exercise import Exercise
    from labkit.course.grading.collecting import Submission
    from labkit.course.grading.sandbox import Sandbox
    from labkit.course.lesson import Check

DONE, KEPT, JUDGING, RUNNING = "done", "kept", "judging", "running"
"""What `on_event` is told."""

_SEALED = "sealed"
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How a batch is graded.

    Attributes:
        sandbox: What confines notebooks and judges.
        patience: How long things may take.
        limits: What else they may take.
        jobs: How many submissions at a time.
        deadline: When it had to be handed in.
        extra: The folder of the instructor's own checks.
        patterns: The folder of the student copies, to know what was given.
        files: Files that define exercises which are not of the course, by slug.
        fresh: Execute again what was executed before.
        rejudge: Judge again what was judged before.
    """

    sandbox: Sandbox
    patience: Patience = field(default_factory=Patience)
    limits: Limits = field(default_factory=Limits)
    jobs: int = 2
    deadline: dt.datetime | None = None
    extra: Path | None = None
    patterns: Path | None = None
    files: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    rejudge: bool = False


class Batch:
    """All submissions of a folder.

    Args:
        submissions: What was collected.
        places: A folder name for each.
        keep: Where what is needed to judge again is kept. It holds students' work: keep it private.
        rules: How to grade.
        on_event: Told of a submission's place, its exercise, and what goes on.
    """

    def __init__(
        self,
        submissions: Sequence[Submission],
        places: Sequence[str],
        keep: Path,
        rules: Rules,
        on_event: Callable[[str, str, str], None] = lambda *_: None,
    ) -> None:
        self.submissions, self.places, self.keep, self.rules = submissions, places, keep, rules
        self.on_event = on_event
        self.stopping = threading.Event()
        self._digest = judge_digest(rules)
        self._own = None if rules.sandbox.confines else OwnFiles()
        self._exercises: dict[str, Exercise] = {}
        self.patterns: dict[str, intake.Notebook | None] = {}

    def run(self) -> list[Result]:
        """Grade all of them, or those that are left after an interruption.

        Returns:
            A result for each submission, in order.

        Raises:
            KeyboardInterrupt: Ctrl-C. What runs is ended and removed; what was done is kept for the next time.
        """
        make_folder(self.keep, private=True)
        for slug in {one.exercise for one in self.submissions if one.exercise}:
            self._exercises[slug] = judging.load_exercise(slug, self.rules.files.get(slug, ""))
            judging.load_extra(slug, self.rules.extra)  # a mistake in it is found before an hour has passed
            self.patterns[slug] = self._pattern(slug)
        found: dict[int, Result] = {}
        # Without a sandbox one at a time: who did what must be clear, and neighbours must not be in reach.
        jobs = self.rules.jobs if self.rules.sandbox.confines else 1
        with ThreadPoolExecutor(jobs, thread_name_prefix="grade") as pool:
            futures = {pool.submit(self._one, number): number for number in range(len(self.submissions))}
            try:
                for future in as_completed(futures):
                    found[futures[future]] = future.result()
            except BaseException:
                self.stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                deadline = Deadline(_PATIENCE)
                while not all(future.done() for future in futures) and not deadline.passed:
                    end_all()  # again and again: one may just be starting
                    deadline.pause(0.1)
                raise
        return [found[number] for number in sorted(found)]

    def folder(self, number: int) -> Path:
        """Return where a submission's work is kept."""
        return self.keep / (self.submissions[number].exercise or "unknown") / self.places[number]

    def _one(self, number: int) -> Result:
        if self.stopping.is_set():
            raise KeyboardInterrupt
        submission = self.submissions[number]
        try:
            return self._graded(submission, self.places[number], self.folder(number))
        except OSError as error:
            # The grader's own disk is full, or the folder is gone: this row says so, the others go on.
            return self._row(submission, FAULT, f"the grader could not work on it: {error.strerror or error}")
        except LabError as error:
            return self._row(submission, FAULT, f"the grader could not work on it: {error.message}")
        except Exception as error:  # noqa: BLE001 - a mistake of ours; nobody's submission stops the others
            return self._row(submission, FAULT, f"the grader met a mistake of its own: {error!r}"[:200])

    def _graded(self, submission: Submission, place: str, folder: Path) -> Result:
        kept = results.load(folder / "result.json")
        same = kept and (kept.digest, kept.student) == (submission.digest, submission.student)
        if kept and same and (folder / _SEALED).exists() and not self.rules.fresh:
            result = replace(
                self._row(submission, kept.status, kept.reason),
                run=kept.run, written=kept.written, verdicts=kept.verdicts, judged_by=kept.judged_by,
                notes=tuple(dict.fromkeys((*submission.notes, *kept.notes))),
            )  # fmt: skip
            if submission.exercise and (self.rules.rejudge or kept.judged_by != self._digest):
                self.on_event(place, submission.exercise, JUDGING)
                result = self._judged(result, submission, folder)
            self.on_event(place, submission.exercise, KEPT)
            return self._saved(result, folder)
        try:
            result = self._executed(submission, place, folder)
        except BaseException:
            remove(folder)
            raise
        self.on_event(place, submission.exercise, DONE)
        return self._saved(result, folder)

    def _executed(self, submission: Submission, place: str, folder: Path) -> Result:
        remove(folder)
        make_folder(folder, private=True)
        exercise = self._exercises.get(submission.exercise)
        if exercise is None:
            result = self._row(submission, UNREADABLE, submission.problem or "no exercise of this course")
            write_atomic(folder / _SEALED, "")
            return result
        self.on_event(place, submission.exercise, RUNNING)
        notebook, run = submission.notebook, Run(ended=False, reason=submission.problem)
        lab = make_folder(folder / "run", private=True)
        notes: list[str] = []
        status = UNREADABLE if notebook is None else GRADED
        if notebook is not None:
            if pattern := self.patterns.get(submission.exercise):
                notebook = intake.completed(notebook, pattern)
            notes += notebook.notes
            cells = [(cell.kind, cell.name, cell.source) for cell in notebook.cells]
            write_atomic(folder / "submitted.json", json.dumps(cells), secret=True)
            executed = execution.execute(
                notebook, lab, student=submission.student, sandbox=self.rules.sandbox,
                patience=self.rules.patience, limits=self.rules.limits,
            )  # fmt: skip
            if self.stopping.is_set():
                raise KeyboardInterrupt
            if self._own and (changed := self._own.put_back()):
                notes.append(
                    f"it changed the grader's own files, which were put back: {', '.join(changed[:3])}"
                )
            run, status = executed.run, GRADED if executed.run.ended else STOPPED
            execution.keep_notebook(executed.notebook, folder / "executed.ipynb")
        if odd := execution.keep_plain_files(lab / "workspace", limit=self.rules.limits.disk):
            notes.append(odd)
        for name in ("notebook", "home", "tmp"):
            remove(lab / name)
        self._unpack(submission, folder / "pack")
        write_atomic(folder / _SEALED, "")
        self.on_event(place, submission.exercise, JUDGING)
        result = replace(
            self._row(submission, status, run.reason), run=run, written=notebook.written if notebook else {}
        )
        return self._judged(replace(result, notes=(*result.notes, *notes)), submission, folder)

    def _unpack(self, submission: Submission, target: Path) -> None:
        if not submission.packed:
            return
        # Read again, not kept in memory since it was collected: a class's packs together may be large.
        pack = packs.read(packs.unzip(submission.path.read_bytes()))
        for name, data in pack.evidence.items() if pack else ():
            path = target / "workspace" / name
            make_folder(path.parent, private=True)
            write_atomic(path, data, secret=True, durable=False)

    def _judged(self, result: Result, submission: Submission, folder: Path) -> Result:
        """Judge what the run left; where that does not pass, what the student packed may."""
        exercise = self._exercises[submission.exercise]
        verdicts = self._judge(exercise, folder / "run", result.student)
        stuck = [verdict.check for verdict in verdicts if verdict.status != PASSED and not verdict.extra]
        if stuck and (folder / "pack").is_dir():
            packed = self._judge(exercise, folder / "pack", result.student, only=stuck, source="pack")
            verdicts = better(verdicts, packed)
        if self.stopping.is_set():
            raise KeyboardInterrupt
        return replace(result, verdicts=tuple(verdicts), judged_by=self._digest)

    def _judge(
        self,
        exercise: Exercise,
        folder: Path,
        student: str,
        *,
        only: Sequence[str] | None = None,
        source: str = "run",
    ) -> list[Verdict]:
        return judging.judge_work(
            exercise, folder, student=student, sandbox=self.rules.sandbox, limits=self.rules.limits,
            seconds=self.rules.patience.check, file=self.rules.files.get(exercise.slug, ""),
            extra=self.rules.extra, only=only, source=source,
        )  # fmt: skip

    def _row(self, submission: Submission, status: str, reason: str) -> Result:
        exercise = self._exercises.get(submission.exercise)
        verdicts = [_untouched(check) for check in exercise.checks] if exercise else []
        return Result(
            submission.student, submission.submitter, submission.exercise, status, reason, submission.notes,
            late_days(submission, self.rules.deadline), submission.handed_in.isoformat(timespec="seconds"),
            submission.digest, submission.receipt, verdicts=tuple(verdicts),
        )  # fmt: skip

    def _saved(self, result: Result, folder: Path) -> Result:
        make_folder(folder, private=True)
        results.save(result, folder / "result.json")
        return result

    def _pattern(self, slug: str) -> intake.Notebook | None:
        path = self.rules.patterns / f"{slug}.ipynb" if self.rules.patterns else None
        return intake.read(path.read_bytes()) if path and path.is_file() else None


def _untouched(check: Check) -> Verdict:
    return Verdict(check.id, check.objective, 0.0, check.points, NOT_ATTEMPTED)


class OwnFiles:
    """labkit's files as they were: where nothing confines a notebook, it can change them."""

    def __init__(self) -> None:
        self._root = Path(labkit.__file__).parent
        self._was = {path: path.read_bytes() for path in self._root.rglob("*.py")}

    def put_back(self) -> list[str]:
        """Put back what was changed, remove what was added; return what that was."""
        there = {path: path.read_bytes() for path in self._root.rglob("*.py") if path.is_file()}
        changed = sorted(path for path in {*there, *self._was} if there.get(path) != self._was.get(path))
        for path in changed:
            path.unlink(missing_ok=True)  # it may be a link by now
            if path in self._was:
                make_folder(path.parent)
                write_atomic(path, self._was[path])
        return [str(path.relative_to(self._root)) for path in changed]


def better(run: Sequence[Verdict], packed: Sequence[Verdict]) -> list[Verdict]:
    """Return for each check the verdict that gives more; the run's, if they give the same."""
    other = {verdict.check: verdict for verdict in packed}
    return [
        other[verdict.check]
        if verdict.check in other and other[verdict.check].points > verdict.points
        else verdict
        for verdict in run
    ]


def late_days(submission: Submission, deadline: dt.datetime | None) -> int:
    """Return by how many days a submission is late, begun days counted whole."""
    if deadline is None or submission.handed_in <= deadline:
        return 1 if submission.late else 0
    return math.ceil((submission.handed_in - deadline) / dt.timedelta(days=1))


def judge_digest(rules: Rules) -> str:
    """Return a digest of everything that decides a verdict: labkit, the instructor's checks, exercises of their own."""
    total = hashlib.sha256()
    package = Path(labkit.__file__).parent
    files = [*package.rglob("*.py"), *(rules.extra.glob("*.py") if rules.extra else ())]
    for path in sorted([*files, *map(Path, rules.files.values())]):
        total.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def require_extra(folder: Path) -> None:
    """Refuse a folder of checks that holds none.

    Raises:
        SubmissionsMissingError: There is no file of checks in it.
    """
    if not folder.is_dir() or not list(folder.glob("*.py")):
        raise SubmissionsMissingError(
            f"There is no check in {folder}.",
            advice="It holds one file an exercise, such as mtls_setup.py, that defines CHECKS.",
            path=folder,
        )
