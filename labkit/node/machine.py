"""What the node sees of its board: `board.Machine` is one, a test's own is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from labkit.node.credentials import Flash

if TYPE_CHECKING:
    from labkit.board.bootloader import Boot
    from labkit.node.updating import Slot


class Stopping(Protocol):
    """Says when the power goes, as `threading.Event` does."""

    def is_set(self) -> bool:
        """Return whether it is time to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait until it is time to stop, or some seconds; return whether it is time."""


class Board(Flash, Protocol):
    """What the node sees of its board: `board.Machine`, or a test's own."""

    @property
    def stopping(self) -> Stopping:
        """Set when the power goes."""

    @property
    def version(self) -> str:
        """The version of the image that runs."""

    @property
    def boot(self) -> Boot | None:
        """How the board came to run this image, and what that says of itself; a test's own has none."""

    @property
    def pending(self) -> bool:
        """Whether the image runs for the first time and has to prove itself."""

    def begin_update(self, size: int | None = None) -> Slot:
        """Begin to write into the other slot."""

    def say(self, line: str) -> None:
        """Write a line to the console."""

    def restart(self) -> None:
        """Start again from the beginning."""

    def mark_valid(self) -> None:
        """Keep the image that runs."""

    def mark_invalid_and_reboot(self) -> None:
        """Go back to the image before."""
