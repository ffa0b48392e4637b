"""otadata: which slot boots next, as ESP-IDF's bootloader counts."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError, OtaRefusedError
from labkit.firmware.otadata import (
    ABORTED,
    INVALID,
    NEW,
    PENDING_VERIFY,
    SECTOR,
    SIZE,
    UNDEFINED,
    VALID,
    active,
    build_entry,
    next_entry,
    parse_otadata,
)


def otadata(*entries: tuple[int, int] | None) -> bytes:
    """Return a partition with entries of (sequence, state); None leaves a sector blank."""
    return b"".join((build_entry(*one) if one else b"").ljust(SECTOR, b"\xff") for one in entries)


def test_an_entry_is_laid_out_as_in_flash() -> None:
    """Sequence 1 has the CRC that ESP-IDF writes for it."""
    assert struct.pack("<I20sII", 1, b"\xff" * 20, UNDEFINED, 0x4743989A) == build_entry(1, UNDEFINED)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (None, None, None),
        ((1, UNDEFINED), None, 0),
        ((1, VALID), (2, NEW), 1),
        ((3, VALID), (2, VALID), 0),
        ((3, ABORTED), (2, VALID), 1),
        ((3, INVALID), (2, ABORTED), None),
        ((2, VALID), (2, VALID), 0),
        ((1, 77), None, 0),
    ],
)
def test_the_entry_that_counts(
    first: tuple[int, int] | None, second: tuple[int, int] | None, expected: int | None
) -> None:
    """The highest sequence counts among those that are intact and were not given up."""
    assert expected == active(parse_otadata(otadata(first, second)))


def test_an_entry_that_something_else_rules_out() -> None:
    """Anti-rollback can take an entry out of the choice."""
    entries = parse_otadata(otadata((1, VALID), (2, VALID)))
    assert 0 == active(entries, allowed=(True, False))


def test_a_broken_checksum_rules_an_entry_out() -> None:
    """A flipped bit in the sequence makes the entry nobody's choice; in the state it does not, for no CRC covers it."""
    data = bytearray(otadata((1, VALID), (2, NEW)))
    data[SECTOR] ^= 4
    assert 0 == active(parse_otadata(bytes(data)))
    data[SECTOR] ^= 4
    data[SECTOR + 24] ^= VALID
    assert [VALID, VALID] == [one.state for one in parse_otadata(bytes(data))]
    assert 1 == active(parse_otadata(bytes(data)))


def test_states_have_names() -> None:
    """Known states are words, others numbers."""
    entries = parse_otadata(otadata((1, PENDING_VERIFY), (2, 77)))
    assert ["pending-verify", "0x4d"] == [one.state_name for one in entries]


def test_sequence_nought_names_the_last_slot() -> None:
    """The bootloader counts in 32 bits, so sequence 0 is slot 0xFFFFFFFF modulo the number of slots."""
    (first, _) = parse_otadata(otadata((0, VALID), None))
    assert (1, 0) == (first.slot(2), first.slot(3))


def test_too_few_bytes_are_no_otadata() -> None:
    """Less than two sectors are refused; two are taken."""
    assert 2 == len(parse_otadata(b"\xff" * SIZE))
    with pytest.raises(FormatError) as caught:
        parse_otadata(b"\xff" * (SIZE - 1))
    assert ("otadata", SIZE - 1) == (caught.value.what, caught.value.offset)


@given(st.integers(0, 2**32 - 40), st.integers(2, 16), st.integers(0, 15), st.booleans())
def test_the_next_choice_leads_to_its_slot(sequence: int, slots: int, wanted: int, swapped: bool) -> None:  # noqa: FBT001
    """Whatever counted before, the new entry lies in the other sector, counts from now on, and names the slot."""
    wanted %= slots
    old: tuple[tuple[int, int] | None, ...] = ((sequence, VALID), None)
    data = otadata(*(old[::-1] if swapped else old))
    sector, following = next_entry(parse_otadata(data), wanted, slots)
    changed = bytearray(data)
    changed[sector * SECTOR : sector * SECTOR + 32] = build_entry(following, NEW)
    entries = parse_otadata(bytes(changed))
    assert (sector, wanted) == (active(entries), entries[sector].slot(slots))
    assert sector == (0 if swapped else 1)


def test_the_first_choice_of_a_fresh_board() -> None:
    """With nothing written, the first sector takes the slot's number plus one."""
    assert (0, 2) == next_entry(parse_otadata(otadata(None, None)), 1, 2)


@pytest.mark.parametrize(("sequence", "slot", "rule"), [(1, 2, "slot"), (2**32 - 2, 0, "sequence-exhausted")])
def test_choices_that_can_not_be(sequence: int, slot: int, rule: str) -> None:
    """A slot that is not there, and a sequence number with no successor, are refused by name."""
    assert (1, 2) == next_entry(parse_otadata(otadata((1, VALID), None)), 1, 2)
    with pytest.raises(OtaRefusedError) as caught:
        next_entry(parse_otadata(otadata((sequence, VALID), None)), slot, 2)
    assert rule == caught.value.rule


@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_any_bytes_are_entries(first: bytes, second: bytes, short: bool) -> None:  # noqa: FBT001
    """Whatever lies in flash is read, and nothing in it makes more than two entries."""
    data = first if short else first.ljust(SECTOR, b"\xff") + second.ljust(SECTOR, b"\xff")
    try:
        entries = parse_otadata(data)
    except FormatError as error:
        assert len(data) == error.offset
    else:
        assert active(entries) in {None, 0, 1}
