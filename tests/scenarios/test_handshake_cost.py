"""labkit.scenarios.handshake_cost: every way to connect is measured, and is the way that it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.scenarios.handshake_cost import handshake_cost

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.workspace import Workspace


@pytest.mark.broker
def test_every_way_is_measured(workspace: Workspace, mosquitto: Mosquitto) -> None:
    """Resumed connections are shorter than full ones; TLS 1.3 waits once, 1.2 twice, resumed always once."""
    found = {
        (c.kind, c.version, c.resumed): c for c in handshake_cost(workspace, kinds=("p256", "p384"), rounds=2)
    }
    assert len(found) == 8
    for (kind, version, resumed), cost in found.items():
        assert (1 if resumed or version == "1.3" else 2) == cost.round_trips
        assert cost.milliseconds > 0
        full = found[kind, version, False]
        assert resumed == (cost.received < full.received)
    assert found["p256", "1.3", False].received < found["p384", "1.3", False].received
