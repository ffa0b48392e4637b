"""ELF files without a compiler: enough of one for the real esptool to make a firmware image of it.

The sections lie where ESP-IDF's linker would put them. What stands in place of machine code says that it is none: the
virtual board follows the behaviour beside the description (see `description`), and a real chip would stop at the first
instruction.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.firmware.description import (
    AppDescription,
    BootloaderDescription,
    build_app,
    build_behaviour,
    build_bootloader,
)
from labkit.firmware.memory_map import MAPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXECUTABLE, _PROGBITS, _STRTAB = 2, 1, 3
_ALLOC = 2
NO_CODE = b"No machine code: this image is for the virtual board of labkit. "
"""What stands where code would be."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the sections of an application and of a bootloader go."""

    rodata: int
    data: int
    ram_code: int
    code: int
    loader_data: int
    loader_code: int


# The first section in flash begins 0x20 into a page: an image's header and a segment's are as long as that.
_LAYOUTS = {
    "esp32": _Layout(0x3F400020, 0x3FFB0000, 0x40080400, 0x400D0020, 0x3FFF0030, 0x40078000),
    "esp32c3": _Layout(0x3C000020, 0x3FC80000, 0x40380000, 0x42000020, 0x3FCD5820, 0x403CC710),
}


def build_elf(
    chip_name: str,
    description: AppDescription,
    behaviour: Mapping[str, Any] | None = None,
    *,
    filler: bytes = b"",
) -> bytes:
    """Return the ELF file of an application.

    Args:
        chip_name: `esp32` or `esp32c3`.
        description: What it says of itself.
        behaviour: What it does on the virtual board; an image without stands for one of machine code alone.
        filler: More data, to make the image as long as one wants.

    Raises:
        ImageRefusedError: See `description.build_app` and `description.build_behaviour`.
    """
    layout = _LAYOUTS[chip_name]
    rodata = build_app(description) + (build_behaviour(behaviour) if behaviour is not None else b"") + filler
    # On the ESP32-C3 data and code share one table of pages, so the code begins behind the data's pages.
    pages = -(-(0x20 + len(rodata)) // 0x10000) if chip_name == "esp32c3" else 0
    code = layout.code + 0x10000 * pages
    sections = [
        (".flash.appdesc", layout.rodata, rodata),
        (".dram0.data", layout.data, NO_CODE),
        (".iram0.text", layout.ram_code, NO_CODE),
        (".flash.text", code, NO_CODE),
    ]
    return _elf(MAPS[chip_name].machine, layout.ram_code, sections)


def build_bootloader_elf(
    chip_name: str,
    description: BootloaderDescription,
    behaviour: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the ELF file of a second-stage bootloader look-alike; arguments as in `build_elf`.

    Raises:
        ImageRefusedError: See `build_elf`.
    """
    layout = _LAYOUTS[chip_name]
    data = build_bootloader(description) + (build_behaviour(behaviour) if behaviour is not None else b"")
    sections = [(".dram0.data", layout.loader_data, data), (".iram.text", layout.loader_code, NO_CODE)]
    return _elf(MAPS[chip_name].machine, layout.loader_code, sections)


def _words(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _elf(machine: int, entry: int, sections: Sequence[tuple[str, int, bytes]]) -> bytes:
    """Return an ELF32 file of sections (System V ABI, chapters 4.1 and 4.2): header, data, names, section headers."""
    names, data = bytearray(b"\0"), bytearray(bytes(52))
    rows = [bytes(40)]
    for name, address, content in sections:
        padded = _words(content)
        rows.append(_row(len(names), _PROGBITS, _ALLOC, address, len(data), len(padded)))
        names += name.encode() + b"\0"
        data += padded
    own = len(names)
    names += b".shstrtab\0"
    rows.append(_row(own, _STRTAB, 0, 0, len(data), len(names)))
    data += _words(bytes(names))
    identity = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)  # 32 bits, little-endian, version 1
    head = struct.pack(
        "<16sHHIIIIIHHHHHH",
        identity, _EXECUTABLE, machine, 1, entry, 0, len(data), 0, 52, 0, 0, 40, len(rows), len(rows) - 1,
    )  # fmt: skip
    data[:52] = head
    return bytes(data) + b"".join(rows)


def _row(name: int, kind: int, flags: int, address: int, offset: int, size: int) -> bytes:  # noqa: PLR0917
    return struct.pack("<10I", name, kind, flags, address, offset, size, 0, 0, 4, 0)
