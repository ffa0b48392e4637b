"""Graded exercises as a whole: a solved notebook earns every point, and one in which nothing was written none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.course import notebooks
from labkit.course.exercises import find, slugs
from labkit.course.judging import attempt
from labkit.course.lesson import NOT_ATTEMPTED, PASSED
from labkit.course.work import Work

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = [pytest.mark.broker, pytest.mark.notebook, pytest.mark.timeout(600)]

SOURCES = {source.slug: source for source in notebooks.sources(Path("notebooks/exercises/source").absolute())}


def graded(slug: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, CheckResult]:
    """Run a notebook as a grader does, then judge what it left behind."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(folder / "w"))
    monkeypatch.setenv("LABKIT_STUDENT", "ada")
    monkeypatch.setenv("LABKIT_GRADED", "1")
    monkeypatch.setenv("LABKIT_NO_WIDGETS", "1")
    notebook = nbformat.reads(text, as_version=4)
    NotebookClient(notebook, timeout=120, allow_errors=True, kernel_name="python3").execute(cwd=str(folder))
    exercise = find(slug)
    with Work(exercise, folder / "w", "ada") as work:
        return {check.id: attempt(check, work) for check in exercise.checks}


@pytest.mark.parametrize("slug", slugs())
def test_a_solved_notebook_earns_every_point(
    mosquitto: Mosquitto, slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The solved copy runs from top to bottom, and the judge gives all points of every check."""
    found = graded(slug, notebooks.solved(SOURCES[slug]), tmp_path, monkeypatch)
    assert [] == [(name, result) for name, result in found.items() if result.status != PASSED]


@pytest.mark.parametrize("slug", slugs())
def test_an_untouched_notebook_earns_nothing(
    mosquitto: Mosquitto, slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's copy, as it is handed out, is not attempted anywhere."""
    found = graded(slug, notebooks.student(SOURCES[slug]), tmp_path, monkeypatch)
    assert {NOT_ATTEMPTED} == {result.status for result in found.values()}


@pytest.mark.parametrize("slug", slugs())
def test_every_part_is_told_completely(slug: str) -> None:
    """Each check has points, a reason why it matters and three hints; each written answer has criteria that add up."""
    exercise = find(slug)
    assert exercise.points == int(exercise.points)
    for check in exercise.checks:
        assert (3, True) == (len(check.hints), bool(check.why and check.objective))
    for rubric in exercise.rubrics:
        assert rubric.points == sum(points for points, _ in rubric.criteria)
        assert rubric.good
        assert rubric.weak
    ids = {check.id for check in exercise.checks} | {rubric.id for rubric in exercise.rubrics}
    notebook = nbformat.reads(notebooks.student(SOURCES[slug]), as_version=4)
    told = {cell.metadata.get("exercise") or cell.metadata.get("written") for cell in notebook.cells} - {None}
    assert {rubric.id for rubric in exercise.rubrics} <= told <= ids


@pytest.mark.parametrize("slug", slugs())
def test_variants_differ(slug: str) -> None:
    """Two students of a class hardly ever get the same."""
    drawn = {repr(find(slug).variant(f"student-{number}").values) for number in range(40)}
    assert len(drawn) >= 35
