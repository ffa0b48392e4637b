"""The simulation of patching: whose devices are open for how long."""

from __future__ import annotations

import random

import pytest

from labkit.threats import HABITS, Habit, exposure, holes


def test_holes_arrive_all_through_a_life() -> None:
    """Over many lives as many holes become known as was asked for, in order, none outside the life."""
    counts = []
    for number in range(300):
        known = holes(random.Random(number), years=8, per_year=3)
        assert known == sorted(known)
        assert all(0 <= day < 8 * 365 for day in known)
        counts.append(len(known))
    assert 23 < sum(counts) / len(counts) < 25


@pytest.mark.parametrize(
    ("habit", "days", "longest"),
    [
        (Habit("never", None), 3650 - 100, 3550),
        (Habit("yearly", 365, fix=30, rollout=60), 365 + 60 - 100, 325),
        (Habit("at once", 1, fix=30, rollout=3), 33, 33),
        (Habit("given up", 365, fix=30, keeps_up=0.5), 3550, 3550),
    ],
)
def test_one_hole(habit: Habit, days: int, longest: int) -> None:
    """A hole that is known on day 100 of ten years is open until the update that comes after its fix is everywhere."""
    found = exposure(habit, [100], years=10)
    assert (days, longest, 1, 3650) == (found.days_open, found.longest, found.holes, found.life)
    assert found.share == days / 3650


def test_days_count_once() -> None:
    """Two holes that are open on the same day make one day."""
    assert 43 == exposure(Habit("at once", 1, fix=30, rollout=3), [100, 110], years=10).days_open


def test_no_hole_no_day() -> None:
    """A device in which nothing is found is never open."""
    assert (0, 0) == ((found := exposure(HABITS[0], [], years=1)).days_open, found.longest)


def test_better_habits_are_open_for_less() -> None:
    """Over many lives each habit of the list is open for less of it than the one before."""
    lives = [holes(random.Random(number), years=8, per_year=3) for number in range(40)]
    shares = [sum(exposure(habit, known, years=8).share for known in lives) for habit in HABITS]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 3 * shares[-1]
