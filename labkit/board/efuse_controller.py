"""The registers through which a program reads and burns eFuses, of both chips.

ESP32: a window for each block; CONF 0x5A5A and CMD 2 burn them all, CONF 0x5AA5 and CMD 1 read them anew.
ESP32-C3: one window for whichever block CMD names. Its Reed-Solomon check bytes are taken on trust: see
`Efuses.program` for what a second programming does to them.
(Technical reference manuals, chapter *eFuse Controller*.)
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.board.efuse import Efuses

BURN, READ = 0x5A5A, 0x5AA5
SIZE = 0x200

_WINDOWS = {"esp32": (0x01C, 0x098, 0x0B8, 0x0D8)}
_CONF = {"esp32": 0x0FC, "esp32c3": 0x1CC}
_CMD = {"esp32": 0x104, "esp32c3": 0x1D4}
_RS_ERRORS = (0x1C0, 0x1C4)


class EfuseController:
    """The controller's registers.

    What it shows was read from the fuses at power-up or by the last command, so a key stays visible after its
    protection was burned until then.

    Args:
        efuses: The fuses behind it.
    """

    def __init__(self, efuses: Efuses) -> None:
        self.efuses = efuses
        self._name = efuses.chip.name
        self._stored: dict[int, int] = {}
        self._shown: dict[int, int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the fuses into the registers, as power-up does."""
        self._shown = {}
        for block in self.efuses.blocks:
            words = struct.unpack(f"<{block.words}I", self.efuses.visible(block.number))
            self._shown.update({block.read_at + 4 * n: word for n, word in enumerate(words)})
        if self._name != "esp32":
            self._shown.update(zip(_RS_ERRORS, self._errors(), strict=True))

    def _errors(self) -> tuple[int, int]:
        # Seven errors where a block was spoilt. The C3's failure bits are one block late, by a mistake in the chip
        # (ESP-IDF, esp_efuse_utility.c), so those of block n stand with the count of block n+1.
        bits = 0
        for number in self.efuses.damaged:
            bits |= 7 << (4 * (number - 1)) | 8 << (4 * number)
        return bits & 0xFFFFFFFF, bits >> 32

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._shown.get(offset, self._stored.get(offset, 0))

    def write(self, offset: int, value: int) -> None:
        """Write a register; the command register does what it is told at once."""
        if offset in self._shown:
            return  # read-only
        if offset == _CMD[self._name]:
            self._command(value)
        else:
            self._stored[offset] = value

    def _command(self, value: int) -> None:
        code = self._stored.get(_CONF[self._name], 0)
        if value & 2 and code == BURN:
            if self._name == "esp32":
                for block, window in reversed(list(zip(self.efuses.blocks, _WINDOWS["esp32"], strict=True))):
                    self._burn(block.number, window, block.words)
            elif value >> 2 & 0xF < len(self.efuses.blocks):
                self._burn(value >> 2 & 0xF, 0, 8)
        elif value & 1 and code == READ:
            self.refresh()

    def _burn(self, number: int, window: int, words: int) -> None:
        taken = [self._stored.pop(window + 4 * n, 0) for n in range(words)]
        if any(taken):
            self.efuses.program(number, struct.pack(f"<{words}I", *taken))
