"""Flash downloads: what FLASH_BEGIN and FLASH_DEFL_BEGIN open, fed by blocks.

The ROM erases everything at the beginning; the stub erases each sector as it reaches it, so a tool that dies in
mid-write leaves what lies beyond as it was.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from labkit.board.nor_flash import SECTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.nor_flash import NorFlash

_LINE = 32
"""Encryption works on lines of 16 or 32 bytes; what does not fill one waits for the next block. All of it fills some."""


class DownloadError(Exception):
    """The block is refused; the status says why.

    Args:
        status: What the loader answers: its two first status bytes.
    """

    def __init__(self, status: tuple[int, int]) -> None:
        super().__init__(status)
        self.status = status


class FlashWriter:
    """One download.

    Args:
        flash: Where it goes.
        offset: Where it begins.
        size: How many bytes it has, before compression.
        block: How long a block is, to which a repeated block goes back.
        lazily: Whether sectors are erased when they are reached.
        compressed: Whether the blocks are one zlib stream.
        encrypt: What turns plain text at an offset into what is written; plain text is written without it.

    Raises:
        FlashBoundsError: It does not fit into the chip.
    """

    def __init__(
        self,
        flash: NorFlash,
        offset: int,
        size: int,
        block: int,
        *,
        lazily: bool,
        compressed: bool = False,
        encrypt: Callable[[int, bytes], bytes] | None = None,
    ) -> None:
        self._flash = flash
        self._start = offset
        self._size = size
        self._block = block
        self._encrypt = encrypt
        self._inflate = zlib.decompressobj() if compressed else None
        self._next = 0
        self._done = 0
        self._held = b""
        self._erased = offset - offset % SECTOR
        flash.read(offset, size)  # refuses what does not fit, before anything is erased
        if not lazily:
            self._erase_to(offset + size)

    def write(self, sequence: int, data: bytes) -> None:
        """Take a block.

        Args:
            sequence: Its number; a tool that heard no answer sends the last one again.
            data: Its bytes.

        Raises:
            DownloadError: It is out of turn, or does not inflate.
            PowerCut: The power went.
        """
        if sequence == self._next - 1:
            return  # had it already
        if sequence != self._next:
            raise DownloadError((1, 0x06))
        plain = self._plain(data)
        self._next += 1
        left = self._size - self._done - len(self._held)
        self._put(self._held + plain[:left])

    def _plain(self, data: bytes) -> bytes:
        if self._inflate is None:
            return data[: self._block]
        try:
            # One byte more than is left would be too much, and is enough to know it: no bomb goes off here.
            return self._inflate.decompress(data, self._size - self._done + 1)
        except zlib.error as error:
            raise DownloadError((1, 0x0B)) from error

    def _put(self, data: bytes) -> None:
        keep = len(data) % _LINE if self._encrypt and self._done + len(data) < self._size else 0
        self._held = data[len(data) - keep :]
        self._write(data[: len(data) - keep])

    def _write(self, data: bytes) -> None:
        if not data:
            return
        at = self._start + self._done
        self._erase_to(at + len(data))
        self._flash.program(at, self._encrypt(at, data) if self._encrypt else data)
        self._done += len(data)

    def _erase_to(self, end: int) -> None:
        until = end + -end % SECTOR
        if until > self._erased:
            self._flash.erase(self._erased, until - self._erased)
            self._erased = until
