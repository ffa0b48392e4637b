"""A whole flash: put together of its parts, and told apart again from a dump.

Who holds a dump holds everything that is not encrypted. `survey` says what that is, part by part, as a thief would look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError, ImageRefusedError
from labkit.firmware import partitions
from labkit.firmware.image import parse_image
from labkit.firmware.nvs_encryption import parse_key_partition
from labkit.firmware.nvs_reader import read_image
from labkit.firmware.otadata import parse_otadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from labkit.firmware.image import Image
    from labkit.firmware.partitions import Partition

SIZE = 0x400000
_BOOTLOADERS = (0x1000, 0x0)
"""Where chips look for their bootloader: the ESP32, and those after it."""


@dataclass(frozen=True, slots=True)
class FlashPart:
    """Something that goes to a place in flash.

    Attributes:
        offset: Where.
        data: What.
        name: What it is called.
    """

    offset: int
    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a dump, and what somebody who reads the chip finds in it.

    Attributes:
        offset: Where it begins.
        size: How long it is.
        name: What it is called.
        kind: `bootloader`, `table`, `application`, `otadata`, `nvs`, `keys`, `blank` or `noise` (encrypted, or nothing
            that we know).
        holds: What is in it, in a few words.
    """

    offset: int
    size: int
    name: str
    kind: str
    holds: str


def merge(parts: Iterable[FlashPart], *, size: int | None = None) -> bytes:
    """Return one image of parts, from address 0 on, with FF between them, as `esptool merge-bin` does.

    Args:
        parts: In any order.
        size: How long it is; to the end of the last part without it.

    Raises:
        ImageRefusedError: Two parts overlap (`overlap`), or one ends behind the flash (`flash-size`).
    """
    ordered = sorted(parts, key=lambda part: part.offset)
    whole = bytearray()
    for part in ordered:
        if part.offset < len(whole):
            raise _refused(
                "overlap", f"{part.name} at {part.offset:#x} begins before the part before it ends"
            )
        if part.offset + len(part.data) > (size if size is not None else SIZE):
            raise _refused("flash-size", f"{part.name} at {part.offset:#x} ends behind the flash")
        whole += b"\xff" * (part.offset - len(whole)) + part.data
    return bytes(whole.ljust(size, b"\xff") if size is not None else whole)


def survey(dump: bytes) -> tuple[Found, ...]:
    """Return what is in a dump of a whole flash, by offset.

    Without a readable partition table, what follows the bootloader is one part.
    """
    try:
        table = partitions.parse_table(dump[partitions.OFFSET :][: partitions.LENGTH])
        told = ("table", f"{len(table.partitions)} partitions")
    except FormatError:
        table = partitions.PartitionTable(())
        told = _unreadable(dump[partitions.OFFSET :][: partitions.LENGTH])
    found = [_bootloader(dump), Found(partitions.OFFSET, 0x1000, "partition table", *told)]
    found += [_partition(dump, part) for part in table]
    if not table.partitions:
        rest = dump[partitions.FIRST :]
        found.append(Found(partitions.FIRST, len(rest), "everything else", *_unreadable(rest)))
    return tuple(sorted(found, key=lambda part: part.offset))


def _bootloader(dump: bytes) -> Found:
    for start in _BOOTLOADERS:
        data = dump[start : partitions.OFFSET]
        try:
            image = parse_image(data, verify=False)
        except FormatError:
            continue
        return Found(start, len(data), "bootloader", "bootloader", _told(image))
    return Found(0, partitions.OFFSET, "bootloader", *_unreadable(dump[: partitions.OFFSET]))


def _partition(dump: bytes, part: Partition) -> Found:
    data = dump[part.offset : part.end]
    look = _LOOKS.get((part.type, part.subtype))
    if part.type == partitions.APP:
        look = _application
    try:
        told = look(data) if look is not None else None
    except FormatError:
        told = None
    return Found(part.offset, part.size, part.label, *(told or _unreadable(data)))


def _unreadable(data: bytes) -> tuple[str, str]:
    """Tell blank flash from what only its key makes sense of."""
    if not data.strip(b"\xff"):
        return "blank", "nothing"
    return "noise", "encrypted, or nothing that we know"


def _application(data: bytes) -> tuple[str, str]:
    return "application", _told(parse_image(data, verify=False))


def _told(image: Image) -> str:
    whole = image.checksum[0] == image.checksum[1] and image.digest in {None, image.actual_digest}
    state = "" if whole else ", damaged"
    if image.description is not None:
        return f"{image.description.project} {image.description.version}{state}"
    return f"{len(image.segments)} segments{state}"


def _otadata(data: bytes) -> tuple[str, str] | None:
    entries = [one for one in parse_otadata(data) if one.intact]
    states = ", ".join(f"choice {one.sequence}: {one.state_name}" for one in entries)
    return ("otadata", states) if entries else None


def _nvs(data: bytes) -> tuple[str, str] | None:
    values = read_image(data)
    names = ", ".join(dict.fromkeys(value.namespace for value in values))
    return ("nvs", f"{len(values)} value{'s' * (len(values) != 1)} in {names}") if values else None


def _keys(data: bytes) -> tuple[str, str] | None:
    return ("keys", "the keys of encrypted NVS") if parse_key_partition(data) is not None else None


_LOOKS: dict[tuple[int, int], Callable[[bytes], tuple[str, str] | None]] = {
    (partitions.DATA, partitions.OTADATA): _otadata,
    (partitions.DATA, partitions.NVS): _nvs,
    (partitions.DATA, partitions.NVS_KEYS): _keys,
}


def _refused(rule: str, why: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"These parts make no flash: {why}.",
        advice="Compare with the partition table: labkit image table",
        rule=rule,
    )
