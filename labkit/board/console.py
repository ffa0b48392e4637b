"""The serial console of a board: what ROM, bootloader and application say, to read, to wait for and to follow."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

from labkit.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT = 5000
_LONGEST_FILE = 1 << 20


class Console:
    """Lines, the newest last.

    Args:
        path: A file that follows; it begins anew when it is longer than a megabyte. None for no file.
        forward: Called with each line as it comes, in the thread that said it.
    """

    def __init__(self, path: Path | None = None, forward: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._forward = forward
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._count = 0
        self._news = threading.Condition()

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines."""
        with self._news:
            return tuple(self._lines)

    @property
    def count(self) -> int:
        """How many lines there were so far: a place to wait from."""
        with self._news:
            return self._count

    def since(self, count: int) -> tuple[str, ...]:
        """Return the lines that came after there were `count`."""
        with self._news:
            new = self._count - count
            return tuple(self._lines)[-new:] if new > 0 else ()

    def say(self, line: str, *, on_wire: bool = True) -> None:
        """Add a line.

        Args:
            line: What is said.
            on_wire: Whether it goes out on the serial line too; remarks of the model's own about that line do not.
        """
        with self._news:
            self._lines.append(line)
            self._count += 1
            self._news.notify_all()
        self._write(line)
        if on_wire and self._forward is not None:
            self._forward(line)

    def _write(self, line: str) -> None:
        if self._path is None:
            return
        # A disk that is full must not stop the board; what it says is still in memory.
        with contextlib.suppress(OSError):
            long = self._path.exists() and self._path.stat().st_size > _LONGEST_FILE
            with self._path.open("w" if long else "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def wait_for(self, text: str, *, since: int = 0, timeout: float = 10.0) -> str | None:
        """Return the first line with a text in it, or None when the time is up.

        Args:
            text: What to look for.
            since: How many lines to pass over; see `count`.
            timeout: Seconds.
        """
        deadline = Deadline(timeout)
        with self._news:
            while True:
                for line in tuple(self._lines)[-max(0, self._count - since) :] if self._count > since else ():
                    if text in line:
                        return line
                if deadline.passed:
                    return None
                self._news.wait(deadline.left)
