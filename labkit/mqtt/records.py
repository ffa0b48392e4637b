"""What went over a wire, and the TLS records in it (RFC 8446 §5.1, RFC 5246 §6.2.1).

Every length in here was chosen by somebody else. It is compared with what is really there before it is used, and a
recording may end anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labkit.errors import FormatError

Direction = Literal["client", "server"]
"""Who sent it."""

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CONTENT_TYPES = {
    CHANGE_CIPHER_SPEC: "change_cipher_spec",
    ALERT: "alert",
    HANDSHAKE: "handshake",
    APPLICATION_DATA: "application_data",
}

HEADER = 5
"""Type, version, length."""

LONGEST = 2**14 + 2048
"""The longest body of a record that any version allows (RFC 5246 §6.2.3)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes, as they arrived.

    Attributes:
        direction: Who sent them.
        at: Seconds since the recording began.
        data: The bytes.
    """

    direction: Direction
    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """One recorded connection, in the order in which things arrived.

    Attributes:
        chunks: The bytes.
    """

    chunks: tuple[Chunk, ...]

    def __repr__(self) -> str:
        sizes = {side: len(self.stream(side)) for side in ("client", "server")}
        return f"<Capture: client sent {sizes['client']} bytes, server {sizes['server']}>"

    def stream(self, direction: Direction) -> bytes:
        """Return everything that one side sent."""
        return b"".join(chunk.data for chunk in self.chunks if chunk.direction == direction)


@dataclass(frozen=True, slots=True)
class Record:
    """One TLS record.

    Attributes:
        direction: Who sent it.
        at: When its last byte arrived, in seconds since the recording began.
        content_type: Its type; see `CONTENT_TYPES`.
        header: Its five bytes, which the encryption vouches for.
        body: What follows them.
    """

    direction: Direction
    at: float
    content_type: int
    header: bytes
    body: bytes

    @property
    def size(self) -> int:
        """Its length on the wire, header included."""
        return len(self.header) + len(self.body)


def split_record(data: bytes) -> tuple[bytes | None, bytes]:
    """Return the first record of some bytes and what follows it; None if it is not complete.

    Raises:
        FormatError: This is no TLS record; `offset` counts from the beginning of `data`.
    """
    if data and data[0] not in CONTENT_TYPES:
        raise _bad(0, f"a record begins with its type, and {data[0]} is none")
    if len(data) >= 2 and data[1] != 3:
        raise _bad(1, f"its version begins with 3, not with {data[1]}")
    if len(data) < HEADER:
        return None, data
    length = int.from_bytes(data[3:5], "big")
    if length > LONGEST:
        raise _bad(3, f"it claims to have {length} bytes, and {LONGEST} are allowed")
    # Subtract from what is there; adding to an offset that somebody else chose is how parsers overflow.
    if len(data) - HEADER < length:
        return None, data
    return data[: HEADER + length], data[HEADER + length :]


def split_records(capture: Capture) -> list[Record]:
    """Return the records of a recording, in the order in which they were complete.

    What the recording cut off in the middle is left out.

    Raises:
        FormatError: One side did not speak TLS; `offset` counts from the beginning of what it said.
    """
    records: list[Record] = []
    waiting: dict[Direction, bytes] = {"client": b"", "server": b""}
    taken: dict[Direction, int] = {"client": 0, "server": 0}
    for chunk in capture.chunks:
        rest = waiting[chunk.direction] + chunk.data
        while True:
            try:
                found, rest = split_record(rest)
            except FormatError as error:
                raise _bad(
                    taken[chunk.direction] + error.offset, f"{chunk.direction}: {error.message}"
                ) from error
            if found is None:
                break
            taken[chunk.direction] += len(found)
            records.append(Record(chunk.direction, chunk.at, found[0], found[:HEADER], found[HEADER:]))
        waiting[chunk.direction] = rest
    return records


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is not TLS: {why}.",
        advice="Is it a recording of a TLS connection, from its first byte on?",
        what="TLS record",
        offset=offset,
    )
