"""The states of a device and the moves between them."""

from __future__ import annotations

import itertools

import pytest

from labkit.devices import IN_LIFE, MOVES, State, verify_move
from labkit.errors import MoveRefusedError


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_move_is_allowed_or_refused_by_name(before: State, after: State) -> None:
    """A move that the table has passes; any other is refused with both states in the error."""
    if after in MOVES[before]:
        verify_move("sensor-001", before, after)
        return
    with pytest.raises(MoveRefusedError) as caught:
        verify_move("sensor-001", before, after)
    found = (caught.value.state, caught.value.wanted, caught.value.name)
    assert (before.value, after.value, "sensor-001") == found


def test_every_life_can_end() -> None:
    """From every state there is a way to being gone, and from there none back."""
    reach = {State.GONE}
    for _ in State:
        reach |= {state for state, ways in MOVES.items() if ways & reach}
    assert set(State) == reach
    assert not MOVES[State.GONE]


def test_who_is_out_of_service_never_comes_back() -> None:
    """No way leads from being revoked back into a state in which certificates are given out."""
    seen: set[State] = set()
    fresh = {State.REVOKED}
    while fresh:
        seen |= fresh
        fresh = {after for state in fresh for after in MOVES[state]} - seen
    assert not seen & IN_LIFE
