"""labkit.scenarios.access: what arrives, whatever the publisher is told; and four ways to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.broker import DEVICE_ACL, Acl, Rule
from labkit.errors import NotConnectedError
from labkit.pki import flawed
from labkit.scenarios import Site, mutual_tls
from labkit.scenarios.access import (
    command_kept,
    hashed_folder,
    heard_by,
    presenting_chain,
    spied_on,
    told_of,
    try_rules,
)

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.pki import Store

pytestmark = pytest.mark.broker


def test_the_root_alone_refuses_its_own_device(store: Store, mosquitto: Mosquitto) -> None:
    """A device that shows its leaf is refused; one that shows the chain is in."""
    with mutual_tls(store, cafile=store.trust_anchor) as site:
        leaf, chain = (
            site.attempt(store.identity("sensor-001")),
            site.attempt(presenting_chain(store, "sensor-001")),
        )
    assert (("tls", "unknown-ca"), True) == ((leaf.stage, leaf.reason), chain.accepted)


@pytest.mark.tool
def test_a_hashed_folder_is_as_good_as_a_bundle(store: Store, mosquitto: Mosquitto, openssl: object) -> None:
    """With capath the leaf is enough, and an impostor stays out."""
    with mutual_tls(store, capath=hashed_folder(store)) as site:
        outcomes = [
            site.attempt(store.identity("sensor-001")),
            site.attempt(site.intruders("rogue")["rogue"]),
        ]
    assert [outcome.reason for outcome in outcomes] == ["accepted", "unknown-ca"]


def test_the_intermediate_alone_refuses_everybody(store: Store, mosquitto: Mosquitto) -> None:
    """Mosquitto wants a chain that ends in a root."""
    with mutual_tls(store, cafile=store.intermediate) as site:
        outcomes = [
            site.attempt(store.identity("sensor-001")),
            site.attempt(presenting_chain(store, "sensor-001")),
        ]
    assert {("tls", "unknown-ca")} == {(outcome.stage, outcome.reason) for outcome in outcomes}


def test_only_mqtt_5_with_qos_tells_of_a_refusal(site: Site) -> None:
    """A forbidden message never arrives, and only one of six ways to send it is told so. An allowed one arrives."""
    denied = told_of(site, "sensor-001", "devices/sensor-002/telemetry/t")
    assert [False] * 6 == [told.arrived for told in denied]
    assert [None, 0, 0, None, 0x87, 0] == [told.code for told in denied]
    allowed = told_of(site, "sensor-001", "devices/sensor-001/telemetry/t")
    assert [True] * 6 == [told.arrived for told in allowed]
    assert all(told.code in {None, 0} for told in allowed)
    assert denied[1].row() == ("MQTT 3.1.1", "QoS 1", "0 (success)", "did not arrive")


def test_a_spy_is_granted_everything_and_hears_nothing(site: Site) -> None:
    """Subscriptions to others' commands are granted, and nothing is delivered; with rules that allow it, it is."""
    outcome = spied_on(site, "sensor-002", "sensor-001")
    assert ("authorised", "not-delivered") == (outcome.stage, outcome.reason)
    loose = Acl((*DEVICE_ACL.rules, Rule("read", "devices/+/commands/#", pattern=True)))
    site.reload(loose)
    try:
        assert spied_on(site, "sensor-002", "sensor-001").accepted
    finally:
        site.reload(DEVICE_ACL)


def test_a_claimed_name_is_nothing(site: Site) -> None:
    """Whatever user name and client id a client claims, the broker goes by its certificate."""
    device = site.identity("sensor-001")
    for username, client_id in (("admin", ""), ("", ""), ("sensor-002", "sensor-002"), ("admin", "admin")):
        forbidden = site.attempt(
            device, publish="devices/sensor-002/commands/x", username=username, client_id=client_id
        )
        allowed = site.attempt(
            device, publish="devices/sensor-001/status", username=username, client_id=client_id
        )
        assert ["not-authorised", "accepted"] == [forbidden.reason, allowed.reason]


def test_a_slash_reaches_into_another_devices_commands(store: Store, mosquitto: Mosquitto) -> None:
    """Mosquitto 2.0 delivers what a name with a slash sends; 2.1 does not. A plain name never gets there."""
    intruder = store.save_intruder("slash", flawed.slash_in_name(store.authority(), "sensor-001"))
    topic = "devices/sensor-001/commands/status"
    with mutual_tls(store) as site, site.session("sensor-001") as victim:
        victim.subscribe("devices/sensor-001/commands/#")
        outcomes = []
        for who in (intruder, store.identity("sensor-002")):
            with site.session(who) as speaker:
                outcomes.append(
                    heard_by(
                        site,
                        victim,
                        "sensor-001",
                        topic,
                        lambda payload, s=speaker: s.publish(topic, payload),
                    )
                )
        old = site.broker.version.startswith("2.0")
    assert [old, False] == [outcome.accepted for outcome in outcomes]


@pytest.mark.parametrize(("bound", "kept"), [(False, False), (True, True)])
def test_a_stolen_client_id_loses_a_command(
    store: Store,
    mosquitto: Mosquitto,
    bound: bool,  # noqa: FBT001
    kept: bool,  # noqa: FBT001
) -> None:
    """Unbound, a thief's visit loses the command that waited; bound, it waits. Without a thief it always waits."""
    with mutual_tls(store, bind_client_id=bound) as site:
        assert command_kept(site, "sensor-001").accepted
        outcome = command_kept(site, "sensor-001", thief="sensor-002")
    assert kept == outcome.accepted


@pytest.mark.parametrize("bound", [False, True])
def test_a_stolen_client_id_ends_the_session(
    store: Store,
    mosquitto: Mosquitto,
    bound: bool,  # noqa: FBT001
) -> None:
    """Unbound, the victim's open session is gone; bound, it goes on."""
    with (
        mutual_tls(store, bind_client_id=bound) as site,
        site.session("sensor-001", client_id="sensor-001") as victim,
    ):
        site.attempt(site.identity("sensor-002"), client_id="sensor-001")
        try:
            alive = victim.publish("devices/sensor-001/status", "ok", timeout=1.0) < 0x80
        except NotConnectedError as error:
            alive = False
            assert "connection-lost" in str(error.outcome)
    assert bound == alive


def test_everybody_under_the_root_is_a_friend(store: Store, mosquitto: Mosquitto) -> None:
    """The office's authority makes an admin; with a list of the trusted intermediate alone it is refused."""
    root = store.root(b"correct horse")
    office = store.save_intruder("office", flawed.sibling_intermediate(root, "admin"), with_chain=True)
    topic = "devices/sensor-001/commands/open"
    with mutual_tls(store) as site:
        assert site.attempt(office, publish=topic).accepted
    store.revocations.ensure()
    with mutual_tls(store, crlfile=store.revocations.path) as site:
        refused, control = site.attempt(office), site.attempt(store.identity("admin"), publish=topic)
    assert ("tls", "revocation-list-missing", True) == (refused.stage, refused.reason, control.accepted)


def test_rules_are_tried_as_a_whole(site: Site) -> None:
    """The course's rules keep every sentence; rules that allow too much or too little each break some."""
    assert [] == [text for text, held, _ in try_rules(site) if not held]
    loose = Acl((Rule("readwrite", "#", user="admin"), Rule("readwrite", "devices/#", pattern=True)))
    tight = Acl((Rule("readwrite", "#", user="admin"),))
    broken = []
    try:
        for acl in (loose, tight):
            site.broker.reload(acl)
            site.close()
            broken.append({text for text, held, _ in try_rules(site) if not held})
    finally:
        site.broker.reload(DEVICE_ACL)
    assert "sensor-002 hears sensor-001's commands" in broken[0]
    assert broken[1] == {
        "sensor-001 delivers its telemetry",
        "sensor-001 delivers its status",
        "sensor-001 hears its own commands",
        "sensor-002 hears sensor-001's commands",  # it is deaf, so its silence proves nothing
    }
