"""The archive of a batch: a tar file (POSIX.1-2001, ustar) that is written a part at a time.

A part has no end mark, so that parts put one behind the other, and the mark behind them, are one archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
END = bytes(2 * BLOCK)
"""What stands at the end of an archive."""

LONGEST_NAME = 99

_MODE, _OWNER, _TIME = b"0000600\0", b"0000000\0" * 2, b"00000000000\0"
_SPACES = b" " * 8
_TAIL = (b"0" + bytes(100) + b"ustar\0" + b"00").ljust(BLOCK - 156, b"\0")
_FIXED = sum(_MODE) + sum(_OWNER) + sum(_TIME) + sum(_SPACES) + sum(_TAIL)


def member(name: str, content: bytes) -> bytes:
    """Return a file as a member of an archive: readable by its owner alone, and without a date.

    Args:
        name: Its name, at most 99 characters of ASCII.
        content: What is in it.

    Raises:
        ValueError: The name is too long, or not ASCII.
    """
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= LONGEST_NAME:
        text = f"a name in an archive has 1 to {LONGEST_NAME} characters: {name!r}"
        raise ValueError(text)
    size = b"%011o\0" % len(content)
    total = b"%06o\0 " % (_FIXED + sum(encoded) + sum(size))
    head = encoded.ljust(100, b"\0") + _MODE + _OWNER + size + _TIME + total + _TAIL
    return b"".join((head, content, bytes(-len(content) % BLOCK)))


def members(part: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a part or of an archive that we wrote.

    Raises:
        FormatError: It was cut off, or is none of ours.
    """
    offset = 0
    while offset < len(part) and part[offset : offset + BLOCK].strip(b"\0"):
        head = part[offset : offset + BLOCK]
        try:
            size = int(head[124:135], 8)
            told = int(head[148:154], 8)
            name = head[:100].rstrip(b"\0").decode("ascii")
        except ValueError as error:
            raise _bad(offset, "a header is damaged") from error
        if len(head) < BLOCK or told != sum(head[:148]) + sum(_SPACES) + sum(head[156:]):
            raise _bad(offset, "a header's checksum is wrong")
        start = offset + BLOCK
        if size > len(part) - start:
            raise _bad(offset, f"{name} is cut off")
        yield name, part[start : start + size]
        offset = start + size + -size % BLOCK


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is no part of a batch: {why} (offset {offset}).",
        advice="Delete it and run the batch again; what is on record is not made twice.",
        what="batch",
        offset=offset,
    )
