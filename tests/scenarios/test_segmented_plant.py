"""The plant in zones: the real broker in the backend, the printed rules typed as they stand, and the simulation."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest

from labkit.errors import FormatError, NamespaceError
from labkit.network import COURSE_PLAN, NEEDED, ROUTER, Availability, against_flows, derive
from labkit.network.namespaces import OFF
from labkit.scenarios.segmented_plant import SegmentedPlant, cells_of, segmented_plant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.pki import Store

pytestmark = [pytest.mark.broker, pytest.mark.tool]

PRINTED = """\
iptables -A INPUT -p tcp --dport 8883 -s 192.168.20.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 8883 -j DROP
"""
LOCALHOST = {4: ipaddress.ip_address("127.0.0.1"), 6: ipaddress.ip_address("::1")}


@pytest.fixture
def plant(store: Store, mosquitto: Mosquitto, namespaces: Availability) -> Iterator[SegmentedPlant]:
    """Return the plant with the real broker in its backend zone."""
    with segmented_plant(store) as running:
        yield running


def test_the_real_broker_is_reached_by_whom_it_should(plant: SegmentedPlant, store: Store) -> None:
    """Behind the derived rules Mosquitto lets a sensor in over TLS 1.3, and nobody else gets as far as TLS."""
    sensor = store.identity("sensor-001")
    zones = ("iot", "corporate", "internet")
    before = [plant.connect(zone, sensor) for zone in zones]
    assert [("mqtt", "accepted")] * 3 == [(each.stage, each.reason) for each in before]
    for node in (ROUTER, "backend"):
        plant.apply(node, derive(COURSE_PLAN, node))
    after = [plant.connect(zone, sensor, timeout=0.7) for zone in zones]
    assert [("mqtt", "accepted"), ("tcp", "timeout"), ("tcp", "timeout")] == [
        (o.stage, o.reason) for o in after
    ]
    assert ("1.3", True) == (
        after[0].detail["tls_version"],
        "measured in the kernel" in after[0].detail["how"],
    )
    assert plant.broker
    assert any("192.168.20.10" in event.text for event in plant.broker.log.since(0))


def test_a_firewall_is_not_the_only_wall(plant: SegmentedPlant) -> None:
    """From the right zone, a client without a certificate is let through by the rules and refused by TLS."""
    plant.apply(ROUTER, derive(COURSE_PLAN, ROUTER))
    assert ("tls", "no-certificate") == ((found := plant.connect("iot", None)).stage, found.reason)


def test_the_printed_rules_in_the_kernel(plant: SegmentedPlant) -> None:
    """The printed rules leave IPv6 open, cut localhost off, and their line about SSH does nothing."""
    plant.type_commands("backend", PRINTED)
    seen = {
        (source, family, port): plant.attempt(source, "backend", port=port, family=family).reason
        for source in ("iot", "corporate", "internet") for family in (4, 6) for port in (22, 1883, 8883)
    }  # fmt: skip
    closed = {key for key, reason in seen.items() if reason != "accepted"}
    assert {("corporate", 4, 8883), ("internet", 4, 8883)} == closed
    home = {
        family: plant.attempt("backend", address, port=8883).reason for family, address in LOCALHOST.items()
    }
    assert {4: "dropped", 6: "accepted"} == home
    assert plant.agreement(cells_of(plant)).accepted


def test_typed_commands_are_read_first(plant: SegmentedPlant) -> None:
    """A script with one line that is not understood is not run at all."""
    with pytest.raises(FormatError):
        plant.type_commands("backend", "iptables -P INPUT DROP\niptables -t nat -F\n")
    assert {} == plant.firewalls
    assert plant.attempt("iot", "backend", port=22).accepted
    plant.type_commands("backend", "iptables -P INPUT DROP\n")
    assert "dropped" == plant.attempt("iot", "backend", port=22).reason
    plant.clear()
    assert plant.attempt("iot", "backend", port=22).accepted


def test_half_a_script_is_undone(plant: SegmentedPlant) -> None:
    """If the real program refuses a line, those before it are taken back, and what was in force before is again."""
    with pytest.raises(NamespaceError, match="already exists"):
        plant.type_commands("backend", "iptables -P INPUT DROP\niptables -N LAB\niptables -N LAB\n")
    assert ({}, True) == (plant.firewalls, plant.attempt("iot", "backend", port=22).accepted)
    plant.type_commands("backend", "sudo iptables -A INPUT -p tcp --dport 22 -j DROP\n")
    with pytest.raises(NamespaceError):
        plant.type_commands("backend", "iptables -F\niptables -N LAB\niptables -N LAB\n")
    assert "dropped" == plant.attempt("iot", "backend", port=22).reason
    assert plant.attempt("iot", "backend", port=1883).accepted


def test_rules_that_our_parser_reads_wrongly_would_be_noticed(plant: SegmentedPlant) -> None:
    """If what is in force is not what we believe, the comparison with the kernel says which pairs differ."""
    plant.apply(ROUTER, derive(COURSE_PLAN, ROUTER))
    assert plant.testbed
    plant.testbed.load(ROUTER, derive(COURSE_PLAN.with_flows(NEEDED[1:]), ROUTER))
    found = plant.agreement(cells_of(plant))
    assert ("disagrees", 2) == (found.reason, len(found.detail["different"]))
    assert all("tcp/8883" in text for text in found.detail["different"])


@pytest.mark.parametrize("switched_off", [True, False])
def test_a_simulation_says_so(store: Store, monkeypatch: pytest.MonkeyPatch, *, switched_off: bool) -> None:
    """Without namespaces the same questions are answered by the evaluator, and each answer says that it is one."""
    if switched_off:
        monkeypatch.setenv(OFF, "1")
    with segmented_plant(store, simulate=not switched_off) as plant:
        assert (True, None, []) == (plant.simulated, plant.broker, plant.counters(ROUTER))
        for node in (ROUTER, "backend"):
            plant.apply(node, derive(COURSE_PLAN, node))
        assert ([], []) == against_flows(plant.matrix(cells_of(plant)), NEEDED)
        let_in, kept_out = plant.connect("iot", None), plant.connect("corporate", None)
        assert [("network", "accepted"), ("network", "dropped")] == [
            (o.stage, o.reason) for o in (let_in, kept_out)
        ]
        assert all("a simulation" in o.detail["how"] for o in (let_in, kept_out))
        assert "rule" in kept_out.detail
        assert "not-measured" == plant.agreement(cells_of(plant)).reason
        assert "a simulation" in repr(plant)
