"""The words of the serial protocol: frames' heads, status codes, commands (esptool documentation, *Serial Protocol*)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32
CRYSTAL = 40_000_000
ROM_BAUD = 115_200

HEADER = struct.Struct("<BBHI")
BEGIN, WORD, PAIR = struct.Struct("<IIII"), struct.Struct("<I"), struct.Struct("<II")

OK = (0, 0)
BAD_MESSAGE, FAILED, BAD_CHECKSUM, BAD_LENGTH = (1, 0x05), (1, 0x06), (1, 0x07), (1, 0x05)
STUB_UNKNOWN, STUB_BAD_LENGTH, STUB_BAD_CHECKSUM = (0xFF, 0), (0xC0, 0), (0xC1, 0)
STUB_SPI, STUB_NOT_WRITING, STUB_INFLATE = (0xC4, 0), (0xC6, 0), (0xC7, 0)

STUB_STATUS = {
    BAD_MESSAGE: STUB_BAD_LENGTH,
    FAILED: STUB_SPI,
    BAD_CHECKSUM: STUB_BAD_CHECKSUM,
    (1, 0x0B): STUB_INFLATE,
}


@dataclass(frozen=True, slots=True)
class Stub:
    """A flasher stub, as its tool uploads it.

    Attributes:
        entry: Where it begins.
        text: SHA-256 of its code.
        segments: Where its parts go, and how long they are; the code comes first.
    """

    entry: int
    text: bytes
    segments: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on the board.

    Attributes:
        kind: `download`, `stub`, `baud`, `restart`, `refused` or `noise`.
        text: The same in words.
        value: The baud rate of `baud`.
    """

    kind: str
    text: str
    value: int = 0


COMMON = {
    0x02: "_flash_begin", 0x03: "_flash_data", 0x04: "_flash_end", 0x05: "_mem_begin", 0x06: "_mem_end",
    0x07: "_mem_data", 0x08: "_sync", 0x09: "_write_register", 0x0A: "_read_register", 0x0B: "_accept",
    0x0D: "_accept", 0x0F: "_change_baud", 0x10: "_flash_begin", 0x11: "_flash_data", 0x12: "_flash_end",
    0x13: "_flash_md5", 0x14: "_security_info",
}  # fmt: skip
ROM_COMMANDS = {**COMMON, 0x0E: "_read_slowly"}
STUB_COMMANDS = {
    **COMMON, 0xD0: "_erase_all", 0xD1: "_erase_region", 0xD2: "_read_flash", 0xD3: "_run_user_code",
    0xD4: "_flash_data",
}  # fmt: skip
SECURE = frozenset({0x02, 0x03, 0x04, 0x08, 0x0B, 0x0D, 0x0F, 0x10, 0x11, 0x12, 0x14})
"""What is left in Secure Download Mode: write flash, and nothing that reads (ESP-IDF guide, *UART ROM download mode*)."""


def checksum(data: bytes) -> int:
    """Return the loader's checksum: all bytes, and 0xEF, by exclusive or."""
    # Folded in halves: a loop over single bytes would be most of the time of a download.
    number, length = int.from_bytes(data, "little"), len(data)
    while length > 1:
        half = (length + 1) // 2
        number = (number >> (8 * half)) ^ (number & ((1 << (8 * half)) - 1))
        length = half
    return number ^ 0xEF
