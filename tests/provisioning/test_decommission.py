"""The end of a device's life: on the list, without rights, and its session cut, on a real broker."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline, FixedClock
from labkit.devices import Registry
from labkit.errors import NotConnectedError, RefusedError, ReloadRefusedError
from labkit.pki import IdentityFiles, Reason, Store
from labkit.provisioning import Publication
from labkit.provisioning.operations import Operations
from labkit.provisioning.publication import NOT_CUT
from labkit.scenarios.provisioning import ProvisioningSite, attempt, provisioning_site
from labkit.scenarios.revocation import revoking_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.scenarios import Site
    from labkit.workspace import Workspace

pytestmark = pytest.mark.broker


@pytest.fixture
def plant(mosquitto: Mosquitto, store: Store) -> Iterator[tuple[ProvisioningSite, Site]]:
    """Return a service and the broker that it tells of revocations."""
    with revoking_broker(store) as site, provisioning_site(store) as office:
        yield office, site


def test_out_of_service(plant: tuple[ProvisioningSite, Site]) -> None:
    """A decommissioned device can't come back, its open session ends, and its neighbour notices nothing."""
    office, site = plant
    leaving, staying = office.enrolled("leaving"), office.enrolled("staying")
    one, two = leaving.current, staying.current
    assert one
    assert two
    with site.session(one.files("leaving")) as session, site.session(two.files("staying")) as neighbour:
        assert session.publish("devices/leaving/telemetry", "42") < 0x80
        done = office.act("leaving", "decommission", {"reason": "key-compromise"})["done"]
        assert ["rights taken", "session cut"] == done[-2:]
        with pytest.raises(NotConnectedError, match="of no use"):
            session.publish("devices/leaving/telemetry", "43")
        assert "already connected, closing old connection" in site.broker.log.tail(50)
        assert neighbour.publish("devices/staying/telemetry", "42") < 0x80
    refused = site.attempt(one.files("leaving"))
    assert ("tls", "certificate-revoked") == (refused.stage, refused.reason)
    assert site.attempt(two.files("staying")).accepted
    assert "device-revoked" == attempt(lambda: office.anyone.as_device(one).call("GET", "/config")).reason
    assert "move-refused" == attempt(lambda: office.token("leaving")).reason
    assert "gone" == office.act("leaving", "erase")["state"]


def test_what_cut_the_session_is_on_the_list_too(plant: tuple[ProvisioningSite, Site]) -> None:
    """The certificate that took the session over is revoked itself before the operator has an answer."""
    office, _ = plant
    office.enrolled("leaving")
    office.act("leaving", "decommission", {})
    found = office.show("leaving")["certificates"]
    assert [("ended", "unspecified"), ("ended", "cessation-of-operation")] == [
        (c["status"], c["reason"]) for c in found
    ]
    assert {c["serial"] for c in found} <= set(office.store.revocations.revoked())


def test_a_renewed_device_keeps_its_session(plant: tuple[ProvisioningSite, Site]) -> None:
    """During the overlap both certificates open sessions; afterwards the old one is refused and the new one is not."""
    from labkit.provisioning.client import renew

    office, site = plant
    slots = office.enrolled("rotating")
    old = slots.current
    assert old
    scratch = office.store.workspace.path("scratch")
    kept = IdentityFiles("rotating", scratch / "old.crt", scratch / "old.key")
    kept.certificate.write_bytes(old.chain.read_bytes())
    kept.key.write_bytes(old.key.read_bytes())
    office.act("rotating", "renewal")
    new = renew(office.anyone, slots)
    assert site.attempt(kept).accepted  # the list is not published yet
    assert site.attempt(new.files("rotating")).accepted
    with Registry.open(office.store.workspace.path("registry/fleet.db")) as registry:
        publication = Publication(registry, office.store, broker=site.broker.folder)
        publication.publish()
        assert publication.reload()
    assert "certificate-revoked" == site.attempt(kept).reason
    assert site.attempt(new.files("rotating")).accepted


def test_a_clone_is_shut_out_at_once(plant: tuple[ProvisioningSite, Site]) -> None:
    """When the alarm is answered, neither of the two can connect to the broker any more."""
    from labkit.pki import Key, make_request

    office, site = plant
    slots = office.enrolled("cloned")
    old = slots.current
    assert old
    office.act("cloned", "renewal")
    device = office.anyone.as_device(old)
    device.renew(make_request(Key.generate(), "cloned"))
    with pytest.raises(RefusedError) as caught:
        device.renew(make_request(Key.generate(), "cloned"))
    assert "clone-alarm" == caught.value.code
    with pytest.raises(NotConnectedError), site.session(old.files("cloned")):
        pass
    assert "certificate-revoked" == site.attempt(old.files("cloned")).reason


def test_released_means_that_the_broker_knows_too(plant: tuple[ProvisioningSite, Site]) -> None:
    """Out of quarantine and enrolled again, a device may publish again; what it had before stays refused."""
    office, site = plant
    old = office.enrolled("returning").current
    assert old
    scratch = office.store.workspace.path("scratch")
    kept = IdentityFiles("returning", scratch / "kept.crt", scratch / "kept.key")
    kept.certificate.write_bytes(old.chain.read_bytes())
    kept.key.write_bytes(old.key.read_bytes())
    topic = "devices/returning/telemetry"
    assert site.attempt(kept, publish=topic).accepted
    office.act("returning", "quarantine", {"reason": "suspicious"})
    assert "certificate-revoked" == site.attempt(kept, publish=topic).reason
    office.act("returning", "release")
    assert "certificate-revoked" == site.attempt(kept, publish=topic).reason
    new = office.enrolled("returning").current
    assert new
    assert site.attempt(new.files("returning"), publish=topic).accepted


def test_a_crash_between_decision_and_broker(
    mosquitto: Mosquitto, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the registry decided and before the broker heard of it: the next start cuts the session."""
    with revoking_broker(store) as site:
        with provisioning_site(store) as office:
            one, two = office.enrolled("leaving").current, office.enrolled("staying").current
        assert one
        assert two
        with site.session(one.files("leaving")) as session, site.session(two.files("staying")) as neighbour:
            with (
                Registry.open(store.workspace.path("registry/fleet.db")) as registry,
                monkeypatch.context() as patch,
                pytest.raises(_KilledError),
            ):
                patch.setattr(Publication, "shut_out", _killed)
                publication = Publication(registry, store, broker=site.broker.folder)
                Operations(registry, publication).decommission("leaving", Reason.UNSPECIFIED, actor="admin")
            assert session.publish("devices/leaving/telemetry", "still there") < 0x80
            with provisioning_site(store) as office:
                with pytest.raises(NotConnectedError, match="of no use"):
                    session.publish("devices/leaving/telemetry", "and now?")
                assert "shut-out" == office.dossier("leaving").events[-1].action
            assert neighbour.publish("devices/staying/telemetry", "42") < 0x80
        assert "certificate-revoked" == site.attempt(one.files("leaving")).reason
        with Registry.open(store.workspace.path("registry/fleet.db")) as registry:
            assert [] == Publication(registry, store, broker=site.broker.folder).catch_up()


def test_a_broker_that_does_not_answer(
    plant: tuple[ProvisioningSite, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the session can't be taken over, the operator is told, and the next start finishes what is left."""
    office, site = plant
    one = office.enrolled("stubborn").current
    assert one
    with (
        site.session(one.files("stubborn")) as session,
        Registry.open(office.store.workspace.path("registry/fleet.db")) as registry,
    ):
        publication = Publication(registry, office.store, broker=site.broker.folder)
        with monkeypatch.context() as patch:
            patch.setattr(Publication, "_take_over", lambda *_: False)
            done = Operations(registry, publication).decommission(
                "stubborn", Reason.UNSPECIFIED, actor="admin"
            )
        assert NOT_CUT == done[-1]
        assert ["stubborn"] == publication.catch_up()
        with pytest.raises(NotConnectedError, match="of no use"):
            session.publish("devices/stubborn/status", "still?")
        assert [] == publication.catch_up()
        with registry.read() as tx:
            assert {"ended"} == {each.status.value for each in tx.certificates.of("stubborn")}


def test_a_list_is_renewed_though_nobody_is_revoked(
    mosquitto: Mosquitto, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day later the list is due: a new one is made, the broker reads it, and after that there is nothing to do."""
    clock = FixedClock(dt.datetime.now(dt.UTC))
    store = Store(workspace, clock=clock)
    store.create(passphrase=b"correct horse")
    with revoking_broker(store) as site, Registry.open(workspace.path("registry/fleet.db")) as registry:
        publication = Publication(registry, store, broker=site.broker.folder)
        publication.refresh()
        first = publication.publish().number
        assert not publication.refresh()
        clock.advance(dt.timedelta(days=2))
        mark = site.broker.log.mark()
        assert publication.refresh()
        assert first + 1 == publication.publish().number
        assert any("Reloading config" in line for line in site.broker.log.lines(mark))
        assert not publication.refresh()
        clock.advance(dt.timedelta(days=2))
        monkeypatch.setattr("labkit.provisioning.publication.REFRESH", dt.timedelta(seconds=0.05))
        publication.keep_fresh()
        deadline = Deadline(10)
        while publication.publish().number == first + 1 and not deadline.passed:
            deadline.pause()
        publication.close()
        assert first + 2 == publication.publish().number


def test_a_renewal_of_the_list_that_fails_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the broker refuses, the log says so, nothing ends, and the next look tells the broker again."""
    with Registry.open(store.workspace.path("registry/fleet.db")) as registry:
        publication, told = Publication(registry, store), [1]

        def refuse(_: Publication) -> bool:
            if told.pop():
                raise ReloadRefusedError("The broker refuses.", advice="Look at its log.", log="")
            return True

        told.insert(0, 0)
        monkeypatch.setattr(Publication, "reload", refuse)
        publication._publish_now()
        assert "was not renewed: The broker refuses" in caplog.text
        assert publication.refresh()


class _KilledError(BaseException):
    """SIGKILL, as far as one process can play it."""


def _killed(*_: object) -> list[str]:
    raise _KilledError
