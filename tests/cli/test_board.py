"""`labkit board`: run it, look at it, bring it back, replace it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.board import CHIPS, VirtualBoard, running_at
from labkit.board.board_files import BoardFiles
from labkit.cli import main


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fresh workspace, which the commands work in."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "lab"))
    return tmp_path / "lab"


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    """Run a command and return what it printed."""
    assert status == main(["board", *words])
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


def test_new_makes_a_board_and_replaces_it(capsys: pytest.CaptureFixture[str], lab: Path) -> None:
    """The chip and revision are those asked for; the next one is of the same kind, with another MAC."""
    first = json.loads(said(capsys, "new", "--chip", "esp32c3", "--revision", "v1.1", "--json"))
    assert ("esp32c3", 101) == (first["chip"], first["revision"])
    second = json.loads(said(capsys, "new", "--json"))
    assert ("esp32c3", True) == (second["chip"], first["mac"] != second["mac"])
    assert "A new ESP32-C3" in said(capsys, "new")
    assert (lab / "boards" / "board" / "flash.bin").stat().st_size == 0x400000


@pytest.mark.parametrize("revision", ["v9.9", "new", "3.x"])
def test_a_revision_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], lab: Path, revision: str
) -> None:
    """It is said which there are, or how to write one; no board is made."""
    said(capsys, "new", "--revision", revision, status=2 if revision != "v9.9" else 1)
    assert not BoardFiles(lab / "boards" / "board").exists
    said(capsys, "new", "--revision", "v3.0")


def test_snapshots_are_made_listed_and_restored(capsys: pytest.CaptureFixture[str], lab: Path) -> None:
    """A burned fuse is gone after going back; an unknown name changes nothing."""
    said(capsys, "new")
    assert "No snapshots yet" in said(capsys, "snapshot")
    assert "kept as good" in said(capsys, "snapshot", "good")
    with VirtualBoard.open(lab / "boards" / "board") as running:
        running.burn({"JTAG_DISABLE": 1})
    assert "no snapshot 'bad'" in said(capsys, "snapshot", "bad", "--restore", status=1)
    assert BoardFiles(lab / "boards" / "board").load()[1].jtag_disabled
    said(capsys, "snapshot", "good", "--restore")
    assert not BoardFiles(lab / "boards" / "board").load()[1].jtag_disabled
    assert ["good"] == json.loads(said(capsys, "snapshot", "--json"))
    said(capsys, "snapshot", "../evil", status=2)


def test_a_running_board_is_left_alone(capsys: pytest.CaptureFixture[str], lab: Path) -> None:
    """Neither a new board nor a snapshot comes under a running one; its ports are listed."""
    assert "labkit board run" in said(capsys, "ports")
    said(capsys, "new")
    assert "off" in said(capsys, "ports")
    with VirtualBoard.open(lab / "boards" / "board") as running:
        for words in (("new",), ("snapshot", "x"), ("snapshot", "x", "--restore")):
            assert "runs already" in said(capsys, *words, status=1)
        (told,) = json.loads(said(capsys, "ports", "--json"))
        assert ("board", running.ports) == (told["name"], told["ports"])
        assert running.url in said(capsys, "ports")


def test_the_lab_knows_its_boards(capsys: pytest.CaptureFixture[str], lab: Path) -> None:
    """The state tells which run; starting over waits until none does, and takes them with it."""
    said(capsys, "new")
    with VirtualBoard.open(lab / "boards" / "board") as running:
        assert 0 == main(["status"])
        assert running.url in capsys.readouterr().out
        assert 1 == main(["reset", "--yes"])
        assert "runs already" in capsys.readouterr().err
        assert BoardFiles(lab / "boards" / "board").exists
    assert 0 == main(["status"])
    assert "off" in capsys.readouterr().out
    assert 0 == main(["reset", "--yes"])
    assert not (lab / "boards").exists()


def test_the_fuses_are_mapped_without_keys(capsys: pytest.CaptureFixture[str], lab: Path) -> None:
    """Burned fields are listed with their protection; of a key only how much of it is burned."""
    said(capsys, "new", "--chip", "esp32c3")
    key = bytes(range(1, 33))
    with VirtualBoard.open(lab / "boards" / "board") as running:
        running.burn({"BLOCK_KEY0": key, "KEY_PURPOSE_0": 4, "RD_DIS": 1, "WR_DIS": 1 << 23})
    rows = {row["name"]: row for row in json.loads(said(capsys, "efuse-map", "--json"))}
    assert ("no", "no") == (rows["BLOCK_KEY0"]["readable"], rows["BLOCK_KEY0"]["writable"])
    assert ("0x4", "yes") == (rows["KEY_PURPOSE_0"]["value"], rows["KEY_PURPOSE_0"]["readable"])
    text = said(capsys, "efuse-map")
    assert f"{sum(byte.bit_count() for byte in key)} of 256" in text
    assert hex(int.from_bytes(key, "little")) not in text + json.dumps(rows)
    assert len(json.loads(said(capsys, "efuse-map", "--all", "--json"))) > len(rows)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "-x", "/tmp/x"])
def test_a_board_stays_in_its_folder(capsys: pytest.CaptureFixture[str], lab: Path, name: str) -> None:
    """A name that leads elsewhere is refused before anything is made; a plain one is taken."""
    assert "is no board's name" in said(capsys, "new", f"--name={name}", status=2)
    assert not lab.exists() or [] == list(lab.rglob("flash.bin"))
    said(capsys, "new", "--name=board-2")
    assert BoardFiles(lab / "boards" / "board-2").exists


@pytest.mark.parametrize("command", ["snapshot", "efuse-map", "console"])
def test_a_board_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """The next thing to type makes one."""
    assert "labkit board new --name ghost" in said(capsys, command, "--name", "ghost", status=1)


@pytest.mark.tool
def test_run_serves_tools_until_it_is_stopped(lab: Path) -> None:
    """It prints its ports, esptool finds it, the console shows it, and Ctrl-C leaves a board that is kept."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "labkit", "board", "run", "--chip", "esp32c3", "--no-application"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        assert "runs no machine code" in lines[0]
        words = lines[1].split()
        words[0] = str(Path(sys.executable).parent / words[0])
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert "Detected flash size: 4MB" in done.stdout
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert ("Power off.\n", 0) == (err, process.returncode)
    assert "waiting for download" in out
    assert BoardFiles(lab / "boards" / "board").card().chip == CHIPS["esp32c3"].name


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_board_in_a_scripts_background_can_be_stopped(lab: Path) -> None:
    """A shell starts what ends in & with Ctrl-C ignored; a polite kill ends it all the same, and switches it off."""
    command = [sys.executable, "-m", "labkit", "board", "run", "--no-application"]
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "A virtual ESP32" in process.stdout.readline()
        process.terminate()
        try:
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert ("Power off.\n", 0, {}) == (err, process.returncode, running_at(lab / "boards" / "board"))


@pytest.mark.tool
def test_a_board_that_is_killed_starts_again(lab: Path, tmp_path: Path) -> None:
    """Nothing that it left behind is in the way: neither its lock, nor what it said of itself, nor its terminal."""
    link = tmp_path / "ttyBOARD"
    command = [sys.executable, "-m", "labkit", "board", "run", "--no-application", "--pty", str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "A virtual ESP32" in process.stdout.readline()
        process.kill()
    folder = lab / "boards" / "board"
    assert (link.is_symlink(), (folder / "state.json").exists(), {}) == (True, True, running_at(folder))
    with VirtualBoard.open(folder, terminal=link) as board:
        assert str(link) == board.ports["pty"]
    assert not link.is_symlink()
