"""The chips that the virtual board can be, as far as a serial tool can see them.

Every number is a fact of the silicon: it stands in Espressif's technical reference manuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from labkit.errors import ChipUnknownError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SpiRegisters:
    """Where the controller of the flash chip has its registers, as offsets from `base`."""

    base: int
    address: int
    usr: int
    usr1: int
    usr2: int
    mosi_length: int
    miso_length: int
    data: int
    left_aligned: bool
    """Whether an address stands in the upper bits of its register."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One kind of chip.

    Attributes:
        name: As it is typed: `esp32`, `esp32c3`.
        title: As Espressif writes it.
        chip_id: What an image says that it is for.
        bootloader_offset: Where the ROM looks for the second stage.
        magic: What address 0x40001000 holds, where that tells the chips apart.
        revisions: Known revisions, major times 100 plus minor; the first is the default.
        spi: The flash controller.
        efuse_base: The eFuse controller.
        uart_divider: The register that divides the crystal's 40 MHz down to the baud rate.
        encrypted_line: How many bytes flash encryption takes at a time.
        constants: Registers that never change.
        sync_value: What the ROM answers to SYNC.
    """

    name: str
    title: str
    chip_id: int
    bootloader_offset: int
    magic: int
    revisions: tuple[int, ...]
    spi: SpiRegisters
    efuse_base: int
    uart_divider: int
    encrypted_line: int
    constants: Mapping[int, int]
    sync_value: int = 0x20120707

    @property
    def security_info(self) -> bool:
        """Whether the ROM knows GET_SECURITY_INFO; chips after the first do."""
        return self.name != "esp32"


MAGIC_ADDRESS = 0x40001000
APB_DATE = 0x3FF6607C
"""On the ESP32, bit 31 is set on silicon of revision 3."""

_ESP32 = Chip(
    name="esp32",
    title="ESP32",
    chip_id=0,
    bootloader_offset=0x1000,
    magic=0x00F01D83,
    revisions=(301, 300, 101, 100, 0),
    spi=SpiRegisters(0x3FF42000, 0x04, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x80, left_aligned=True),
    efuse_base=0x3FF5A000,
    uart_divider=0x3FF40014,
    encrypted_line=32,
    constants=MappingProxyType({
        0x3FF5F06C: 2008 << 7,  # RTCCALICFG1: how many slow ticks the crystal made, from which 40 MHz follow
        0x3FF44038: 0x13,  # GPIO_STRAP: flash at 3.3 V
    }),
)  # fmt: skip

_ESP32C3 = Chip(
    name="esp32c3",
    title="ESP32-C3",
    chip_id=5,
    bootloader_offset=0x0,
    magic=0x1B31506F,
    revisions=(4, 3, 101),
    spi=SpiRegisters(0x60002000, 0x04, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x58, left_aligned=False),
    efuse_base=0x60008800,
    uart_divider=0x60000014,
    encrypted_line=16,
    constants=MappingProxyType({}),
)

CHIPS: Mapping[str, Chip] = MappingProxyType({chip.name: chip for chip in (_ESP32, _ESP32C3)})
"""The chips by name."""


def find_chip(name: str) -> Chip:
    """Return a chip by its name, however it is written: `esp32c3`, `ESP32-C3`.

    Raises:
        ChipUnknownError: The virtual board can't be that chip.
    """
    found = CHIPS.get(name.lower().replace("-", ""))
    if found is None:
        raise ChipUnknownError(
            f"The virtual board can't be a chip named {name!r}.",
            advice=f"Choose one of: {', '.join(CHIPS)}.",
            name=name,
            known=tuple(CHIPS),
        )
    return found
