"""The evaluator: which rule decides on a packet."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from labkit.network import Firewall, Packet, Rule, Verdict, decide

HERE, THERE = ipaddress.ip_address("192.168.20.10"), ipaddress.ip_address("192.168.30.10")


def packet(**values: Any) -> Packet:
    """Return a packet that asks for MQTT over TLS, or another one."""
    usual: dict[str, Any] = {
        "family": 4, "protocol": "tcp", "source": HERE, "destination": THERE, "source_port": 49152,
        "destination_port": 8883, "in_interface": "eth0", "state": "NEW", "syn": True,
    }  # fmt: skip
    return Packet(**{**usual, **values})


def target(rule: Rule, seen: Packet) -> str:
    """Return what a firewall with one rule does, where everything else is dropped."""
    firewall = Firewall.open().with_policy("INPUT", "DROP").adding("INPUT", rule)
    return decide(firewall, "INPUT", seen).target


MATCHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"protocol": "tcp"}, {"protocol": "udp"}),
    ({"source": ipaddress.ip_network("192.168.20.0/24")}, {"source": ipaddress.ip_address("192.168.10.10")}),
    ({"destination": ipaddress.ip_network("192.168.30.10/32")}, {"destination": ipaddress.ip_address("192.168.30.11")}),
    ({"source_ports": ((1024, 65535),)}, {"source_port": 1023}),
    ({"destination_ports": ((22, 22), (8883, 8884))}, {"destination_port": 8885}),
    ({"in_interface": "eth0"}, {"in_interface": "eth1"}),
    ({"in_interface": "eth+"}, {"in_interface": "lo"}),
    ({"states": frozenset({"NEW"})}, {"state": "ESTABLISHED"}),
    ({"syn": True}, {"syn": False}),
    ({"family": 4}, {"family": 6}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "other"), MATCHES)
def test_a_matcher_lets_its_own_through_and_no_other(given: dict[str, Any], other: dict[str, Any]) -> None:
    """Each thing that a rule can look at is looked at: what fits is accepted, what doesn't is not."""
    rule = Rule(target="ACCEPT", **given)
    assert ("ACCEPT", "DROP") == (target(rule, packet()), target(rule, packet(**other)))


@pytest.mark.parametrize(("given", "other"), MATCHES[:-1])
def test_an_inverted_matcher_does_the_opposite(given: dict[str, Any], other: dict[str, Any]) -> None:
    """With '!' the same matcher lets through what it kept out."""
    rule = Rule(target="ACCEPT", inverted=frozenset(given), **given)
    assert ("DROP", "ACCEPT") == (target(rule, packet()), target(rule, packet(**other)))


def test_the_first_rule_that_decides_decides() -> None:
    """A rule below one that has decided does nothing, which is how an appended DROP comes to be without effect."""
    firewall = Firewall.open().adding("INPUT", Rule(target="ACCEPT"), Rule(target="DROP"))
    assert Verdict("ACCEPT", "INPUT", 0, Rule(target="ACCEPT"), (("INPUT", 0),)) == decide(
        firewall, "INPUT", packet()
    )


def test_the_policy_decides_where_no_rule_does() -> None:
    """A policy belongs to a family, and each has its own."""
    firewall = Firewall.open().with_policy("INPUT", "DROP", 4)
    assert ("DROP", None) == ((found := decide(firewall, "INPUT", packet())).target, found.number)
    assert "ACCEPT" == decide(firewall, "INPUT", packet(family=6)).target
    assert "DROP (INPUT, policy)" == str(found)


def test_log_goes_on() -> None:
    """LOG writes a line and decides nothing."""
    firewall = Firewall.open().adding("INPUT", Rule(target="LOG"), Rule(target="DROP"))
    found = decide(firewall, "INPUT", packet())
    assert ("DROP", (("INPUT", 0), ("INPUT", 1))) == (found.target, found.passed)
    assert "DROP (INPUT, rule 2)" == str(found)


def test_a_chain_that_decides_nothing_comes_back() -> None:
    """After a jump into a chain without a verdict, or with RETURN, the rules below the jump have their turn."""
    for inner in (Rule(target="RETURN"), Rule(target="DROP", protocol="udp")):
        firewall = (
            Firewall.open().adding("LAB", inner).adding("INPUT", Rule(target="LAB"), Rule(target="DROP"))
        )
        assert ("INPUT", 1) == ((found := decide(firewall, "INPUT", packet())).chain, found.number)


def test_a_chain_that_decides_ends_it() -> None:
    """A verdict inside a chain is a verdict."""
    firewall = Firewall.open().adding("LAB", Rule(target="REJECT")).adding("INPUT", Rule(target="LAB"))
    assert ("REJECT", "LAB") == ((found := decide(firewall, "INPUT", packet())).target, found.chain)


def test_return_in_a_built_in_chain_asks_the_policy() -> None:
    """RETURN at the top goes to the policy, past the rules below."""
    firewall = (
        Firewall.open()
        .with_policy("INPUT", "DROP")
        .adding("INPUT", Rule(target="RETURN"), Rule(target="ACCEPT"))
    )
    assert "DROP" == decide(firewall, "INPUT", packet()).target


def test_firewalls_are_values() -> None:
    """Adding and removing rules leaves the old firewall as it was."""
    old = Firewall.open()
    new = old.adding("INPUT", Rule(target="DROP")).adding("INPUT", Rule(target="ACCEPT"), at=0)
    assert ["ACCEPT", "DROP"] == [rule.target for _, _, rule in new.rules()]
    assert ([], ["DROP"]) == (
        list(old.rules()),
        [rule.target for _, _, rule in new.without_rule("INPUT", 0).rules()],
    )
