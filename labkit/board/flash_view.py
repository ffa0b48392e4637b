"""Flash as the chip's own programs see it: through the decryption, where that is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.board.nor_flash import SECTOR
from labkit.firmware.flash_encryption import BLOCK, FlashKey

if TYPE_CHECKING:
    from labkit.board.efuse import Efuses
    from labkit.board.nor_flash import NorFlash


def flash_key(efuses: Efuses) -> FlashKey | None:
    """Return the key that flash is read with, or None where flash encryption is off.

    Where it is on and no key was burned, the hardware takes what the fuses hold: zeros.
    """
    if not efuses.flash_encryption_enabled:
        return None
    return FlashKey(
        efuses.flash_encryption_key or bytes(32),
        xts=efuses.chip.name != "esp32",
        config=efuses.flash_crypt_config,
    )


class FlashView:
    """A flash chip and the key in front of it.

    Args:
        flash: The chip.
        key: Its key, see `flash_key`; None reads what is there.
    """

    def __init__(self, flash: NorFlash, key: FlashKey | None) -> None:
        self.flash = flash
        self.key = key

    def read(self, offset: int, length: int, *, encrypted: bool = True) -> bytes:
        """Return what a program sees; what lies outside the chip is left out.

        Args:
            offset: Where.
            length: How much.
            encrypted: Whether this part of the flash is read through the decryption.
        """
        behind = min(offset + length, self.flash.size)
        if self.key is None or not encrypted:
            return self.flash.read(offset, max(behind - offset, 0)) if offset < behind else b""
        first, last = offset // BLOCK * BLOCK, -(-behind // BLOCK) * BLOCK
        if first >= last:
            return b""
        plain = self.key.decrypt(first, self.flash.read(first, last - first))
        return plain[offset - first : behind - first]

    def program(self, offset: int, data: bytes, *, encrypted: bool = True) -> None:
        """Program erased flash; data that is encrypted is filled up with FF to a whole block of 16.

        Raises:
            FlashBoundsError: It does not fit.
            PowerCut: The power went.
            ValueError: The offset is no multiple of 16, and the data is to be encrypted.
        """
        if self.key is not None and encrypted:
            data = self.key.encrypt(offset, data + b"\xff" * (-len(data) % BLOCK))
        self.flash.program(offset, data)

    def erase(self, offset: int, length: int) -> None:
        """Erase whole sectors.

        Raises:
            FlashBoundsError: They are none.
            PowerCut: The power went.
        """
        self.flash.erase(offset, length)

    def replace_sector(self, offset: int, data: bytes, *, encrypted: bool = True) -> None:
        """Erase one sector and program its beginning: two operations, and between them it is empty.

        Raises:
            PowerCut: The power went.
        """
        self.erase(offset, SECTOR)
        self.program(offset, data, encrypted=encrypted)
