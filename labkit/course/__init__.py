"""The course: lessons, exercises, checks, progress, and the line that makes notebooks."""

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
