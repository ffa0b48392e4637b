"""JTAG: an open port reads what flash encryption hides, and a burned fuse closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.board import VirtualBoard
from labkit.board.board_files import BoardFiles
from labkit.errors import JtagLockedError
from tests.simulators.flashed_board import Flashed

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = {"esp32": {"JTAG_DISABLE": 1}, "esp32c3": {"DIS_PAD_JTAG": 1, "DIS_USB_JTAG": 1}}


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_an_open_port_reads_through_the_encryption(tmp_path: Path, chip: str) -> None:
    """esptool would read noise, a debugger the secret; after the fuse the debugger reads nothing."""
    world = Flashed(chip).encrypt(bytes(range(32)))
    world.write(0x20000, b"a secret of sixteen bytes or so.")
    files = BoardFiles(tmp_path / "board")
    files.create(world.efuses.chip)
    files.save_flash(world.flash)
    files.save_efuses(world.efuses)
    with VirtualBoard.open(tmp_path / "board") as board:
        assert b"a secret" == board.read_by_jtag(0x20000, 8)
        assert board.flash_image()[0x20000:0x20008] == board.read_by_jtag(0x20000, 8, encrypted=False)
        assert b"a secret" != board.flash_image()[0x20000:0x20008]
        board.burn(CLOSED[chip])
        with pytest.raises(JtagLockedError) as caught:
            board.read_by_jtag(0x20000, 8)
        assert chip == caught.value.chip


def test_one_way_in_is_enough(tmp_path: Path) -> None:
    """The C3 has pads and USB; closing one of them closes nothing."""
    with VirtualBoard.open(tmp_path / "board", chip="esp32c3") as board:
        board.burn({"DIS_PAD_JTAG": 1})
        assert b"\xff" == board.read_by_jtag(0, 1)
