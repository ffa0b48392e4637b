"""labkit.workspace: state on disk, whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.errors import (
    CheckpointMissingError,
    DiskFullError,
    WorkspaceBusyError,
    WorkspaceCorruptError,
    WorkspaceUnwritableError,
)
from labkit.workspace import Workspace, default_path, os_errors, write_atomic


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes, lock files aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


@pytest.fixture
def lab(tmp_path: Path) -> Workspace:
    """Return a fresh workspace."""
    return Workspace.open(tmp_path / "lab folder")


def test_open_twice_is_the_same_lab(lab: Workspace) -> None:
    """A workspace that exists is opened, not made anew."""
    lab.write("devices/a.crt", "x")
    before = snapshot(lab.root)
    Workspace.open(lab.root)
    assert before == snapshot(lab.root)


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    """A folder with other things in it never becomes a workspace, because reset deletes."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(WorkspaceCorruptError) as caught:
        Workspace.open(tmp_path)
    assert caught.value.path == tmp_path
    assert snapshot(tmp_path) == {"thesis.txt": b"years of work"}


def test_other_format_is_refused(lab: Workspace) -> None:
    """A marker of another format is left alone."""
    (lab.root / "workspace.json").write_text('{"format": 99}')
    with pytest.raises(WorkspaceCorruptError, match="format 1"):
        Workspace.open(lab.root)


def test_paths_stay_inside(lab: Workspace) -> None:
    """No path leads out of the workspace."""
    assert lab.path("devices", "a.crt") == lab.root / "devices" / "a.crt"
    for hostile in ("../x", "/etc/passwd", "devices/../../x"):
        with pytest.raises(ValueError, match="outside the workspace"):
            lab.path(hostile)


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_secrets_are_for_their_owner_alone(lab: Workspace) -> None:
    """A secret is 0600 and the folder around it 0700; other files can be read."""
    secret = lab.write("root/ca.key", "k", secret=True)
    public = lab.write("root/ca.crt", "c")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700


def test_full_disk_changes_nothing(lab: Workspace) -> None:
    """When the disk is full the old file stays, and nothing half-written is left."""
    resource = pytest.importorskip("resource")
    target = lab.write("devices/a.crt", "old")
    before = snapshot(lab.root)
    program = (
        "import resource, signal, sys; from pathlib import Path; from labkit.errors import DiskFullError;"
        "from labkit.workspace import write_atomic; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except DiskFullError: sys.exit(42)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert resource
    assert ended.returncode == 42
    assert before == snapshot(lab.root)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_as_a_user(tmp_path: Path) -> None:
    """A folder that we may not write to is named, with advice."""
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceUnwritableError, match="can't be written"):
        Workspace.open(tmp_path / "lab")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A file where a folder should be is an error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceUnwritableError) as caught:
        Workspace.open(tmp_path / "file" / "lab")
    assert "LABKIT_WORKSPACE" in caught.value.advice


def test_damaged_json_is_named(lab: Workspace) -> None:
    """A damaged file is named with the way back, and is not touched."""
    path = lab.write("course/progress.json", '{"half":')
    with pytest.raises(WorkspaceCorruptError) as caught:
        lab.read_json("course/progress.json")
    assert caught.value.path == path
    assert "labkit reset" in caught.value.advice
    assert path.read_text() == '{"half":'


def test_two_labs_in_one_folder(lab: Workspace) -> None:
    """The second lab is told who holds the folder; once the first is gone it gets it."""
    program = (
        "import sys; from labkit.workspace import Workspace; lab = Workspace.open(sys.argv[1])\n"
        "with lab.hold('lesson start-here'): print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(lab.root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceBusyError) as caught, lab.hold("lesson tls"):
            pass
        assert f"lesson start-here (process {first.pid}" in caught.value.holder
        first.kill()
    with lab.hold("lesson tls"):
        assert "lesson tls" in str(lab.holder())
    assert lab.holder() is None


def test_checkpoint_brings_everything_back(lab: Workspace) -> None:
    """Restore brings back files, modes and absences, and leaves foreign files alone."""
    lab.write("root/ca.key", "k1", secret=True)
    (lab.root / "my-notes.txt").write_text("mine")
    lab.checkpoint("start")
    lab.write("root/ca.key", "k2", secret=True)
    lab.write("devices/late.crt", "x")
    lab.restore("start")
    assert lab.path("root", "ca.key").read_text() == "k1"
    assert not lab.path("devices").exists()
    assert (lab.root / "my-notes.txt").read_text() == "mine"
    if os.name == "posix":
        assert stat.S_IMODE(lab.path("root", "ca.key").stat().st_mode) == 0o600


def test_checkpoints_leave_running_processes_out(lab: Workspace) -> None:
    """Facts about a running broker are not copied."""
    lab.write("broker/state.json", "{}")
    lab.write("broker/acl.conf", "rules")
    lab.checkpoint("start")
    assert (lab.root / "checkpoints/start/broker/acl.conf").exists()
    assert not (lab.root / "checkpoints/start/broker/state.json").exists()


def test_missing_checkpoint_lists_the_others(lab: Workspace) -> None:
    """An unknown name is answered with those that exist, and nothing changes."""
    lab.write("devices/a.crt", "x")
    lab.checkpoint("start")
    before = snapshot(lab.root)
    with pytest.raises(CheckpointMissingError) as caught:
        lab.restore("../start")
    assert "start" in caught.value.advice
    assert before == snapshot(lab.root)


def test_interrupted_restore_is_finished_at_the_next_open(lab: Workspace) -> None:
    """A restore cut off in the middle is completed, whatever was moved already."""
    lab.write("root/ca.crt", "one")
    lab.write("devices/a.crt", "one")
    lab.checkpoint("start")
    lab.write("root/ca.crt", "two")
    incoming = lab.root / ".restore" / "devices"
    incoming.mkdir(parents=True)
    (incoming / "a.crt").write_text("one")
    (lab.root / "root" / "ca.crt").write_text("one")  # root/ has been swapped, devices/ has not
    (lab.root / ".restore.json").write_text(json.dumps(["root", "devices"]))
    again = Workspace.open(lab.root)
    assert again.path("devices", "a.crt").read_text() == "one"
    assert again.path("root", "ca.crt").read_text() == "one"
    assert not (lab.root / ".restore.json").exists()


def test_reset_removes_only_what_the_lab_made(lab: Workspace) -> None:
    """Reset keeps checkpoints and the user's own files."""
    lab.write("devices/a.crt", "x")
    lab.checkpoint("start")
    (lab.root / "my-notes.txt").write_text("mine")
    lab.reset()
    assert lab.files() == []
    assert lab.checkpoints() == ["start"]
    assert (lab.root / "my-notes.txt").exists()


def test_default_path_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment decides first, then the course folder around us, then here."""
    course = tmp_path / "course"
    (course / "labkit").mkdir(parents=True)
    (course / "notebooks").mkdir()
    (course / "lab.py").write_text("")
    monkeypatch.delenv("LABKIT_WORKSPACE", raising=False)
    monkeypatch.delenv("LABKIT_COURSE", raising=False)
    monkeypatch.chdir(course / "notebooks")
    assert default_path() == course / "workspace"
    monkeypatch.chdir(tmp_path)
    assert default_path() == tmp_path / "workspace"
    monkeypatch.setenv("LABKIT_COURSE", str(course))
    assert default_path() == course / "workspace"
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine"


def test_write_leaves_no_temporary_file_when_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a write leaves the old file and nothing beside it."""
    target = write_atomic(tmp_path / "a", "old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(target, "new")
    assert snapshot(tmp_path) == {"a": b"old"}


def test_full_disk_error_carries_the_path(tmp_path: Path) -> None:
    """On a disk that is really full the error names the file."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DiskFullError) as caught, os_errors(tmp_path):
        full.write_bytes(b"x")
    assert caught.value.path == tmp_path
