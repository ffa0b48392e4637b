"""One check, judged: the same for the notebook, the command line, the tests and nbgrader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.course.exercise import Exercise
from labkit.course.lesson import FAILED, NOT_ATTEMPTED, PARTLY, PASSED, Check, CheckResult, RejectedError
from labkit.course.work import Work
from labkit.display import Table
from labkit.errors import GraderFaultError, LabError, ToolMissingError

if TYPE_CHECKING:
    from labkit.course.lab import Lab

WORDS = {PASSED: "passed", PARTLY: "partly", FAILED: "not yet", NOT_ATTEMPTED: "not attempted"}
"""What a reader is told, by status."""


def judged(check: Check, lab: Lab) -> CheckResult:
    """Judge one check of a lab.

    A graded exercise is judged by what lies in the workspace, as the grader judges it; a check of a lesson may use what
    runs in the lab too.
    """
    if not isinstance(lab.lesson, Exercise):
        return attempt(check, lab)
    with Work.of(lab) as work:
        return attempt(check, work)


def attempt(check: Check, subject: Any) -> CheckResult:
    """Run a check; an error of ours that it meets is what was observed.

    Raises:
        GraderFaultError, ToolMissingError: The check could not do its work. That says nothing of what was handed in.
    """
    try:
        return check.run(subject)
    except RejectedError as rejected:
        return rejected.result
    except (GraderFaultError, ToolMissingError):
        raise
    except LabError as error:
        return CheckResult(FAILED, observed=error.message, advice=error.advice, fault=type(error).__name__)


def shown(check: Check, result: CheckResult) -> Table:
    """Return what to tell the reader: never the answer."""
    rows = [("result", WORDS[result.status])]
    if check.points != 1 or result.status == PARTLY:
        rows.append(("points", f"{check.points * result.share:g} of {check.points:g}"))
    rows += [
        (label, text)
        for label, text in (
            ("what is there", result.observed),
            ("what is asked", result.expected),
            ("why it matters", "" if result.status == PASSED else check.why),
            ("what to try", result.advice),
        )
        if text
    ]
    return Table(f"{check.id}: {check.objective}", ("", ""), rows)
