"""What happens while a board has power: it boots, and an application runs until the power goes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from labkit.board.nor_flash import NorFlash, PowerCut

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.console import Console
    from labkit.board.efuse import Efuses


class Lease(NorFlash):
    """An application's way to the flash chip: gone at the moment of a reset, so that nothing writes after it."""

    def __init__(self, flash: NorFlash) -> None:  # the chip itself is elsewhere
        self._flash = flash
        self._mutex = threading.RLock()
        self._over = False

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
    """

    def __init__(self, console: Console) -> None:
        self._console = console
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

    def on(
        self,
        flash: NorFlash,
        efuses: Efuses,
        application: Callable[[Any], None] | None,
        restart: Callable[[str], None],
    ) -> None:
        """Give it power: boot, and run the application if that succeeds.

        The boot chain is not on board yet: only the loader works.
        """
        self._lease = Lease(flash)
        self._stopping = threading.Event()
        _ = (efuses, application, restart)
