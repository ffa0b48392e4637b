"""How far somebody has come in the whole course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.course import exercises, lessons
from labkit.course.lesson import PASSED
from labkit.course.progress import Progress
from labkit.display import Table

if TYPE_CHECKING:
    from labkit.course.lesson import Lesson
    from labkit.workspace import Workspace


def overview(workspace: Workspace) -> Table:
    """Return a row for each lesson and each graded exercise."""
    recorded = Progress(workspace, "").lessons()
    rows = [_row(lessons.find(slug), recorded.get(slug, {})) for slug in lessons.slugs()]
    rows += [_row(exercises.find(slug), recorded.get(slug, {})) for slug in exercises.slugs()]
    note = "Minutes are estimates. A lesson is done when its claims held and its required exercises passed."
    return Table(
        "Your course so far", ("lesson", "minutes", "claims that held", "exercises passed", ""), rows, note
    )


def _row(lesson: Lesson, recorded: dict[str, Any]) -> tuple[object, ...]:
    held = sum(bool(recorded.get("claims", {}).get(claim.id)) for claim in lesson.claims)
    passed = {check.id for check in lesson.checks if recorded.get("checks", {}).get(check.id) == PASSED}
    required = {check.id for check in lesson.checks if check.required}
    done = held == len(lesson.claims) and required <= passed
    claims = f"{held} of {len(lesson.claims)}" if lesson.claims else "-"
    state = "done" if done else "begun" if recorded else ""
    return lesson.slug, lesson.minutes, claims, f"{len(passed)} of {len(lesson.checks)}", state
