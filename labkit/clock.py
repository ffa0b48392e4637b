"""Time as a parameter: the only file that asks the machine what time it is."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Anything that knows the time."""

    def now(self) -> dt.datetime:
        """Return the time now, aware, in UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """Return the machine's time in UTC."""
        return dt.datetime.now(dt.UTC)


class FixedClock:
    """A clock that stands still until it is moved, for tests and for lessons about time.

    Args:
        at: The time it shows; it must be aware.
    """

    def __init__(self, at: dt.datetime) -> None:
        if at.tzinfo is None:
            text = "a clock needs an aware datetime, for example datetime.now(timezone.utc)"
            raise ValueError(text)
        self._now = at.astimezone(dt.UTC)

    def now(self) -> dt.datetime:
        """Return the time it was set to."""
        return self._now

    def advance(self, by: dt.timedelta) -> None:
        """Move the clock; a negative step moves it back."""
        self._now += by


class Deadline:
    """A point on the monotonic clock until which a poll may go on.

    Args:
        seconds: How long from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.left == 0.0

    def pause(self, seconds: float = 0.01) -> None:
        """Wait a little before the next look, but never past the deadline."""
        time.sleep(min(seconds, self.left))


class Stopwatch:
    """Counts milliseconds from now on, faster than we live if it is told to.

    Args:
        speed: Milliseconds that it counts in one of ours.
    """

    def __init__(self, *, speed: float = 1.0) -> None:
        if speed <= 0:
            text = f"a stopwatch runs forward, not at {speed}"
            raise ValueError(text)
        self._begin, self._speed = time.monotonic(), speed

    @property
    def milliseconds(self) -> int:
        """What it shows."""
        return int((time.monotonic() - self._begin) * 1000 * self._speed)


SYSTEM_CLOCK = SystemClock()
