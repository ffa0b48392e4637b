"""READ_FLASH of the stub: blocks go out ahead of their acknowledgements, as many as the window has, then a digest."""

from __future__ import annotations

import hashlib

from labkit.board.slip import encode

LONGEST_BLOCK, MOST_AHEAD = 0x4000, 1 << 20
"""Longest block, and how many bytes may be out without an acknowledgement."""


class FlashReader:
    """One read that is under way.

    Args:
        data: What is read.
        block: How long a block is.
        window: How many blocks may be out without an acknowledgement.

    Attributes:
        finished: Whether the digest went out.
    """

    def __init__(self, data: bytes, block: int, window: int) -> None:
        self.finished = False
        self._data = data
        self._block = block
        self._window = window
        self._sent = 0
        self._acknowledged = -1

    def acknowledge(self, total: int) -> bytes:
        """Return the frames that go out after `total` bytes arrived; 0 begins. Anything else but progress is ignored."""
        if not self._acknowledged < total <= self._sent:
            return b""
        self._acknowledged = total
        frames = []
        limit = min(len(self._data), total + self._window * self._block)
        while self._sent < limit:
            part = self._data[self._sent : self._sent + self._block]
            frames.append(encode(part))
            self._sent += len(part)
        if total == len(self._data):
            frames.append(encode(hashlib.md5(self._data, usedforsecurity=False).digest()))
            self.finished = True
        return b"".join(frames)
