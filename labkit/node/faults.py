"""Images that are signed, whole and no good: what goes wrong stands in their bytes, as a bug does.

On a chip it would be machine code that crashes; on the virtual board it is a word of the image's behaviour, which is
hashed and signed like everything else. No verifier looks at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

CRASH, MUTE = "crash", "mute"

FAULTS = {
    CRASH: "It crashes before it has done anything, at each start.",
    MUTE: "It works, and never reaches the broker.",
}
"""What an image can suffer from."""

PANIC = "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled."
"""What a chip says that crashes; then it resets."""


class Behaving(Protocol):
    """The part of a boot that says what the image does."""

    @property
    def behaviour(self) -> Mapping[str, Any] | None:
        """See `board.Boot`."""


def fault_of(boot: Behaving | None) -> str:
    """Return what the image that runs suffers from; nothing where it does not say."""
    found = (boot.behaviour or {}).get("fault") if boot else None
    return found if found in FAULTS else ""
