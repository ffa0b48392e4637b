"""A board in memory: what the node sees of one, with NVS partitions that are real images."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.clock import Deadline
from labkit.firmware import NvsEntry, build_image, read_image
from labkit.node.codes import parse_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class MemoryBoard:
    """A board that keeps its partitions in memory and writes its console into a list.

    Attributes:
        partitions: The NVS partitions.
        lines: What the console says.
        events: What the application did to the board.
        cut_after: After so many writes the power goes: the next one is not done.
        gone: Whether it is gone; nobody waits for the console then.
    """

    partitions: dict[str, bytes] = field(default_factory=dict)
    version: str = "1.0.0"
    pending: bool = False
    boot: None = None
    lines: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    writes: int = 0
    cut_after: int | None = None
    gone: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def with_values(cls, *entries: NvsEntry, **options: object) -> MemoryBoard:
        """Return a board with values in its own partition."""
        return cls({"fctry": build_image(entries)}, **options)  # type: ignore[arg-type]

    def nvs(self, label: str) -> list[NvsEntry]:
        """Return what a partition holds."""
        return read_image(self.partitions[label])

    def write_nvs(self, label: str, entries: Sequence[NvsEntry]) -> None:
        """Replace what a partition holds."""
        if self.cut_after is not None and self.writes >= self.cut_after:
            self.gone = True
            raise PowerGoneError
        self.writes += 1
        self.partitions[label] = build_image(entries, size=len(self.partitions[label]))

    def say(self, line: str) -> None:
        """Write a line to the console."""
        self.lines.append(line)

    def restart(self) -> None:
        """Note that the application wants to start again."""
        self.events.append("restart")
        self.stopping.set()

    def begin_update(self, size: int | None = None) -> Any:
        """Say that there is no slot; boards with flash are in `board`."""
        raise AssertionError(size)

    def mark_valid(self) -> None:
        """Note it."""
        self.events.append("valid")

    def mark_invalid_and_reboot(self) -> None:
        """Note it."""
        self.events.append("invalid")
        self.stopping.set()

    def codes(self) -> list[str]:
        """Return the codes on the console, in order."""
        return [found[0] for line in list(self.lines) if (found := parse_line(line))]

    def wait_for(self, code: str, *, times: int = 1, timeout: float = 10) -> None:
        """Wait until a code stands on the console so many times."""
        deadline = Deadline(timeout)
        while self.codes().count(code) < times and not self.gone:
            assert not deadline.passed, f"no {code} in:\n" + "\n".join(self.lines)
            deadline.pause()

    def value(self, key: str) -> object:
        """Return a value of the device's own partition, or None."""
        return next((entry.value for entry in self.nvs("fctry") if entry.key == key), None)


class PowerGoneError(Exception):
    """The power is gone: nothing after it happens."""


@dataclass
class Powered:
    """An application that runs on a board until its block ends."""

    board: MemoryBoard
    run: Callable[[MemoryBoard], None]

    def __enter__(self) -> MemoryBoard:
        self._thread = threading.Thread(target=self._work)
        self._problem: list[BaseException] = []
        self._thread.start()
        return self.board

    def _work(self) -> None:
        try:
            self.run(self.board)
        except PowerGoneError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._problem.append(error)

    def __exit__(self, *_: object) -> None:
        self.board.stopping.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._problem:
            raise self._problem[0]
