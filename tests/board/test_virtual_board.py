"""The board as a whole: it keeps its state, has one user at a time, and lives through what happens to boards."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.board import CHIPS, VirtualBoard, running_at, serial_server
from labkit.board.board_files import BoardFiles
from labkit.clock import Deadline
from labkit.errors import (
    BoardBusyError,
    BoardGoneError,
    ChipUnknownError,
    DiskFullError,
    FlashBoundsError,
    NoTerminalError,
    SnapshotMissingError,
    WorkspaceCorruptError,
)
from tests.simulators.serial_tool import SerialTool

ESPTOOL = str(Path(sys.executable).parent / "esptool")


def said(board: VirtualBoard, text: str) -> str:
    """Return the line that says something, and insist that there is one."""
    line = board.console.wait_for(text, timeout=10)
    assert line, board.console.lines
    return line


def test_a_new_board_is_made_where_there_is_none(tmp_path: Path) -> None:
    """It has blank flash, factory fuses, a MAC of its own, and files that are its owner's alone."""
    with VirtualBoard.open(tmp_path / "a") as one, VirtualBoard.open(tmp_path / "b", chip="esp32c3") as two:
        assert ("esp32", "esp32c3") == (one.chip.name, two.chip.name)
        assert one.mac != two.mac
        assert b"\xff" * 0x400000 == one.flash_image()
        assert one.url != two.url
    assert {"flash.bin": 0o600, "efuse.bin": 0o600} == {
        name: (tmp_path / "a" / name).stat().st_mode & 0o777 for name in ("flash.bin", "efuse.bin")
    }


def test_two_boards_work_at_once(tmp_path: Path) -> None:
    """What one tool writes to one board is on that board alone, though both write at the same time."""
    with VirtualBoard.open(tmp_path / "a") as one, VirtualBoard.open(tmp_path / "b") as two:
        with SerialTool(one) as first, SerialTool(two) as second:
            first.sync()
            second.sync()
            for number in range(4):
                first.write(0x1000 * number, b"1" * 0x400)
                second.write(0x1000 * number, b"2" * 0x400)
        assert (b"1" * 0x400, b"2" * 0x400) == (one.flash_image()[:0x400], two.flash_image()[:0x400])


def test_state_outlives_the_board(tmp_path: Path) -> None:
    """Flash and fuses are there again; the chip stays what it was made as."""
    with VirtualBoard.open(tmp_path / "a", chip="esp32c3", revision=101) as board:
        board.write_flash(0x1234, b"kept")
        board.burn({"SECURE_VERSION": 1})
        mac = board.mac
    with VirtualBoard.open(tmp_path / "a") as again:
        assert (b"kept", 1, mac) == (
            again.flash_image()[0x1234:0x1238],
            again.efuses.secure_version,
            again.mac,
        )
        assert 101 == again.efuses.revision
    with pytest.raises(ChipUnknownError) as caught:
        VirtualBoard.open(tmp_path / "a", revision=301)
    assert ("v3.1", ("v1.1",)) == (caught.value.name, caught.value.known)
    with pytest.raises(ChipUnknownError) as caught:
        VirtualBoard.open(tmp_path / "a", chip="esp32")
    assert ("esp32", ("esp32c3",)) == (caught.value.name, caught.value.known)


def test_a_folder_has_one_board_at_a_time(tmp_path: Path) -> None:
    """A second process, or a second `with`, is told who has it; afterwards it may."""
    with VirtualBoard.open(tmp_path / "a") as board:
        told = running_at(tmp_path / "a")
        assert (os.getpid(), board.ports) == (told["pid"], told["ports"])
        with pytest.raises(BoardBusyError) as caught, VirtualBoard.open(tmp_path / "a"):
            pass
        assert str(os.getpid()) == caught.value.holder
    assert {} == running_at(tmp_path / "a")
    with VirtualBoard.open(tmp_path / "a"):
        pass


def test_snapshots_bring_a_board_back(tmp_path: Path) -> None:
    """Flash and fuses are as they were, burned keys are gone; an unknown name is refused and changes nothing."""
    with VirtualBoard.open(tmp_path / "a") as board:
        board.write_flash(0, b"before")
        board.snapshot("good")
        board.write_flash(0, b"after!")
        board.burn({"UART_DOWNLOAD_DIS": 1})
        assert "disabled" == board.efuses.download
        with pytest.raises(SnapshotMissingError) as caught:
            board.restore("bad")
        assert ("bad", ("good",)) == (caught.value.name, caught.value.known)
        assert b"after!" == board.flash_image()[:6]
        board.restore("good")
        assert (b"before", "open") == (board.flash_image()[:6], board.efuses.download)
        with pytest.raises(ValueError, match="no name for a snapshot"):
            board.snapshot("../evil")


def test_a_bricked_board_is_replaced(tmp_path: Path) -> None:
    """A new board has blank flash, factory fuses and another MAC; snapshots of the old one stay."""
    with VirtualBoard.open(tmp_path / "a") as board:
        board.snapshot("old")
        board.write_flash(0, b"x")
        board.burn({"UART_DOWNLOAD_DIS": 1})
        mac = board.mac
        board.renew()
        assert b"\xff" * 0x1000 == board.flash_image()[:0x1000]
        assert ("open", True) == (board.efuses.download, mac != board.mac)
        assert board.mac == board.efuses.mac.hex(":")
        board.restore("old")
        assert mac == board.mac


def test_a_clone_is_a_board_of_its_own(tmp_path: Path) -> None:
    """It has the same flash and fuses; what is done to it is not done to the first. Nothing is overwritten by it."""
    with VirtualBoard.open(tmp_path / "a") as board:
        board.write_flash(0, b"same")
        board.clone(tmp_path / "b")
        with VirtualBoard.open(tmp_path / "b") as copy:
            assert (b"same", board.mac) == (copy.flash_image()[:4], copy.mac)
            copy.write_flash(0, b"else")
        assert b"same" == board.flash_image()[:4]
        with pytest.raises(WorkspaceCorruptError):
            board.clone(tmp_path / "b")
    assert b"else" == BoardFiles(tmp_path / "b").load()[0].read(0, 4)


@pytest.mark.parametrize("name", ["flash.bin", "efuse.bin", "board.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"x" * 100])
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Whatever is wrong with a file, the error names it and the board does not start."""
    BoardFiles(tmp_path / "a").create(VirtualBoard.open(tmp_path / "b").chip)
    path = tmp_path / "a" / name
    path.unlink() if content is None else path.write_bytes(content)
    if name == "flash.bin" and content is not None:
        path.write_bytes(bytes(0x400001))
    if name == "board.json" and content is None:
        return  # no card, no board: a new one would be made
    with pytest.raises(WorkspaceCorruptError) as caught, VirtualBoard.open(tmp_path / "a"):
        pass
    assert path == caught.value.path


def test_files_of_two_boards_are_not_mixed(tmp_path: Path) -> None:
    """Fuses of another chip, or a card of another format, are told."""
    BoardFiles(tmp_path / "a").create(CHIPS["esp32"])
    BoardFiles(tmp_path / "b").create(CHIPS["esp32c3"])
    (tmp_path / "a" / "efuse.bin").write_bytes((tmp_path / "b" / "efuse.bin").read_bytes())
    with pytest.raises(WorkspaceCorruptError, match="ESP32-C3"), VirtualBoard.open(tmp_path / "a"):
        pass
    card = tmp_path / "b" / "board.json"
    card.write_text(card.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(WorkspaceCorruptError, match="format 2"), VirtualBoard.open(tmp_path / "b"):
        pass


def test_sync_is_boot_and_reset_and_closing_is_reset(tmp_path: Path) -> None:
    """The console tells each way in and out."""
    with VirtualBoard.open(tmp_path / "a") as board:
        said(board, "power on")
        with SerialTool(board) as tool:
            tool.sync()
            said(board, "waiting for download")
        said(board, "port closed")
        assert ("rom", "magic") == (board.last_boot.outcome.stage, board.last_boot.outcome.reason)


def test_looking_on_is_no_reset(tmp_path: Path) -> None:
    """Whoever opens the port and only listens sees the console live, and leaving changes nothing."""
    with VirtualBoard.open(tmp_path / "a") as board:
        with SerialTool(board) as tool:
            tool.send(b"hello?\r\n")
            board.reset()
            seen = b""
            while b"invalid header" not in seen:
                seen += tool.socket.recv(1000)
            assert b"button" in seen
        before = board.console.count
        with SerialTool(board) as tool:
            tool.sync()
        said(board, "port closed")
        assert 1 == sum("port closed" in line for line in board.console.lines)
        assert before < board.console.count


def test_a_second_tool_is_turned_away(tmp_path: Path) -> None:
    """It is hung up on, the console says so, and the first one goes on."""
    with VirtualBoard.open(tmp_path / "a") as board, SerialTool(board) as first:
        first.sync()
        with SerialTool(board) as second:
            assert second.packet() is None
        said(board, "turned away")
        first.write(0, b"abcd")
        assert b"abcd" == board.flash_image()[:4]


def test_a_client_that_never_reads_takes_no_endless_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board stops listening to it until it reads, and lives on afterwards."""
    monkeypatch.setattr(serial_server, "_HIGH_WATER", 1 << 16)
    monkeypatch.setattr(serial_server, "_CHUNK", 1200)  # about as many commands as are answered at a time
    with VirtualBoard.open(tmp_path / "a") as board:
        with SerialTool(board) as tool:
            tool.sync()
            tool.socket.settimeout(0.5)
            request = b"\xc0" + struct.pack("<BBHI", 0, 0x0E, 8, 0) + struct.pack("<II", 0x1000, 64) + b"\xc0"
            with pytest.raises(TimeoutError):
                while True:
                    tool.socket.sendall(request * 1000)
            assert len(board._serving._client.out) < 2 << 20
        with SerialTool(board) as again:
            again.sync()
        board.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=300), max_size=5))
def test_garbage_never_ends_a_board(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    """Whatever comes over the wire, before and after SYNC, the next tool finds the board."""
    with VirtualBoard.open(tmp_path_factory.mktemp("board") / "a") as board:
        for synced in (False, True):
            with SerialTool(board) as tool:
                if synced:
                    tool.sync()
                for piece in pieces:
                    tool.send(piece)
            with SerialTool(board) as tool:
                tool.send(b"\xc0")
                tool.sync()
        board.check()


@pytest.mark.tool
def test_a_tool_that_is_killed_leaves_half_a_file(tmp_path: Path) -> None:
    """The board says that the port was closed, boots, and takes the next tool; what was written is kept."""
    (tmp_path / "big.bin").write_bytes(bytes(range(1, 251)) * 8000)
    with VirtualBoard.open(tmp_path / "a") as board:
        command = [ESPTOOL, "-p", board.url, "write-flash", "-u", "0", str(tmp_path / "big.bin")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
            deadline = Deadline(20)
            while board.flash_image()[0x10000] == 0xFF and not deadline.passed:
                deadline.pause(0.02)
            tool.send_signal(signal.SIGKILL)
        said(board, "port closed")
        image = board.flash_image()
        assert (1, 0xFF) == (image[0], image[1999999])
        with SerialTool(board) as again:
            again.sync()
            again.write(0, b"next")
        said(board, "port closed")
    assert b"next" == BoardFiles(tmp_path / "a").load()[0].read(0, 4)


def test_a_full_disk_is_told_and_the_board_goes_on(tmp_path: Path) -> None:
    """What can't be saved is said once, stays in memory, and is saved when there is room again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with VirtualBoard.open(tmp_path / "a") as board:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            board.write_flash(0, b"new")
            assert isinstance(board.unsaved, DiskFullError)
            said(board, "the board's state is not saved")
            with SerialTool(board) as tool:
                tool.sync()
            said(board, "port closed")
            assert b"\xff" == BoardFiles(tmp_path / "a").load()[0].read(0, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        board.reset()
        assert board.unsaved is None
        assert 1 == sum("not saved" in line for line in board.console.lines)
        assert b"new" == BoardFiles(tmp_path / "a").load()[0].read(0, 3)


def test_the_power_can_fail(tmp_path: Path) -> None:
    """After so many operations the board is dark, until the button is pressed; then it has what was done before."""
    with VirtualBoard.open(tmp_path / "a") as board:
        with SerialTool(board) as tool:
            tool.sync()
            board.cut_power_after(2)
            head = struct.pack("<IIII", 0x400, 1, 0x400, 0)
            tool.command(0x02, head)
            tool.send(
                b"\xc0"
                + struct.pack("<BBHI", 0, 0x03, 0x410, 0xEF)
                + struct.pack("<IIII", 0x400, 0, 0, 0)
                + bytes(0x400)
                + b"\xc0"
            )
            said(board, "the power failed")
        assert bytes(0x100) + b"\xff" * 0x100 == board.flash_image()[:0x200]
        board.reset()
        with SerialTool(board) as tool:
            tool.sync()
            tool.write(0, bytes(0x400))
        assert bytes(0x400) == board.flash_image()[:0x400]


def test_the_power_can_fail_under_a_programmer(tmp_path: Path) -> None:
    """A clip-on programmer's write is cut like any other."""
    with VirtualBoard.open(tmp_path / "a") as board:
        board.cut_power_after(2)
        board.write_flash(0, bytes(0x1000))
        said(board, "the power failed")
        assert bytes(0x100) + b"\xff" * 0x100 == board.flash_image()[:0x200]
        board.reset()
        board.write_flash(0, bytes(0x1000))
        assert bytes(0x1000) == board.flash_image()[:0x1000]


def test_flash_that_is_not_there_is_not_written(tmp_path: Path) -> None:
    """The programmer's write is refused as a whole, and the board goes on."""
    with VirtualBoard.open(tmp_path / "a") as board:
        with pytest.raises(FlashBoundsError):
            board.write_flash(0x3FFFFF, b"ab")
        board.write_flash(0x3FFFFE, b"ab")
        assert b"ab" == board.flash_image()[-2:]


def test_a_recording_has_all_that_came(tmp_path: Path) -> None:
    """Everything that a tool sends is in it, in order."""
    with VirtualBoard.open(tmp_path / "a") as board:
        recording = board.record()
        with SerialTool(board) as tool:
            tool.sync()
            tool.write(0, b"abcd")
        said(board, "port closed")
        assert b"abcd" in b"".join(recording)


def test_the_terminal_keeps_its_name(tmp_path: Path) -> None:
    """The link leads to the port while the board runs, carries commands, and is gone afterwards."""
    link = tmp_path / "ttyBOARD"
    for _ in range(2):
        with VirtualBoard.open(tmp_path / "a", terminal=link) as board:
            assert str(link) == board.ports["pty"]
            port = os.open(link, os.O_RDWR | os.O_NOCTTY)
            settings_ = termios.tcgetattr(port)
            settings_[4] = settings_[5] = termios.B57600
            termios.tcsetattr(port, termios.TCSANOW, settings_)
            os.write(
                port,
                b"\xc0" + struct.pack("<BBHI", 0, 8, 36, 0) + b"\x07\x07\x12\x20" + b"\x55" * 32 + b"\xc0",
            )
            assert b"\xc0\x01\x08" == os.read(port, 3)
            assert 57600 == board._wired.loader.baud
            os.close(port)
            said(board, "port closed")
        assert not link.is_symlink()


def test_socket_and_terminal_are_one_port(tmp_path: Path) -> None:
    """Whoever comes second is turned away, by whichever door; the first one goes on."""
    link = tmp_path / "ttyBOARD"
    with VirtualBoard.open(tmp_path / "a", terminal=link) as board:
        with SerialTool(board) as tool:
            tool.sync()
            port = os.open(link, os.O_RDWR | os.O_NOCTTY)
            os.write(port, b"\xc0hello\xc0")
            said(board, "opened the pty port and was turned away")
            tool.write(0, b"abcd")
            os.close(port)
        said(board, "port closed")
        port = os.open(link, os.O_RDWR | os.O_NOCTTY)
        sync = b"\xc0" + struct.pack("<BBHI", 0, 8, 36, 0) + b"\x07\x07\x12\x20" + b"\x55" * 32 + b"\xc0"
        os.write(port, sync)
        assert b"\xc0\x01\x08" == os.read(port, 3)
        with SerialTool(board) as tool:
            assert tool.packet() is None
        said(board, "opened the socket port and was turned away")
        os.close(port)


def test_a_terminal_at_the_wrong_rate_is_not_understood(tmp_path: Path) -> None:
    """After the rate of SYNC, bytes of another rate are noise."""
    link = tmp_path / "ttyBOARD"
    with VirtualBoard.open(tmp_path / "a", terminal=link) as board:
        port = os.open(link, os.O_RDWR | os.O_NOCTTY)
        chosen = termios.tcgetattr(port)

        def at(speed: int) -> None:
            chosen[4] = chosen[5] = speed
            termios.tcsetattr(port, termios.TCSANOW, chosen)

        at(termios.B115200)
        os.write(
            port, b"\xc0" + struct.pack("<BBHI", 0, 8, 36, 0) + b"\x07\x07\x12\x20" + b"\x55" * 32 + b"\xc0"
        )
        said(board, "waiting for download")
        write = (
            b"\xc0"
            + struct.pack("<BBHI", 0, 9, 16, 0)
            + struct.pack("<4I", 0x3FF48074, 7, 0xFFFFFFFF, 0)
            + b"\xc0"
        )
        at(termios.B9600)
        os.write(port, write)
        board.flash_image()  # goes through the serving thread, so what was sent has been looked at
        deadline = Deadline(0.3)
        deadline.pause(0.3)
        assert 0 == board._wired.loader.register(0x3FF48074)
        at(termios.B115200)
        os.write(port, write)
        deadline = Deadline(5)
        while board._wired.loader.register(0x3FF48074) != 7 and not deadline.passed:
            deadline.pause(0.02)
        assert 7 == board._wired.loader.register(0x3FF48074)
        os.close(port)


def test_a_file_is_not_replaced_by_a_terminal(tmp_path: Path) -> None:
    """A link is only put where there is nothing, or what an old board left."""
    (tmp_path / "shortcut").symlink_to(tmp_path / "precious")
    with pytest.raises(NoTerminalError), VirtualBoard.open(tmp_path / "a", terminal=tmp_path / "shortcut"):
        pass
    (tmp_path / "free").symlink_to("/dev/pts/999")
    (tmp_path / "precious").write_text("data")
    with pytest.raises(NoTerminalError), VirtualBoard.open(tmp_path / "a", terminal=tmp_path / "precious"):
        pass
    assert "data" == (tmp_path / "precious").read_text()
    with VirtualBoard.open(tmp_path / "a", terminal=tmp_path / "free"):
        pass


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """The board does not start, and its folder is free again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"), VirtualBoard.open(tmp_path / "a", port=taken):
            pass
    with VirtualBoard.open(tmp_path / "a", port=taken) as board:
        assert f"socket://127.0.0.1:{taken}" == board.url


def test_a_board_without_power_says_so(tmp_path: Path) -> None:
    """Outside of `with` there is no board to talk to."""
    board = VirtualBoard.open(tmp_path / "a")
    assert {} == board.ports
    with pytest.raises(RuntimeError, match="no power"):
        board.reset()


def test_a_board_that_died_says_why(tmp_path: Path) -> None:
    """A mistake of ours in the serving thread comes out where the board is asked next."""
    with VirtualBoard.open(tmp_path / "a") as board:
        board._wired.tick = lambda: 1 / 0  # type: ignore[method-assign]
        deadline = Deadline(5)
        while board._serving.failure is None and not deadline.passed:
            deadline.pause(0.02)
        with pytest.raises(BoardGoneError, match="ZeroDivisionError"):
            board.check()
        with pytest.raises(BoardGoneError):
            board.reset()
