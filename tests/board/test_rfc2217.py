"""The telnet port: its protocol, its two lines, and the real esptool that pulls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.board import VirtualBoard
from labkit.board.rfc2217 import Change, ResetLines, TelnetPort

ESPTOOL = str(Path(sys.executable).parent / "esptool")
IAC, SB, SE, WILL, WONT, DO, DONT = 255, 250, 240, 251, 252, 253, 254


def option(code: int, value: bytes) -> bytes:
    """Return a request of the COM port option."""
    return bytes((IAC, SB, 44, code)) + value.replace(b"\xff", b"\xff\xff") + bytes((IAC, SE))


def test_the_option_is_agreed_on_once() -> None:
    """What is wanted is taken, the rest is declined, and nothing is said twice."""
    port = TelnetPort()
    asked = bytes((IAC, WILL, 44, IAC, DO, 44, IAC, WILL, 0, IAC, DO, 1, IAC, WILL, 1, IAC, WONT, 5))
    answer = bytes((IAC, DO, 44, IAC, WILL, 44, IAC, DO, 0, IAC, WONT, 1, IAC, DONT, 1))
    assert (b"", answer) == port.feed(asked)
    assert (b"", b"") == port.feed(asked)


def test_rates_and_lines_are_told_and_confirmed() -> None:
    """Each request is answered with its value, and comes out as a change."""
    port = TelnetPort()
    _, answer = port.feed(option(1, b"\x00\x00\xff\x00") + option(5, b"\x08") + option(5, b"\x0c"))
    assert option(101, b"\x00\x00\xff\x00") + option(105, b"\x08") + option(105, b"\x0c") == answer
    assert [Change("baud", 0xFF00), Change("dtr", True), Change("rts", False)] == port.changes
    assert (
        option(105, b"\x08") + option(105, b"\x0c") == port.feed(option(5, b"\x07") + option(5, b"\x0a"))[1]
    )
    assert (
        option(112, b"\x01") + option(106, b"\xff") == port.feed(option(12, b"\x01") + option(6, b"\xff"))[1]
    )


def test_other_options_are_nothing_to_the_board() -> None:
    """A subnegotiation of another option, or an empty one, is passed over."""
    port = TelnetPort()
    for body in (b"", b"\x2c", b"\x18\x01xterm"):
        assert (b"", b"") == port.feed(bytes((IAC, SB)) + body + bytes((IAC, SE)))
    assert [] == port.changes


@given(st.binary(max_size=200), st.integers(1, 9))
def test_payload_comes_through(data: bytes, step: int) -> None:
    """Any bytes pass, in any pieces, with commands between them."""
    port, found = TelnetPort(), b""
    wire = TelnetPort.escape(data) + option(5, b"\x08") + TelnetPort.escape(data)
    for start in range(0, len(wire), step):
        found += port.feed(wire[start : start + step])[0]
    assert data * 2 == found


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=50)
        | st.lists(st.sampled_from([IAC, SB, SE, WILL, DO, 44, 1, 5, 8]), max_size=60).map(bytes)
    )
)
def test_no_bytes_make_it_fail_or_grow(pieces: list[bytes]) -> None:
    """Whatever comes is payload, an option or nothing; an option that never ends is not kept."""
    port = TelnetPort()
    for piece in pieces:
        payload, answers = port.feed(piece)
        assert len(payload) <= len(piece)
        assert len(answers) <= 200 + 4 * len(piece)
    port.feed(bytes((IAC, SB)) + b"x" * 10_000)
    assert len(port._option) <= 64


def drive(*changes: tuple[str, bool]) -> list[str]:
    """Return what the circuit does for a sequence of line changes."""
    lines = ResetLines()
    return [found for what, on in changes if (found := lines.set(what, on))]


def test_the_two_lines_lead_into_the_loader_or_the_program() -> None:
    """The sequences of esptool's classic reset, its hard reset, and opening a port."""
    classic = (("dtr", False), ("rts", True), ("dtr", True), ("rts", False), ("dtr", False))
    assert ["hold", "download"] == drive(*classic)
    assert ["hold", "run"] == drive(("rts", True), ("rts", False))
    assert [] == drive(("dtr", True), ("rts", True), ("rts", False))


def esptool(board: VirtualBoard, *words: str) -> subprocess.CompletedProcess[str]:
    """Run esptool on the telnet port."""
    command = [ESPTOOL, "-p", board.ports["rfc2217"], *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.tool
@pytest.mark.slow
def test_esptool_pulls_the_lines(tmp_path: Path) -> None:
    """The console shows the lines at work; --after no-reset leaves the chip in its loader, and closing is no reset."""
    with VirtualBoard.open(tmp_path / "a", rfc2217=True) as board:
        done = esptool(board, "--chip", "esp32", "--no-stub", "--after", "no-reset", "chip-id")
        assert 0 == done.returncode, done.stdout + done.stderr
        assert "Staying in bootloader" in done.stdout
        assert ["power on", "waiting for download"] == [
            text
            for line in board.console.lines
            for text in ("power on", "waiting for download", "port closed")
            if text in line
        ]
        assert board._wired.loader.active
        lines = [line for line in board.console.lines if line.startswith(("[DTR", "[RTS", "waiting"))]
        opened, reset = (
            ["[DTR on]", "[RTS on]"],
            ["[DTR off]", "[DTR on]", "[RTS off]", "waiting for download"],
        )
        assert [*opened, *reset, "[DTR off]"] == lines[:7], lines


@pytest.mark.tool
@pytest.mark.slow(share=0.1)
def test_esptool_writes_through_telnet(tmp_path: Path) -> None:
    """One sector, at the speed that pyserial's client has; afterwards its hard reset starts the program."""
    data = bytes(range(256)) * 16
    (tmp_path / "data.bin").write_bytes(data)
    with VirtualBoard.open(tmp_path / "a", chip="esp32c3", rfc2217=True) as board:
        done = esptool(board, "--no-stub", "write-flash", "0x1000", str(tmp_path / "data.bin"))
        assert 0 == done.returncode, done.stdout + done.stderr
        assert data == board.flash_image()[0x1000:0x2000]
        assert board.console.wait_for("reset lines", timeout=5)
