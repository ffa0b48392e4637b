"""benchmarks.load: the program that measures works, and loses nothing on a small fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import load

if TYPE_CHECKING:
    from labkit.broker import Mosquitto

pytestmark = pytest.mark.tool


def test_a_small_fleet_is_carried(mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every device comes in, every reading arrives once, and the page says what that means for a large fleet."""
    del mosquitto
    monkeypatch.setattr(load, "READINGS", 2)
    monkeypatch.setattr(load, "INTERVAL", 0.2)
    steps = load.measure(steps=(5, 10), only=("mosquitto",))
    assert [(5, 10), (10, 20)] == [(step.devices, step.sent) for step in steps]
    assert [(0, 0, 0)] * 2 == [(step.failed, step.lost, step.twice) for step in steps]
    assert all(0 < step.latency[0] <= step.latency[1] <= step.latency[2] for step in steps)
    assert "100,000 devices on Mosquitto" in load.table(steps)
