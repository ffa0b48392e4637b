"""What ROM and bootloader say on the serial console, in words like the real ones.

The times in brackets are made up: nothing here takes as long as on a chip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.board.efuse_factory import version_text
from labkit.firmware.image import FLASH_MODES
from labkit.firmware.partitions import APP, DATA, FACTORY, NVS, NVS_KEYS, OTADATA, PHY, TEST

if TYPE_CHECKING:
    from labkit.board.efuse import Efuses
    from labkit.firmware.image import Image
    from labkit.firmware.partitions import Partition, PartitionTable

_BANNERS = {
    "esp32": ("ets Jul 29 2019 12:21:46", "", "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"),
    "esp32c3": (
        "ESP-ROM:esp32c3-api1-20210207",
        "Build:Feb  7 2021",
        "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)",
    ),
}
_USAGES = {
    (APP, FACTORY): "factory app",
    (APP, TEST): "test app",
    (DATA, OTADATA): "OTA data",
    (DATA, PHY): "RF data",
    (DATA, NVS): "WiFi data",
    (DATA, NVS_KEYS): "NVS keys",
}
VIRTUAL = "virtual board of labkit: every check is made, no machine code runs"

_REFUSALS = {
    "unsigned": "No signature block magic byte found at signature sector. Image not V2 signed?",
    "signature-block": "Magic byte correct but incorrect crc.",
    "signature-scheme": "No signature block generated for valid scheme",
    "no-trusted-key": "Valid secure boot key blocks: 0",
    "untrusted-key": "No key digest in eFuse matches the signature block",
    "revoked-key": "The key of the signature block has been revoked",
    "image-digest": "image digest does not match signature block 0",
    "signature": "RSA-PSS verification failed",
}


class BootConsole:
    """The console, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._time = 20

    def rom(self, *lines: str) -> None:
        """Say something as the ROM does."""
        self.lines += lines

    def says(self, tag: str, text: str) -> None:
        """Say something as the second stage does."""
        self._say("I", tag, text)

    def complains(self, tag: str, text: str) -> None:
        """Complain as the second stage does."""
        self._say("E", tag, text)

    def _say(self, level: str, tag: str, text: str) -> None:
        self._time += 6
        self.lines.append(f"{level} ({self._time}) {tag}: {text}")

    def banner(self, chip_name: str) -> None:
        """Say what the ROM says first."""
        self.rom(*_BANNERS[chip_name])

    def loading(self, image: Image) -> None:
        """Say where the ROM loads a bootloader to."""
        self.rom(f"mode:{FLASH_MODES.get(image.flash[0], '?')}, clock div:2")
        self.rom(*(f"load:{one.address:#010x},len:{len(one.data)}" for one in image.segments))

    def second_stage(self, efuses: Efuses, image: Image) -> None:
        """Say what the second stage says first."""
        description = image.bootloader
        self.says("boot", f"ESP-IDF {description.idf_version if description else '?'} 2nd stage bootloader")
        self.says("boot", VIRTUAL)
        self.says("boot", f"chip revision: {version_text(efuses.revision)}")

    def table(self, table: PartitionTable) -> None:
        """List the partitions."""
        self.says("boot", "Partition Table:")
        self.says("boot", "## Label            Usage          Type ST Offset   Length")
        for number, part in enumerate(table):
            row = f"{part.type:02x} {part.subtype:02x} {part.offset:08x} {part.size:08x}"
            self.says("boot", f"{number:2d} {part.label:<16} {_usage(part):<16} {row}")
        self.says("boot", "End of partition table")

    def segments(self, image: Image, start: int, chip_regions: dict[int, str]) -> None:
        """List an application's segments."""
        for number, one in enumerate(image.segments):
            place = f"paddr={start + one.offset:08x} vaddr={one.address:08x}"
            size = f"size={len(one.data):05x}h ({len(one.data):6d})"
            self.says("esp_image", f"segment {number}: {place} {size} {chip_regions.get(number, '')}")

    def signature(self, rule: str, *, rom: bool) -> None:
        """Say why a signature was refused."""
        text = _REFUSALS[rule]
        if rom:
            self.rom(text, "secure boot verification failed", "ets_main.c 329")
        else:
            self.complains("secure_boot_v2", text)
            self.complains("secure_boot_v2", "Secure Boot V2 verification failed.")


def _usage(part: Partition) -> str:
    if part.type == APP:
        return _USAGES.get((part.type, part.subtype), "OTA app")
    return _USAGES.get((part.type, part.subtype), "Unknown data" if part.type == DATA else "unknown")
