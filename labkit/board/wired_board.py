"""The board as the wire finds it: chip, flash, loader and power. Everything here happens in the serving thread.

SYNC on the wire means that somebody held BOOT and pressed RESET, and closing the port after that means RESET, because
TCP sockets and pseudo-terminals have no reset lines. The telnet port (RFC 2217) has them, so there they decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from labkit.board.efuse_factory import version_text
from labkit.board.nor_flash import SECTOR, PowerCut
from labkit.board.power import PowerRail
from labkit.board.rfc2217 import ResetLines
from labkit.board.rom_loader import RomLoader
from labkit.board.stubs import known_stubs
from labkit.clock import Deadline
from labkit.errors import LabError
from labkit.firmware.flash_encryption import FlashKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.board_files import BoardFiles
    from labkit.board.console import Console
    from labkit.board.efuse import Efuses
    from labkit.board.machine import Machine

_SAVE_EVERY, _SAVE_AGAIN = 2.0, 10.0
_BAUD_TOLERANCE = 0.05
_RESTART = 0.1


class Wire(Protocol):
    """What the board needs of its serial server."""

    @property
    def baud(self) -> int | None:
        """The client's rate, where it can be known."""

    def post(self, work: Callable[[], None]) -> None:
        """Do something soon, in the serving thread."""


class WiredBoard:
    """The board's hardware.

    Args:
        files: Where its state is kept.
        console: Where it speaks.
        application: What runs after a successful boot.

    Attributes:
        flash: Its flash chip.
        efuses: Its fuses.
        loader: The serial loader of the present run.
        unsaved: Why its state could not be saved at the last try; None if it could.
        recording: Every piece of bytes that came over the wire, if it is a list.

    Raises:
        WorkspaceCorruptError: The files are damaged.
    """

    def __init__(
        self, files: BoardFiles, console: Console, application: Callable[[Machine], None] | None
    ) -> None:
        self.unsaved: LabError | None = None
        self.recording: list[bytes] | None = None
        self.wire: Wire | None = None
        self.power = PowerRail(console, restart=self.restart, dark=lambda: self._soon(self._go_dark))
        self._files = files
        self._console = console
        self._application = application
        self._lines = ResetLines()
        self._kind = ""
        self._host_baud: int | None = None
        self._dark = False
        self._restart_why, self._restart_at = "", Deadline(0)
        self._load()

    def _load(self) -> None:
        self.flash, self.efuses = self._files.load()
        self._saved = (self.flash.operations, self.efuses.to_bytes())
        self._save_at = Deadline(_SAVE_EVERY)
        self.loader = self._new_loader()

    def replace(self, work: Callable[[], object]) -> None:
        """Take the power away, let the files be changed, and start with what is in them then."""
        self.power.off(wait=1.0)
        work()
        self._load()
        self.boot("another board")

    def _new_loader(self) -> RomLoader:
        self._encrypt_key = self.efuses.flash_encryption_key
        return RomLoader(
            self.flash,
            self.efuses,
            stubs=known_stubs(self.efuses.chip.name),
            encrypt=_encryptor(self.efuses),
        )

    def boot(self, why: str, *, download: bool = False) -> None:
        """Start from the beginning.

        Args:
            why: What made it, in words.
            download: Whether BOOT is held.
        """
        self.power.off()
        self.save()
        self._restart_why = ""
        if self._dark:
            self.flash.cut_after, self._dark = None, False  # the power is back
        self.loader = self._new_loader()
        self.loader.strapped = self._kind == "rfc2217"
        if download:
            self.loader.enter()
            self._follow()
            return
        chip = self.efuses.chip
        self._console.say(
            f"[virtual {chip.title} {version_text(self.efuses.revision)}: {why}; no machine code runs]"
        )
        try:
            self.power.on(self.flash, self.efuses, self._application)
        except PowerCut:
            self._go_dark()
            return
        if self._encrypt_key != self.efuses.flash_encryption_key:  # burned by the bootloader just now
            strapped = self.loader.strapped
            self.loader = self._new_loader()
            self.loader.strapped = strapped

    def restart(self, why: str) -> None:
        """Boot anew soon, because a program asked for it; from any thread.

        A little later, as a real chip needs its time too: a program that does nothing but restart must not take all
        of the machine.
        """
        self._soon(lambda: self._restart_later(why))

    def _restart_later(self, why: str) -> None:
        self._restart_why, self._restart_at = why, Deadline(_RESTART)

    def _soon(self, work: Callable[[], None]) -> None:
        if self.wire is not None:
            self.wire.post(work)

    # --- what the wire brings --------------------------------------------------------------------------------------

    def opened(self, kind: str) -> None:
        """Somebody opened the port."""
        self._kind = kind
        self._host_baud = None
        self.loader.strapped = kind == "rfc2217"

    def received(self, data: bytes) -> bytes:
        """Bytes came over the wire."""
        if self.recording is not None:
            self.recording.append(data)
        host = (self.wire.baud if self.wire else None) or self._host_baud
        if self.loader.active and host and abs(host / self.loader.baud - 1) > _BAUD_TOLERANCE:
            return b""  # at another rate than the chip's, bytes are noise
        was = self.loader.active
        try:
            answer = self.loader.receive(data)
        except PowerCut:
            self._go_dark()
            return b""
        if self.loader.active and not was and host:
            self.loader.baud = host  # the ROM measures the rate of SYNC
        self._follow()
        return answer

    def _go_dark(self) -> None:
        self._dark = True
        self.power.off()
        self.loader = self._new_loader()
        self.loader.strapped = True  # nothing answers until the button is pressed
        self._console.say(f"[the power failed after flash operation {self.flash.operations}]")

    def _follow(self) -> None:
        """Do what the loader's events say."""
        for event in self.loader.take_events():
            if event.kind == "download":
                self.power.off()
                self._console.say("waiting for download")
            elif event.kind == "refused":
                self._console.say(f"[refused: {event.text}]")
            elif event.kind == "noise":
                self._console.say(f"[{event.text}]")
            elif event.kind == "restart":
                self.restart(event.text)

    def closed(self) -> None:
        """The port was closed: on a wire without reset lines, a reset."""
        kind, self._kind = self._kind, ""
        if self.loader.active and kind != "rfc2217":
            self.boot(self._restart_why or "port closed")

    def changed(self, what: str, value: int) -> None:
        """The telnet client changed its rate or a line."""
        if what == "baud":
            self._host_baud = value
            return
        if getattr(self._lines, what) != bool(value):
            self._console.say(f"[{what.upper()} {'on' if value else 'off'}]", on_wire=False)
        found = self._lines.set(what, value)
        if found == "hold":
            self.power.off()
        elif found is not None:
            self.boot("reset lines", download=found == "download")

    def refused(self, kind: str) -> None:
        """A second client came."""
        self._console.say(f"[a second program opened the {kind} port and was turned away: one at a time]")

    def tick(self) -> None:
        """Restart when it is time; save what changed, now and then, while nobody is at the port."""
        if self._restart_why and self._restart_at.passed:
            self.boot(self._restart_why)
        if not self._kind and self._save_at.passed:
            self.save()

    # --- what stays ---------------------------------------------------------------------------------------------

    def save(self, *, durable: bool = False) -> None:
        """Save what changed. A full disk is told and tried again; the board goes on."""
        try:
            fuses = self.efuses.to_bytes()
            if fuses != self._saved[1]:
                self._files.save_efuses(self.efuses)
                self._saved = (self._saved[0], fuses)
            if (done := self.flash.operations) != self._saved[0]:
                self._files.save_flash(self.flash, durable=durable)
                self._saved = (done, fuses)
            self.unsaved = None
            self._save_at = Deadline(_SAVE_EVERY)
        except LabError as error:
            if self.unsaved is None:
                self._console.say(
                    f"[the board's state is not saved: {error.message} The board goes on without.]"
                )
            self.unsaved = error
            self._save_at = Deadline(_SAVE_AGAIN)

    def write_flash(self, offset: int, data: bytes) -> None:
        """Write data as a clip-on programmer does: read the sectors, erase them, program them; then boot.

        Raises:
            FlashBoundsError: It does not fit; nothing was written.
        """
        self.flash.read(offset, len(data))
        self.power.off()
        start = offset - offset % SECTOR
        end = offset + len(data) + -(offset + len(data)) % SECTOR
        held = bytearray(self.flash.read(start, end - start))
        held[offset - start : offset - start + len(data)] = data
        try:
            self.flash.erase(start, end - start)
            self.flash.program(start, bytes(held))
        except PowerCut:
            self._go_dark()
            return
        self.boot("programmer")


def _encryptor(efuses: Efuses) -> Callable[[int, bytes], bytes] | None:
    """Return what the chip's own encryption does with plain text, if there is a key in its fuses."""
    key = efuses.flash_encryption_key
    if key is None:
        return None
    return FlashKey(key, xts=efuses.chip.name != "esp32", config=efuses.flash_crypt_config).encrypt
