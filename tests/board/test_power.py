"""Applications on a board: they run after a boot, end with it, and can do nothing afterwards."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from labkit.board import Machine, NorFlash, PowerCut, VirtualBoard
from labkit.board.board_files import BoardFiles
from labkit.board.bootloader import boot
from labkit.board.power import Lease
from labkit.clock import Deadline
from tests.simulators.flashed_board import Flashed, app
from tests.simulators.serial_tool import SerialTool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.board import Efuses
    from labkit.board.bootloader import Boot


def flashed(folder: Path, chip: str = "esp32") -> Path:
    """Return the folder of a board that boots."""
    world = Flashed(chip).fill(app(chip))
    files = BoardFiles(folder / "board")
    files.create(world.efuses.chip)
    files.save_flash(world.flash)
    return folder / "board"


def said(board: VirtualBoard, text: str, since: int = 0) -> str:
    """Return the line that says something, and insist that there is one."""
    line = board.console.wait_for(text, since=since, timeout=10)
    assert line, board.console.lines
    return line


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_an_application_runs_as_long_as_its_board(tmp_path: Path, chip: str) -> None:
    """It starts after the boot chain said yes, is told when the power goes, and starts again after a reset."""
    seen: list[str] = []

    def application(machine: Machine) -> None:
        seen.append(f"{machine.chip.name} {machine.version}")
        machine.say("I (0) up")
        machine.stopping.wait(30)
        seen.append("stopped")
        machine.say("never heard")

    with VirtualBoard.open(flashed(tmp_path, chip), application=application) as board:
        said(board, "I (0) up")
        assert board.last_boot.booted
        assert board.running
        board.reset()
        said(board, "I (0) up", since=board.console.count - 1)
    assert [f"{chip} 1.0", "stopped"] * 2 == seen
    assert not board.running
    assert "never heard" not in board.console.lines


def test_a_board_that_does_not_boot_runs_nothing(tmp_path: Path) -> None:
    """No application after a refusal; the same board with an image has one."""
    started = threading.Event()
    with VirtualBoard.open(tmp_path / "blank", application=lambda _: started.set()) as board:
        assert ("rom", False, False) == (
            board.last_boot.outcome.stage,
            board.last_boot.booted,
            started.is_set(),
        )
    with VirtualBoard.open(flashed(tmp_path), application=lambda _: started.set()):
        assert started.wait(10)


def test_a_download_ends_the_application(tmp_path: Path) -> None:
    """SYNC takes the power from it; nothing that it says or writes afterwards arrives."""
    ended: list[str] = []
    gone = threading.Event()

    def application(machine: Machine) -> None:
        machine.say("up")
        machine.stopping.wait(30)
        try:
            machine.write_partition("nvs", b"too late")
        except PowerCut:
            ended.append("cut")
        gone.set()

    with VirtualBoard.open(flashed(tmp_path), application=application) as board:
        said(board, "up")
        before = board.flash_image()
        with SerialTool(board) as tool:
            tool.sync()
            assert gone.wait(10)
            assert (["cut"], before) == (ended, board.flash_image())
            count = board.console.count
        said(board, "up", since=count)


def test_an_application_can_restart_its_board(tmp_path: Path) -> None:
    """It asks once, and the next run is a new one."""
    runs: list[int] = []

    def application(machine: Machine) -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            machine.restart()
        machine.say(f"run {len(runs)}")
        machine.stopping.wait(30)

    with VirtualBoard.open(flashed(tmp_path), application=application) as board:
        said(board, "run 2")
    assert [0, 1] == runs


def test_a_crash_is_told_and_the_board_lives(tmp_path: Path) -> None:
    """The console has the error and its place; the next reset starts it again."""

    def application(machine: Machine) -> None:
        machine.say("up")
        raise KeyError("no such key")

    with VirtualBoard.open(flashed(tmp_path), application=application) as board:
        assert "test_power.py" in said(board, "the application crashed: KeyError")
        count = board.console.count
        board.reset()
        said(board, "up", since=count)
        board.check()


def test_power_can_fail_under_an_application(tmp_path: Path) -> None:
    """The board goes dark in the middle of its writing, keeps what was written, and boots at the button."""
    go = threading.Event()

    def application(machine: Machine) -> None:
        machine.say("up")
        if go.wait(10) and not machine.stopping.is_set():
            machine.write_partition("nvs", b"\x11" * 0x1000)
            machine.stopping.wait(30)

    with VirtualBoard.open(flashed(tmp_path), application=application) as board:
        said(board, "up")
        nvs = board.last_boot.table.find("nvs")
        board.cut_power_after(nvs.size // 0x1000 + 3)
        go.set()
        said(board, "the power failed")
        image = board.flash_image()[nvs.offset : nvs.offset + nvs.size]
        assert b"\x11" * 0x300 + b"\xff" * (nvs.size - 0x300) == image
        go.clear()
        count = board.console.count
        board.reset()
        said(board, "up", since=count)
        go.set()


def test_power_can_fail_while_booting(tmp_path: Path) -> None:
    """A boot that writes otadata can be cut there; the button starts it over."""
    world = Flashed("esp32").fill(app("esp32"), app("esp32", "2.0"), otadata=[None, (2, 0)])
    files = BoardFiles(tmp_path / "board")
    files.create(world.efuses.chip)
    files.save_flash(world.flash)
    with VirtualBoard.open(tmp_path / "board") as board:
        assert "2.0" == board.last_boot.outcome.detail["version"]
        board.cut_power_after(0)
        count = board.console.count
        board.reset()
        said(board, "the power failed", since=count)
        assert board.last_boot is None
        board.reset()
        assert board.last_boot.booted


def test_the_outcome_of_a_start_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks in the middle of a start gets what became of that one."""
    with VirtualBoard.open(flashed(tmp_path)) as board:
        began, go = threading.Event(), threading.Event()

        def slow(flash: NorFlash, efuses: Efuses) -> Boot:
            began.set()
            go.wait(10)
            return boot(flash, efuses)

        monkeypatch.setattr("labkit.board.power.boot", slow)
        pressed = threading.Thread(target=board.reset)
        pressed.start()
        assert began.wait(10)
        threading.Timer(0.2, go.set).start()
        assert board.last_boot is not None
        pressed.join()


def attempts(lease: Lease) -> list[Callable[[], object]]:
    """Return everything that can be done to a flash chip."""
    return [
        lambda: lease.read(0, 1),
        lambda: lease.program(0, b"x"),
        lambda: lease.erase(0, 0x1000),
        lease.image,
    ]


def test_a_lease_ends_at_once() -> None:
    """Until it is revoked it is the flash chip; afterwards every access is a power cut and changes nothing."""
    flash = NorFlash(size=0x2000)
    lease = Lease(flash)
    for attempt in attempts(lease):
        attempt()
    assert (0x2000, flash.operations, False) == (lease.size, lease.operations, lease.over)
    lease.revoke()
    before = (flash.image(), flash.operations)
    for attempt in attempts(lease):
        with pytest.raises(PowerCut):
            attempt()
    assert (before, True) == ((flash.image(), flash.operations), lease.over)


def test_a_program_that_only_restarts_does_not_take_the_machine(tmp_path: Path) -> None:
    """Restarts have a pause between them, and the board still answers."""
    runs: list[int] = []

    def application(machine: Machine) -> None:
        runs.append(0)
        machine.restart()

    with VirtualBoard.open(flashed(tmp_path), application=application) as board:
        deadline = Deadline(1.0)
        deadline.pause(1.0)
        assert 2 <= len(runs) <= 11
        with SerialTool(board) as tool:
            tool.sync()
