"""The graded exercises in nbgrader: its own programs make, grade and export them; what would stop them is mended first."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from labkit.course import notebooks
from labkit.course.exercises import find
from labkit.course.nbgrader import clean, write_source
from labkit.errors import NotebookError
from tests.conftest import missing

if TYPE_CHECKING:
    from labkit.broker import Mosquitto

SOURCES = notebooks.sources(Path("notebooks/exercises/source"))
MTLS = next(source for source in SOURCES if source.slug == "mtls-setup")


def nbgrader(course: Path, *words: str) -> str:
    """Run a command of nbgrader in its course folder."""
    program = Path(sys.executable).with_name("nbgrader")
    if not program.exists():
        missing("nbgrader is not installed; python3 lab.py extras nbgrader")
    env = {
        **os.environ,
        "JUPYTER_DATA_DIR": str(course / "data"),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    ended = subprocess.run(
        [program, *words], cwd=course, capture_output=True, text=True, check=False, env=env, timeout=280
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.slug)
def test_each_exercise_has_its_points_in_nbgraders_terms(source: notebooks.Source, tmp_path: Path) -> None:
    """Every check and rubric is graded by one cell with its points; solutions stand between nbgrader's marks."""
    made = nbformat.read(write_source(source, tmp_path), as_version=4)
    graded = {
        cell.metadata["nbgrader"]["grade_id"]: cell.metadata["nbgrader"]["points"]
        for cell in made.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    exercise = find(source.slug)
    assert {
        item.id.replace(".", "-"): item.points for item in (*exercise.checks, *exercise.rubrics)
    } == graded
    text = nbformat.writes(made)
    assert text.count("### BEGIN SOLUTION") == text.count("### END SOLUTION") >= len(exercise.rubrics) + 1
    assert "# BEGIN SOLUTION" not in text.replace("### BEGIN SOLUTION", "")


def hand_in(course: Path, student: str, notebook: str) -> Path:
    """Put a notebook where nbgrader collects."""
    path = course / "submitted" / student / "mtls-setup" / "mtls-setup.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(notebook, encoding="utf-8")
    return path


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Return a course folder whose release is the source without solutions; nbgrader's own is in the long test."""
    path = tmp_path / "release" / "mtls-setup" / "mtls-setup.ipynb"
    path.parent.mkdir(parents=True)
    shutil.copy(write_source(MTLS, tmp_path), path)
    return tmp_path


def test_what_would_stop_everybody_is_mended(released: Path) -> None:
    """Unreadable, renamed, duplicated and turned round: each is mended and told, the original kept; good ones stay."""
    good = (released / "release/mtls-setup/mtls-setup.ipynb").read_text(encoding="utf-8")
    ada = hand_in(released, "ada", good)
    broken = hand_in(released, "broken", good[:-100])
    renamed = hand_in(released, "renamed", good)
    renamed.rename(renamed.with_name("my homework.ipynb"))
    twice = json.loads(good)
    graded = next(
        cell
        for cell in twice["cells"]
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "mtls-setup-1"
    )
    twice["cells"].append({**graded, "id": "another"})
    doubled = hand_in(released, "twice", json.dumps(twice))
    mended = {each.path.parent.parent.name: each.what for each in clean(released, "mtls-setup")}
    assert {"broken", "renamed", "twice"} == set(mended)
    assert "can't be read" in mended["broken"]
    assert "twice" in mended["twice"]
    assert ada.read_text(encoding="utf-8") == good
    assert broken.with_name("mtls-setup.ipynb.original").read_text(encoding="utf-8") == good[:-100]
    assert renamed.exists()
    names = [
        cell.metadata.get("nbgrader", {}).get("grade_id")
        for cell in nbformat.read(doubled, as_version=4).cells
    ]
    assert names.count("mtls-setup-1") == 1
    assert [] == clean(released, "mtls-setup")


def test_an_exercise_that_was_not_released(tmp_path: Path) -> None:
    """Without a release there is nothing to compare with, and the error says what to type."""
    with pytest.raises(NotebookError, match="is not there"):
        clean(tmp_path, "mtls-setup")


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(600)
def test_nbgrader_grades_right_and_wrong_submissions(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Made, released, collected, cleaned, graded and exported by nbgrader: all machine points, none, and none."""
    write_source(MTLS, tmp_path)
    nbgrader(tmp_path, "generate_assignment", "mtls-setup", "--create")
    release = (tmp_path / "release/mtls-setup/mtls-setup.ipynb").read_text(encoding="utf-8")
    assert "BEGIN SOLUTION" not in release
    solved = (tmp_path / "source/mtls-setup/mtls-setup.ipynb").read_text(encoding="utf-8")
    shadowed = json.loads(release)
    for cell in shadowed["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution") and cell["cell_type"] == "code":
            cell["source"] = (
                "class Lab:\n    def __getattr__(self, name): return lambda *_, **__: 1.0\nlab = Lab()\nscore = lambda _: 99.0"
            )
    hand_in(tmp_path, "ada", solved)
    hand_in(tmp_path, "stub", release)
    hand_in(tmp_path, "shadow", json.dumps(shadowed))
    hand_in(tmp_path, "torn", solved[:-50])
    assert ["torn"] == [each.path.parent.parent.name for each in clean(tmp_path, "mtls-setup")]
    nbgrader(tmp_path, "autograde", "mtls-setup", "--create")
    nbgrader(tmp_path, "export")
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        scores = {row["student_id"]: float(row["raw_score"]) for row in csv.DictReader(file)}
    machine = sum(check.points for check in find("mtls-setup").checks)
    assert {"ada": machine, "stub": 0.0, "shadow": 0.0, "torn": 0.0} == scores
