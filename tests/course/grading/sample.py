"""A small exercise, so that the grader's tests need no broker: the grader is given this file by its path."""

from __future__ import annotations

from typing import Any

from labkit.course import Check, CheckResult, Exercise, Rubric
from labkit.course.lesson import FAILED, NOT_ATTEMPTED, PARTLY, PASSED

HINTS = ("Look at your variant.", "It holds a number.", "Write the number.")


def plan(work: Any) -> CheckResult:
    """Judge the plan: it holds this student's number."""
    found = work.json("answers/sample/plan.json")
    if found is None:
        return CheckResult(NOT_ATTEMPTED, expected="answers/sample/plan.json")
    if found == {"number": work.variant.number}:
        return CheckResult(PASSED, observed="it holds your number")
    return CheckResult(
        FAILED, f"it holds {found}", "your own number", "Look at your variant.", fault="other-number"
    )


def double(work: Any) -> CheckResult:
    """Judge a function that was handed in, by calling it."""
    answer = work.answer("double")
    if answer is None:
        return CheckResult(NOT_ATTEMPTED)
    replies = answer.ask([[1], [2], [7]])
    right = sum(reply.value == value for reply, value in zip(replies, (2, 4, 14), strict=True))
    if right == 3:
        return CheckResult(PASSED)
    return CheckResult(PARTLY, f"{right} of 3 right", "twice the number", fault="not-twice", share=right / 3)


EXERCISE = Exercise(
    "sample",
    "A sample",
    5,
    (),
    needs_broker=False,
    vary=lambda draw: {
        "number": draw.number("number", 1000, 9999),
        "device": f"sensor-{draw.number('d', 100, 999)}",
    },
    checks=(
        Check("sample.1", "The plan holds your number.", HINTS, plan, points=2, why="Copies hold another."),
        Check("sample.2", "double() doubles.", HINTS, double, points=3),
    ),
    rubrics=(
        Rubric(
            "sample.D1",
            "Explain what you did.",
            4,
            ((2, "says why"), (2, "says how")),
            "GOOD SAMPLE ANSWER",
            "WEAK SAMPLE ANSWER",
        ),
    ),
)
