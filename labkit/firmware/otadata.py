"""otadata: which application slot boots next, and how far it is trusted.

Two sectors hold one entry each, so that one is whole whatever happens to the other. The entry with the higher sequence
number counts (ESP-IDF programming guide, "Over The Air Updates"). A CRC covers the sequence number and nothing else, and
nobody signs it: whoever can write flash chooses the slot, and what is in it must stand for itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError, OtaRefusedError
from labkit.firmware.nvs import checksum

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTOR = 0x1000
SIZE = 2 * SECTOR

NEW, PENDING_VERIFY, VALID, INVALID, ABORTED, UNDEFINED = 0, 1, 2, 3, 4, 0xFFFFFFFF
STATES = {
    NEW: "new",
    PENDING_VERIFY: "pending-verify",
    VALID: "valid",
    INVALID: "invalid",
    ABORTED: "aborted",
    UNDEFINED: "undefined",
}
"""A new image boots once as pending; if nobody has called it valid by the next boot, it was aborted."""

_ENTRY = struct.Struct("<I20sII")
_NEVER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class OtaEntry:
    """One of the two entries.

    Attributes:
        sequence: Counts the choices; it names the slot too.
        state: See `STATES`. The bootloader takes a state that it does not know for a valid one.
        intact: Whether the CRC fits and the sequence was ever written.
    """

    sequence: int
    state: int
    intact: bool

    @property
    def bootable(self) -> bool:
        """Whether the bootloader may choose it."""
        return self.intact and self.state not in {INVALID, ABORTED}

    @property
    def state_name(self) -> str:
        """The state in a word."""
        return STATES.get(self.state, f"{self.state:#x}")

    def slot(self, slots: int) -> int:
        """Return which slot it names; the bootloader counts in 32 bits, so 0 means the last number."""
        return ((self.sequence - 1) & 0xFFFFFFFF) % slots


def build_entry(sequence: int, state: int) -> bytes:
    """Return an entry as it lies at the beginning of its sector."""
    return _ENTRY.pack(sequence, b"\xff" * 20, state, checksum(struct.pack("<I", sequence)))


def parse_otadata(data: bytes) -> tuple[OtaEntry, OtaEntry]:
    """Return both entries of the partition; any bytes are entries, most of them not intact.

    Raises:
        FormatError: It is shorter than two sectors.
    """
    if len(data) < SIZE:
        raise FormatError(
            f"This is no otadata: {len(data)} bytes are less than two sectors.",
            advice="Read 0x2000 bytes: esptool read-flash 0xd000 0x2000 otadata.bin",
            what="otadata",
            offset=len(data),
        )
    first, second = (_entry(data, sector * SECTOR) for sector in range(2))
    return first, second


def _entry(data: bytes, start: int) -> OtaEntry:
    sequence, _, state, told = _ENTRY.unpack_from(data, start)
    intact = sequence != _NEVER and told == checksum(data[start : start + 4])
    return OtaEntry(sequence, state, intact)


def active(entries: Sequence[OtaEntry], *, allowed: Sequence[bool] = (True, True)) -> int | None:
    """Return the number of the entry that counts, or None.

    Args:
        entries: Both of them.
        allowed: Entries that something else rules out, such as anti-rollback.
    """
    candidates = [number for number in range(2) if entries[number].bootable and allowed[number]]
    return max(candidates, key=lambda number: (entries[number].sequence, -number), default=None)


def next_entry(entries: Sequence[OtaEntry], slot: int, slots: int) -> tuple[int, int]:
    """Return in which sector, and with which sequence number, another slot is chosen.

    The entry that counts now is never the one that is overwritten: power may go at any moment.

    Raises:
        OtaRefusedError: `rule` is `slot` or `sequence-exhausted`.
    """
    if not 0 <= slot < slots:
        raise OtaRefusedError(
            f"There is no slot {slot}; the table has {slots}.",
            advice="Look at the partition table: labkit image table",
            rule="slot",
        )
    current = active(entries)
    if current is None:
        return 0, slot + 1
    sequence = entries[current].sequence
    following = sequence + 1 + (slot - sequence) % slots
    if following >= _NEVER:
        raise OtaRefusedError(
            "otadata has no sequence number left.",
            advice="Erase otadata; the first slot then boots: esptool erase-region 0xd000 0x2000",
            rule="sequence-exhausted",
        )
    return 1 - current, following
