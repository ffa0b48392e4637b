"""labkit.scenarios.weak_keys: where the generator's keys come from."""

from __future__ import annotations

import pytest

from labkit.scenarios.weak_keys import KEY_LENGTH, generated_key, two_runs

pytestmark = pytest.mark.tool


def test_who_knows_the_state_knows_the_key() -> None:
    """From one state the generator draws one key, twice; from another, another."""
    outcome = two_runs(7)
    assert ("key", True) == (outcome.stage, outcome.accepted)
    assert generated_key(state=7) != generated_key(state=8)


def test_left_alone_it_draws_another_one_each_time() -> None:
    """Without a state that was set, two keys differ, and have their length."""
    first, second = generated_key(), generated_key()
    assert (first != second, KEY_LENGTH) == (True, len(first))
