"""The course: lessons, exercises, checks, progress, and the line that makes notebooks."""

import sys

from labkit.course.exercise import Draw, Exercise, Rubric, Variant
from labkit.course.lab import Lab, open_lab, refused
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction, Question
from labkit.course.work import Work

__all__ = [
    "Check",
    "CheckResult",
    "Claim",
    "Draw",
    "Exercise",
    "Lab",
    "Lesson",
    "Prediction",
    "Question",
    "Rubric",
    "Variant",
    "Work",
    "open_lab",
    "refused",
]

# nbformat imports jsonschema, which would spend three seconds on grammars of international addresses; no notebook has
# one, and where the grammars can't be imported it does without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
