"""The lessons, in the order of the course. A lesson is data and calls; mechanisms live below."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from labkit.errors import LessonUnknownError

if TYPE_CHECKING:
    from labkit.course.lesson import Lesson

__all__ = ["find", "slugs"]

_ORDER = (
    "start-here",
    "threat-model",
    "tls",
    "certificate-authority",
    "mutual-tls",
    "revocation",
    "esp32-flashing",
    "provisioning",
    "firmware-signing",
    "segmentation",
    "audit",
)


def slugs() -> tuple[str, ...]:
    """Return the slugs of all lessons, in order."""
    return _ORDER


def find(slug: str) -> Lesson:
    """Return a lesson.

    Raises:
        LessonUnknownError: There is none of that slug.
    """
    if slug not in _ORDER:
        raise LessonUnknownError(
            f"There is no lesson {slug!r}.", advice=f"Lessons: {', '.join(_ORDER)}.", slug=slug, known=_ORDER
        )
    module = importlib.import_module(f"labkit.course.lessons.{slug.replace('-', '_')}")
    lesson: Lesson = module.LESSON
    return lesson
