"""The flash chip's own commands, as a program sends them through the SPI controller's registers.

A loader writes an opcode and lengths, sets one bit and reads the answer. Identification, status registers and SFDP
answer as a Winbond chip of 4 MB does; anything else answers nothing, as no tool of the course asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.board.chips import SpiRegisters
    from labkit.board.nor_flash import NorFlash

MANUFACTURER, KIND = 0xEF, 0x40
USER_COMMAND = 1 << 18
RANGE = 0x100

_READ_ID, _READ_SFDP, _WRITE_ENABLE, _WRITE_VOLATILE, _WRITE_DISABLE = 0x9F, 0x5A, 0x06, 0x50, 0x04
_READ_STATUS = {0x05: 0, 0x35: 1, 0x15: 2}
_WRITE_STATUS = {0x01: 0, 0x31: 1, 0x11: 2}
_SFDP = b"SFDP\x06\x01\x00\xff\x00\x06\x01\x10\x80\x00\x00\xff"


class SpiController:
    """The registers.

    Args:
        registers: Where they are.
        flash: The flash chip; its size is a power of two.
    """

    def __init__(self, registers: SpiRegisters, flash: NorFlash) -> None:
        self._at = registers
        self._capacity = flash.size.bit_length() - 1
        self._status = flash.status
        self._values: dict[int, int] = {}
        self._write_enabled = False

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; the command bit is obeyed at once and reads as done."""
        if offset == 0:
            if value & USER_COMMAND:
                self._run()
            return
        self._values[offset] = value

    def _run(self) -> None:
        code = self._values.get(self._at.usr2, 0) & 0xFF
        data = self._values.get(self._at.data, 0)
        if code == _READ_ID:
            self._answer(MANUFACTURER | KIND << 8 | self._capacity << 16)
        elif code in _READ_STATUS:
            self._answer(self._status[_READ_STATUS[code]])
        elif code in {_WRITE_ENABLE, _WRITE_VOLATILE, _WRITE_DISABLE}:
            self._write_enabled = code != _WRITE_DISABLE
        elif code in _WRITE_STATUS and self._write_enabled:
            self._set_status(_WRITE_STATUS[code], data)
        elif code == _READ_SFDP:
            address = self._values.get(self._at.address, 0) >> (8 if self._at.left_aligned else 0)
            self._answer(int.from_bytes(_SFDP[address : address + 4].ljust(4, b"\xff"), "little"))
        else:
            self._answer(0)

    def _set_status(self, number: int, data: int) -> None:
        self._status[number] = (
            data & 0xFC if number == 0 else data & 0xFF
        )  # busy and write-enable are not settable
        if number == 0 and self._values.get(self._at.mosi_length, 0) == 15:  # sixteen bits: the next one too
            self._status[1] = data >> 8 & 0xFF
        self._write_enabled = False

    def _answer(self, value: int) -> None:
        bits = (self._values.get(self._at.miso_length, 0) & 0x1F) + 1
        self._values[self._at.data] = value & ((1 << bits) - 1)
