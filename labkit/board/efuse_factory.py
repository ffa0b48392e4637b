"""What stands in the eFuses when a chip leaves the factory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.board.chips import Chip

SECURE_VERSION_3 = 300
"""The ESP32 has Secure Boot V2 and UART_DOWNLOAD_DIS from revision 3.0 on (ESP-IDF guide, *Secure Boot V2*)."""


def version_text(revision: int) -> str:
    """Return a revision as it is written: 301 is `v3.1`."""
    return f"v{revision // 100}.{revision % 100}"


def mac_checksum(mac: bytes) -> int:
    """Return the CRC-8 that the ESP32's factory burns beside the MAC (polynomial 0x8C reflected, from 0)."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def factory_fields(chip: Chip, revision: int, mac: bytes) -> dict[str, int]:
    """Return what the factory burns: the MAC, and what kind of silicon it is."""
    number = int.from_bytes(mac, "big")
    major, minor = divmod(revision, 100)
    if chip.name == "esp32":
        return {
            "MAC": number,
            "MAC_CRC": mac_checksum(mac),
            "CHIP_VER_REV1": int(major >= 1),
            "CHIP_VER_REV2": int(major >= 2),
            "WAFER_VERSION_MINOR": minor,
            "CHIP_PACKAGE": 1,  # D0WD
            "CHIP_CPU_FREQ_RATED": 1,
            "CLK8M_FREQ": 0x33,
            "ADC_VREF": 0x10,
        }
    return {
        "MAC": number,
        "WAFER_VERSION_MAJOR": major,
        "WAFER_VERSION_MINOR_HI": minor >> 3,
        "WAFER_VERSION_MINOR_LO": minor & 7,
        "BLK_VERSION_MINOR": 1,
        "OPTIONAL_UNIQUE_ID": number * 0x9E3779B97F4A7C15 % (1 << 128),
    }
