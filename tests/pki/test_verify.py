"""labkit.pki.verify: a chain holds, or the error says which rule it broke."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from labkit.clock import FixedClock
from labkit.errors import ChainInvalidError
from labkit.pki import Authority, Key, flawed, profiles, verify_chain
from labkit.pki.template import Template, device_names

NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)
CLOCK = FixedClock(NOW)
ROOT = Authority.new_root("Root", clock=CLOCK)
MIDDLE = ROOT.new_intermediate("Middle")
DEVICE = MIDDLE.issue_device("sensor-001").certificate
SERVER = MIDDLE.issue_server(["localhost", "broker.local"], ["127.0.0.1", "::1"]).certificate
CHAIN = ([MIDDLE.certificate], [ROOT.certificate])


def rule_of(leaf: object, purpose: str, *, name: str | None = None, now: dt.datetime = NOW) -> str:
    """Return the rule that a leaf breaks."""
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(leaf, *CHAIN, purpose=purpose, now=now, name=name)  # type: ignore[arg-type]
    return caught.value.rule


def test_good_chains_hold() -> None:
    """A device holds as a client, the broker under each of its names and addresses."""
    verify_chain(DEVICE, *CHAIN, purpose="client", now=NOW)
    for name in ("localhost", "broker.local", "127.0.0.1", "::1"):
        verify_chain(SERVER, *CHAIN, purpose="server", now=NOW, name=name)


def test_dates_are_judged_at_the_time_given() -> None:
    """Before and after its validity a leaf is refused, each with its own rule."""
    assert rule_of(DEVICE, "client", now=NOW + dt.timedelta(days=366)) == "expired"
    assert rule_of(DEVICE, "client", now=NOW - dt.timedelta(days=1)) == "not-yet-valid"
    verify_chain(DEVICE, *CHAIN, purpose="client", now=NOW + dt.timedelta(days=364))


def test_purpose_is_judged() -> None:
    """A broker is no client and a device no server."""
    assert rule_of(SERVER, "client") == "purpose"
    assert rule_of(DEVICE, "server", name="sensor-001") == "purpose"


def test_wrong_name_has_a_rule_of_its_own() -> None:
    """A server that holds under its own name only is refused for the name; with a broken path it is the path."""
    assert rule_of(SERVER, "server", name="evil.local") == "name"
    assert rule_of(SERVER, "server", name="192.168.1.1") == "name"
    rogue = flawed.rogue_authority(MIDDLE, clock=CLOCK).issue_server(["localhost"]).certificate
    assert rule_of(rogue, "server", name="evil.local") == "path"


def test_stranger_has_no_path() -> None:
    """Other keys under our names, and a leaf that signed itself, lead nowhere."""
    assert rule_of(flawed.rogue(MIDDLE, "sensor-001", clock=CLOCK).certificate, "client") == "path"
    assert rule_of(flawed.self_signed("sensor-001", clock=CLOCK).certificate, "client") == "path"


def test_leaf_signs_nothing() -> None:
    """A device that plays authority for another leads nowhere: its certificate says CA:FALSE."""
    device = MIDDLE.issue_device("sensor-002")
    assert device.key
    template = Template(
        profiles.DEVICE, issuer=device.certificate.subject, signer=device.key, now=NOW, limit=None
    )
    forged = template.sign(
        template.subject("sensor-003"), Key.generate().public, 7, device_names("sensor-003")
    )
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(
            forged, [device.certificate, MIDDLE.certificate], [ROOT.certificate], purpose="client", now=NOW
        )
    assert caught.value.rule == "path"


@pytest.mark.parametrize(("purpose", "name"), [("server", None), ("client", "localhost"), ("other", None)])
def test_misuse_is_a_value_error(purpose: str, name: str | None) -> None:
    """A server needs a name, a client must not have one, and there are no other purposes."""
    with pytest.raises(ValueError, match="purpose"):
        verify_chain(DEVICE, *CHAIN, purpose=purpose, now=NOW, name=name)


def test_any_purpose_is_no_purpose() -> None:
    """A leaf without extended key usage, which others take as good for everything, is refused."""
    anything = replace(profiles.DEVICE, purposes=())
    template = Template(anything, issuer=MIDDLE.certificate.subject, signer=MIDDLE.key, now=NOW, limit=None)
    leaf = template.sign(template.subject("localhost"), Key.generate().public, 7, device_names("localhost"))
    assert rule_of(leaf, "client") == "purpose"
    assert rule_of(leaf, "server", name="localhost") == "purpose"
