"""What lies where in a flash chip: a strip to scale, a box for each part, and the same as a table."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.tables import Table
from labkit.display.theme import COLOURS, INK, tint
from labkit.firmware.partitions import FIRST, OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.firmware.partitions import PartitionTable

_TOP, _ROW, _GAP = 34, 42, 8
_STRIP = (8, 46)
_BOX = (120, 638)
_WIDTH = 760
_THIN = 1.5
"""So high is a part drawn at least, or nobody would see a sector in four megabytes."""

KINDS = {
    "code": "root",
    "data": "server",
    "identity": "device",
    "secret": "attacker",
    "free": "unknown",
}
"""The role in the theme's colours, by what a part holds."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a flash.

    Attributes:
        offset: Where it begins.
        size: How long it is.
        name: What it is called.
        holds: What is in it, in a few words.
        kind: One of `KINDS`.
        readable: What somebody finds who reads the chip, in a few words.
    """

    offset: int
    size: int
    name: str
    holds: str
    kind: str = "data"
    readable: str = ""


@dataclass(frozen=True)
class FlashMap:
    """A map to look at. Get one from `flash_map`.

    Attributes:
        regions: The parts, by offset.
        size: The flash's size.
        title: What it is a map of.
        note: A sentence below it.
    """

    regions: tuple[Region, ...]
    size: int
    title: str
    note: str

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the map as a table."""
        rows = [
            (f"{part.offset:#08x}", measure(part.size), part.name, part.holds, part.readable)
            for part in self.regions
        ]
        return str(
            Table(self.title, ("from", "size", "part", "holds", "who reads the chip finds"), rows, self.note)
        )

    def _repr_html_(self) -> str:
        height = _TOP + len(self.regions) * (_ROW + _GAP)
        drawn = "".join(self._part(part, row, height) for row, part in enumerate(self.regions))
        strip = (
            f'<rect x="{_STRIP[0]}" y="{_TOP}" width="{_STRIP[1] - _STRIP[0]}" height="{height - _TOP - _GAP}" '
            f'fill="currentColor" fill-opacity="0.06" stroke="currentColor" stroke-opacity="0.5"/>'
        )
        note = f'<p style="margin:.2em 0">{html.escape(self.note)}</p>' if self.note else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {height}" '
            f'style="width:100%;max-width:{_WIDTH}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>"
            f'<text x="0" y="16" font-weight="600" fill="currentColor">{html.escape(self.title)}</text>'
            f"{strip}{drawn}</svg>{note}"
        )

    def _part(self, part: Region, row: int, height: int) -> str:
        colour = COLOURS[KINDS[part.kind]]
        inner = height - _TOP - _GAP
        top = _TOP + inner * part.offset / self.size
        tall = max(_THIN, inner * part.size / self.size)
        y = _TOP + row * (_ROW + _GAP)
        middle, left = y + _ROW / 2, _STRIP[1]
        size = f"{measure(part.size)}, from {part.offset:#x}"
        words = part.holds + (f"; a reader finds: {part.readable}" if part.readable else "")
        return (
            f'<rect x="{_STRIP[0]}" y="{top:.1f}" width="{left - _STRIP[0]}" height="{tall:.1f}" fill="{colour}"/>'
            f'<path d="M{left} {top + tall / 2:.1f} C{left + 36} {top + tall / 2:.1f} {_BOX[0] - 36} {middle} {_BOX[0]} {middle}" '
            f'fill="none" stroke="{colour}" stroke-width="1.5"/>'
            f'<rect x="{_BOX[0]}" y="{y}" width="{_BOX[1]}" height="{_ROW}" rx="7" fill="{tint(colour)}" '
            f'stroke="{colour}" stroke-width="1.5"/>'
            f'<text x="{_BOX[0] + 12}" y="{y + 17}" font-weight="600" fill="{colour}">{html.escape(part.name)}</text>'
            f'<text x="{_BOX[0] + _BOX[1] - 12}" y="{y + 17}" text-anchor="end" fill="{INK}">{size}</text>'
            f'<text x="{_BOX[0] + 12}" y="{y + 34}" fill="{INK}">{html.escape(words)}</text>'
        )


def flash_map(
    regions: Sequence[Region],
    title: str = "What lies where in flash",
    *,
    size: int = 0x400000,
    note: str = "",
) -> FlashMap:
    """Return a map of a flash to show.

    Args:
        regions: Its parts, in any order.
        title: What it is a map of.
        size: The flash's size in bytes.
        note: A sentence below it.

    Raises:
        ValueError: A part lies outside the flash.
    """
    for part in regions:
        if part.offset < 0 or part.size <= 0 or part.offset + part.size > size:
            text = (
                f"{part.name} from {part.offset:#x} with {part.size:#x} bytes is not in a flash of {size:#x}"
            )
            raise ValueError(text)
    return FlashMap(tuple(sorted(regions, key=lambda part: part.offset)), size, title, note)


_HOLDS = {
    "nvs": ("the firmware's own: Wi-Fi network and password, settings", "data", "all of it"),
    "otadata": ("which of the two slots boots, and how far it is trusted", "data", "which slot boots"),
    "phy_init": ("the radio's calibration", "data", "nothing of interest"),
    "fctry": ("this device's own: id, certificate, private key", "identity", "the private key"),
    "nvs_keys": ("keys for NVS encryption, if there is any", "secret", "the keys, unless flash is encrypted"),
    "ota_0": ("an application, the same on every device", "code", "whatever is linked into it"),
    "ota_1": ("the other application: an update goes here", "code", "the same"),
}  # fmt: skip


def partition_regions(table: PartitionTable, bootloader_offset: int) -> list[Region]:
    """Return what lies in a flash by its partition table, with bootloader and table.

    Args:
        table: The table.
        bootloader_offset: Where the chip looks for its bootloader.
    """
    known = [
        Region(bootloader_offset, OFFSET - bootloader_offset, "bootloader", "the second stage: finds the application", "code", "code"),
        Region(OFFSET, FIRST - OFFSET, "partition table", "what lies where, from here on", "data", "this map"),
    ]  # fmt: skip
    for part in table:
        holds, kind, readable = _HOLDS.get(part.label, (part.kind, "data", ""))
        known.append(Region(part.offset, part.size, part.label, holds, kind, readable))
    return known


def measure(size: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, bytes_each in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= bytes_each:
            return (
                f"{size / bytes_each:g} {unit}"
                if size % bytes_each == 0
                else f"{size / bytes_each:.2f} {unit}"
            )
    return f"{size} B"
