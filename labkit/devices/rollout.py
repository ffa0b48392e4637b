"""A release of firmware and the ways of its roll-out: the states that it can be in, and the moves between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping


class Rollout(StrEnum):
    """How a release stands."""

    HELD = "held"
    """It is published, and offered to nobody yet."""
    RUNNING = "running"
    PAUSED = "paused"
    """Nobody new is offered it; who has begun may go on."""
    ABORTED = "aborted"
    """Nobody gets it, not even who has begun. There is no way back; the next version is."""


ROLLOUT_MOVES: Mapping[Rollout, frozenset[Rollout]] = {
    Rollout.HELD: frozenset({Rollout.RUNNING, Rollout.ABORTED}),
    Rollout.RUNNING: frozenset({Rollout.PAUSED, Rollout.ABORTED}),
    Rollout.PAUSED: frozenset({Rollout.RUNNING, Rollout.ABORTED}),
    Rollout.ABORTED: frozenset(),
}
"""From each state, where a roll-out may go."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of firmware as the registry has it.

    Attributes:
        product: For which product.
        version: Its version, as text.
        header: Its signed header.
        published_at: When it was published.
        state: How its roll-out stands.
        percent: The share of the fleet that it is offered to, while it is running.
        first: The ids of devices that it is offered to whatever the share is.
        changed_at: When one of these changed last.
    """

    product: str
    version: str
    header: bytes
    published_at: dt.datetime
    state: Rollout
    percent: int
    first: frozenset[str]
    changed_at: dt.datetime

    @property
    def subject(self) -> str:
        """What the trail calls it."""
        return subject_of(self.product, self.version)


def subject_of(product: str, version: str) -> str:
    """Return what the trail calls a release; no device can have this name."""
    return f"{product}/{version}"
