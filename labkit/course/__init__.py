"""The course: lessons, checks, progress, and the line that makes notebooks."""

from labkit.course.lab import Lab, open_lab, refused
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction, Question

__all__ = [
    "Check",
    "CheckResult",
    "Claim",
    "Lab",
    "Lesson",
    "Prediction",
    "Question",
    "open_lab",
    "refused",
]
