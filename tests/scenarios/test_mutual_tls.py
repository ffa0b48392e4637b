"""labkit.scenarios.mutual_tls: everybody who should and should not try it."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from labkit.errors import BrokerGoneError, NotConnectedError
from labkit.pki import IdentityFiles
from labkit.scenarios import mutual_tls

if TYPE_CHECKING:
    from labkit.pki import Store
    from labkit.scenarios import Site

pytestmark = pytest.mark.broker

REASONS = {
    "nobody": "no-certificate",
    "expired": "certificate-expired",
    "not-yet-valid": "certificate-not-yet-valid",
    "rogue": "unknown-ca",
    "self-signed": "unknown-ca",
    "server": "wrong-purpose",
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_reasons_do_not_come_from_labels(site: Site, version: str) -> None:
    """With all file names and labels shuffled, each intruder is refused for its own defect."""
    cast: dict[str, IdentityFiles | None] = {"nobody": None, **site.intruders()}
    masks = [f"mask-{n}" for n in range(len(cast))]
    random.shuffle(masks)
    for (label, files), mask in zip(cast.items(), masks, strict=True):
        masked = files and IdentityFiles(
            mask,
            site.store.workspace.write(f"intruders/{mask}.crt", files.certificate.read_bytes()),
            site.store.workspace.write(f"intruders/{mask}.key", files.key.read_bytes(), secret=True),
        )
        outcome = site.attempt(masked, tls=version)
        assert (outcome.stage, outcome.reason) == ("tls", REASONS[label])
        assert outcome.detail["broker_log"]
    assert site.attempt(site.identity("sensor-001"), tls=version).accepted


def test_the_wire_does_not_tell_rogue_from_self_signed(site: Site) -> None:
    """Reason and alert are the same for both; the diagnosis beside them is not."""
    rogue, own = (site.attempt(files) for files in site.intruders("rogue", "self-signed").values())
    assert (rogue.reason, rogue.detail["alert"]) == (own.reason, own.detail["alert"])
    assert rogue.detail["diagnosis"] != own.detail["diagnosis"]


def test_publish_is_seen_by_the_observer(site: Site) -> None:
    """A device's message is delivered, and the broker's log names it by its certificate."""
    outcome = site.publish("sensor-001", "devices/sensor-001/telemetry/t", "21.5")
    assert outcome.detail["received"] == "21.5"
    assert any("u'sensor-001'" in line for line in outcome.detail["broker_log"])


def test_a_dead_broker_is_not_a_refusal(store: Store) -> None:
    """An attempt on a broker that has died is an error, and never counts as a refusal."""
    with mutual_tls(store) as site:
        os.kill(site.broker.pid, signal.SIGKILL)
        with pytest.raises(BrokerGoneError):
            while True:
                site.attempt(None)


def test_a_broker_that_asks_nobody_refuses_everybody(store: Store) -> None:
    """Without require_certificate nobody gets in: a refusal that proves nothing, at another stage."""
    with mutual_tls(store, require_certificate=False) as site:
        outcomes = [site.attempt(None), site.attempt(site.identity("sensor-001"))]
        with pytest.raises(NotConnectedError):
            site.publish("sensor-001", "devices/sensor-001/status", "x")
    assert {("mqtt", "bad-user-name-or-password")} == {(o.stage, o.reason) for o in outcomes}
