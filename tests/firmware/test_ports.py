"""The guard before real boards. A virtual board plays the real one: nothing here knows that it is none."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import labkit
from labkit.board import VirtualBoard
from labkit.errors import PortRefusedError
from labkit.firmware.ports import SerialPort, is_harmless, real_port, run_on_port

if TYPE_CHECKING:
    from collections.abc import Iterator

BURN = ("--chip", "esp32", "--do-not-confirm", "burn-efuse", "JTAG_DISABLE", "1")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    """Return a board that takes the part of a real one."""
    with VirtualBoard.open(tmp_path / "board") as running:
        yield running


def test_only_the_guard_names_a_port() -> None:
    """No other file of labkit tells Espressif's tools where a board is."""
    package = Path(labkit.__file__).parent
    naming = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("run_tool", "processes.run"))
        if any(isinstance(word, ast.Constant) and word.value in {"--port", "-p"} for word in node.args)
    }
    assert {"firmware/ports.py"} == naming


@pytest.mark.parametrize("name", ["", "  ", "-p", "--port=x"])
def test_a_real_port_has_a_name(name: str) -> None:
    """No name, and no option in its place."""
    with pytest.raises(PortRefusedError) as caught:
        real_port(name)
    assert "not-named" == caught.value.rule
    assert SerialPort("/dev/ttyUSB0") == real_port(" /dev/ttyUSB0 ")


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("esptool", "chip-id"),
        ("esptool", "--chip esp32 -b 115200 write-flash 0x1000 boot.bin"),
        ("esptool", "--no-stub read-flash 0 0x1000 out.bin"),
        ("esptool", "erase-flash"),
        ("espefuse", "--chip esp32 summary"),
        ("espefuse", "--chip esp32 summary --format json --file out.json"),
        ("espefuse", "summary MAC JTAG_DISABLE"),
        ("espefuse", "dump check-error"),
    ],
)
def test_what_can_be_undone_is_harmless(program: str, line: str) -> None:
    """Reading, and writing of flash, need no MAC."""
    assert is_harmless(program, line.split())


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("espefuse", ""),
        ("espefuse", "burn-efuse JTAG_DISABLE 1"),
        ("espefuse", "burn_efuse JTAG_DISABLE 1"),
        ("espefuse", "summary burn-key BLOCK1 key.bin"),
        ("espefuse", "--chip esp32 --do-not-confirm burn-key-digest key.pem"),
        ("espefuse", "write-protect-efuse WR_DIS"),
        ("espefuse", "read-protect-efuse BLOCK1"),
        ("espefuse", "set-flash-voltage 3.3V"),
        ("espefuse", "execute-scripts script.py"),
        ("espefuse", "-b burn-key summary dump burn-bit BLOCK3 1"),
        ("esptool", "write-flash --encrypt 0x1000 boot.bin"),
        ("esptool", "--override-vddsdio 1.9V flash-id"),
        ("esptool", "write-flash --encrypt-files 0x1000 boot.bin"),
        ("esptool", "write-flash --force 0 boot.bin"),
        ("esptool", "write-mem 0x3ff5a0fc 0x5a5a"),
        ("esptool", "load-ram burner.bin"),
        ("esptool", "write-flash-status 0x1c"),
        ("esptool", ""),
        ("configure_esp_secure_cert.py", "summary"),
    ],
)
def test_what_is_not_known_to_be_harmless_is_not(program: str, line: str) -> None:
    """Burning in every spelling, code that could burn, encrypted writes, and anything unknown."""
    assert not is_harmless(program, line.split())


def test_a_burn_on_a_real_port_waits_for_the_mac(board: VirtualBoard) -> None:
    """Without it nothing runs and no fuse changes; with it the fuse is burned."""
    port = real_port(board.url)
    before = board.efuses.to_bytes()
    with pytest.raises(PortRefusedError) as caught:
        run_on_port("espefuse", port, *BURN)
    assert ("mac-not-typed", board.url) == (caught.value.rule, caught.value.port)
    assert "waiting for download" not in board.console.lines
    assert before == board.efuses.to_bytes()
    unlocked = port.unlock(board.mac.upper().replace(":", "-"))
    run_on_port("espefuse", unlocked, *BURN)
    assert board.efuses.jtag_disabled


@pytest.mark.parametrize(
    ("typed", "rule"), [("24:dc:c3:00:00:00", "mac-differs"), ("24:dc", "mac-format"), ("", "mac-format")]
)
def test_another_mac_opens_nothing(board: VirtualBoard, typed: str, rule: str) -> None:
    """It must be this board's."""
    with pytest.raises(PortRefusedError) as caught:
        real_port(board.url).unlock(typed)
    assert rule == caught.value.rule


def test_a_board_that_was_swapped_is_not_burned(board: VirtualBoard) -> None:
    """The board is asked again before each burn."""
    port = real_port(board.url).unlock(board.mac)
    board.renew()
    before = board.efuses.to_bytes()
    with pytest.raises(PortRefusedError) as caught:
        run_on_port("espefuse", port, *BURN)
    assert ("mac-differs", before) == (caught.value.rule, board.efuses.to_bytes())


@pytest.mark.slow
def test_a_board_that_does_not_tell_is_not_burned(board: VirtualBoard) -> None:
    """Where download mode is off there is no MAC, and no burn."""
    port = SerialPort(board.url, mac=board.mac)
    board.burn({"UART_DOWNLOAD_DIS": 1})
    with pytest.raises(PortRefusedError) as caught:
        run_on_port("espefuse", port, *BURN)
    assert "mac-unreadable" == caught.value.rule


def test_the_virtual_board_needs_no_mac(board: VirtualBoard) -> None:
    """Its own port says what it is."""
    run_on_port("espefuse", board.port, *BURN)
    assert board.efuses.jtag_disabled


@pytest.mark.parametrize(
    "words",
    [
        ("-p", "x", "chip-id"),
        ("--port=x", "chip-id"),
        ("-px", "chip-id"),
        ("--port-filter", "x"),
        ("-sp", "x", "chip-id"),
    ],
)
def test_arguments_bring_no_port_of_their_own(board: VirtualBoard, words: tuple[str, ...]) -> None:
    """The port that is guarded is the port that is used."""
    with pytest.raises(PortRefusedError) as caught:
        run_on_port("esptool", board.port, *words)
    assert "second-port" == caught.value.rule


def test_an_inherited_port_is_never_used(
    board: VirtualBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell's ESPTOOL_PORT leads to another board, which hears nothing; what is harmless needs no MAC on ours."""
    (tmp_path / "data.bin").write_bytes(b"data" * 100)
    with VirtualBoard.open(tmp_path / "other") as other:
        monkeypatch.setitem(os.environ, "ESPTOOL_PORT", other.url)
        monkeypatch.setitem(os.environ, "ESPTOOL_CHIP", "esp32c3")
        done = run_on_port("esptool", real_port(board.url), "write-flash", "0x1000", tmp_path / "data.bin")
        assert board.mac in done.output
        assert b"data" == board.flash_image()[0x1000:0x1004]
        assert "waiting for download" not in other.console.lines
