"""What a tool sent to a board, kept so that it can be sent again: in process, without the tool, as often as it takes.

A tool's next words depend on the answers to the last only where something goes wrong. So a recording of a session that
went well can be replayed to a board in the same state, and be cut off wherever one likes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labkit.board.rom_loader import RomLoader

MAGIC = b"LABWIRE1"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recording.

    Attributes:
        pieces: The bytes as they came, piece by piece.
    """

    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, recording: Iterable[bytes]) -> Self:
        """Return a transcript of what `VirtualBoard.record` recorded."""
        return cls(tuple(recording))

    def replay(self, loader: RomLoader) -> bytes:
        """Send it all to a loader and return what it answered.

        Raises:
            PowerCut: The flash chip's power went in the middle; the loader's flash has what was done until then.
        """
        return b"".join(map(loader.receive, self.pieces))

    def to_bytes(self) -> bytes:
        """Return it as a file."""
        return MAGIC + b"".join(_LENGTH.pack(len(piece)) + piece for piece in self.pieces)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the transcript that a file holds.

        Raises:
            FormatError: `what` is `transcript`; the offset says where.
        """
        if not data.startswith(MAGIC):
            raise _bad(0, "it does not begin as one")
        pieces, at = [], len(MAGIC)
        while at < len(data):
            if len(data) - at < _LENGTH.size:
                raise _bad(at, "a length is cut off")
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            if length > len(data) - at:
                raise _bad(at, "a piece is cut off")
            pieces.append(data[at : at + length])
            at += length
        return cls(tuple(pieces))


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is no transcript: {why} (offset {offset:#x}).",
        advice="Record it again: VirtualBoard.record()",
        what="transcript",
        offset=offset,
    )
