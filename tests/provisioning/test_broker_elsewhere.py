"""A broker that the service can't tell: somebody brings it the list, and sessions end once it goes by that."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from labkit.clock import Deadline
from labkit.devices import Registry
from labkit.errors import NotConnectedError
from labkit.mqtt import Endpoint
from labkit.pki import Reason
from labkit.ports import reserve_port
from labkit.provisioning import Publication, publication
from labkit.provisioning.operations import Operations
from labkit.provisioning.publication import NOT_CUT, NOT_READ
from labkit.scenarios.provisioning import provisioning_site
from labkit.scenarios.revocation import revoking_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.pki import IdentityFiles, Store
    from labkit.scenarios import Site

pytestmark = pytest.mark.broker


@pytest.fixture
def site(mosquitto: Mosquitto, store: Store) -> Iterator[Site]:
    """Return a broker that the registry knows only the address of."""
    with revoking_broker(store) as running:
        yield running


@pytest.fixture
def registry(store: Store) -> Iterator[Registry]:
    """Return the registry of what `enrolled` takes in."""
    store.workspace.path("registry").mkdir(mode=0o700, exist_ok=True)
    with Registry.open(store.workspace.path("registry/fleet.db")) as opened:
        yield opened


@pytest.fixture
def devices(store: Store, site: Site) -> dict[str, IdentityFiles]:
    """Return two devices that were enrolled, with their files."""
    found = {}
    with provisioning_site(store) as office:
        for name in ("leaving", "staying"):
            slot = office.enrolled(name).current
            assert slot
            found[name] = slot.files(name)
    return found


@contextmanager
def courier(site: Site, store: Store) -> Iterator[None]:
    """Have the broker read the list a while after each change, as a courier does."""
    ended = threading.Event()

    def carry() -> None:
        known = store.revocations.path.read_bytes()
        while not ended.wait(0.5):
            if (found := store.revocations.path.read_bytes()) != known:
                known = found
                site.broker.reload()

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def decommission(registry: Registry, store: Store, address: Endpoint) -> list[str]:
    """Take the device that leaves out of service, and return what was done."""
    decided = Publication(registry, store, elsewhere=address)
    return Operations(registry, decided).decommission("leaving", Reason.KEY_COMPROMISE, actor="admin")


def where(site: Site) -> Endpoint:
    """Return the broker's address."""
    return Endpoint(site.broker.host, site.broker.port)


def test_a_thief_who_comes_again_and_again_is_out_in_the_end(
    site: Site, store: Store, registry: Registry, devices: dict[str, IdentityFiles]
) -> None:
    """With the stolen key in a loop, no session of his outlives the decommissioning; the neighbour's does."""
    ended, came_in = threading.Event(), []
    begun = site.broker.log.mark()

    def thief() -> None:
        while not ended.is_set():
            try:
                with site.session(devices["leaving"]) as session:
                    came_in.append(session)
                    while not ended.wait(0.02):
                        session.publish("devices/leaving/telemetry", "42")
            except NotConnectedError:
                continue

    thread = threading.Thread(target=thief)
    with courier(site, store), site.session(devices["staying"]) as neighbour:
        thread.start()
        try:
            deadline = Deadline(20)
            while not came_in:
                assert not deadline.passed
                deadline.pause(0.05)
            done = decommission(registry, store, where(site))
            assert ["the broker has read the list", "session cut"] == done[-2:]
            mark, sessions = site.broker.log.mark(), len(came_in)
            for _ in range(5):
                refused = site.attempt(devices["leaving"])
                assert ("tls", "certificate-revoked") == (refused.stage, refused.reason)
            assert len(came_in) == sessions > 1  # he did come in again while the broker had the old list
            assert any(" as leaving " in line for line in site.broker.log.lines(begun))
            assert not any(" as leaving " in line for line in site.broker.log.lines(mark))
        finally:
            ended.set()
            thread.join()
        with pytest.raises(NotConnectedError):
            came_in[-1].publish("devices/leaving/telemetry", "43")
        assert neighbour.publish("devices/staying/telemetry", "42") < 0x80
    with registry.read() as tx:
        listed = {each.entry.serial for each in tx.certificates.of("leaving")}
        assert [] == tx.fleet.not_shut_out()
    assert listed <= set(store.revocations.revoked())


def test_who_came_in_at_the_last_moment_is_out_too(
    site: Site,
    store: Store,
    registry: Registry,
    devices: dict[str, IdentityFiles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session that began after the first cut and before the broker read the list ends with the second cut."""
    look, sessions = Publication._refusal, ExitStack()
    came_in = []

    def late(self: Publication, *args: Any) -> str:
        if not came_in:
            came_in.append(sessions.enter_context(site.session(devices["leaving"])))
            assert came_in[0].publish("devices/leaving/telemetry", "42") < 0x80
            site.broker.reload()
        return look(self, *args)

    monkeypatch.setattr(Publication, "_refusal", late)
    with sessions:
        assert "session cut" == decommission(registry, store, where(site))[-1]
        with pytest.raises(NotConnectedError):
            came_in[0].publish("devices/leaving/telemetry", "43")


def test_a_list_that_nobody_carries(
    site: Site,
    store: Store,
    registry: Registry,
    devices: dict[str, IdentityFiles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As long as the broker doesn't go by the list the operator is told so, and the next start finishes what is left."""
    monkeypatch.setattr(publication, "READS_WITHIN", 1.0)
    done = decommission(registry, store, where(site))
    assert NOT_READ == done[-1]
    assert site.attempt(devices["leaving"]).accepted
    monkeypatch.undo()
    with site.session(devices["leaving"]) as session, courier(site, store):
        site.broker.reload()
        assert ["leaving"] == Publication(registry, store, elsewhere=where(site)).catch_up()
        with pytest.raises(NotConnectedError):
            session.publish("devices/leaving/telemetry", "43")
    assert "certificate-revoked" == site.attempt(devices["leaving"]).reason
    assert [] == Publication(registry, store, elsewhere=where(site)).catch_up()


def test_a_broker_that_is_not_there(
    site: Site, store: Store, registry: Registry, devices: dict[str, IdentityFiles]
) -> None:
    """Where nobody answers, the decision stands, the list has it, and the operator reads what is still to do."""
    with reserve_port() as port:
        done = decommission(registry, store, Endpoint("127.0.0.1", port))
    assert NOT_CUT == done[-1]
    with registry.read() as tx:
        found = tx.certificates.of("leaving")
        assert ["leaving"] == tx.fleet.not_shut_out()
    assert {"ended"} == {each.status.value for each in found}
    assert {each.entry.serial for each in found} <= set(store.revocations.revoked())
    assert site.attempt(devices["staying"]).accepted


def test_devices_are_told_where_it_is(store: Store) -> None:
    """What a device asks about its work names that broker, and by itself this machine's usual place."""
    for elsewhere, expected in (
        (Endpoint("broker.local", 8883), {"host": "broker.local", "port": 8883}),
        (None, {"host": "127.0.0.1", "port": 8883}),
    ):
        with provisioning_site(store, elsewhere=elsewhere) as office:
            name = "far" if elsewhere else "near"
            slot = office.enrolled(name).current
            assert slot
            assert office.anyone.as_device(slot).call("GET", "/config")["broker"] == expected
