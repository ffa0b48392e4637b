"""SLIP, the framing on the wire (RFC 1055): `C0 … C0`, with `C0` written `DB DC` and `DB` written `DB DD`."""

from __future__ import annotations

from labkit.errors import FormatError

END, ESCAPE = 0xC0, 0xDB

_END, _ESCAPED_END, _ESCAPED_ESCAPE = b"\xc0", b"\xdb\xdc", b"\xdb\xdd"

LONGEST = 0x9000
"""Longest frame that is kept, as it is on the wire: a block of 0x4000 bytes, all of them escaped, and its header."""


def encode(packet: bytes) -> bytes:
    """Return a packet as a frame."""
    body = packet.replace(b"\xdb", _ESCAPED_ESCAPE).replace(_END, _ESCAPED_END)
    return _END + body + _END


def decode(body: bytes) -> bytes:
    """Return the packet of a frame whose ends were taken off.

    Raises:
        FormatError: `what` is `slip`: an escape that stands for nothing, or an end in the middle.
    """
    if (at := body.find(_END)) >= 0:
        raise _bad(at)
    if body.count(b"\xdb") != body.count(_ESCAPED_END) + body.count(_ESCAPED_ESCAPE):
        at = body.find(b"\xdb")
        while body[at : at + 2] in {_ESCAPED_END, _ESCAPED_ESCAPE}:
            at = body.find(b"\xdb", at + 2)
        raise _bad(at)
    # In this order: what the second replacement makes can't be taken for an escape any more.
    return body.replace(_ESCAPED_END, _END).replace(_ESCAPED_ESCAPE, b"\xdb")


class SlipReader:
    """Takes bytes as they come and gives out packets. Noise is dropped and counted, whatever it is.

    Attributes:
        dropped: How many frames were noise.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._inside = False
        self._pending: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the packets that these bytes complete."""
        *complete, rest = data.split(_END)
        packets = [packet for part in complete if (packet := self._end(part)) is not None]
        self._keep(rest)
        return packets

    def _end(self, part: bytes) -> bytes | None:
        self._keep(part)
        body, whole = b"".join(self._pending), self._length <= LONGEST
        begun, self._inside = self._inside, True
        self._pending, self._length = [], 0
        if not body:
            return None  # two ends in a row: the first ended the noise, the second begins a frame
        try:
            if begun and whole:
                return decode(body)
        except FormatError:
            pass
        self.dropped += 1
        return None

    def _keep(self, part: bytes) -> None:
        if part:
            self._length += len(part)
            if self._length > LONGEST:
                self._pending = [b"\0"]  # too long to be anything: only that there was something matters
            else:
                self._pending.append(part)


def _bad(offset: int) -> FormatError:
    return FormatError(
        f"This is no SLIP frame: an escape without a meaning at offset {offset}.",
        advice="Check that both sides use the same baud rate, and that nothing else writes to the port.",
        what="slip",
        offset=offset,
    )
