"""The virtual board: it has power as long as its `with` block lasts, boots what is in its flash, and keeps its state.

It is a behavioural model. ROM, flasher stub and bootloader are imitated by what they do and say; the application is
Python. No machine code runs, ever.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from filelock import FileLock, Timeout

from labkit.board.board_files import BoardFiles
from labkit.board.chips import find_chip
from labkit.board.console import Console
from labkit.board.debugger import read_by_jtag
from labkit.board.efuse_factory import version_text
from labkit.board.serial_server import SerialServer, gone
from labkit.board.wired_board import WiredBoard
from labkit.errors import BoardBusyError, ChipUnknownError, LabError
from labkit.firmware.ports import SerialPort
from labkit.ports import LOOPBACK
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from labkit.board.bootloader import Boot
    from labkit.board.chips import Chip
    from labkit.board.efuse import Efuses
    from labkit.board.machine import Machine

    Application = Callable[[Machine], None]
    """What runs after a successful boot, in a thread of its own, until its machine says that it is stopping."""

T = TypeVar("T")

RUNNING = "state.json"
_LOCK = ".lock"


class VirtualBoard:
    """One board that runs. Get one from `VirtualBoard.open`.

    Attributes:
        folder: Where its state is.
        console: Its serial console.
        chip: What it is.
        mac: Its MAC, with colons.
    """

    def __init__(
        self, files: BoardFiles, application: Application | None, options: Mapping[str, Any]
    ) -> None:
        self.folder = files.folder
        self.console = Console(files.folder / "console.log", self._forward)
        self._read_card(files)
        self._files = files
        self._application = application
        self._options = options
        self._serving: SerialServer | None = None
        self._held = ExitStack()

    def __repr__(self) -> str:
        return f"VirtualBoard({self.chip.title}, {self.mac})"

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        chip: str | None = None,
        revision: int | None = None,
        application: Application | None = None,
        port: int = 0,
        terminal: Path | None = None,
        rfc2217: bool = False,
    ) -> VirtualBoard:
        """Return the board of a folder, ready for `with`; a new one if there is none.

        Args:
            folder: Where its state is.
            chip: What a new board is (`esp32` without it). A board that is there stays what it is.
            revision: The revision of a new board, major times 100 plus minor.
            application: What runs after a successful boot.
            port: The TCP port on 127.0.0.1; a free one without it.
            terminal: Where a link to a pseudo-terminal goes; none without it.
            rfc2217: Whether there is a telnet port with reset lines, too.

        Raises:
            ChipUnknownError: It can't be that chip, or it is another already, or of another revision.
            EfuseUnknownError: There is no such revision of it.
            WorkspaceError: The folder can't be written, or holds something damaged.
        """
        files = BoardFiles(folder)
        if not files.exists:
            files.create(find_chip(chip or "esp32"), revision=revision)
        found = files.card()
        if chip is not None and find_chip(chip).name != found.chip:
            raise ChipUnknownError(
                f"The board in {folder} is an {found.chip}, not an {chip}.",
                advice="Choose another name for a second board: labkit board run --name OTHER --chip CHIP",
                name=chip,
                known=(found.chip,),
            )
        if revision is not None and revision != found.revision:
            raise ChipUnknownError(
                f"The board in {folder} has revision {version_text(found.revision)}, "
                f"not {version_text(revision)}.",
                advice="A board keeps its revision. Take another: labkit board run --name OTHER --revision vX.Y",
                name=version_text(revision),
                known=(version_text(found.revision),),
            )
        return cls(files, application, {"port": port, "terminal": terminal, "rfc2217": rfc2217})

    def __enter__(self) -> Self:
        self._held.enter_context(alone(self.folder))
        try:
            self._wired = WiredBoard(self._files, self.console, self._application)
            self._serving = SerialServer(self._wired, **self._options)
        except BaseException:
            self._held.close()
            raise
        self._wired.wire = self._serving
        self._serving.start()
        told = {"pid": os.getpid(), "chip": self.chip.name, "mac": self.mac, "ports": self.ports}
        try:
            write_atomic(self.folder / RUNNING, json.dumps(told, indent=2) + "\n", durable=False)
            self._call(lambda: self._wired.boot("power on"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._serving is not None:
                self._serving.close()  # first: after this, nothing starts it again
            self._wired.power.off(wait=5.0)
            self._wired.save(durable=True)
        finally:
            (self.folder / RUNNING).unlink(missing_ok=True)
            self._held.close()

    def _call(self, work: Callable[[], T]) -> T:
        if self._serving is None:
            text = "the board has no power yet: with VirtualBoard.open(…) as board"
            raise RuntimeError(text)
        return self._serving.call(work)

    # --- what it is ---------------------------------------------------------------------------------------------

    def _read_card(self, files: BoardFiles) -> None:
        card = files.card()
        self.chip: Chip = find_chip(card.chip)
        self.mac: str = card.mac

    @property
    def url(self) -> str:
        """What a tool is told as `--port`, on every system."""
        return self.ports["socket"]

    @property
    def port(self) -> SerialPort:
        """The same, marked as one that leads to no real board; see `firmware.ports`."""
        return SerialPort(self.url, virtual=True)

    @property
    def ports(self) -> dict[str, str]:
        """Every way in: `socket`, `pty` and `rfc2217`, as far as it has them."""
        serving = self._serving
        if serving is None:
            return {}
        found = {"socket": f"socket://{LOOPBACK}:{serving.port}"}
        if serving.terminal is not None:
            found["pty"] = str(serving.terminal.link)
        if serving.telnet_port is not None:
            found["rfc2217"] = f"rfc2217://{LOOPBACK}:{serving.telnet_port}"
        return found

    @property
    def efuses(self) -> Efuses:
        """A copy of its fuses, true values, keys among them: what no tool can read, the teacher can."""
        return self._call(self._wired.efuses.copy)

    def flash_image(self) -> bytes:
        """Return what is in its flash now."""
        return self._call(self._wired.flash.image)

    @property
    def running(self) -> bool:
        """Whether the application runs."""
        return self._wired.power.running

    @property
    def last_boot(self) -> Boot | None:
        """What became of the last start; None while it waits for a download, or where the power failed.

        Asked in the middle of a start, which the console speaks of before it is over, it waits for the outcome.
        """
        power = self._wired.power
        return power.last_boot if self._serving is None else self._call(lambda: power.last_boot)

    @property
    def unsaved(self) -> LabError | None:
        """Why its state could not be saved at the last try; None if it could."""
        return self._wired.unsaved

    # --- what one can do to it -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Press the button: the board boots anew."""
        self._call(lambda: self._wired.boot("button"))

    def snapshot(self, name: str) -> None:
        """Keep its state under a name."""
        self._call(lambda: self._saved(lambda: self._files.snapshot(name)))

    def clone(self, folder: Path) -> BoardFiles:
        """Copy its state into another folder."""
        return self._call(lambda: self._saved(lambda: self._files.clone(folder)))

    def _saved(self, work: Callable[[], T]) -> T:
        self._wired.save(durable=True)
        return work()

    def restore(self, name: str) -> None:
        """Bring it back to a snapshot, fuses and all, and boot.

        Raises:
            SnapshotMissingError: There is none of that name.
        """
        self._call(lambda: self._wired.replace(lambda: self._files.restore(name)))
        self._read_card(self._files)

    def renew(self) -> None:
        """Take a new board of the same kind: blank flash, factory fuses, another MAC. No brick is for ever here."""
        card = self._files.card()
        self._call(lambda: self._wired.replace(lambda: self._files.create(self.chip, revision=card.revision)))
        self._read_card(self._files)

    def write_flash(self, offset: int, data: bytes) -> None:
        """Write into its flash as a programmer clipped to the chip would, and boot.

        Raises:
            FlashBoundsError: It does not fit.
        """
        self._call(lambda: self._wired.write_flash(offset, data))

    def burn(self, values: Mapping[str, int | bytes]) -> None:
        """Burn fuses without a tool, and boot; see `Efuses.burn`."""

        def work() -> None:
            self._wired.efuses.burn(values)
            self._wired.boot("fuses burned")

        self._call(work)

    def read_by_jtag(self, offset: int, length: int, *, encrypted: bool = True) -> bytes:
        """Return what a debugger at the JTAG pins reads, which is simulated; see `debugger`.

        Raises:
            JtagLockedError: The fuses have closed the port.
        """
        wired = self._wired
        return self._call(
            lambda: read_by_jtag(wired.flash, wired.efuses, offset, length, encrypted=encrypted)
        )

    def cut_power_after(self, operations: int | None) -> None:
        """Let the power fail in place of the flash operation after so many more; never, with None."""

        def work() -> None:
            flash = self._wired.flash
            flash.cut_after = None if operations is None else flash.operations + operations

        self._call(work)

    def record(self) -> list[bytes]:
        """Return a list into which everything that comes over the wire goes from now on."""
        recording: list[bytes] = []
        self._call(lambda: setattr(self._wired, "recording", recording))
        return recording

    def check(self) -> None:
        """Say whether it still runs.

        Raises:
            BoardGoneError: It does not.
        """
        if self._serving is not None and self._serving.failure is not None:
            raise gone(self._serving.failure)

    def _forward(self, line: str) -> None:
        """Send a console line to whoever has the port open, unless they download: it would spoil their packets."""
        serving = self._serving
        if serving is None:
            return

        def work() -> None:
            if not self._wired.loader.active:
                serving.send(line.encode() + b"\r\n")

        serving.post(work)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a board's folder for oneself.

    Raises:
        BoardBusyError: The board runs, or somebody else works on it.
    """
    make_folder(folder, private=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        holder = running_at(folder).get("pid", "another process")
        raise BoardBusyError(
            f"The board in {folder} runs already (process {holder}).",
            advice="Use that one, see labkit board ports, or stop it first.",
            path=folder,
            holder=str(holder),
        ) from error
    try:
        yield
    finally:
        lock.release()


def running_at(folder: Path) -> dict[str, Any]:
    """Return what a running board says of itself: `pid`, `chip`, `mac`, `ports`; empty if none runs there."""
    import psutil

    try:
        told = json.loads((folder / RUNNING).read_text(encoding="utf-8"))
        return told if isinstance(told, dict) and psutil.pid_exists(int(told["pid"])) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
