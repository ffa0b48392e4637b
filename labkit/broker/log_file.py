"""The broker's log as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.broker.log import Event, parse_line, story_of
from labkit.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TAIL = 64 * 1024


class LogFile:
    """A log file that a broker appends to.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> int:
        """Return a mark to read on from: the length of the log now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def lines(self, since: int = 0) -> list[str]:
        """Return the whole lines after a mark, decoded leniently."""
        return self.read_on(since)[0]

    def read_on(self, since: int) -> tuple[list[str], int]:
        """Return the whole lines after a mark, and the mark after them."""
        if not self.path.exists():
            return [], since
        with self.path.open("rb") as file:
            file.seek(since)
            whole, end, _unfinished = file.read().rpartition(b"\n")
        # Line feeds alone end a line. `splitlines` would also break at U+2028 and its like, which a client may put
        # into a topic: whatever follows would read like a line of the broker's.
        lines = whole.decode(errors="replace").split("\n") if end else []
        return [line.removesuffix("\r") for line in lines], since + len(whole) + len(end)

    def since(self, mark: int) -> list[Event]:
        """Return what happened after a mark."""
        return [parse_line(line) for line in self.lines(mark)]

    def wait_for(
        self,
        wanted: Callable[[Event], bool],
        *,
        since: int = 0,
        timeout: float = 5.0,
        give_up: Callable[[], bool] = lambda: False,
    ) -> Event | None:
        """Wait for an event.

        Args:
            wanted: Says whether it is the one.
            since: The mark to read from.
            timeout: Seconds to wait.
            give_up: Says whether waiting is pointless, because the broker has died for example.

        Returns:
            The first such event, or None.
        """
        deadline = Deadline(timeout)
        while True:
            last_look = deadline.passed or give_up()
            lines, since = self.read_on(since)
            for event in map(parse_line, lines):
                if wanted(event):
                    return event
            if last_look:
                return None
            deadline.pause(0.005)

    def story_of(self, peer_port: int, *, since: int = 0, timeout: float = 1.0) -> list[str]:
        """Return the lines about one connection, waiting a moment for its end to be written.

        Args:
            peer_port: The client's own port.
            since: The mark to read from.
            timeout: Seconds to wait for the line that it was closed.
        """
        deadline = Deadline(timeout)
        while True:
            story = story_of(peer_port, self.lines(since))
            ended = any(parse_line(line).kind in {"disconnected", "accept-failed"} for line in story)
            if ended or deadline.passed:
                return story
            deadline.pause()

    def tail(self, count: int = 5) -> str:
        """Return the last lines, of no more than the last 64 KB."""
        return "\n".join(self.lines(max(0, self.mark() - _TAIL))[-count:])
