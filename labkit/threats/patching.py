"""How long a device is open to holes that everybody knows, over its whole life: a simulation, and it says so.

Holes in what a device is made of are found all through its life. From the day that one is known, until the device has the
version without it, anybody can use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

YEAR = 365

SIMULATION = "a simulation: holes arrive by chance, the same for every habit"


@dataclass(frozen=True, slots=True)
class Habit:
    """How a device is updated.

    Attributes:
        name: In words.
        every: Days between updates; None for never.
        fix: Days from the day on which a hole is known to a version without it.
        rollout: Days until an update has reached every device.
        keeps_up: How many years updates are made for.
    """

    name: str
    every: int | None
    fix: int = 30
    rollout: int = 0
    keeps_up: float = 100.0


HABITS = (
    Habit("never", None),
    Habit("once a year, by hand", YEAR, rollout=60),
    Habit("each quarter, for five years", 91, rollout=30, keeps_up=5.0),
    Habit("each month, over the air", 30, rollout=7),
    Habit("when there is a fix, over the air", 1, rollout=3),
)
"""What is met in the field, from the worst to the best."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a habit comes to.

    Attributes:
        habit: The habit.
        holes: How many holes became known in the device's life.
        days_open: Days on which at least one known hole was open.
        life: Days that the device lived.
        longest: The longest time for which one hole was open, in days.
    """

    habit: Habit
    holes: int
    days_open: int
    life: int
    longest: int

    @property
    def share(self) -> float:
        """The part of its life that the device was open."""
        return self.days_open / self.life


def holes(source: Random, *, years: float, per_year: float) -> list[int]:
    """Return the days on which holes become known.

    Args:
        source: Where chance comes from.
        years: How long the device lives.
        per_year: How many become known in a year, on average.
    """
    days, day = [], source.expovariate(per_year / YEAR)
    while day < years * YEAR:
        days.append(int(day))
        day += source.expovariate(per_year / YEAR)
    return days


def exposure(habit: Habit, known: list[int], *, years: float) -> Exposure:
    """Return how long a device with a habit is open.

    Args:
        habit: How it is updated.
        known: The days on which holes become known.
        years: How long it lives.
    """
    life = int(years * YEAR)
    ends = [(day, min(life, _closed(habit, day, life))) for day in known]
    open_days = {day for begin, end in ends for day in range(begin, end)}
    longest = max((end - begin for begin, end in ends), default=0)
    return Exposure(habit, len(known), len(open_days), life, longest)


def _closed(habit: Habit, known: int, life: int) -> int:
    """Return the day on which a hole is closed on every device."""
    ready = known + habit.fix
    if habit.every is None:
        return life
    update = -(-ready // habit.every) * habit.every
    return update + habit.rollout if update <= habit.keeps_up * YEAR else life
