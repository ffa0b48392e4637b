"""What the grader's tests share: sandboxes, and a check that students never get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.grading.confined import adopt_orphans
from labkit.course.grading.sandbox import Sandbox, choose
from labkit.processes import find_tool
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, scope="module")
def orphans() -> Iterator[None]:
    """Let orphans come to us while graders are tested, so that none is overlooked, and to nobody's surprise later."""
    before = adopt_orphans(wanted=True)
    yield
    adopt_orphans(wanted=before)


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """Return bubblewrap; the program must be here, a kernel may refuse."""
    if find_tool("bwrap") is None:
        missing("bubblewrap is not on this machine")
    found = choose("bubblewrap")
    if not found.confines:
        pytest.skip(found.why)
    return found


@pytest.fixture(scope="session")
def open_door() -> Sandbox:
    """Return no sandbox."""
    return choose("none")


@pytest.fixture
def extra_checks(tmp_path: Path) -> Path:
    """Return a folder with a check of the instructor's own."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sample.py").write_text(
        "from labkit.course import Check, CheckResult\n"
        "SECRET_OF_THE_INSTRUCTOR = 4711\n"
        "def run(work):\n"
        "    return CheckResult('passed' if work.names('answers/sample') else 'failed', fault='nothing')\n"
        "CHECKS = (Check('sample.x1', 'Something was left.', ('a', 'b', 'c'), run, points=1),)\n",
        encoding="utf-8",
    )
    return folder
