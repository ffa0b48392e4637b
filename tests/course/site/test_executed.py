"""Executed lessons for the pages: kept where they are still true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from labkit.course import notebooks
from labkit.course.lessons import find
from labkit.course.runner import LessonRun, Report
from labkit.course.site import executed
from labkit.errors import SiteError

if TYPE_CHECKING:
    from collections.abc import Callable

COURSE = Path.cwd()
SLUG = "start-here"


def leave_run(
    folder: Path, *, status: str = "passed", change: Callable[[Any], None] = lambda _: None
) -> Path:
    """Leave what a run of the first lesson leaves."""
    source = notebooks.sources(COURSE / "notebooks" / "source")[0]
    notebook = nbformat.reads(notebooks.solved(source), as_version=4)
    change(notebook)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / source.notebook_name).write_text(nbformat.writes(notebook), encoding="utf-8")
    claims = [{"claim": claim.id, "held": True, "evidence": "seen"} for claim in find(SLUG).claims]
    lessons = [{"slug": SLUG, "status": status, "seconds": 1.0, "claims": claims}]
    (folder / "report.json").write_text(
        json.dumps({"lessons": lessons, "versions": {"Python": "3"}}), encoding="utf-8"
    )
    return folder


@pytest.fixture
def no_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let no lesson run; return which were asked for. None passes."""
    asked: list[list[str]] = []

    def refuse(_source: Path, _out: Path, *, slugs: list[str], **_: object) -> Report:
        asked.append(slugs)
        return Report(lessons=[LessonRun(SLUG, "", "failed", 0, (), problem="cell 3 of 9: Boom")])

    monkeypatch.setattr(executed, "run_lessons", refuse)
    return asked


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Return a course's folder with the real sources, and nothing executed."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "source").symlink_to(COURSE / "notebooks" / "source")
    return tmp_path


def test_an_earlier_run_is_taken(course: Path, no_runs: list[list[str]]) -> None:
    """What passed, and was made from the source as it is, is shown without being executed again."""
    leave_run(course / "build" / "run")
    (lesson,) = executed.executed_lessons(course, [SLUG])
    assert SLUG == lesson.source.slug
    assert len(lesson.claims) == len(find(SLUG).claims)
    assert no_runs == []


@pytest.mark.parametrize("stale", ["older", "failed", "damaged", "absent"])
def test_what_is_not_true_any_more_is_executed(course: Path, no_runs: list[list[str]], stale: str) -> None:
    """A run of an older source, one that failed, half a file and no run at all are not shown."""
    folder = course / "build" / "run"
    if stale == "older":
        leave_run(folder, change=lambda notebook: notebook.cells[0].update(source="# Another"))
    elif stale == "failed":
        leave_run(folder, status="failed")
    elif stale == "damaged":
        report = leave_run(folder) / "report.json"
        report.write_text(report.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(SiteError, match="cell 3 of 9: Boom") as caught:
        executed.executed_lessons(course, [SLUG])
    assert SLUG == caught.value.what
    assert [[SLUG]] == no_runs


def test_its_own_earlier_run_is_taken_too(course: Path, no_runs: list[list[str]]) -> None:
    """What the site had to execute itself is kept for the next build."""
    leave_run(course / executed.SITE_RUNS / SLUG)
    assert 1 == len(executed.executed_lessons(course, [SLUG]))
    assert no_runs == []
