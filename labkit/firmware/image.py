"""Firmware images: what esptool writes and what ROM and bootloader read.

A header of 24 bytes, segments (address, length, data), a checksum of one byte at the end of a 16-byte line, and usually
the SHA-256 of everything before (ESP-IDF programming guide, "App Image Format"). Checksum and SHA-256 find accidents.
They are no signature: whoever changes an image computes them anew, with `repair` for instance.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.errors import ImageFormatError
from labkit.firmware.description import (
    APP_LENGTH,
    BOOTLOADER_LENGTH,
    AppDescription,
    BootloaderDescription,
    find_behaviour,
    parse_app,
    parse_bootloader,
)
from labkit.firmware.memory_map import MAPPED, MMU_PAGE, map_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAGIC = 0xE9
HEADER = 24
SEGMENT_HEADER = 8
MOST_SEGMENTS = 16
LONGEST_SEGMENT = 0x1000000
DIGEST = 32
CHECKSUM_START = 0xEF

_PIECE = 0x4000

_HEADER = struct.Struct("<BBBBIB3sHBHH4xB")
_SEGMENT = struct.Struct("<II")

FLASH_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}
FLASH_SIZES = {n: f"{1 << n}MB" for n in range(8)}


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an image that goes to one place in memory.

    Attributes:
        address: Where it goes.
        data: What it is.
        offset: Where its data begins in the image.
    """

    address: int
    data: bytes = field(repr=False)
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """An image, taken apart.

    Attributes:
        chip_id: For which chip it is.
        entry: Where execution would begin.
        segments: Its parts, in order.
        min_revision: The oldest revision of the chip that it runs on, major times 100 plus minor.
        max_revision: The newest; 0 and 65535 mean any.
        flash: The header's two bytes about the flash chip; esptool may change them in a bootloader.
        length: Bytes from the header to the end of checksum and digest, without any signature.
        checksum: The checksum that it carries, and the right one.
        digest: The SHA-256 that it carries, or None.
        actual_digest: The right one.
    """

    chip_id: int
    entry: int
    segments: tuple[Segment, ...]
    min_revision: int
    max_revision: int
    flash: tuple[int, int]
    length: int
    checksum: tuple[int, int]
    digest: bytes | None
    actual_digest: bytes

    @property
    def description(self) -> AppDescription | None:
        """What an application says of itself; None for anything else."""
        return parse_app(self.segments[0].data)

    @property
    def bootloader(self) -> BootloaderDescription | None:
        """What a bootloader says of itself; None for anything else."""
        return parse_bootloader(self.segments[0].data)


def behaviour_of(image: Image) -> dict[str, Any] | None:
    """Return what an image of the course does on the virtual board; None for an image of machine code alone.

    Raises:
        FormatError: It has a behaviour that makes no sense.
    """
    described = APP_LENGTH if image.description is not None else BOOTLOADER_LENGTH
    return find_behaviour(image.segments[0].data, described if image.description or image.bootloader else 0)


def parse_image(data: bytes, *, verify: bool = True) -> Image:
    """Take an image apart, as a chip does before it starts it.

    Args:
        data: The image, and maybe more behind it; every length in it is taken for an attacker's.
        verify: Refuse a wrong checksum or digest too. Without it they are only reported.

    Raises:
        ImageFormatError: `rule` is `truncated`, `magic`, `segments`, `segment-length`, `checksum` or `digest`.

    Does not check: who made it, for which chip, where its segments go. See `verify_placement` and `secure_boot`.
    """
    layout = _layout(lambda offset, length: data[offset : offset + length], len(data))
    _, _, mode, flash_size, entry, _, _, chip_id, _, least, most, hashed = layout.head
    segments = tuple(Segment(a, data[start : start + n], start) for a, start, n in layout.segments)
    checked, length = layout.checked, layout.length
    image = Image(
        chip_id, entry, segments, least, most, (mode, flash_size), length,
        checksum=(data[checked], checksum(segment.data for segment in segments)),
        digest=data[checked + 1 : length] if hashed else None,
        actual_digest=hashlib.sha256(data[: checked + 1]).digest(),
    )  # fmt: skip
    if verify:
        _verify_sums(image, checked)
    return image


def measure(read: Callable[[int, int], bytes], room: int) -> int:
    """Return how long an image is, reading nothing of it but headers.

    Args:
        read: Returns bytes of the image by offset and length; fewer where it ends.
        room: How much there is to read.

    Raises:
        ImageFormatError: As `parse_image`, but for the rules `checksum` and `digest`.
    """
    return _layout(read, room).length


@dataclass(frozen=True, slots=True)
class _Layout:
    """What headers say: address, place and length of each segment, and where the checksum is."""

    head: tuple[Any, ...]
    segments: tuple[tuple[int, int, int], ...]

    @property
    def checked(self) -> int:
        """The place of the checksum: the last byte of a line of 16."""
        _, start, length = self.segments[-1]
        return (start + length) | 15

    @property
    def length(self) -> int:
        """The end of checksum and digest."""
        return self.checked + 1 + (DIGEST if self.head[-1] else 0)


def _layout(read: Callable[[int, int], bytes], room: int) -> _Layout:
    raw = read(0, HEADER)
    if len(raw) < HEADER:
        raise bad("truncated", len(raw), "it ends within its header")
    head = _HEADER.unpack(raw)
    if head[0] != MAGIC:
        raise bad("magic", 0, f"it begins with {head[0]:#04x} and not {MAGIC:#04x}")
    if not 1 <= head[1] <= MOST_SEGMENTS:
        raise bad("segments", 1, f"it has {head[1]} segments; 1 to {MOST_SEGMENTS} are possible")
    found, offset = [], HEADER
    for _ in range(head[1]):
        raw = read(offset, SEGMENT_HEADER)
        if len(raw) < SEGMENT_HEADER:
            raise bad("truncated", room, "it ends within the header of a segment")
        address, length = _SEGMENT.unpack(raw)
        if length % 4 or length >= LONGEST_SEGMENT:
            raise bad("segment-length", offset + 4, f"a segment can't have {length:#x} bytes")
        offset += SEGMENT_HEADER
        if length > room - offset:
            raise bad("truncated", room, f"a segment of {length:#x} bytes reaches behind the end")
        found.append((address, offset, length))
        offset += length
    layout = _Layout(head, tuple(found))
    if layout.length > room:
        raise bad("truncated", room, "it ends before its checksum and digest")
    return layout


def _verify_sums(image: Image, checked: int) -> None:
    told, right = image.checksum
    if told != right:
        raise bad("checksum", checked, f"its checksum is {told:#04x} and should be {right:#04x}")
    if image.digest is not None and image.digest != image.actual_digest:
        raise bad("digest", checked + 1, "its SHA-256 is another")


def verify_placement(image: Image, start: int = 0) -> None:
    """Verify that an image's segments go where its chip has memory for them.

    Args:
        image: The image.
        start: Where it lies in flash, or at a distance from there that is a multiple of 0x10000.

    Raises:
        ImageFormatError: `rule` is `load-address` or `segment-alignment`.

    Does not check: an image for a chip that we don't know; and that segments overlap each other.
    """
    memory = map_of(image.chip_id)
    for segment in image.segments if memory else ():
        region = memory.region(segment.address, len(segment.data)) if memory else None
        header = segment.offset - SEGMENT_HEADER
        if region is None:
            why = f"the chip has no memory at {segment.address:#010x} for {len(segment.data):#x} bytes"
            raise bad("load-address", header, why)
        # A page of flash shows in memory as it is, so both addresses agree in their lower bits.
        if region in MAPPED and (segment.offset + start - segment.address) % MMU_PAGE:
            raise bad(
                "segment-alignment",
                header,
                f"{segment.address:#010x} can't show flash at {segment.offset:#x}",
            )


def checksum(parts: Any) -> int:
    """Return the byte that all bytes of an image's segments add up to by exclusive or."""
    total = CHECKSUM_START
    for part in parts:
        total ^= _fold(part)
    return total


def _fold(data: bytes) -> int:
    """Return the exclusive or of all bytes: pieces as large numbers first, then the rest by halves."""
    total = 0
    for start in range(0, len(data), _PIECE):
        total ^= int.from_bytes(data[start : start + _PIECE], "little")
    size = _PIECE
    while size > 1:
        size //= 2
        total = (total >> 8 * size) ^ (total & (1 << 8 * size) - 1)
    return total


def build_image(
    segments: Sequence[tuple[int, bytes]],
    *,
    chip_id: int,
    entry: int,
    min_revision: int = 0,
    max_revision: int = 0xFFFF,
    flash: tuple[int, int] = (2, 0x2F),
    hashed: bool = True,
) -> bytes:
    """Return an image of segments, as esptool would write these segments in this order.

    Nothing is checked, so that this builds images too that no tool of good faith would build.

    Args:
        segments: Address and data of each.
        chip_id: For which chip.
        entry: Where execution would begin.
        min_revision: See `Image`.
        max_revision: See `Image`.
        flash: See `Image`; without a word DIO, 4 MB, 80 MHz.
        hashed: Append the SHA-256.
    """
    # The byte before the two revisions is an old one that holds the major number alone.
    head = _HEADER.pack(
        MAGIC, len(segments), *flash, entry, 0xEE, b"\0\0\0", chip_id, 0, min_revision, max_revision, hashed
    )
    body = head + b"".join(_SEGMENT.pack(address, len(data)) + data for address, data in segments)
    body += bytes(15 - len(body) % 16) + bytes([checksum(data for _, data in segments)])
    return body + (hashlib.sha256(body).digest() if hashed else b"")


def repair(data: bytes) -> bytes:
    """Return a changed image with checksum and SHA-256 made right again, as an attacker would.

    Raises:
        ImageFormatError: It is no image any more; see `parse_image`.
    """
    image = parse_image(data, verify=False)
    end = image.length - (DIGEST if image.digest is not None else 0)
    changed = bytearray(data)
    changed[end - 1] = image.checksum[1]
    if image.digest is not None:
        changed[end : image.length] = hashlib.sha256(changed[:end]).digest()
    return bytes(changed)


def bad(rule: str, offset: int, why: str) -> ImageFormatError:
    """Return the error for an image that a chip would not start."""
    return ImageFormatError(
        f"This is no firmware image: {why} (offset {offset:#x}).",
        advice="Look at it: labkit image info FILE. Build one: labkit image build --help",
        what="image",
        offset=offset,
        rule=rule,
    )
