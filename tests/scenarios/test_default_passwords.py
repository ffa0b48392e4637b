"""Doors with passwords: which lists open which, and that only doors of this machine are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.audit.passwords import DEFAULTS
from labkit.mqtt import Endpoint
from labkit.scenarios.default_passwords import (
    AS_DELIVERED,
    Spray,
    changed,
    password_door,
    spray,
    spray_on_mutual_tls,
)

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.scenarios import Site
    from labkit.workspace import Workspace

pytestmark = pytest.mark.broker


def test_a_door_as_delivered_opens(workspace: Workspace, mosquitto: Mosquitto) -> None:
    """Three of four users have a password of the list, and the good one keeps its own."""
    with password_door(workspace, AS_DELIVERED) as door:
        found = spray(door)
        assert spray(door, [("camera", AS_DELIVERED["camera"])]).outcome.accepted
    assert {("admin", "admin"), ("pi", "raspberry"), ("test", "test")} == set(found.opened)
    assert ("mqtt", "accepted", len(DEFAULTS)) == (found.outcome.stage, found.outcome.reason, found.tried)
    assert found.a_day > 1000


def test_changed_passwords_hold_and_one_that_was_forgotten_does_not(
    workspace: Workspace, mosquitto: Mosquitto
) -> None:
    """Random passwords open to nobody on the list; one forgotten account opens; who knows the password gets in."""
    users = changed()
    with password_door(workspace, users, label="changed") as door:
        assert ("mqtt", "nothing-opened", ()) == (
            (found := spray(door)).outcome.stage,
            found.outcome.reason,
            found.opened,
        )
        assert spray(door, [("admin", users["admin"])]).outcome.accepted
    with password_door(workspace, {**changed(), "test": "test"}, label="forgotten") as door:
        assert (("test", "test"),) == spray(door).opened
    assert len(set(users.values())) == len(users)
    assert min(map(len, users.values())) >= 20


def test_there_is_nothing_to_guess_without_a_certificate(site: Site) -> None:
    """Where a certificate is asked for, the whole list ends in TLS; a device with one gets in."""
    refused = spray_on_mutual_tls(site, DEFAULTS[:2])
    assert ("tls", "no-certificate") == (refused.stage, refused.reason)
    assert site.attempt(site.identity("sensor-001")).accepted
    assert "nothing-tried" == spray_on_mutual_tls(site, ()).reason


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.org", "127.0.0.1.example.org"])
def test_doors_of_others_are_not_tried(host: str) -> None:
    """An address that is not this machine's is refused before anything is sent."""
    with pytest.raises(ValueError, match="on this machine only"):
        spray(Endpoint(host, 1883))


def test_a_rate_needs_time(site: Site) -> None:
    """A spray of nothing has no rate."""
    outcome = spray(Endpoint("127.0.0.1", 1), ()).outcome
    assert (0, "nothing-opened") == (Spray(0, (), 0.0, outcome).a_day, outcome.reason)
