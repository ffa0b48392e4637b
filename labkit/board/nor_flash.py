"""NOR flash as it really is: erasing sets a sector's bits, programming only clears them, and power can fail between.

One operation is what the chip does without being interrupted: a page program (up to 256 bytes inside one page) or
the erasure of one sector of 4 KiB. A power cut falls between two of them. A real chip can also be cut *within* one,
which leaves a sector or page of chance; this model does not.
"""

from __future__ import annotations

from labkit.errors import FlashBoundsError

SIZE = 0x400000
SECTOR = 0x1000
PAGE = 0x100

_BLANK_PAGE = b"\xff" * PAGE
_BLANK_SECTOR = b"\xff" * SECTOR


class PowerCut(Exception):  # noqa: N818 - it is no error: the lights go out
    """The lights go out: raised in place of the operation that no longer happened."""


class NorFlash:
    """A flash chip.

    Args:
        data: What it holds; shorter data is followed by blank flash. Blank without it.
        size: How large it is.
        cut_after: How many operations the power lasts for; for ever without it.

    Attributes:
        operations: How many there were.
        cut_after: See above; it may be set at any time.
        status: The chip's three status registers, which the model keeps as long as it lives and no file does.

    Raises:
        ValueError: The size is no whole number of sectors, or the data is longer.
    """

    def __init__(self, data: bytes | None = None, *, size: int = SIZE, cut_after: int | None = None) -> None:
        given = data or b""
        if size <= 0 or size % SECTOR or len(given) > size:
            text = f"flash of {size:#x} bytes with {len(given):#x} bytes in it"
            raise ValueError(text)
        self._data = bytearray(given) + b"\xff" * (size - len(given))
        self.operations = 0
        self.cut_after = cut_after
        self.status = [0, 0, 0]

    def __repr__(self) -> str:
        return f"NorFlash(size={self.size:#x}, operations={self.operations})"

    @property
    def size(self) -> int:
        """How large it is, in bytes."""
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes.

        Raises:
            FlashBoundsError: They are not all there.
        """
        self._check(offset, length)
        return bytes(self._data[offset : offset + length])

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are clear in `data`, page after page. Bits never come back.

        Raises:
            FlashBoundsError: It does not fit; nothing was programmed.
            PowerCut: The power went.
        """
        self._check(offset, len(data))
        done = 0
        while done < len(data):
            start = offset + done
            part = data[done : done + PAGE - start % PAGE]
            self._operate()
            self._clear(start, part)
            done += len(part)

    def _clear(self, start: int, part: bytes) -> None:
        end = start + len(part)
        old = self._data[start:end]
        if old != _BLANK_PAGE[: len(part)]:
            both = int.from_bytes(old, "little") & int.from_bytes(part, "little")
            part = both.to_bytes(len(part), "little")
        self._data[start:end] = part

    def erase(self, offset: int, length: int) -> None:
        """Set every bit of whole sectors.

        Raises:
            FlashBoundsError: The bounds are not sectors of this chip; nothing was erased.
            PowerCut: The power went.
        """
        self._check(offset, length)
        if offset % SECTOR or length % SECTOR:
            raise self._bounds(offset, length, "erasing works on whole sectors of 0x1000 bytes")
        for start in range(offset, offset + length, SECTOR):
            self._operate()
            self._data[start : start + SECTOR] = _BLANK_SECTOR

    def image(self) -> bytes:
        """Return everything that it holds."""
        return bytes(self._data)

    def _operate(self) -> None:
        if self.cut_after is not None and self.operations >= self.cut_after:
            raise PowerCut
        self.operations += 1

    def _check(self, offset: int, length: int) -> None:
        # By subtraction: the sum of two numbers from outside may be anything.
        if offset < 0 or length < 0 or offset > self.size or length > self.size - offset:
            raise self._bounds(offset, length, f"the chip has {self.size:#x} bytes")

    def _bounds(self, offset: int, length: int, why: str) -> FlashBoundsError:
        return FlashBoundsError(
            f"{length:#x} bytes of flash at {offset:#x} can't be had: {why}.",
            advice="Compare the offsets with the partition table: labkit image table FILE",
            offset=offset,
            length=length,
            size=self.size,
        )
