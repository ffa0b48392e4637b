"""What happens while a board has power: it boots, and an application runs until the power goes."""

from __future__ import annotations

import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.board.bootloader import boot
from labkit.board.machine import Machine
from labkit.board.nor_flash import NorFlash, PowerCut

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.bootloader import Boot
    from labkit.board.console import Console
    from labkit.board.efuse import Efuses


class Lease(NorFlash):
    """An application's way to the flash chip: gone at the moment of a reset, so that nothing writes after it."""

    def __init__(self, flash: NorFlash) -> None:  # the chip itself is elsewhere
        self._flash = flash
        self._mutex = threading.RLock()
        self._over = False

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self._over

    def revoke(self) -> None:
        """End it; every later access raises `PowerCut`."""
        with self._mutex:
            self._over = True

    @property
    def size(self) -> int:
        """See `NorFlash.size`."""
        return self._flash.size

    @property
    def operations(self) -> int:  # type: ignore[override]
        """See `NorFlash`."""
        return self._flash.operations

    def read(self, offset: int, length: int) -> bytes:
        """See `NorFlash.read`."""
        with self._mutex:
            return self._checked().read(offset, length)

    def program(self, offset: int, data: bytes) -> None:
        """See `NorFlash.program`."""
        with self._mutex:
            self._checked().program(offset, data)

    def erase(self, offset: int, length: int) -> None:
        """See `NorFlash.erase`."""
        with self._mutex:
            self._checked().erase(offset, length)

    def image(self) -> bytes:
        """See `NorFlash.image`."""
        with self._mutex:
            return self._checked().image()

    def _checked(self) -> NorFlash:
        if self._over:
            raise PowerCut
        return self._flash


class PowerRail:
    """One run of the board after another.

    Args:
        console: Where it speaks.
        restart: Starts the board anew, soon, from any thread; it is told why.
        dark: Called from any thread when the power failed under an application.

    Attributes:
        last_boot: What became of the last start.
    """

    def __init__(self, console: Console, *, restart: Callable[[str], None], dark: Callable[[], None]) -> None:
        self.last_boot: Boot | None = None
        self._console = console
        self._restart = restart
        self._dark = dark
        self._lease: Lease | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether an application runs."""
        return self._thread is not None and self._thread.is_alive()

    def off(self, *, wait: float = 0.3) -> None:
        """Take the power away: the application is told, and can reach nothing any more."""
        self._stopping.set()
        if self._lease is not None:
            self._lease.revoke()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(wait)
        self._lease = self._thread = None

    def on(self, flash: NorFlash, efuses: Efuses, application: Callable[[Machine], None] | None) -> None:
        """Give it power: boot, and run the application if that succeeds.

        Raises:
            PowerCut: The power failed while it booted.
        """
        self.last_boot = None
        found = self.last_boot = boot(flash, efuses)
        for line in found.console:
            self._console.say(line)
        if not found.booted or application is None:
            return
        self._lease = Lease(flash)
        self._stopping = threading.Event()
        machine = Machine(
            self._lease,
            efuses,
            found,
            say=_while_powered(self._console.say, self._stopping),
            stopping=self._stopping,
            restart=_ending(self._lease, self._restart),
        )
        self._thread = threading.Thread(
            target=self._run, args=(application, machine, self._lease), name="application", daemon=True
        )
        self._thread.start()

    def _run(self, application: Callable[[Machine], None], machine: Machine, lease: Lease) -> None:
        try:
            application(machine)
        except PowerCut:
            if not lease.over:
                self._dark()
        except Exception as error:  # noqa: BLE001 - a program that crashes is something that boards live through
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._console.say(
                f"[the application crashed: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})]"
            )


def _ending(lease: Lease, restart: Callable[[str], None]) -> Callable[[str], None]:
    """Return a way to restart that ends the run at once: the `PowerCut` that follows is no power failure."""

    def end(why: str) -> None:
        lease.revoke()
        restart(why)

    return end


def _while_powered(say: Callable[[str], None], stopping: threading.Event) -> Callable[[str], None]:
    """Return a way to the console that ends with the run: what the next one says is not mixed up with this."""

    def speak(line: str) -> None:
        if not stopping.is_set():
            say(line)

    return speak
