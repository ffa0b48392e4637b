"""labkit.scenarios.list_cost: longer lists cost more, and the measurement is of a broker that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.scenarios.list_cost import list_cost

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.pki import Store


@pytest.mark.broker
def test_longer_lists_are_larger(store: Store, mosquitto: Mosquitto) -> None:
    """Each size is measured; entries and bytes grow together, and no figure is nothing."""
    found = list_cost(store, [10, 5000], rounds=3)
    assert [10, 5000] == [each.entries for each in found]
    assert found[0].size < found[1].size
    assert all(each.build > 0 and each.handshake > 0 and each.broker_cpu >= 0 for each in found)


@pytest.mark.broker
def test_a_broker_that_refuses_is_not_measured(store: Store, mosquitto: Mosquitto) -> None:
    """A device that has run out is refused, and the refusal is told instead of a number."""
    import datetime as dt

    from labkit.clock import SYSTEM_CLOCK
    from labkit.scenarios import list_cost as module

    with pytest.MonkeyPatch.context() as patched:
        old = type("Old", (), {"now": staticmethod(lambda: SYSTEM_CLOCK.now() - dt.timedelta(days=30))})()
        patched.setattr(module, "SYSTEM_CLOCK", old)
        with pytest.raises(RuntimeError, match="certificate.expired"):
            list_cost(store, [1], rounds=1)
