"""A small tool at the other end of a board's socket: it speaks the loader's protocol, or noise."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Self

from labkit.board.loader_protocol import SYNC, checksum
from labkit.board.slip import SlipReader, encode

if TYPE_CHECKING:
    from labkit.board import VirtualBoard


class SerialTool:
    """One connection.

    Args:
        board: Whom to connect to.
    """

    def __init__(self, board: VirtualBoard) -> None:
        host, _, port = board.url.removeprefix("socket://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self._reader = SlipReader()
        self._packets: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def packet(self) -> bytes | None:
        """Return the next packet, or None if the board hung up."""
        while not self._packets:
            data = self.socket.recv(1 << 16)
            if not data:
                return None
            self._packets += self._reader.feed(data)
        return self._packets.pop(0)

    def command(self, op: int, data: bytes = b"", check: int = 0) -> bytes:
        """Send a command and return its answer."""
        self.send(encode(struct.pack("<BBHI", 0, op, len(data), check) + data))
        answer = self.packet()
        assert answer is not None
        assert op == answer[1], answer
        return answer

    def sync(self) -> None:
        """Enter the loader."""
        self.command(0x08, SYNC)
        for _ in range(7):
            assert self.packet() is not None

    def write(self, offset: int, data: bytes) -> None:
        """Write flash as the ROM does it, in blocks of 1 KiB."""
        blocks = [data[at : at + 0x400] for at in range(0, len(data), 0x400)]
        assert self.command(0x02, struct.pack("<IIII", len(data), len(blocks), 0x400, offset))[8] == 0
        for number, block in enumerate(blocks):
            head = struct.pack("<IIII", len(block), number, 0, 0)
            assert self.command(0x03, head + block, checksum(block))[8] == 0
