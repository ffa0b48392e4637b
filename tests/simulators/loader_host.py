"""The tool's side of the serial loader, in process: it frames commands and takes answers apart."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from labkit.board import CHIPS, Efuses, NorFlash
from labkit.board.loader_protocol import SYNC, Stub, checksum
from labkit.board.rom_loader import RomLoader
from labkit.board.slip import SlipReader, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

MAC = bytes.fromhex("24dcc3a1b2c4")
TEXT, TEXT_AT, DATA_AT, ENTRY = b"the code of a stub", 0x40080000, 0x3FFB0000, 0x40080004
STUB = Stub(ENTRY, hashlib.sha256(TEXT).digest(), ((TEXT_AT, len(TEXT)), (DATA_AT, 4)))
"""A stub that only this host uploads."""


class LoaderHost:
    """A tool and its board.

    Args:
        chip: Which chip the board has.
        burned: What is burned before its reset.
        size: How large its flash is.
    """

    def __init__(
        self, chip: str = "esp32", burned: Mapping[str, int | bytes] | None = None, *, size: int = 0x400000
    ) -> None:
        self.flash = NorFlash(size=size)
        self.efuses = Efuses.fresh(CHIPS[chip], mac=MAC)
        self.efuses.burn(burned or {})
        self.loader = RomLoader(
            self.flash,
            self.efuses,
            stubs=(STUB,),
            encrypt=lambda _, data: bytes(byte ^ 0x55 for byte in data),
        )

    def exchange(self, packet: bytes) -> list[bytes]:
        """Send a packet and return those that come back."""
        return SlipReader().feed(self.loader.receive(encode(packet)))

    def raw(self, op: int, data: bytes = b"", check: int = 0) -> list[bytes]:
        """Send a command and return the packets that come back."""
        return self.exchange(struct.pack("<BBHI", 0, op, len(data), check) + data)

    def command(self, op: int, data: bytes = b"", check: int = 0) -> tuple[int, bytes, tuple[int, int]]:
        """Send a command and return value, data and status of its one answer."""
        (answer,) = self.raw(op, data, check)
        kind, named, length, value = struct.unpack_from("<BBHI", answer)
        assert (1, op, len(answer) - 8) == (kind, named, length)
        tail = 2 if self.loader.stub_running and op != 0x06 else 4
        body, status = answer[8:-tail], answer[-tail:]
        return value, body, (status[0], status[1])

    def words(self, op: int, *words: int) -> tuple[int, bytes, tuple[int, int]]:
        """Send a command whose data are words."""
        return self.command(op, struct.pack(f"<{len(words)}I", *words))

    def block(self, op: int, sequence: int, data: bytes) -> tuple[int, int]:
        """Send a block with its checksum and return the status."""
        head = struct.pack("<IIII", len(data), sequence, 0, 0)
        return self.command(op, head + data, checksum(data))[2]

    def sync(self) -> int:
        """Synchronise; return how many answers came."""
        return len(self.raw(0x08, SYNC))

    def run_stub(self) -> list[bytes]:
        """Upload the stub and start it; return what it says."""
        self.sync()
        for at, part in ((TEXT_AT, TEXT), (DATA_AT, b"data")):
            assert self.words(0x05, len(part), 1, 0x1800, at)[2] == (0, 0)
            assert self.block(0x07, 0, part) == (0, 0)
        return self.raw(0x06, struct.pack("<II", 0, ENTRY))
