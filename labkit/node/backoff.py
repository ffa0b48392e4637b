"""When to try again, and how to compare times on a clock that runs over."""

from __future__ import annotations

BASE, CAP = 1_000, 60_000
"""Milliseconds: the longest wait before the second try, and before any."""

WRAP = 1 << 32
"""The device counts milliseconds in 32 bits; after 49.7 days it begins at zero again."""


def wait(tries: int, chance: int, *, base: int = BASE, cap: int = CAP) -> int:
    """Return how many milliseconds to wait before the next try: doubled each time, up to a cap, scattered below that.

    Scattered over the whole span ("full jitter"), so that a fleet that lost its broker together does not come back
    together.

    Args:
        tries: How many tries have failed since the last success, at least 1.
        chance: 32 random bits.
        base: The span after the first failure.
        cap: The longest span.
    """
    if tries < 1 or not 0 <= chance < WRAP:
        text = "tries begins at 1, and chance has 32 bits"
        raise ValueError(text)
    span = min(base << min(tries - 1, 31), cap)
    return (chance * (span + 1)) >> 32


def reached(now: int, deadline: int) -> bool:
    """Return whether a deadline has come on the clock that runs over.

    Deadlines lie less than 2^31 milliseconds (24.8 days) ahead, so the shorter way round the clock is the right one.
    """
    return (now - deadline) % WRAP < WRAP // 2
