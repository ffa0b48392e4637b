"""labkit.scenarios.revocation: lists that a real broker goes by, and sessions that outlive them."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from labkit.clock import FixedClock
from labkit.errors import NotConnectedError, ReloadRefusedError, RevocationListError
from labkit.mqtt import delivered
from labkit.pki import Store, issue_list, openssl
from labkit.scenarios import Site, mutual_tls
from labkit.scenarios.mutual_tls import FENCE
from labkit.scenarios.revocation import (
    CANARY,
    ending_soon,
    enforce,
    returner,
    revoke,
    revoking_broker,
    silence,
    wait_until_expired,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto

pytestmark = pytest.mark.broker

TOPIC = "devices/sensor-007/telemetry/t"
PASSPHRASE = b"correct horse"


@pytest.fixture
def site(store: Store, mosquitto: Mosquitto) -> Iterator[Site]:
    """Return a broker that goes by the authority's list."""
    store.issue_device("sensor-007", renew=True)
    with revoking_broker(store) as staged:
        yield staged


def reasons(site: Site, *names: str) -> list[str]:
    """Return what the broker says to each of them."""
    return [site.attempt(site.store.identity(name)).reason for name in names]


def test_a_list_counts_from_the_reload_on(site: Site) -> None:
    """Revoked, the device still gets in; after the reload it is refused as revoked, and the other one is not."""
    site.store.revocations.revoke("sensor-007", "key-compromise")
    before = reasons(site, "sensor-007", "sensor-001")
    enforce(site)
    after = reasons(site, "sensor-007", "sensor-001")
    assert (["accepted", "accepted"], ["certificate-revoked", "accepted"]) == (before, after)
    verdict = site.verify(site.store.device("sensor-007"))
    assert verdict.code == 23


def test_a_live_session_lives_on_until_it_is_silenced(site: Site) -> None:
    """Neither the list nor the reload ends a session; the rules silence it, and the socket stays open."""
    with site.session("admin") as observer, site.session("sensor-007") as thief:
        observer.subscribe("#")
        site.store.revocations.revoke("sensor-007", "key-compromise")
        site.broker.reload()
        alive = delivered(thief, observer, TOPIC, "still here", fence=FENCE)
        assert (True, "accepted") == (alive.accepted, alive.reason)
        site.broker.reload(site.broker.acl.denying("sensor-007"))
        quiet = delivered(thief, observer, TOPIC, "still here?", fence=FENCE)
        assert (False, "not-authorised") == (quiet.accepted, quiet.reason)
    assert site.publish("sensor-001", "devices/sensor-001/status", "ok").accepted


def test_revoke_does_all_three(site: Site) -> None:
    """One call: on the list, the list in force, the live session silenced."""
    with site.session("sensor-007") as thief:
        listed = revoke(site, "sensor-007", "key-compromise")
        assert thief.publish(TOPIC, "x") == 0x87
    assert site.store.certificate("sensor-007").serial_number in listed
    assert reasons(site, "sensor-007", "sensor-001") == ["certificate-revoked", "accepted"]


def test_silencing_one_spares_the_others(site: Site) -> None:
    """The silenced device is refused at its next message, its neighbour is not."""
    silence(site, "sensor-007")
    outcomes = [
        site.publish(name, f"devices/{name}/status", "ok").reason for name in ("sensor-007", "sensor-001")
    ]
    assert outcomes == ["not-authorised", "accepted"]


def test_a_stale_list_is_not_loaded(site: Site, store: Store) -> None:
    """A list that ran out would lock everybody out; enforce refuses it, and the broker goes on with what it has."""
    enforce(site)
    path = store.revocations.path
    old = issue_list(store.authority(), [], number=99, now=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    revoked = store.device(CANARY)
    path.write_bytes(old.pem)
    register = store.revocations.path.with_name("revocations.jsonl").read_text()
    with pytest.raises(RevocationListError) as caught:
        enforce_as_it_is(site)
    assert caught.value.rule == "stale"
    assert register == path.with_name("revocations.jsonl").read_text()
    assert ["accepted"] == reasons(site, "sensor-001")
    assert "certificate_revoked" == site.attempt(revoked).detail["alert"]


def enforce_as_it_is(site: Site) -> None:
    """Do what enforce does when its canary needs no new list."""
    from labkit.scenarios import revocation

    canary = site.store.device(CANARY)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(revocation, "_canary", lambda _: canary)
        enforce(site)


def test_a_broken_list_leaves_the_old_one_in_force(site: Site, store: Store) -> None:
    """Junk in place of the list is refused by the second broker; the running one keeps what it has."""
    revoke(site, "sensor-007", "key-compromise")
    store.revocations.path.write_text("junk")
    with pytest.raises(ReloadRefusedError):
        site.broker.reload()
    store.revocations.publish()
    assert reasons(site, "sensor-007", "sensor-001") == ["certificate-revoked", "accepted"]


def test_a_broker_without_a_list_is_found_out(store: Store, mosquitto: Mosquitto) -> None:
    """enforce wants a broker that goes by a list, and finds one that goes by another."""
    with mutual_tls(store) as listless, pytest.raises(ValueError, match="revoking_broker"):
        enforce(listless)
    empty = issue_list(store.authority(), [], number=1, now=dt.datetime.now(dt.UTC))
    path = store.workspace.write("empty.pem", empty.pem)
    with mutual_tls(store, crlfile=path) as other, pytest.raises(ReloadRefusedError) as caught:
        enforce(other)
    assert "was not refused for that" in caught.value.message


@pytest.mark.parametrize(
    ("moved", "reason", "code"),
    [
        (dt.timedelta(days=-8), "revocation-list-stale", 12),
        (dt.timedelta(days=1), "revocation-list-not-yet-valid", 11),
    ],
)
def test_a_list_out_of_its_time_locks_everybody_out(
    store: Store, mosquitto: Mosquitto, moved: dt.timedelta, reason: str, code: int
) -> None:
    """A stale list refuses a device that nobody revoked, with an alert that blames the certificate."""
    listed = issue_list(store.authority(), [], number=1, now=dt.datetime.now(dt.UTC) + moved)
    path = store.workspace.write("odd.pem", listed.pem)
    with mutual_tls(store, crlfile=path) as staged:
        outcome = staged.attempt(store.identity("sensor-001"))
        assert code == staged.verify(store.identity("sensor-001")).code
    assert ("tls", reason) == (outcome.stage, outcome.reason)


def test_the_list_of_another_issuer_locks_everybody_out(store: Store, mosquitto: Mosquitto) -> None:
    """With the root's list alone the broker has none for its devices, and says that it does not know their CA."""
    listed = issue_list(a_root(store), [], number=1, now=dt.datetime.now(dt.UTC))
    path = store.workspace.write("root-only.pem", listed.pem)
    with mutual_tls(store, crlfile=path) as staged:
        outcome = staged.attempt(store.identity("sensor-001"))
    assert ("revocation-list-missing", "unknown_ca") == (outcome.reason, outcome.detail["alert"])


def a_root(store: Store):  # noqa: ANN201 - an Authority
    """Return the root of a store."""
    return store.root(PASSPHRASE)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_expired_certificate_comes_back_on_a_ticket(
    store: Store, mosquitto: Mosquitto, version: str
) -> None:
    """A full handshake refuses it, a resumed one does not; a reload of a list makes tickets worthless."""
    store.revocations.ensure()
    with mutual_tls(store, resumption=True, crlfile=store.revocations.path) as staged:
        files = ending_soon(store, "sensor-007", seconds=1)
        client = returner(staged, files, tls=version)
        first = client.visit()
        wait_until_expired(files)
        full, resumed = staged.attempt(files, tls=version), client.visit(publish=TOPIC)
        assert (True, "certificate-expired") == (first.accepted, full.reason)
        assert (True, "authorised", True) == (resumed.accepted, resumed.stage, resumed.detail["resumed"])
        staged.broker.reload()
        assert client.visit().reason == "certificate-expired"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_without_a_list_a_reload_spares_the_tickets(store: Store, mosquitto: Mosquitto, version: str) -> None:
    """Mosquitto makes a new TLS context only where it has a list to read, so its tickets live on without one."""
    with mutual_tls(store, resumption=True) as staged:
        client = returner(staged, store.identity("sensor-001"), tls=version)
        client.visit()
        staged.broker.reload()
        assert client.visit().detail["resumed"]


@pytest.mark.parametrize("listed", [True, False])
def test_the_cache_of_tls_12_ends_with_the_list(
    store: Store,
    mosquitto: Mosquitto,
    listed: bool,  # noqa: FBT001
) -> None:
    """Our broker still resumes TLS 1.2 from its cache; a reload empties it where there is a list, and only there."""
    store.revocations.ensure()
    with mutual_tls(store, crlfile=store.revocations.path if listed else None) as staged:
        client = returner(staged, store.identity("sensor-001"), tls="1.2")
        client.visit()
        before = client.visit().detail["resumed"]
        staged.broker.reload()
        assert (True, not listed) == (before, client.visit().detail["resumed"])


def test_our_broker_hands_out_no_ticket(store: Store, mosquitto: Mosquitto) -> None:
    """With the course's settings TLS 1.3 does not resume, so the expired certificate stays out."""
    with mutual_tls(store) as staged:
        files = ending_soon(store, "sensor-007", seconds=1)
        client = returner(staged, files, tls="1.3")
        assert client.visit().accepted
        wait_until_expired(files)
        assert client.visit().reason == "certificate-expired"


def test_wait_until_expired_has_patience_for_moments_only(store: Store) -> None:
    """A certificate that lives for a year is not waited for."""
    with pytest.raises(ValueError, match="lives until"):
        wait_until_expired(store.identity("sensor-001"), patience=0.1)


def test_a_revoked_intermediate_is_not_looked_up(store: Store, mosquitto: Mosquitto) -> None:
    """The broker looks up leaves only; openssl looks up the whole chain if it is asked to."""
    register = store.root_revocations(PASSPHRASE)
    register.revoke(store.names.intermediate, "ca-compromise")
    lists = [register.path, (store.revocations.publish(), store.revocations.path)[1]]
    both = store.workspace.write("both.pem", b"".join(path.read_bytes() for path in lists))
    device = store.identity("sensor-001")
    with mutual_tls(store, crlfile=both) as staged:
        assert staged.attempt(device).accepted
    verdict = openssl.verify(
        device.certificate,
        trust=store.trust_anchor,
        untrusted=store.intermediate,
        crls=[both],
        whole_chain=True,
    )
    assert (23, 1) == (verdict.code, verdict.depth)


def test_a_due_list_is_renewed_at_the_start(store: Store, mosquitto: Mosquitto) -> None:
    """A list that ran out while nothing ran is published anew before the broker reads it."""
    past = FixedClock(dt.datetime.now(dt.UTC) - dt.timedelta(days=8))
    old = issue_list(store.authority(), [], number=1, now=past.now())
    store.workspace.write("intermediate/crl.pem", old.pem)
    with revoking_broker(store) as staged, suppress(NotConnectedError):
        assert reasons(staged, "sensor-001") == ["accepted"]
