"""The life of a device: the states that it can be in, and the moves between them that are allowed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from labkit.errors import MoveRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a device stands in its life."""

    MADE = "made"
    """It is in the registry; perhaps it has its certificate from the factory."""
    SHIPPED = "shipped"
    """It has left the house."""
    ENROLLED = "enrolled"
    """It has been heard of with a certificate of ours."""
    QUARANTINED = "quarantined"
    """Something is wrong with it, so nothing of it counts until a person has looked."""
    REVOKED = "revoked"
    """It is out of service, and its certificates are on the list."""
    GONE = "gone"
    """It was erased or destroyed. Its id is never given out again."""


MOVES: Mapping[State, frozenset[State]] = {
    State.MADE: frozenset({State.SHIPPED, State.ENROLLED, State.QUARANTINED, State.REVOKED}),
    State.SHIPPED: frozenset({State.ENROLLED, State.QUARANTINED, State.REVOKED}),
    State.ENROLLED: frozenset({State.QUARANTINED, State.REVOKED}),
    # Back only to the shelf: its old certificates are gone, so it needs a fresh token.
    State.QUARANTINED: frozenset({State.SHIPPED, State.REVOKED}),
    State.REVOKED: frozenset({State.GONE}),
    State.GONE: frozenset(),
}
"""From each state, where a device may go."""

IN_LIFE = frozenset({State.MADE, State.SHIPPED, State.ENROLLED})
"""States in which a device may get a certificate and use it."""


def verify_move(name: str, state: State, wanted: State) -> None:
    """Verify that a device may go from one state to another.

    Raises:
        MoveRefusedError: It may not; the error says where it may go instead.
    """
    if wanted in MOVES[state]:
        return
    ways = ", ".join(sorted(MOVES[state])) or "nowhere"
    raise MoveRefusedError(
        f"{name} is {state} and can't become {wanted}.",
        advice=f"From {state} a device goes to: {ways}. See it with: labkit provision show {name}",
        name=name,
        state=state.value,
        wanted=wanted.value,
    )
