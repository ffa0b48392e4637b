"""labkit.course.overview: how far somebody has come in the whole course."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.course import exercises, lessons
from labkit.course.lesson import PASSED
from labkit.course.overview import Overview
from labkit.course.progress import Progress
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.course.lesson import Lesson

EVERYTHING = [*map(lessons.find, lessons.slugs()), *map(exercises.find, exercises.slugs())]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return an empty workspace."""
    return Workspace.open(tmp_path / "lab")


def nobody(_: Callable[[], None]) -> None:
    """Tell nobody of what is recorded."""


def finish(workspace: Workspace, lesson: Lesson) -> None:
    """Record that a lesson's claims held and that its required exercises passed."""
    record = Progress(workspace, lesson.slug)
    for claim in lesson.claims:
        record.set("claims", claim.id, value=True)
    for check in lesson.checks:
        if check.required:
            record.set("checks", check.id, PASSED)


def test_what_comes_next_and_what_is_left(workspace: Workspace) -> None:
    """The first lesson that is not done comes next; a missing claim or required exercise leaves one begun."""
    shown = Overview(workspace, nobody)
    whole = sum(lesson.minutes for lesson in EVERYTHING)
    assert f"about {whole} are left. Next: start-here." in str(shown)
    first, second = EVERYTHING[:2]
    finish(workspace, first)
    finish(workspace, second)
    missing = next(check.id for check in second.checks if check.required)
    Progress(workspace, second.slug).set("checks", missing, "failed")
    states = {row[0]: row[-1] for row in shown.table().rows}
    assert ("done", "begun", "") == (states[first.slug], states[second.slug], states[EVERYTHING[2].slug])
    assert f"about {whole - first.minutes} are left. Next: {second.slug}." in str(shown)
    for lesson in EVERYTHING:
        finish(workspace, lesson)
    assert "All is done" in str(shown)


@pytest.mark.parametrize(("up", "folder"), [("", "notebooks"), ("../", "notebooks/exercises")])
def test_each_row_leads_to_its_notebook(workspace: Workspace, up: str, folder: str) -> None:
    """From a lesson and from an exercise, each link is a notebook that is there."""
    links = Overview(workspace, nobody, up=up).table().links
    assert [lesson.slug for lesson in EVERYTHING] == list(links)
    assert [] == [path for path in links.values() if not Path(folder, path).is_file()]


def test_whoever_follows_is_told(workspace: Workspace) -> None:
    """What was recorded is on disk when followers hear of it."""
    record, seen = Progress(workspace, "tls"), []
    record.on_set(lambda: seen.append(Progress(workspace, "tls").get("hints", "tls.1")))
    record.set("hints", "tls.1", 1)
    record.set("hints", "tls.1", 2)
    assert [1, 2] == seen
