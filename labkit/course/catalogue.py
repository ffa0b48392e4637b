"""Lessons and exercises under one roof, and who is working here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from labkit.course import exercises, lessons
from labkit.course.exercise import NOBODY
from labkit.errors import LessonUnknownError, NotebookError

if TYPE_CHECKING:
    from labkit.course.lesson import Lesson
    from labkit.workspace import Workspace

_STUDENT = "course/student.json"
STUDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
"""What a student can be called."""


def find_any(slug: str) -> Lesson:
    """Return a lesson or an exercise.

    Raises:
        LessonUnknownError: There is none of that slug.
    """
    if slug in exercises.slugs():
        return exercises.find(slug)
    if slug in lessons.slugs():
        return lessons.find(slug)
    known = (*lessons.slugs(), *exercises.slugs())
    raise LessonUnknownError(
        f"There is no lesson or exercise {slug!r}.",
        advice=f"There are: {', '.join(known)}.",
        slug=slug,
        known=known,
    )


def whose(workspace: Workspace, student: str | None = None) -> str:
    """Return who works in a workspace, and remember it.

    `LABKIT_STUDENT` is stronger than what a notebook says: the grader knows whose submission it runs.

    Args:
        workspace: The workspace.
        student: Who says so; what was said last time without it.

    Raises:
        NotebookError: That is no student id.
    """
    said = os.environ.get("LABKIT_STUDENT") or student
    if said is None:
        try:
            kept = workspace.read_json(_STUDENT)
            said = kept["student"] if isinstance(kept, dict) else NOBODY
        except (FileNotFoundError, KeyError):
            return NOBODY
    if not isinstance(said, str) or not STUDENT_ID.fullmatch(said):
        raise NotebookError(
            f"{said!r} is no student id.",
            advice='Letters, digits and . _ @ + - : open_lab("…", student="ada.lovelace")',
            path=workspace.path(_STUDENT),
        )
    workspace.write_json(_STUDENT, {"student": said})
    return said
