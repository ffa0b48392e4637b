"""The partition table: what lies where in flash.

The table sits at 0x8000: entries of 32 bytes, then an MD5 over them, then erased flash up to 0xC00 (ESP-IDF programming
guide, "Partition Tables"). MD5 finds accidents. It is no signature: whoever can write flash can write a table, and
Secure Boot does not cover it.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError, PartitionRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OFFSET = 0x8000
LENGTH = 0xC00
"""Bytes of a table in flash, erased ones included."""

FIRST = 0x9000
"""Where partitions can begin: in the sector after the table's."""

SECTOR = 0x1000
APP_ALIGNMENT = 0x10000
"""Application partitions begin at a page of the flash cache."""

APP, DATA = 0x00, 0x01
FACTORY, OTA_FIRST, OTA_LAST, TEST = 0x00, 0x10, 0x1F, 0x20
OTADATA, PHY, NVS, COREDUMP, NVS_KEYS = 0x00, 0x01, 0x02, 0x03, 0x04

TYPES = {"app": APP, "data": DATA}
SUBTYPES: dict[int, dict[str, int]] = {
    APP: {
        "factory": FACTORY,
        "test": TEST,
        **{f"ota_{number}": OTA_FIRST + number for number in range(16)},
    },
    DATA: {
        "ota": OTADATA, "phy": PHY, "nvs": NVS, "coredump": COREDUMP, "nvs_keys": NVS_KEYS, "efuse": 0x05,
        "undefined": 0x06, "esphttpd": 0x80, "fat": 0x81, "spiffs": 0x82, "littlefs": 0x83,
    },
}  # fmt: skip
"""The names of subtypes that a CSV may use, by type."""

FLAGS = {"encrypted": 1, "readonly": 2}

_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
_BLANK = b"\xff" * 4
"""An end, as far as the bootloader looks."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One part of the flash.

    Attributes:
        label: Its name, at most 16 bytes.
        type: `APP`, `DATA`, or a number of one's own from 0x40.
        subtype: What kind of it.
        offset: Where it begins.
        size: How long it is.
        flags: See `FLAGS`.
    """

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size

    @property
    def encrypted(self) -> bool:
        """Whether flash encryption covers it: applications, otadata and NVS keys always, others when flagged."""
        always = self.type == APP or (self.type == DATA and self.subtype in {OTADATA, NVS_KEYS})
        return always or bool(self.flags & FLAGS["encrypted"])

    @property
    def kind(self) -> str:
        """Type and subtype as a CSV has them."""
        types = {number: name for name, number in TYPES.items()}
        subtypes = {number: name for name, number in SUBTYPES.get(self.type, {}).items()}
        return f"{types.get(self.type, hex(self.type))}, {subtypes.get(self.subtype, f'{self.subtype:#04x}')}"


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """All partitions of a flash."""

    partitions: tuple[Partition, ...]

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.partitions)

    def find(self, label: str) -> Partition | None:
        """Return the partition of a name."""
        return next((part for part in self.partitions if part.label == label), None)

    def of_kind(self, kind: int, subtype: int) -> Partition | None:
        """Return the last partition of a type and subtype, which is the one that the bootloader takes."""
        found = [part for part in self.partitions if (part.type, part.subtype) == (kind, subtype)]
        return found[-1] if found else None

    @property
    def ota_slots(self) -> tuple[Partition, ...]:
        """The application slots for updates, by number."""
        slots = {
            part.subtype: part
            for part in self.partitions
            if part.type == APP and OTA_FIRST <= part.subtype <= OTA_LAST
        }
        return tuple(slots[number] for number in sorted(slots))


COURSE_TABLE = PartitionTable(
    (
        Partition("nvs", DATA, NVS, 0x9000, 0x4000),
        Partition("otadata", DATA, OTADATA, 0xD000, 0x2000),
        Partition("phy_init", DATA, PHY, 0xF000, 0x1000),
        Partition("fctry", DATA, NVS, 0x10000, 0x6000),
        Partition("nvs_keys", DATA, NVS_KEYS, 0x16000, 0x1000, FLAGS["encrypted"]),
        Partition("ota_0", APP, OTA_FIRST, 0x20000, 0x1E0000),
        Partition("ota_1", APP, OTA_FIRST + 1, 0x200000, 0x1E0000),
    )
)
"""The table of the course's device, for 4 MB: a partition of its own (`fctry`) for the identity, and two slots.

The first three lie where ESP-IDF's own table for two slots has them, so that what wipes them there wipes them here.
"""


def build_table(table: PartitionTable) -> bytes:
    """Return a table as it lies in flash, byte for byte what ESP-IDF's generator writes.

    Raises:
        PartitionRefusedError: See `verify_table`.
    """
    verify_table(table)
    entries = b"".join(
        _ENTRY.pack(_MAGIC, p.type, p.subtype, p.offset, p.size, p.label.encode(), p.flags) for p in table
    )
    digest = hashlib.md5(entries, usedforsecurity=False).digest()
    return (entries + _MD5_MAGIC + digest).ljust(LENGTH, b"\xff")


def verify_table(table: PartitionTable, *, flash_size: int = 0x400000) -> None:
    """Verify that a table makes sense before it is written.

    Raises:
        PartitionRefusedError: `rule` is `label`, `duplicate`, `number`, `size`, `alignment`, `overlap`, `flash-size` or
            `too-many`.

    Does not check: what is in the partitions.
    """
    if len(table.partitions) > LENGTH // 32 - 2:  # the MD5, and an end
        raise _refused("", "too-many", f"{len(table.partitions)} partitions do not fit")
    for number, part in enumerate(table):
        _verify_partition(part, flash_size)
        if any(other.label == part.label for other in table.partitions[:number]):
            raise _refused(part.label, "duplicate", f"{part.label} comes twice")
    ordered = sorted(table, key=lambda part: part.offset)
    for before, after in itertools.pairwise(ordered):
        if before.end > after.offset:
            raise _refused(after.label, "overlap", f"{after.label} begins before {before.label} ends")


def _verify_partition(part: Partition, flash_size: int) -> None:
    if not (part.label.isascii() and part.label.isprintable() and 1 <= len(part.label) <= 16):
        raise _refused(part.label, "label", f"{part.label!r} is no label of 1 to 16 ASCII characters")
    if not (0 <= part.type < 0xFF and 0 <= part.subtype <= 0xFF and 0 <= part.flags <= 0xFFFFFFFF):
        raise _refused(
            part.label, "number", f"type {part.type:#x} or subtype {part.subtype:#x} is out of range"
        )
    if part.size <= 0 or part.size % SECTOR:
        raise _refused(part.label, "size", f"{part.label} has {part.size:#x} bytes, which are no sectors")
    alignment = APP_ALIGNMENT if part.type == APP else SECTOR
    if part.offset % alignment or part.offset < FIRST:
        raise _refused(
            part.label, "alignment", f"{part.label} begins at {part.offset:#x}, not at a {alignment:#x}"
        )
    if part.end > flash_size:
        raise _refused(
            part.label, "flash-size", f"{part.label} ends at {part.end:#x} and the flash at {flash_size:#x}"
        )


def parse_table(data: bytes, *, flash_size: int | None = None) -> PartitionTable:
    """Return the table that flash holds, as the bootloader reads it.

    The bootloader does not mind overlaps, labels that come twice or a missing MD5, as old tables have none, so neither
    does this; see `verify_table`.

    Args:
        data: What lies at `OFFSET`; every length in it is taken for an attacker's.
        flash_size: Refuse partitions that end behind it.

    Raises:
        FormatError: It does not follow the format, or its MD5 is wrong.

    Does not check: who wrote it.
    """
    found: list[Partition] = []
    sealed = False
    for start in range(0, min(len(data), LENGTH) - 31, 32):
        raw = data[start : start + 32]
        if raw[:2] == _MAGIC:
            found.append(_entry(raw, start, flash_size))
        elif raw[:2] == _MD5_MAGIC[:2]:
            if sealed:
                raise _bad(start, "it has two checksums")
            if raw[16:] != hashlib.md5(data[:start], usedforsecurity=False).digest():
                raise _bad(start + 16, "its MD5 is wrong")
            sealed = True
        elif raw.startswith(_BLANK):
            if not found:
                raise _bad(start, "it is empty")
            return PartitionTable(tuple(found))
        else:
            raise _bad(start, f"no such magic number: {raw[:2].hex()}")
    raise _bad(min(len(data), LENGTH), "it has no end")


def _entry(raw: bytes, start: int, flash_size: int | None) -> Partition:
    _, kind, subtype, offset, size, label, flags = _ENTRY.unpack(raw)
    # Both are 32 bits and an attacker's: compare by subtraction, as the bootloader's C has to.
    if flash_size is not None and (offset > flash_size or size > flash_size - offset):
        raise _bad(start + 4, f"a partition reaches from {offset:#x} for {size:#x} bytes, beyond the flash")
    try:
        name = label.split(b"\0")[0].decode("ascii")
    except UnicodeDecodeError as error:
        raise _bad(start + 12, "a label is not ASCII") from error
    return Partition(name, kind, subtype, offset, size, flags)


# --- CSV ----------------------------------------------------------------------------------------------------------


def parse_csv(text: str) -> PartitionTable:
    """Return the table of a `partitions.csv` as ESP-IDF writes them.

    Offsets may be blank: the partition then follows the one before, applications at the next 0x10000.

    Raises:
        PartitionRefusedError: `rule` is `columns`, `number`, `type`, `subtype` or `flag`; or see `verify_table`.
    """
    found: list[Partition] = []
    free = FIRST
    for line in text.splitlines():
        words = [word.strip() for word in line.partition("#")[0].split(",")]
        if words == [""]:
            continue
        part = _row(words, free)
        free = part.end
        found.append(part)
    table = PartitionTable(tuple(found))
    verify_table(table)
    return table


def _row(words: Sequence[str], free: int) -> Partition:
    label = words[0]
    if not 5 <= len(words) <= 6:
        raise _refused(label, "columns", f"the line of {label!r} has {len(words)} columns and not 5 or 6")
    kind = TYPES.get(words[1])
    if kind is None:
        kind = _number(label, words[1], "type")
    subtype = SUBTYPES.get(kind, {}).get(words[2])
    if subtype is None:
        subtype = _number(label, words[2], "subtype")
    alignment = APP_ALIGNMENT if kind == APP else SECTOR
    offset = _number(label, words[3], "number") if words[3] else -(-free // alignment) * alignment
    flags = 0
    for word in words[5].split(":") if len(words) == 6 and words[5] else []:
        if word.strip() not in FLAGS:
            raise _refused(label, "flag", f"{label} has the flag {word!r}, which is none")
        flags |= FLAGS[word.strip()]
    return Partition(label, kind, subtype, offset, _number(label, words[4], "number"), flags)


def _number(label: str, word: str, rule: str) -> int:
    units = {"K": 1024, "M": 1024 * 1024}
    digits, unit = (word[:-1], units[word[-1].upper()]) if word[-1:].upper() in units else (word, 1)
    try:
        return int(digits, 0) * unit
    except ValueError as error:
        raise _refused(label, rule, f"{label} has {word!r} where a {rule} belongs") from error


def render_csv(table: PartitionTable) -> str:
    """Return a table as ESP-IDF's `partitions.csv`."""
    lines = ["# Name, Type, SubType, Offset, Size, Flags"]
    for part in table:
        flags = ":".join(name for name, bit in FLAGS.items() if part.flags & bit)
        lines.append(
            f"{part.label}, {part.kind}, {part.offset:#x}, {part.size:#x},{' ' + flags if flags else ''}"
        )
    return "\n".join(lines) + "\n"


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is no partition table: {why} (offset {offset:#x}).",
        advice="Write it again: labkit image table --output table.bin, then esptool write-flash 0x8000 table.bin",
        what="partitions",
        offset=offset,
    )


def _refused(label: str, rule: str, why: str) -> PartitionRefusedError:
    return PartitionRefusedError(
        f"This table can't be: {why}.",
        advice="A line is label, type, subtype, offset, size, flags; see labkit image table --csv for one that works.",
        label=label,
        rule=rule,
    )
