"""Partition tables: the bytes of ESP-IDF's generator, its CSV, and tables of somebody else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError, PartitionRefusedError
from labkit.firmware.partitions import (
    APP,
    COURSE_TABLE,
    DATA,
    FACTORY,
    LENGTH,
    NVS,
    OTADATA,
    Partition,
    PartitionTable,
    build_table,
    parse_csv,
    parse_table,
    render_csv,
    verify_table,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "partitions.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["course", "two_ota"])
def test_the_bytes_are_those_of_espressifs_generator(name: str) -> None:
    """A CSV becomes the table that gen_esp32part.py made of it once, blank offsets included."""
    golden = bytes.fromhex(VECTORS[name]["table"]).ljust(LENGTH, b"\xff")
    table = parse_csv(VECTORS[name]["csv"])
    assert golden == build_table(table)
    assert table == parse_table(golden)


def test_the_courses_table_is_the_golden_one() -> None:
    """What labkit calls the course's table is what its vector says, and its CSV goes round."""
    assert parse_csv(VECTORS["course"]["csv"]) == COURSE_TABLE
    assert VECTORS["course"]["csv"] == render_csv(COURSE_TABLE)


def test_what_a_table_answers() -> None:
    """Partitions are found by label and kind; slots come in the order of their numbers."""
    table = COURSE_TABLE
    assert 0x10000 == getattr(table.find("fctry"), "offset", None)
    assert table.find("nothing") is None
    assert "otadata" == getattr(table.of_kind(DATA, OTADATA), "label", None)
    assert table.of_kind(APP, FACTORY) is None
    assert ["ota_0", "ota_1"] == [slot.label for slot in table.ota_slots]
    assert "0x40, 0x07" == Partition("own", 0x40, 7, 0x9000, 0x1000).kind
    encrypted = {part.label for part in table if part.encrypted}
    assert {"otadata", "nvs_keys", "ota_0", "ota_1"} == encrypted


GOOD = Partition("own", DATA, NVS, 0x9000, 0x1000)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"label": ""}, "label"),
        ({"label": "x" * 17}, "label"),
        ({"label": "ä"}, "label"),
        ({"type": 0x1FF}, "number"),
        ({"size": 0}, "size"),
        ({"size": 0x1001}, "size"),
        ({"offset": 0x9001}, "alignment"),
        ({"offset": 0x8000}, "alignment"),
        ({"type": APP, "offset": 0x11000}, "alignment"),
        ({"offset": 0x3FF000, "size": 0x2000}, "flash-size"),
        ({"label": "other"}, "duplicate"),
        ({"offset": 0x20000}, "overlap"),
    ],
)
def test_tables_that_make_no_sense(change: dict[str, int | str], rule: str) -> None:
    """Each mistake is refused by its name, before a byte is built."""
    other = Partition("other", DATA, NVS, 0x1F000, 0x2000)
    build_table(PartitionTable((GOOD, other)))
    with pytest.raises(PartitionRefusedError) as caught:
        build_table(PartitionTable((dataclasses.replace(GOOD, **change), other)))  # type: ignore[arg-type]
    assert rule == caught.value.rule


def test_a_table_has_room_for_94() -> None:
    """One partition more than fits beside the checksum and the end is refused."""
    many = [Partition(f"p{n}", 0x40, n, 0x9000 + 0x1000 * n, 0x1000) for n in range(95)]
    assert 94 == len(parse_table(build_table(PartitionTable(tuple(many[:94])))).partitions)
    with pytest.raises(PartitionRefusedError) as caught:
        verify_table(PartitionTable(tuple(many)))
    assert "too-many" == caught.value.rule


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("own, data, nvs, 0x9000", "columns"),
        ("own, data, nvs, 0x9000, 0x1000, , x", "columns"),
        ("own, date, nvs, 0x9000, 0x1000", "type"),
        ("own, data, nws, 0x9000, 0x1000", "subtype"),
        ("own, data, nvs, 9k0, 0x1000", "number"),
        ("own, data, nvs, 0x9000,", "number"),
        ("own, data, nvs, 0x9000, 0x1000, hidden", "flag"),
    ],
)
def test_lines_with_mistakes(line: str, rule: str) -> None:
    """A CSV's mistakes are named; the same line without one is a table."""
    assert (GOOD,) == parse_csv("# name\n\nown, data, nvs, 0x9000, 4K,\n").partitions
    with pytest.raises(PartitionRefusedError) as caught:
        parse_csv(line + "\n")
    assert rule == caught.value.rule


def test_flags_and_numbers_in_a_csv() -> None:
    """Flags are separated by colons, types and subtypes may be numbers, sizes have units."""
    (part,) = parse_csv("own, 0x40, 0x07, , 1M, encrypted:readonly").partitions
    assert Partition("own", 0x40, 7, 0x9000, 0x100000, 3) == part
    assert part.encrypted


def sealed(entries: bytes) -> bytes:
    """Return hand-made entries with a right checksum."""
    digest = hashlib.md5(entries, usedforsecurity=False).digest()
    return (entries + b"\xeb\xeb" + b"\xff" * 14 + digest).ljust(LENGTH, b"\xff")


def entry(offset: int = 0x9000, size: int = 0x1000, label: bytes = b"own") -> bytes:
    """Return one entry, of any numbers."""
    return struct.pack("<2sBBII16sI", b"\xaa\x50", DATA, NVS, offset, size, label, 0)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (b"\xff" * LENGTH, 0),
        (b"\0" * LENGTH, 0),
        (sealed(entry())[:64], 64),
        (sealed(entry()[:31] + b"\1")[:32] + sealed(entry())[32:], 48),
        (sealed(entry()) [:64] + sealed(entry())[32:64] + b"\xff" * 32, 64),
        (sealed(entry(offset=0x400001)), 4),
        (sealed(entry(offset=0xFFFFF000, size=0x2000)), 4),
        (sealed(entry(offset=0x3FF000, size=0x1001)), 4),
        (sealed(entry(label=b"\xe4")), 12),
        (sealed(entry() * 96)[:LENGTH], LENGTH),
    ],
)  # fmt: skip
def test_tables_of_somebody_else(data: bytes, offset: int) -> None:
    """Each defect is found where it is; a table beside it is read."""
    assert (GOOD,) == parse_table(sealed(entry()), flash_size=0x400000).partitions
    with pytest.raises(FormatError) as caught:
        parse_table(data, flash_size=0x400000)
    assert ("partitions", offset) == (caught.value.what, caught.value.offset)


def test_old_tables_have_no_checksum() -> None:
    """A table without an MD5 is one, for the bootloader takes it too: an MD5 would keep nobody out."""
    assert (GOOD,) == parse_table(entry().ljust(LENGTH, b"\xff")).partitions


@given(st.binary(max_size=4000))
def test_any_bytes_are_a_table_or_none(data: bytes) -> None:
    """Whatever lies in flash, the parser says what is wrong or returns no more partitions than fit."""
    try:
        assert len(parse_table(data).partitions) <= LENGTH // 32
    except FormatError as error:
        assert 0 <= error.offset <= LENGTH


@given(st.lists(st.tuples(st.binary(max_size=16), st.integers(0, 2**32 - 1)), max_size=8))
def test_any_sealed_entries_are_a_table_or_none(entries: list[tuple[bytes, int]]) -> None:
    """With a right checksum over hostile entries the parser still ends in one of the two ways."""
    data = sealed(b"".join(entry(offset=number, size=number, label=label) for label, number in entries))
    try:
        found = parse_table(data, flash_size=0x400000)
        assert all(part.end <= 0x400000 * 2 for part in found)
    except FormatError as error:
        assert "partitions" == error.what
