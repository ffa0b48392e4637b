"""Carries what a broker elsewhere goes by into its folder, as often as it changes: for brokers in containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.clock import Deadline
from labkit.errors import LabError
from labkit.scenarios import stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.pki import Store

LOOK = 1.0
"""Seconds between two looks."""

DUE = 3600.0
"""Seconds after which it writes in any case: a list or a certificate may be due, though nobody has changed anything."""


def follow(store: Store, write: Callable[[], object], *, say: Callable[[str], None]) -> None:
    """Write now, and again whenever the authority's list, its certificates or the rules change; never returns.

    What can't be written is said once and tried again at each look; the broker goes by what it has until then.

    Args:
        store: The authority.
        write: Fills the folder.
        say: Is told of each time, and of each failure.

    Does not check: that a broker reads it.
    """
    written: list[tuple[int, int, int] | None] = []
    said = ""
    due = Deadline(0)
    while True:
        # Before it is written: what changes meanwhile is seen at the next look.
        found = [_version(path) for path in _sources(store)]
        if found != written or due.passed:
            try:
                write()
            except LabError as error:
                text = f"not written: {error.message} {error.advice}"
            else:
                written, due, text = found, Deadline(DUE), ""
                say("written")
            if text and text != said:
                say(text)
            said = text
        Deadline(LOOK).pause(LOOK)


def _sources(store: Store) -> list[Path]:
    server = store.server()
    return [
        store.revocations.path,
        store.workspace.path(stack.HOME, stack.RULES),
        store.trust_anchor,
        store.intermediate,
        store.trust_bundle,
        store.server_chain,
        server.key,
    ]


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what differs after a file was written anew; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
