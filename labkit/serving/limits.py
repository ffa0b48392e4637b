"""How often an address may ask, and how often it may fail."""

from __future__ import annotations

import time
from collections import OrderedDict

REMEMBERED = 10_000
"""Addresses that are remembered; beyond that the one that was quiet longest is forgotten."""


class RateLimit:
    """A bucket of tries an address, that refills with time.

    Each worker process counts for itself.

    Args:
        per_minute: How many tries come back in a minute; 0 sets no limit.
        burst: How many there are at first.
    """

    def __init__(self, per_minute: float, *, burst: int | None = None) -> None:
        self._rate = per_minute / 60
        self._burst = float(burst if burst is not None else max(1, int(per_minute)))
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def left(self, address: str) -> float:
        """Return how many tries an address has left."""
        tries, at = self._buckets.get(address, (self._burst, 0.0))
        return min(self._burst, tries + (time.monotonic() - at) * self._rate)

    def wait(self, address: str) -> float:
        """Return for how many seconds an address has to wait for its next try; 0 if it need not."""
        if not self._rate or (left := self.left(address)) >= 1:
            return 0.0
        return (1 - left) / self._rate

    def count(self, address: str) -> None:
        """Take one try from an address."""
        if not self._rate:
            return
        left = self.left(address)
        self._buckets[address] = (max(0.0, left - 1), time.monotonic())
        self._buckets.move_to_end(address)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
