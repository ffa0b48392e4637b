"""Where a chip has its memories, as far as an image has to know.

The numbers are those of Espressif's technical reference manuals (chapter *System and Memory*).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MMU_PAGE = 0x10000
"""Flash is mapped into memory in pages of this size."""

MAPPED = ("DROM", "IROM")
"""Regions that are windows into flash; an image's other segments are copied into memory."""


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """The memories of one chip.

    Attributes:
        name: The chip, as it is typed.
        chip_id: The number that an image carries.
        machine: The number of its instruction set in an ELF file.
        regions: First and first-behind address by name.
    """

    name: str
    chip_id: int
    machine: int
    regions: Mapping[str, tuple[int, int]]

    def region(self, address: int, length: int = 1) -> str | None:
        """Return which memory holds all of these bytes, or None."""
        for name, (first, behind) in self.regions.items():
            # By subtraction: an attacker's address and length may add up to anything.
            if first <= address < behind and length <= behind - address:
                return name
        return None


MAPS: Mapping[str, MemoryMap] = MappingProxyType({
    one.name: one
    for one in (
        MemoryMap("esp32", 0, 94, MappingProxyType({
            "PADDING": (0x0, 0x10000000),
            "DROM": (0x3F400000, 0x3F800000),
            "RTC_DATA": (0x50000000, 0x50002000),
            "DRAM": (0x3FFAE000, 0x40000000),
            "RTC_DRAM": (0x3FF80000, 0x3FF82000),
            "IRAM": (0x40070000, 0x400A0000),
            "RTC_IRAM": (0x400C0000, 0x400C2000),
            "IROM": (0x400D0000, 0x40400000),
        })),
        MemoryMap("esp32c3", 5, 243, MappingProxyType({
            "PADDING": (0x0, 0x10000000),
            "DROM": (0x3C000000, 0x3C800000),
            "DRAM": (0x3FC80000, 0x3FCE0000),
            "IRAM": (0x4037C000, 0x403E0000),
            "IROM": (0x42000000, 0x42800000),
            "RTC_DATA": (0x50000000, 0x50002000),
        })),
    )
})  # fmt: skip
"""The maps by chip. Addresses below 0x10000000 are for padding, which is loaded nowhere."""


def map_of(chip_id: int) -> MemoryMap | None:
    """Return the map of the chip that an image is for, or None for a chip that we don't know."""
    return next((one for one in MAPS.values() if one.chip_id == chip_id), None)
