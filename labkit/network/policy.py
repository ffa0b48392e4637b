"""From flows to rules: what a router between the zones has to hold, and what a host in a zone has to."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from labkit.network.rules import ACCEPT, DROP, Firewall, Rule
from labkit.network.zones import FAMILIES, ROUTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.network.zones import Flow, Network, Plan, Zone

HOST_INTERFACE = "eth0"
"""What a host calls its one interface."""

_NEIGHBOURS = (
    "router-solicitation",
    "router-advertisement",
    "neighbour-solicitation",
    "neighbour-advertisement",
)
"""Without these an IPv6 node can't even find its router (RFC 4890 §4.4.1). IPv4 has ARP, which these rules don't see."""


def router_rules(plan: Plan) -> Firewall:
    """Return the router's firewall: forwarded is what a flow allows, and nothing else.

    In order: neighbours, what no zone may claim to be, what belongs to no connection, answers, then flows. Everything is bound to
    the interface that it came in by, so that an address alone opens nothing.

    Args:
        plan: The zones and their flows.

    Does not check: traffic inside one zone, which never passes the router; private VLANs or client isolation do.
    """
    firewall = Firewall.open()
    for chain in ("INPUT", "FORWARD"):
        spoofs = [rule for zone in plan.zones for rule in _not_from_here(plan, zone)]
        first = [*_loopback(), *_neighbours()] if chain == "INPUT" else []
        firewall = firewall.with_policy(chain, DROP).adding(chain, *first, *spoofs, *_tracked())
    for flow in plan.flows:
        chain = "INPUT" if flow.destination == ROUTER else "FORWARD"
        if flow.source != ROUTER:  # the router's own packets leave by OUTPUT, which is open
            firewall = firewall.adding(chain, *_through(plan, flow))
    return firewall


def host_rules(plan: Plan, zone: str) -> Firewall:
    """Return the firewall of a zone's host: let in is what a flow brings to it, and nothing else.

    A second wall behind the router's, and the only one against neighbours in the same zone.

    Args:
        plan: The zones and their flows.
        zone: The zone that the host stands for.
    """
    own = plan.zone(zone)
    firewall = Firewall.open().with_policy("INPUT", DROP)
    firewall = firewall.adding("INPUT", *_loopback(), *_neighbours(), *_tracked())
    for flow in plan.flows:
        if flow.destination == own.name and flow.source != ROUTER:
            firewall = firewall.adding("INPUT", *_arriving(plan.zone(flow.source), flow))
    return firewall


def derive(plan: Plan, node: str) -> Firewall:
    """Return the rules of a node: the router's, or those of a zone's host.

    Raises:
        ValueError: There is no such node.
    """
    return router_rules(plan) if node == ROUTER else host_rules(plan, node)


def _loopback() -> Iterator[Rule]:
    yield Rule(target=ACCEPT, in_interface="lo", comment="this machine talks to itself")


def _not_from_here(plan: Plan, zone: Zone) -> Iterator[Rule]:
    """Yield what drops packets that claim to be from elsewhere (RFC 2827, BCP 38)."""
    for family in FAMILIES:
        if zone.outside:
            for subnet in plan.subnets(family):
                yield Rule(
                    target=DROP, family=family, in_interface=zone.interface, source=subnet,
                    comment="from outside, claims to be inside",
                )  # fmt: skip
        else:
            yield Rule(
                target=DROP, family=family, in_interface=zone.interface, source=zone.network(family),
                inverted=frozenset({"source"}), comment=f"not an address of {zone.name}",
            )  # fmt: skip


def _tracked() -> Iterator[Rule]:
    yield Rule(target=DROP, states=frozenset({"INVALID"}), comment="belongs to no connection")
    # RELATED lets the errors of the network through, among them packet-too-big, without which IPv6 stalls.
    yield Rule(target=ACCEPT, states=frozenset({"ESTABLISHED", "RELATED"}), comment="answers")


def _neighbours() -> Iterator[Rule]:
    for kind in _NEIGHBOURS:
        yield Rule(
            target=ACCEPT, family=6, protocol="icmp", icmp_type=kind, comment="IPv6 finds its neighbours"
        )


def _through(plan: Plan, flow: Flow) -> Iterator[Rule]:
    source = plan.zone(flow.source)
    for family in FAMILIES:
        common: dict[str, Any] = {
            "target": ACCEPT, "family": family, "in_interface": source.interface, "protocol": flow.protocol,
            "destination_ports": ((flow.port, flow.port),), "states": frozenset({"NEW"}), "comment": _why(flow),
        }  # fmt: skip
        if flow.destination == ROUTER:
            yield Rule(**common)
            continue
        target = plan.zone(flow.destination)
        # Outside anybody may be meant; inside it is the one host that has the service.
        network = None if target.outside else _single(target, family)
        yield Rule(**common, out_interface=target.interface, destination=network)


def _arriving(source: Zone, flow: Flow) -> Iterator[Rule]:
    for family in FAMILIES:
        yield Rule(
            target=ACCEPT, family=family, in_interface=HOST_INTERFACE, protocol=flow.protocol,
            source=None if source.outside else source.network(family),
            destination_ports=((flow.port, flow.port),), states=frozenset({"NEW"}), comment=_why(flow),
        )  # fmt: skip


def _single(zone: Zone, family: int) -> Network:
    return ipaddress.ip_network(zone.host(family))


def _why(flow: Flow) -> str:
    return f"{flow.source} to {flow.destination}: {flow.service}"
