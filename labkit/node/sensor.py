"""The sensor of a board that has none: readings that wander, as those in a room do."""

from __future__ import annotations

import random
from typing import Protocol

from labkit.node.telemetry import Reading


class Sensor(Protocol):
    """Anything that measures."""

    def read(self) -> Reading | None:
        """Return a reading, or None where there is none to be had."""


class SimulatedSensor:
    """A simulated BME280. Nothing is measured.

    Args:
        source: Where its randomness comes from; a seeded one makes readings that can be repeated.
    """

    def __init__(self, source: random.Random | None = None) -> None:
        self._source = source or random.SystemRandom()
        self._temperature, self._humidity = 2250, 5500

    def read(self) -> Reading:
        """Return the next reading, close to the one before."""
        self._temperature = min(max(self._temperature + self._source.randint(-15, 15), 1500), 3500)
        self._humidity = min(max(self._humidity + self._source.randint(-30, 30), 2500), 8500)
        return Reading(self._temperature, self._humidity)
