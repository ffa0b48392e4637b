"""Rule sets made at random, to hold the evaluator against a kernel.

They are no sensible rules. They are made so that each thing that a rule can look at is in many of them, and so that
about half of all pairs can reach each other; a test that everything is open, or nothing, would prove little.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from labkit.network.reachability import Attempt
from labkit.network.rules import (
    ACCEPT,
    ADMIN_PROHIBITED,
    DESTINATION_UNREACHABLE,
    DROP,
    PORT_UNREACHABLE,
    REJECT,
    RETURN,
    TCP_RESET,
    Firewall,
    Rule,
)
from labkit.network.zones import ROUTER

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from labkit.network.reachability import Topology
    from labkit.network.zones import Network

PORTS = (("tcp", 22), ("tcp", 443), ("tcp", 8883), ("udp", 53), ("udp", 123))
"""Where everybody listens."""

WALLED = "backend"
"""The host that has rules of its own, besides the router."""

OWN_CHAIN = "LAB"

_EPHEMERAL = ((1024, 65535), (32768, 60999))
"""Ranges of client ports that don't part what a kernel chooses from."""


def firewalls(source: Random, topology: Topology) -> dict[str, Firewall]:
    """Return random rules for the router and for one host.

    Args:
        source: Where chance comes from.
        topology: The zones.
    """
    return {ROUTER: _firewall(source, topology, ROUTER), WALLED: _firewall(source, topology, WALLED)}


def attempts(source: Random, topology: Topology, number: int) -> list[Attempt]:
    """Return random attempts: between hosts, at the router, and of a machine at itself."""
    made: list[Attempt] = []
    while len(made) < number:
        here, there = source.choice(topology.nodes), source.choice(topology.nodes)
        family = source.choice((4, 6))
        address = topology.address(there, family, seen_from=here)
        if here == there and source.random() < 0.5:
            address = ipaddress.ip_address("127.0.0.1" if family == 4 else "::1")
        protocol, port = source.choice(PORTS)
        made.append(Attempt(here, address, protocol, port))
    return made


def _firewall(source: Random, topology: Topology, node: str) -> Firewall:
    made = Firewall.open().adding(OWN_CHAIN)
    chains = ("INPUT", "FORWARD", "OUTPUT") if node == ROUTER else ("INPUT", "OUTPUT")
    for chain in chains:
        for family in (4, 6):
            made = made.with_policy(chain, ACCEPT if source.random() < 0.6 else DROP, family)
        if source.random() < 0.6:
            made = made.adding(chain, Rule(target=ACCEPT, states=frozenset({"ESTABLISHED", "RELATED"})))
        rules = [_rule(source, topology, node, chain) for _ in range(source.randint(1, 6))]
        if source.random() < 0.5:  # few packets are errors, so that rules about them need to be many
            rules.insert(source.randrange(len(rules)), _about_errors(source))
        made = made.adding(chain, *rules)
    inner = [_rule(source, topology, node, OWN_CHAIN) for _ in range(source.randint(1, 3))]
    return made.adding(OWN_CHAIN, *inner)


def _rule(source: Random, topology: Topology, node: str, chain: str) -> Rule:
    family = source.choice((4, 6))
    made: dict[str, Any] = {}
    inverted: set[str] = set()
    for name in source.sample(sorted(_MAKERS), source.randint(1, 3)):
        if (name, chain) in {("in_interface", "OUTPUT"), ("out_interface", "INPUT")}:
            continue
        made.setdefault(name, _MAKERS[name](source, topology, node, family))
        if source.random() < 0.2 and name != "protocol":
            inverted.add(name)
    _agree(source, made, inverted)
    target = _target(source, chain)
    answers = [PORT_UNREACHABLE, ADMIN_PROHIBITED]
    if made.get("protocol") == "tcp":
        answers.append(TCP_RESET)
    return Rule(
        target=target, family=family, inverted=frozenset(inverted), **made,
        reject_with=source.choice(answers) if target == REJECT else PORT_UNREACHABLE,
    )  # fmt: skip


def _about_errors(source: Random) -> Rule:
    return Rule(
        target=source.choice((ACCEPT, DROP)), family=source.choice((4, 6)), protocol="icmp",
        icmp_type=source.choice((DESTINATION_UNREACHABLE, "echo-request")),
    )  # fmt: skip


def _agree(source: Random, made: dict[str, Any], inverted: set[str]) -> None:
    """Choose the protocol that ports, SYN and ICMP types need; what needs another one is left out."""
    needs = {"syn": "tcp", "icmp_type": "icmp", "source_ports": "", "destination_ports": ""}
    for name in [each for each in needs if each in made]:
        wanted = needs[name] or (
            made["protocol"] if made.get("protocol") in {"tcp", "udp"} else source.choice(("tcp", "udp"))
        )
        if made.get("protocol", wanted) != wanted:
            del made[name]
            inverted.discard(name)
        else:
            made["protocol"] = wanted


def _target(source: Random, chain: str) -> str:
    targets, weights = [ACCEPT, DROP, REJECT, RETURN], [45, 15, 35, 10]
    if chain != OWN_CHAIN:
        targets, weights = [*targets, OWN_CHAIN], [*weights, 25]
    return source.choices(targets, weights)[0]


def _network(source: Random, topology: Topology, node: str, family: int) -> Network:
    del node
    zone = source.choice(topology.plan.zones)
    choices = [
        zone.network(family),
        ipaddress.ip_network(zone.host(family)),
        ipaddress.ip_network(zone.gateway(family)),
    ]
    return source.choice(choices)


def _interface(source: Random, topology: Topology, node: str, family: int) -> str:
    del family
    if node != ROUTER:
        return source.choice(("eth0", "lo", "eth+"))
    return source.choice([*(zone.interface for zone in topology.plan.zones), "vlan+", "lo"])


def _ports(source: Random, *_: object) -> tuple[tuple[int, int], ...]:
    chosen = source.sample([port for _, port in PORTS], source.randint(1, 3))
    return tuple((port, port + source.choice((0, 0, 5))) for port in sorted(chosen))


def _client_ports(source: Random, *_: object) -> tuple[tuple[int, int], ...]:
    # Either the client's, or the service's, which are seen on the way back.
    return (source.choice(_EPHEMERAL),) if source.random() < 0.5 else _ports(source)


_MAKERS: dict[str, Callable[..., Any]] = {
    "protocol": lambda source, *_: source.choice(("tcp", "udp", "icmp")),
    "source": _network,
    "destination": _network,
    "source_ports": _client_ports,
    "destination_ports": _ports,
    "in_interface": _interface,
    "out_interface": _interface,
    "states": lambda source, *_: frozenset(
        source.sample(("NEW", "ESTABLISHED", "RELATED", "INVALID"), source.randint(1, 2))
    ),
    "syn": lambda *_: True,
    "icmp_type": lambda source, *_: source.choice((DESTINATION_UNREACHABLE, "echo-request")),
}
