"""labkit.course.grading.confined: what a process may take, and that nothing of it is left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.course.grading.confined import Confined, Limits, descendants
from labkit.course.grading.sandbox import View, base_env, choose
from tests.course.grading.submissions import DOUBLE, PLAN, give, grade, rules

if TYPE_CHECKING:
    from labkit.course.grading.sandbox import Sandbox

FORKS = "import os\nwhile True: os.fork()"
DISK = "n = 0\nwhile True:\n    n += 1\n    open(f'/lab/{n}', 'wb').write(bytes(4 << 20))"
NAMELESS = "import os\nkept = []\nwhile True:\n    kept.append(open('/lab/x', 'wb')); kept[-1].write(bytes(4 << 20)); kept[-1].flush(); os.unlink('/lab/x')"
FILES = "n = 0\nwhile True:\n    n += 1\n    open(f'/lab/{n}', 'w').close()"
MEMORY = """
import os, time
for _ in range(3):
    if os.fork() == 0: break
kept = []
while True:
    kept.append(bytearray(4 << 20))
    if len(kept) > 40: time.sleep(0.05)
    if len(kept) > 60: kept.pop()
"""
TALK = "import os\nwhile True: os.write(1, b'x' * 65536)"
LIMITS = Limits(memory=300 << 20, disk=40 << 20, files=500, processes=40, spoken=8 << 20)


def confined(sandbox: Sandbox, folder: Path, code: str) -> Confined:
    """Return a process that does something hostile."""
    view = View(writable={"/lab": folder}, cwd="/lab" if sandbox.confines else str(folder), env=base_env())
    return Confined(sandbox, view, [sys.executable, "-I", "-c", code], limits=LIMITS)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param(FORKS, "it started more than 40 processes", marks=pytest.mark.slow),
        (DISK, "it wrote more than 40 MB to the disk"),
        pytest.param(NAMELESS, "it wrote more than 40 MB to the disk", marks=pytest.mark.slow),
        pytest.param(FILES, "it made more than 500 files", marks=pytest.mark.slow),
        pytest.param(MEMORY, "it took more than 300 MB of memory", marks=pytest.mark.slow),
        (TALK, "it said too much"),
    ],
    ids=["forks", "disk", "nameless", "files", "memory", "talk"],
)
def test_whoever_takes_too_much_is_ended_for_its_reason(
    sandbox: Sandbox, tmp_path: Path, code: str, reason: str
) -> None:
    """Processes, disk, files without a name, number of files, memory of several, words: each has an end and a reason."""
    with confined(sandbox, tmp_path, code) as process:
        for _ in process.lines(60):
            pass
        assert reason == process.exceeded
    assert [] == descendants(process._process.pid)


def test_time_is_up_for_who_ignores_every_signal(sandbox: Sandbox, tmp_path: Path) -> None:
    """A process that ignores what can be ignored, and its children, are gone when its time is up."""
    code = (
        "import os, signal, subprocess, sys\n"
        "[signal.signal(s, signal.SIG_IGN) for s in (2, 15, 1)]\n"
        "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print('there', flush=True)\nwhile True: signal.pause()"
    )
    with confined(sandbox, tmp_path, code) as process:
        assert b"there\n" == process.line(30)
        assert process.line(0.1) is None
        assert "it was not done in time" == process.exceeded
    assert [] == descendants(process._process.pid)


def test_inside_there_is_nothing_of_ours(sandbox: Sandbox, tmp_path: Path) -> None:
    """No home, no course but labkit, no other process, no other network; what is to be read can't be written."""
    code = (
        "import json, os, labkit, socket\n"
        "course = os.path.dirname(os.path.dirname(labkit.__file__))\n"
        "def can(what):\n    try: what()\n    except OSError: return False\n    return True\n"
        "print(json.dumps([os.path.exists('/home') or os.path.exists('/root/.ssh'),"
        " sorted(set(os.listdir(course)) - {'.lab', 'firmware'}), len([p for p in os.listdir('/proc') if p.isdigit()]) < 4,"
        " [name for _, name in socket.if_nameindex()],"
        " can(lambda: open(labkit.__file__, 'a')), can(lambda: open('/usr/x', 'w')), can(lambda: open('/x', 'w')),"
        " can(lambda: open('/lab/x', 'w')), socket.gethostbyname('localhost')]))"
    )
    with confined(sandbox, tmp_path, code) as process:
        said = process.line(30)
    assert (
        b'[false, ["labkit"], true, ["lo"], false, false, false, true, "127.0.0.1"]' == (said or b"").strip()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are caught by a feature of Linux")
def test_without_a_sandbox_a_daemon_is_caught_all_the_same(open_door: Sandbox, tmp_path: Path) -> None:
    """A daemon that forked twice, changed its session and emptied its environment dies with the rest."""
    code = (
        "import os, signal, sys\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    os.environ.clear(); open('daemon', 'w').write(str(os.getpid()))\n    while True: signal.pause()\n"
        "while not os.path.exists('daemon') or not open('daemon').read(): pass\n"
        "print(open('daemon').read(), flush=True)"
    )
    with confined(open_door, tmp_path, code) as process:
        daemon = int((process.line(30) or b"0").decode())
        assert daemon
    deadline = Deadline(5)
    while Path(f"/proc/{daemon}").exists() and not deadline.passed:
        deadline.pause()
    assert not Path(f"/proc/{daemon}").exists()


def test_a_missing_sandbox_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no program is found there is none, and each missing one is named with the line that installs it."""
    from labkit.course.grading import sandbox as module

    module._tried.cache_clear()
    monkeypatch.setattr(module, "find_tool", lambda _: None)
    found = choose()
    module._tried.cache_clear()
    assert not found.confines
    assert all(name in found.why for name in ("bwrap", "bubblewrap", "podman", "docker"))


@pytest.mark.slow
def test_a_container_does_the_same(tmp_path: Path) -> None:
    """Where there is podman and no bubblewrap: a right notebook earns its points, and nothing of ours is in reach."""
    found = choose("podman")
    if not found.confines:
        pytest.skip(found.why)
    spy = (
        "hand('double.py', json.dumps([os.path.exists('/root/.ssh'), os.path.exists('/home'), os.getuid()]))"
    )
    give(tmp_path / "s", "ada", PLAN, DOUBLE)
    give(tmp_path / "s", "eve", PLAN, spy)
    results = grade(tmp_path / "s", tmp_path / "kept", rules(found))
    assert ("graded", 5, "podman") == (
        results["ada"].status,
        results["ada"].earned,
        results["ada"].run.sandbox,
    )
    said = tmp_path / "kept/sample/eve/run/workspace/answers/sample/double.py"
    assert "[false, false, " in said.read_text()
