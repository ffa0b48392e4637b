"""labkit.clock: time as a parameter."""

from __future__ import annotations

import datetime as dt

import pytest

from labkit.clock import SYSTEM_CLOCK, Deadline, FixedClock, Stopwatch

NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)


def test_system_clock_is_aware() -> None:
    """The machine's clock answers in UTC."""
    assert dt.timedelta(0) == SYSTEM_CLOCK.now().utcoffset()


def test_fixed_clock_moves_only_when_told() -> None:
    """A fixed clock shows the same time until it is moved, and moves back too."""
    clock = FixedClock(NOON)
    assert clock.now() == NOON
    clock.advance(dt.timedelta(days=-1))
    assert clock.now() == NOON - dt.timedelta(days=1)


def test_fixed_clock_refuses_naive_times() -> None:
    """A time without a zone is the programmer's mistake."""
    with pytest.raises(ValueError, match="aware"):
        FixedClock(NOON.replace(tzinfo=None))


def test_deadline_passes() -> None:
    """A deadline has time left until it has passed, and a pause never runs past it."""
    open_end, over = Deadline(60), Deadline(0)
    assert not open_end.passed
    assert over.passed
    over.pause(60)
    assert over.left == 0.0


def test_a_stopwatch_runs_as_fast_as_it_is_told() -> None:
    """It counts milliseconds, many in one of ours if it is told to, and never backwards."""
    watch = Stopwatch(speed=10_000)
    Deadline(0.02).pause(0.01)
    first, second = watch.milliseconds, watch.milliseconds
    assert (first > 90, second >= first) == (True, True)
    with pytest.raises(ValueError, match="forward"):
        Stopwatch(speed=0)
