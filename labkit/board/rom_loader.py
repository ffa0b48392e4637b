"""The serial loader in the chip's ROM, and the flasher stub that tools put into RAM: bytes in, bytes out.

Both are imitated by what they answer; no machine code runs. A stub is recognised by what is uploaded, see `Stub`. Any
other program for RAM is refused, as this model could only pretend to run it.
(Espressif, esptool documentation, *Serial Protocol*.)
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from typing import TYPE_CHECKING

from labkit.board.chips import APB_DATE, MAGIC_ADDRESS
from labkit.board.efuse_controller import SIZE as EFUSE_SIZE
from labkit.board.efuse_controller import EfuseController
from labkit.board.flash_reader import LONGEST_BLOCK, MOST_AHEAD, FlashReader
from labkit.board.flash_writer import DownloadError, FlashWriter
from labkit.board.loader_protocol import (
    BAD_CHECKSUM,
    BAD_LENGTH,
    BAD_MESSAGE,
    BEGIN,
    CRYSTAL,
    FAILED,
    HEADER,
    OK,
    PAIR,
    ROM_BAUD,
    ROM_COMMANDS,
    SECURE,
    STUB_COMMANDS,
    STUB_NOT_WRITING,
    STUB_STATUS,
    STUB_UNKNOWN,
    SYNC,
    WORD,
    Event,
)
from labkit.board.loader_protocol import checksum as checksum_of
from labkit.board.slip import SlipReader, encode
from labkit.board.spi_flash import RANGE as SPI_SIZE
from labkit.board.spi_flash import SpiController
from labkit.errors import FlashBoundsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from labkit.board.efuse import Efuses
    from labkit.board.loader_protocol import Stub
    from labkit.board.nor_flash import NorFlash

_C3_WATCHDOG, _C3_WATCHDOG_LOCK = 0x60008090, 0x600080A8
_REGISTERS_KEPT = 1024

MOST_PACKETS, MOST_ANSWER = 64, 1 << 20
"""What is taken and answered at a time."""


class RomLoader:
    """The loader, from one reset to the next.

    Args:
        flash: The flash chip.
        efuses: The chip's fuses. What they say about the loader itself is taken over now, as at a reset.
        stubs: The stubs that it recognises.
        encrypt: Turns plain text at an offset into what flash encryption writes; None where it can't be had.

    Attributes:
        active: Whether it listens to commands; before that, it looks for SYNC alone.
        stub_running: Whether the stub has taken over.
        baud: The rate that it talks at.
        strapped: Whether only the reset lines lead into it (`enter`), not SYNC.
    """

    def __init__(
        self,
        flash: NorFlash,
        efuses: Efuses,
        *,
        stubs: Collection[Stub] = (),
        encrypt: Callable[[int, bytes], bytes] | None = None,
    ) -> None:
        self.flash = flash
        self.efuses = efuses
        self.active = False
        self.stub_running = False
        self.baud = ROM_BAUD
        self.strapped = False
        self._chip = efuses.chip
        self._stubs = stubs
        self._encrypt = encrypt
        self._download = efuses.download
        self._reader = SlipReader()
        self._events: deque[Event] = deque(maxlen=256)
        self._fuses = EfuseController(efuses)
        self._spi = SpiController(self._chip.spi, flash)
        self._registers: dict[int, int] = {}
        self._memory: dict[int, bytearray] = {}
        self._loading: tuple[int, int, int] | None = None
        self._writer: FlashWriter | None = None
        self._reading: FlashReader | None = None

    def enter(self) -> None:
        """Go into download mode, as BOOT held at a reset does, if the fuses let it."""
        if self.active:
            return
        # A reset reads the fuses: what bootloader and application burned meanwhile counts.
        self._download = self.efuses.download
        self._fuses.refresh()
        if self._download != "disabled":
            self.active = True
            self._tell("download", "waiting for download")

    def take_events(self) -> list[Event]:
        """Return what happened since the last time, in order."""
        taken = list(self._events)
        self._events.clear()
        return taken

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the wire and return what goes out.

        Raises:
            PowerCut: The flash chip's power went.
        """
        noise = self._reader.dropped
        answers, length = [], 0
        for number, packet in enumerate(self._reader.feed(data)):
            if number >= MOST_PACKETS or length > MOST_ANSWER:
                # A chip has a buffer of a few bytes and is deaf while it works. A host that does not wait loses.
                self._tell("noise", "commands came faster than a chip can take them")
                break
            answers.append(self._packet(packet))
            length += len(answers[-1])
        if self.active and self._reader.dropped > noise:
            self._tell("noise", f"{self._reader.dropped - noise} frames on the wire were no SLIP")
        return b"".join(answers)

    # --- packets -------------------------------------------------------------------------------------------------

    def _packet(self, packet: bytes) -> bytes:
        if self._reading is not None and len(packet) == 4:
            return self._acknowledged(self._reading, WORD.unpack(packet)[0])
        if len(packet) < HEADER.size:
            return b""
        direction, op, length, checksum = HEADER.unpack_from(packet)
        data = packet[HEADER.size :]
        if direction != 0:
            return b""
        if not self.active:
            if op != 0x08 or data != SYNC or self.strapped:
                return b""
            self.enter()
        if not self.active:
            return b""
        self._reading = None
        if length != len(data):
            return self._reply(op, status=BAD_MESSAGE)
        return self._command(op, data, checksum)

    def _command(self, op: int, data: bytes, checksum: int) -> bytes:
        name = self._known(op)
        if name is None:
            return self._unknown(op)
        try:
            answer = getattr(self, name)(op, data, checksum)
        except struct.error:
            return self._reply(op, status=BAD_MESSAGE)  # shorter than its command asks for
        except DownloadError as error:
            return self._reply(op, status=error.status)
        except FlashBoundsError:
            return self._reply(op, status=FAILED)
        return bytes(answer)

    def _known(self, op: int) -> str | None:
        if self._download == "secure" and op not in SECURE:
            return None
        if op == 0x14 and not self._chip.security_info:
            return None
        if self.stub_running:
            return STUB_COMMANDS.get(op)
        return ROM_COMMANDS.get(op)

    def _unknown(self, op: int) -> bytes:
        if self.stub_running:
            return self._reply(op, status=STUB_UNKNOWN)
        # The ROM answers what it doesn't know eight times over, and not by its name.
        return encode(HEADER.pack(1, 0xFF, 4, 0) + bytes((1, 5, 0, 0))) * 8

    def _reply(self, op: int, value: int = 0, data: bytes = b"", status: tuple[int, int] = OK) -> bytes:
        tail = bytes(STUB_STATUS.get(status, status)) if self.stub_running else bytes((*status, 0, 0))
        return encode(HEADER.pack(1, op, len(data) + len(tail), value) + data + tail)

    def _tell(self, kind: str, text: str, value: int = 0) -> None:
        self._events.append(Event(kind, text, value))

    # --- commands of both ---------------------------------------------------------------------------------------

    def _sync(self, op: int, data: bytes, _checksum: int) -> bytes:
        if data != SYNC:
            return self._reply(op, status=BAD_MESSAGE)
        return self._reply(op, 0 if self.stub_running else self._chip.sync_value) * 8

    def _read_register(self, op: int, data: bytes, _checksum: int) -> bytes:
        return self._reply(op, self.register(WORD.unpack(data)[0]))

    def register(self, address: int) -> int:
        """Return what the chip has at an address."""
        if 0 <= address - self._chip.efuse_base < EFUSE_SIZE:
            return self._fuses.read(address - self._chip.efuse_base)
        if 0 <= address - self._chip.spi.base < SPI_SIZE:
            return self._spi.read(address - self._chip.spi.base)
        if address == self._chip.uart_divider:
            return CRYSTAL // self.baud
        if address == MAGIC_ADDRESS:
            return self._chip.magic
        if address == APB_DATE and self._chip.name == "esp32":
            return self.efuses.apb_date
        return self._registers.get(address, self._chip.constants.get(address, 0))

    def _write_register(self, op: int, data: bytes, _checksum: int) -> bytes:
        for address, value, mask, _delay in struct.iter_unpack("<IIII", data):
            before = self.register(address) if mask != 0xFFFFFFFF else 0
            self._set_register(address, (before & ~mask) | (value & mask))
        return self._reply(op)

    def _set_register(self, address: int, value: int) -> None:
        if 0 <= address - self._chip.efuse_base < EFUSE_SIZE:
            self._fuses.write(address - self._chip.efuse_base, value)
        elif 0 <= address - self._chip.spi.base < SPI_SIZE:
            self._spi.write(address - self._chip.spi.base, value)
        elif address == _C3_WATCHDOG_LOCK and value == 0 and self._registers.get(_C3_WATCHDOG, 0) >> 31:
            # It bites a few milliseconds after it was set; a tool locks its registers first.
            self._tell("restart", "reset by the watchdog")
        elif address in self._registers or len(self._registers) < _REGISTERS_KEPT:
            self._registers[address] = value

    def _accept(self, op: int, data: bytes, _checksum: int) -> bytes:
        WORD.unpack_from(data)
        return self._reply(op)

    def _change_baud(self, op: int, data: bytes, _checksum: int) -> bytes:
        rate = PAIR.unpack(data)[0]
        if not 0 < rate <= CRYSTAL:
            return self._reply(op, status=BAD_MESSAGE)
        answer = self._reply(op)
        # The ESP32's ROM measures its crystal and is told a rate that allows for the error.
        self.baud = rate
        self._tell("baud", f"talks at {rate} baud", rate)
        return answer

    def _security_info(self, op: int, _data: bytes, _checksum: int) -> bytes:
        fuses = self.efuses
        bits = (
            fuses.secure_boot_enabled,
            fuses.field("SECURE_BOOT_AGGRESSIVE_REVOKE"),
            self._download == "secure",
            *(fuses.field(f"SECURE_BOOT_KEY_REVOKE{n}") for n in range(3)),
            fuses.field("SOFT_DIS_JTAG").bit_count() % 2,
            fuses.field("DIS_PAD_JTAG"),
            fuses.field("DIS_USB_SERIAL_JTAG"),
            0,
            fuses.field("DIS_DOWNLOAD_ICACHE"),
        )
        flags = sum(1 << n for n, bit in enumerate(bits) if bit)
        purposes = (*fuses.key_purposes, 0)
        info = struct.pack("<IB7BII", flags, fuses.flash_crypt_count, *purposes, self._chip.chip_id, 0)
        return self._reply(op, data=info)

    # --- RAM ------------------------------------------------------------------------------------------------------

    def _mem_begin(self, op: int, data: bytes, _checksum: int) -> bytes:
        size, _count, block, offset = BEGIN.unpack(data)
        if not any((offset, size) in stub.segments for stub in self._stubs):
            self._tell(
                "refused",
                f"a program of {size} bytes for RAM at {offset:#010x} is refused: "
                "this model runs no machine code and knows no such flasher stub (--no-stub works without one)",
            )
            return self._reply(op, status=FAILED)
        self._loading = (offset, size, block)
        self._memory[offset] = bytearray()
        return self._reply(op)

    def _mem_data(self, op: int, data: bytes, checksum: int) -> bytes:
        sequence, block = self._block(data, checksum)
        if self._loading is None:
            return self._reply(op, status=FAILED)
        offset, size, length = self._loading
        memory = self._memory[offset]
        if len(memory) not in {sequence * length, min(size, (sequence + 1) * length)}:
            return self._reply(op, status=FAILED)
        if len(memory) == sequence * length:
            memory += block[: size - len(memory)]
        return self._reply(op)

    def _mem_end(self, op: int, data: bytes, _checksum: int) -> bytes:
        _stay, entry = PAIR.unpack(data)
        self._loading = None
        if entry == 0:
            return self._reply(op)
        if self._chip.name != "esp32" and self.efuses.secure_boot_enabled:
            self._tell("refused", "no program runs from RAM while Secure Boot is on")
            return self._reply(op, status=FAILED)
        for stub in self._stubs:
            text = self._memory.get(stub.segments[0][0], b"")
            if stub.entry == entry and hashlib.sha256(text).digest() == stub.text:
                answer = self._reply(op)
                self.stub_running = True
                self._memory.clear()
                self._tell("stub", "the flasher stub is imitated from here on")
                return answer + encode(b"OHAI")
        self._tell(
            "refused", "what was put into RAM is no known flasher stub, and this model runs no machine code"
        )
        return self._reply(op, status=FAILED)

    def _block(self, data: bytes, checksum: int) -> tuple[int, bytes]:
        length, sequence, _, _ = BEGIN.unpack_from(data)
        block = data[BEGIN.size :]
        if length != len(block):
            raise DownloadError(BAD_LENGTH)
        if checksum & 0xFF != checksum_of(block):
            raise DownloadError(BAD_CHECKSUM)
        return sequence, block

    # --- flash ----------------------------------------------------------------------------------------------------

    def _flash_begin(self, op: int, data: bytes, _checksum: int) -> bytes:
        size, _count, block, offset = BEGIN.unpack_from(data)
        encrypted = len(data) >= 20 and bool(WORD.unpack_from(data, 16)[0])
        self._writer = None
        compressed = op == 0x10
        if compressed and not self.stub_running:
            size = min(size, max(0, self.flash.size - offset))  # the ROM is told a size that was rounded up
        if encrypted and (offset | size) % self._chip.encrypted_line:
            return self._reply(op, status=FAILED)
        if encrypted and (self._encrypt is None or self.efuses.manual_encrypt_disabled):
            self._tell(
                "refused", "flash encryption in download mode can't be had: no key, or its fuse is burned"
            )
            return self._reply(op, status=FAILED)
        self._writer = FlashWriter(
            self.flash,
            offset,
            size,
            block,
            lazily=self.stub_running,
            compressed=compressed,
            encrypt=self._encrypt if encrypted else None,
        )
        return self._reply(op)

    def _flash_data(self, op: int, data: bytes, checksum: int) -> bytes:
        sequence, block = self._block(data, checksum)
        if self._writer is None:
            return self._reply(op, status=STUB_NOT_WRITING if self.stub_running else FAILED)
        self._writer.write(sequence, block)
        return self._reply(op)

    def _flash_end(self, op: int, data: bytes, _checksum: int) -> bytes:
        (stay,) = WORD.unpack(data)
        self._writer = None
        answer = self._reply(op)
        # The ROM leaves the loader for the program in either case; the stub stays if it is told so.
        if not stay or not self.stub_running:
            self._tell("restart", "reset by the loader")
        return answer

    def _flash_md5(self, op: int, data: bytes, _checksum: int) -> bytes:
        address, size, _, _ = BEGIN.unpack(data)
        digest = hashlib.md5(self.flash.read(address, size), usedforsecurity=False)
        return self._reply(op, data=digest.digest() if self.stub_running else digest.hexdigest().encode())

    def _read_slowly(self, op: int, data: bytes, _checksum: int) -> bytes:
        offset, length = PAIR.unpack(data)
        if length > 64:
            return self._reply(op, status=BAD_MESSAGE)
        return self._reply(op, data=self.flash.read(offset, length).ljust(64, b"\0"))

    def _erase_all(self, op: int, _data: bytes, _checksum: int) -> bytes:
        self.flash.erase(0, self.flash.size)
        return self._reply(op)

    def _erase_region(self, op: int, data: bytes, _checksum: int) -> bytes:
        offset, size = PAIR.unpack(data)
        self.flash.erase(offset, size)
        return self._reply(op)

    def _read_flash(self, op: int, data: bytes, _checksum: int) -> bytes:
        offset, length, block, window = BEGIN.unpack(data)
        if not (0 < block <= LONGEST_BLOCK and 0 < window <= MOST_AHEAD // block):
            return self._reply(op, status=BAD_MESSAGE)
        reading = FlashReader(self.flash.read(offset, length), block, window)
        return self._reply(op) + self._acknowledged(reading, 0)

    def _acknowledged(self, reading: FlashReader, total: int) -> bytes:
        frames = reading.acknowledge(total)
        self._reading = None if reading.finished else reading
        return frames

    def _run_user_code(self, _op: int, _data: bytes, _checksum: int) -> bytes:
        self._tell("restart", "left the loader for the program")
        return b""
