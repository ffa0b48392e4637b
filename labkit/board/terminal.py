"""A pseudo-terminal whose far end looks like a serial port, with a link that keeps its name (Linux, macOS)."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

from labkit.errors import NoTerminalError

if TYPE_CHECKING:
    from pathlib import Path

AVAILABLE = sys.platform != "win32"


class Terminal:
    """The near end.

    Args:
        link: Where a symbolic link to the far end goes; only a link into /dev is replaced by it.

    Attributes:
        link: The link.
        is_open: Whether a program had the far end open at the last look.

    Raises:
        NoTerminalError: This system has no pseudo-terminals, or the link can't be made.
    """

    def __init__(self, link: Path) -> None:
        if not AVAILABLE:
            raise _none("this system has no pseudo-terminals", "Use socket://, which works everywhere.")
        import tty

        self.link = link
        self.is_open = False
        self._near, far = os.openpty()
        tty.setraw(far)
        name = os.ttyname(far)
        os.close(far)  # from here on the far end is open exactly when a tool has it open
        os.set_blocking(self._near, False)
        try:
            if link.is_symlink() and str(link.readlink()).startswith("/dev/"):
                link.unlink()  # what a board left that was killed
            link.symlink_to(name)
        except OSError as error:
            os.close(self._near)
            raise _none(f"{link} can't be made: {error.strerror}", "Choose another name for it.") from error
        self._poll = select.poll()
        self._poll.register(self._near, select.POLLIN)

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._near

    def look(self) -> bool:
        """Return whether a program has the far end open."""
        told = self._poll.poll(0)
        self.is_open = not any(mask & select.POLLHUP for _, mask in told)
        return self.is_open

    @property
    def baud(self) -> int | None:
        """The rate that the far end was set to, where the system tells it."""
        import termios

        with contextlib.suppress(termios.error, OSError):
            speed = termios.tcgetattr(self._near)[5]
            return _SPEEDS.get(speed)
        return None

    def recv(self, size: int) -> bytes:
        """Return bytes that the tool wrote.

        Raises:
            OSError: Nobody has the far end open.
        """
        return os.read(self._near, size)

    def send(self, data: bytes) -> int:
        """Write bytes for the tool to read, as many as there is room for, and return how many."""
        return os.write(self._near, data)

    def drain(self) -> int:
        """Throw away what is waiting, and return how much it was."""
        with contextlib.suppress(OSError):
            return len(os.read(self._near, 1 << 16))
        return 0

    def close(self) -> None:
        """Take the link away and close."""
        with contextlib.suppress(OSError):
            if self.link.is_symlink():
                self.link.unlink()
        os.close(self._near)


def _speeds() -> dict[int, int]:
    if not AVAILABLE:
        return {}
    import termios

    return {
        getattr(termios, name): int(name[1:])
        for name in dir(termios)
        if name[:1] == "B" and name[1:].isdigit()
    }


_SPEEDS = _speeds()


def _none(why: str, advice: str) -> NoTerminalError:
    return NoTerminalError(f"There is no pseudo-terminal for the board: {why}.", advice=advice)
