"""Without a sandbox: said plainly, one at a time, and still nobody gains a point or leaves anything behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import labkit
from labkit.course.grading.batch import OwnFiles
from labkit.course.grading.confined import Confined, Limits, adopt_orphans
from labkit.course.grading.sandbox import View, base_env
from tests.course.grading.submissions import DOUBLE, PLAN, give, grade, left_over, rules

if TYPE_CHECKING:
    from labkit.course.grading.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are caught by a feature of Linux")


def test_right_work_is_graded_the_same(open_door: Sandbox, tmp_path: Path) -> None:
    """The points are those of a sandbox; the row says that there was none; nothing is left running."""
    give(tmp_path / "s", "ada", PLAN, DOUBLE)
    result = grade(tmp_path / "s", tmp_path / "kept", rules(open_door))["ada"]
    assert ("graded", 5, "none") == (result.status, result.earned, result.run.sandbox)
    assert set() == left_over()


def test_the_graders_own_files_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was changed, one that was removed and one that was added are as before; each is named."""
    package = tmp_path / "labkit"
    (package / "course").mkdir(parents=True)
    for name in ("__init__.py", "course/judging.py", "gone.py"):
        (package / name).write_text(f"# {name}\n")
    monkeypatch.setattr(labkit, "__file__", str(package / "__init__.py"))
    own = OwnFiles()
    assert [] == own.put_back()
    (package / "course/judging.py").write_text("def attempt(*_): return 'passed'\n")
    (package / "gone.py").unlink()
    (package / "added.py").symlink_to("/etc/passwd")
    assert ["added.py", "course/judging.py", "gone.py"] == own.put_back()
    assert "# course/judging.py\n" == (package / "course/judging.py").read_text()
    assert "# gone.py\n" == (package / "gone.py").read_text()
    assert not (package / "added.py").is_symlink()


def test_killing_the_keeper_frees_nobody(open_door: Sandbox, tmp_path: Path) -> None:
    """Orphans of a keeper that was killed come to the grader, and are ended."""
    code = (
        "import os, signal, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
        "print(child.pid, os.getpid(), flush=True)\nos.kill(os.getppid(), signal.SIGKILL)\nsignal.pause()"
    )
    view = View(cwd=str(tmp_path), env=base_env())
    with Confined(open_door, view, [sys.executable, "-I", "-c", code], limits=Limits()) as process:
        pids = [int(word) for word in (process.line(30) or b"").split()]
        assert 2 == len(pids)
        assert process.line(30) is None
    assert [] == [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_orphans_go_afterwards_where_they_went_before(open_door: Sandbox, tmp_path: Path) -> None:
    """While something runs without a sandbox orphans come to us; once it has ended, they do so no more than before."""
    before = adopt_orphans(wanted=False)
    try:
        with Confined(open_door, View(cwd=str(tmp_path), env=base_env()), ["true"], limits=Limits()):
            assert adopt_orphans(wanted=True)
        assert not adopt_orphans(wanted=False)
    finally:
        adopt_orphans(wanted=before)
