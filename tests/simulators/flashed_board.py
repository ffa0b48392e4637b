"""A board's flash and fuses, filled in memory: small images, a table, otadata, signatures and encryption."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from labkit.board import CHIPS, Efuses, NorFlash
from labkit.board.flash_view import FlashView, flash_key
from labkit.firmware.description import (
    AppDescription,
    BootloaderDescription,
    build_app,
    build_behaviour,
    build_bootloader,
)
from labkit.firmware.image import build_image
from labkit.firmware.otadata import SECTOR as OTA_SECTOR
from labkit.firmware.otadata import build_entry
from labkit.firmware.partitions import COURSE_TABLE, OFFSET, PartitionTable, build_table
from labkit.firmware.secure_boot import SECTOR, signed_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAC = bytes.fromhex("24dcc3a1b2c4")
DROM = {"esp32": 0x3F400020, "esp32c3": 0x3C000020}
DRAM = {"esp32": 0x3FFF0030, "esp32c3": 0x3FCD5820}
IRAM = {"esp32": 0x40078000, "esp32c3": 0x403CC710}


def app(
    chip: str,
    version: str = "1.0",
    *,
    secure_version: int = 0,
    behaviour: Mapping[str, Any] | None = None,
    filler: bytes = b"",
    **options: Any,
) -> bytes:
    """Return a small application: one segment of data in flash, and one of code in memory."""
    data = build_app(AppDescription("course-node", version, secure_version))
    data += build_behaviour({} if behaviour is None else behaviour) + filler
    segments = [(DROM[chip], data + bytes(-len(data) % 4)), (IRAM[chip], b"code")]
    return build_image(segments, **{"chip_id": CHIPS[chip].chip_id, "entry": IRAM[chip], **options})


def bootloader(chip: str, behaviour: Mapping[str, Any] | None = None, **options: Any) -> bytes:
    """Return a small bootloader look-alike."""
    data = build_bootloader(BootloaderDescription(1))
    data += build_behaviour(behaviour) if behaviour is not None else b""
    segments = [(DRAM[chip], data + bytes(-len(data) % 4)), (IRAM[chip], b"code")]
    return build_image(segments, **{"chip_id": CHIPS[chip].chip_id, "entry": IRAM[chip], **options})


# --- signatures ---------------------------------------------------------------------------------------------------


def key_material(key: rsa.RSAPrivateKey) -> bytes:
    """Return what a signature block says of a key; its SHA-256 is the key's digest."""
    numbers = key.public_key().public_numbers()
    helper = (1 << 6144) % numbers.n
    inverse = -pow(numbers.n, -1, 1 << 32) % (1 << 32)
    return (
        numbers.n.to_bytes(384, "little")
        + struct.pack("<I", numbers.e)
        + helper.to_bytes(384, "little")
        + struct.pack("<I", inverse)
    )


def digest_of(key: rsa.RSAPrivateKey) -> bytes:
    """Return the digest that is burned for a key."""
    return hashlib.sha256(key_material(key)).digest()


def sign(image: bytes, *keys: rsa.RSAPrivateKey) -> bytes:
    """Return an image with a signature sector; espsecure's are the real ones, these are fast."""
    padded = image.ljust(signed_length(len(image)), b"\xff")
    sector = b""
    for key in keys:
        signature = key.sign(padded, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        body = b"\xe7\x02\0\0" + hashlib.sha256(padded).digest() + key_material(key) + signature[::-1]
        sector += body + struct.pack("<I", zlib.crc32(body)) + bytes(16)
    return padded + sector.ljust(SECTOR, b"\xff")


# --- boards -------------------------------------------------------------------------------------------------------


@dataclass
class Flashed:
    """A board before its first reset.

    Attributes:
        chip: `esp32` or `esp32c3`.
        efuses: Its fuses.
        flash: Its flash.
        parts: What was written, by offset.
    """

    chip: str = "esp32"
    efuses: Efuses = field(init=False)
    flash: NorFlash = field(init=False)

    def __post_init__(self) -> None:
        self.efuses = Efuses.fresh(CHIPS[self.chip], mac=MAC)
        self.flash = NorFlash()

    @property
    def view(self) -> FlashView:
        """The flash through the decryption."""
        return FlashView(self.flash, flash_key(self.efuses))

    def write(self, offset: int, data: bytes, *, encrypted: bool = True) -> None:
        """Erase and write a part."""
        self.flash.erase(offset, -(-len(data) // 0x1000) * 0x1000)
        self.view.program(offset, data, encrypted=encrypted)
        self.flash.operations = 0

    def fill(
        self,
        *apps: bytes | None,
        boot: bytes | None = None,
        table: PartitionTable = COURSE_TABLE,
        otadata: Sequence[tuple[int, int] | None] = (),
    ) -> Flashed:
        """Write bootloader, table, applications by slot, and otadata."""
        self.write(CHIPS[self.chip].bootloader_offset, boot or bootloader(self.chip))
        self.write(OFFSET, build_table(table))
        for data, slot in zip(apps, table.ota_slots, strict=False):
            if data is not None:
                self.write(slot.offset, data)
        where = table.find("otadata")
        for number, entry in enumerate(otadata):
            if entry is not None and where is not None:
                self.write(where.offset + number * OTA_SECTOR, build_entry(*entry))
        return self

    def trust(self, *keys: rsa.RSAPrivateKey, revoked: Sequence[int] = ()) -> Flashed:
        """Burn the digests of keys and switch Secure Boot on."""
        if self.chip == "esp32":
            self.efuses.burn({"BLOCK2": digest_of(keys[0]), "ABS_DONE_1": 1})
            return self
        for number, key in enumerate(keys):
            self.efuses.burn({f"BLOCK_KEY{number}": digest_of(key), f"KEY_PURPOSE_{number}": 9 + number})
        self.efuses.burn({"SECURE_BOOT_EN": 1, **{f"SECURE_BOOT_KEY_REVOKE{n}": 1 for n in revoked}})
        return self

    def encrypt(self, key: bytes) -> Flashed:
        """Burn a key of flash encryption and switch it on; what is written from now on is encrypted."""
        if self.chip == "esp32":
            self.efuses.burn({"BLOCK1": key[::-1], "FLASH_CRYPT_CONFIG": 0xF, "FLASH_CRYPT_CNT": 1})
        else:
            self.efuses.burn({"BLOCK_KEY5": key[::-1], "KEY_PURPOSE_5": 4, "SPI_BOOT_CRYPT_CNT": 1})
        return self
