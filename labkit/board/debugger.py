"""A debugger at the JTAG pins, simulated: what whoever solders four wires to a board reads.

A processor that is halted reads flash as its programs do, through the decryption. So flash encryption hides nothing
from an open JTAG port, and closing that port belongs to it (ESP-IDF guide, *Flash Encryption*, "Limitations").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.board.flash_view import FlashView, flash_key
from labkit.errors import JtagLockedError

if TYPE_CHECKING:
    from labkit.board.efuse import Efuses
    from labkit.board.nor_flash import NorFlash


def read_by_jtag(
    flash: NorFlash, efuses: Efuses, offset: int, length: int, *, encrypted: bool = True
) -> bytes:
    """Return what a debugger reads of flash.

    Args:
        flash: The flash chip.
        efuses: The fuses.
        offset: Where.
        length: How much; what lies outside of the chip is left out.
        encrypted: Whether it reads through the memory map, and so through the decryption where that is on.

    Raises:
        JtagLockedError: The fuses have closed the port.

    Does not check: SOFT_DIS_JTAG of the ESP32-C3, which whoever holds its HMAC key opens again.
    """
    if efuses.jtag_disabled:
        raise JtagLockedError(
            f"The debugger finds no {efuses.chip.title}: its JTAG port is closed by eFuses.",
            advice="There is no way back. On the virtual board: labkit board new",
            chip=efuses.chip.name,
        )
    return FlashView(flash, flash_key(efuses)).read(offset, length, encrypted=encrypted)
