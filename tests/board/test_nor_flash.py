"""Flash that only forgets: program clears, erase sets, power fails between two operations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.board import NorFlash, PowerCut
from labkit.board.nor_flash import PAGE, SECTOR
from labkit.errors import FlashBoundsError


def small(**options: int) -> NorFlash:
    """Return four blank sectors."""
    return NorFlash(size=4 * SECTOR, **options)


def test_programming_clears_bits_and_never_sets_them() -> None:
    """A second program of the same place leaves the bits that both have."""
    flash = small()
    flash.program(10, b"\xf0")
    flash.program(10, b"\x3c")
    assert b"\x30" == flash.read(10, 1)


def test_erasing_brings_a_whole_sector_back() -> None:
    """Erasing sets every bit of its sectors and none of the neighbours'."""
    flash = NorFlash(bytes(3 * SECTOR), size=4 * SECTOR)
    flash.erase(SECTOR, SECTOR)
    assert bytes(SECTOR) + b"\xff" * SECTOR + bytes(SECTOR) + b"\xff" * SECTOR == flash.image()


@pytest.mark.parametrize(
    ("offset", "length", "operations"),
    [(0, 0, 0), (0, 1, 1), (0, PAGE, 1), (1, PAGE, 2), (PAGE - 1, 2, 2), (0, 3 * PAGE, 3)],
)
def test_a_program_is_counted_by_pages(offset: int, length: int, operations: int) -> None:
    """One operation is what goes into one page."""
    flash = small()
    flash.program(offset, bytes(length))
    assert operations == flash.operations


def test_an_erase_is_counted_by_sectors() -> None:
    """One operation is one sector."""
    flash = small()
    flash.erase(0, 3 * SECTOR)
    assert 3 == flash.operations


@pytest.mark.parametrize("n", range(4))
def test_power_fails_after_n_operations(n: int) -> None:
    """What came before the cut is there, the rest is not, and nothing can be written afterwards."""
    flash = small(cut_after=n)
    with pytest.raises(PowerCut):
        flash.program(0, bytes(4 * PAGE))
    with pytest.raises(PowerCut):
        flash.erase(0, SECTOR)
    assert bytes(n * PAGE) + b"\xff" * (4 * SECTOR - n * PAGE) == flash.image()


def test_power_that_lasts_cuts_nothing() -> None:
    """As many operations as the power lasts for are done."""
    flash = small(cut_after=4)
    flash.program(0, bytes(4 * PAGE))
    assert bytes(4 * PAGE) == flash.read(0, 4 * PAGE)


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, -1), (4 * SECTOR, 1), (4 * SECTOR - 1, 2), (1 << 40, 1), (0, 1 << 40)]
)
def test_bounds_hold(offset: int, length: int) -> None:
    """Flash that is not there can't be read or erased."""
    flash = small()
    with pytest.raises(FlashBoundsError) as caught:
        flash.read(offset, length)
    assert (offset, length, 4 * SECTOR) == (caught.value.offset, caught.value.length, caught.value.size)
    with pytest.raises(FlashBoundsError):
        flash.erase(offset, length)
    assert 0 == flash.operations


def test_a_program_that_does_not_fit_changes_nothing() -> None:
    """Nothing is written of data that goes over the end; the same data fits one byte earlier."""
    flash = small()
    with pytest.raises(FlashBoundsError):
        flash.program(4 * SECTOR - 1, b"ab")
    assert b"\xff" * 4 * SECTOR == flash.image()
    flash.program(4 * SECTOR - 2, b"ab")
    assert b"ab" == flash.read(4 * SECTOR - 2, 2)


def test_half_a_sector_can_not_be_erased() -> None:
    """Erasing asks for whole sectors."""
    flash = small()
    with pytest.raises(FlashBoundsError, match="whole sectors"):
        flash.erase(0, 100)


def test_a_size_of_no_whole_sectors_is_a_mistake() -> None:
    """A chip has whole sectors, and holds no more than that."""
    with pytest.raises(ValueError, match="0x64"):
        NorFlash(size=100)
    with pytest.raises(ValueError, match="0x2000"):
        NorFlash(bytes(2 * SECTOR), size=SECTOR)


@given(st.lists(st.tuples(st.integers(0, 4 * SECTOR - 700), st.binary(max_size=700)), max_size=8))
def test_every_byte_is_the_and_of_what_was_programmed(writes: list[tuple[int, bytes]]) -> None:
    """The chip agrees with the simplest model there is."""
    flash, model = small(), bytearray(b"\xff" * 4 * SECTOR)
    for offset, data in writes:
        flash.program(offset, data)
        for n, byte in enumerate(data):
            model[offset + n] &= byte
    assert bytes(model) == flash.image()


def test_a_chip_shows_its_size_and_not_its_content() -> None:
    """What is in flash may be a key."""
    flash = small()
    flash.program(0, b"secret")
    assert "NorFlash(size=0x4000, operations=1)" == repr(flash)
