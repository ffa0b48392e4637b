"""What became of a submission: values that are kept as JSON, so that tables and pages can be made again from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from labkit.course.lesson import PASSED
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.course.lesson import Check, CheckResult

FORMAT = 1

GRADED, STOPPED, UNREADABLE, FAULT = "graded", "stopped", "unreadable", "grader-failed"
"""How far it came: run to its end and judged; run in part and judged; nothing to run; and where the grader is to blame."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check said of a submission.

    Attributes:
        check: The check's id.
        objective: What was checked.
        points: What it earned.
        most: What it is worth.
        status: As in `CheckResult`.
        observed: What was there.
        expected: What was asked for.
        advice: What to try.
        why: Why it matters.
        hint: The first hint, for those who did not pass.
        fault: A short name of the mistake.
        source: Whose files decided: those of the `run`, or those of the `pack`.
        extra: Whether it is a check of the instructor's own.
    """

    check: str
    objective: str
    points: float
    most: float
    status: str
    observed: str = ""
    expected: str = ""
    advice: str = ""
    why: str = ""
    hint: str = ""
    fault: str = ""
    source: str = "run"
    extra: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What happened when the notebook was executed. It is told to people; it earns and costs nothing.

    Attributes:
        ended: Whether it came to its last cell.
        reason: Why not, in a sentence.
        cells: How many cells of code there were.
        errors: Errors of cells: which one, and a line.
        seconds: How long it took.
        sandbox: What confined it: `bubblewrap`, `podman`, `docker`, or `none`.
    """

    ended: bool
    reason: str = ""
    cells: int = 0
    errors: tuple[str, ...] = ()
    seconds: float = 0.0
    sandbox: str = "none"


@dataclass(frozen=True, slots=True)
class Result:
    """One submission, graded.

    Attributes:
        student: The student's id.
        submitter: What the file or folder is called: how the learning platform knows them.
        exercise: The exercise.
        status: `graded`, `stopped`, `unreadable` or `grader-failed`.
        reason: Why it is not `graded`, in a sentence.
        notes: What a person should know: late, renamed, cells missing.
        late_days: How many days after the deadline it came, begun days counted whole.
        handed_in: When it came, as far as the file says.
        digest: SHA-256 of what was handed in.
        receipt: The receipt's id, if it is a pack.
        run: What happened when it was executed.
        verdicts: What the checks said.
        written: The written answers, by rubric.
        judged_by: What judged it: a digest of labkit and of the instructor's checks.
    """

    student: str
    submitter: str
    exercise: str
    status: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    late_days: int = 0
    handed_in: str = ""
    digest: str = ""
    receipt: str = ""
    run: Run = field(default_factory=lambda: Run(ended=False))
    verdicts: tuple[Verdict, ...] = ()
    written: dict[str, str] = field(default_factory=dict)
    judged_by: str = ""

    @property
    def earned(self) -> float:
        """What the machine's checks gave."""
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def most(self) -> float:
        """What the machine's checks are worth."""
        return sum(verdict.most for verdict in self.verdicts)

    @property
    def stuck(self) -> tuple[Verdict, ...]:
        """Return the checks that did not pass."""
        return tuple(verdict for verdict in self.verdicts if verdict.status != PASSED)


def verdict(check: Check, found: CheckResult, *, source: str = "run", extra: bool = False) -> Verdict:
    """Return a verdict on what a check found; see `Verdict`."""
    return Verdict(
        check.id, check.objective, round(check.points * found.share, 4), check.points, found.status,
        found.observed, found.expected, found.advice, check.why, check.hints[0] if check.hints else "",
        found.fault, source, extra,
    )  # fmt: skip


def save(result: Result, path: Path) -> None:
    """Keep a result."""
    write_atomic(path, json.dumps({"format": FORMAT, **asdict(result)}, indent=1, sort_keys=True) + "\n")


def load(path: Path) -> Result | None:
    """Return a kept result, or None where there is none that can be used."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            return None
        found["run"] = Run(**{**found["run"], "errors": tuple(found["run"]["errors"])})
        found["verdicts"] = tuple(Verdict(**verdict) for verdict in found["verdicts"])
        return Result(**{**found, "notes": tuple(found["notes"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
