"""The graded exercises. An exercise is data and calls; mechanisms live below."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from labkit.errors import LessonUnknownError

if TYPE_CHECKING:
    from labkit.course.exercise import Exercise

__all__ = ["find", "slugs"]

_ORDER: tuple[str, ...] = ("mtls-setup", "sensor-node", "first-boot", "security-audit")


def slugs() -> tuple[str, ...]:
    """Return the slugs of all exercises, in the order of the course."""
    return _ORDER


def find(slug: str) -> Exercise:
    """Return an exercise.

    Raises:
        LessonUnknownError: There is none of that slug.
    """
    if slug not in _ORDER:
        raise LessonUnknownError(
            f"There is no exercise {slug!r}.",
            advice=f"Exercises: {', '.join(_ORDER)}.",
            slug=slug,
            known=_ORDER,
        )
    module = importlib.import_module(f"labkit.course.exercises.{slug.replace('-', '_')}")
    exercise: Exercise = module.EXERCISE
    return exercise
