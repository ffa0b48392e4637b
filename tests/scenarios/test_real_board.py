"""labkit.scenarios.real_board: the switch to a board on a cable. A virtual board plays it; nothing here knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.board import VirtualBoard
from labkit.errors import PortRefusedError
from labkit.scenarios.real_board import NONE, NoBoard, RealBoard, real_board

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tool


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    """Return the board at the other end of the cable."""
    with VirtualBoard.open(tmp_path / "board") as running:
        yield running


def named(board: VirtualBoard, folder: Path) -> RealBoard:
    """Return the board as somebody has it who typed its port."""
    found = real_board(board.url, folder)
    assert isinstance(found, RealBoard)
    return found


def test_without_a_name_nothing_is_touched(
    board: VirtualBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty name is no board, whatever port the environment names; the board there is not even reset."""
    monkeypatch.setenv("ESPTOOL_PORT", board.url)
    before = board.console.count
    found = real_board("  ", tmp_path)
    assert (True, NONE, before) == (isinstance(found, NoBoard), repr(found), board.console.count)


def test_a_named_board_is_looked_at_and_written(board: VirtualBoard, tmp_path: Path) -> None:
    """With a name the same commands work as on the virtual board, and the chip says who it is."""
    real = named(board, tmp_path)
    assert board.mac in repr(real)
    assert "eFuses are locked" in repr(real)
    (tmp_path / "data.bin").write_bytes(b"hello" * 100)
    real.esptool("write-flash", "0x10000", "data.bin")
    assert b"hello" * 100 == board.flash_image()[0x10000:][:500]
    assert "FLASH_CRYPT_CNT" in real.espefuse("summary").text


def test_nothing_is_burned_before_its_mac_was_typed(board: VirtualBoard, tmp_path: Path) -> None:
    """Burning is refused without the MAC and with another board's; with the right one it is done."""
    real = named(board, tmp_path)
    burn = ("--do-not-confirm", "burn-efuse", "JTAG_DISABLE", "1")
    fresh = board.efuses.to_bytes()
    with pytest.raises(PortRefusedError) as untyped:
        real.espefuse(*burn)
    with pytest.raises(PortRefusedError) as another:
        real.unlock("24:dc:c3:00:00:00")
    assert ("mac-not-typed", "mac-differs") == (untyped.value.rule, another.value.rule)
    assert fresh == board.efuses.to_bytes()
    real.unlock(board.mac).espefuse(*burn)
    assert 1 == board.efuses.field("JTAG_DISABLE")
