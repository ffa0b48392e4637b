"""Rules about zones: who is where, and what can be reached from there."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault, seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from labkit.audit.facts import Facts, NetworkFacts, Passage
    from labkit.audit.rules_documents import Reviewed


def separate(facts: Facts, reviewed: Reviewed) -> Iterator[Evidence]:
    """Compare the plan's subnets, and ask for somebody who has looked at the switch."""
    network = facts.network
    if network is None or network.problem:
        yield _no_plan(network)
        return
    zone = network.roles.get("devices", "")
    subnets = network.zones.get(zone, ())
    if not subnets:
        yield fault("the plan has no network for devices", network.place)
        return
    for other, theirs in network.zones.items():
        if other == zone:
            continue
        for mine in subnets:
            for their in theirs:
                if _overlap(mine, their):
                    yield fault(f"devices ({mine}) share a network with {other} ({their})", network.place)
    yield from reviewed("switch")


def only_broker(facts: Facts) -> Iterator[Evidence]:
    """Look at every way out of the devices' zone."""
    network = facts.network
    if network is None or network.problem:
        yield _no_plan(network)
        return
    devices, internet = network.roles.get("devices"), network.roles.get("internet")
    ways = [
        way for way in network.passages if way.source == devices and way.target not in {internet, devices}
    ]
    for target, how in _grouped(ways, by_target=True):
        yield fault(f"devices reach {target} {how}, and no flow needs that", network.place)
    for flow in network.missing:
        yield fault(f"a flow that is needed is closed: {flow}", network.place)
    if used := [way for way in ways if way.needed]:
        what = ", ".join(sorted({f"{way.target} on {way.protocol}/{way.port}" for way in used}))
        yield seen(
            f"devices reach {what}; {network.closed} other ways are closed ({network.how})", network.place
        )


def no_internet(facts: Facts) -> Iterator[Evidence]:
    """Look at ways from the devices' zone to the outside."""
    network = facts.network
    if network is None or network.problem:
        yield _no_plan(network)
        return
    devices, internet = network.roles.get("devices"), network.roles.get("internet")
    if internet is None:
        yield fault("the plan says nothing of the internet, so its rules can't be judged", network.place)
        return
    ways = [way for way in network.passages if way.source == devices and way.target == internet]
    for _, how in _grouped(ways, by_target=True):
        yield fault(f"devices reach the internet {how}", network.place)
    if not any(not way.needed for way in ways):
        yield seen(f"no way leads from devices to the internet ({network.how})", network.place)


def broker_guarded(facts: Facts) -> Iterator[Evidence]:
    """Look at who can reach the broker's port."""
    network = facts.network
    if network is None or network.problem:
        yield _no_plan(network)
        return
    backend, port = network.roles.get("backend"), network.broker_port
    ways = [way for way in network.passages if (way.target, way.port) == (backend, port)]
    for source, how in _grouped(ways, by_target=False):
        yield fault(f"{source} reaches the broker {how}, and no flow needs that", network.place)
    if allowed := sorted({way.source for way in ways if way.needed}):
        yield seen(f"the broker's port is open to {', '.join(allowed)} ({network.how})", network.place)


def _grouped(ways: Iterable[Passage], *, by_target: bool) -> Iterator[tuple[str, str]]:
    """Yield each zone that ways nobody needs lead to, or come from, and in words how: a sentence, not thirty."""
    groups: dict[tuple[str, int], list[str]] = {}
    for way in ways:
        if not way.needed:
            zone = way.target if by_target else way.source
            groups.setdefault((zone, way.family), []).append(f"{way.protocol}/{way.port}")
    for (zone, family), ports in groups.items():
        yield zone, f"over IPv{family} on {', '.join(ports)}"


def _no_plan(network: NetworkFacts | None) -> Evidence:
    if network is None:
        return fault("there is no plan of zones, flows and rules", "the target")
    return fault(network.problem, network.place)


def _overlap(one: str, other: str) -> bool:
    left, right = ipaddress.ip_network(one, strict=False), ipaddress.ip_network(other, strict=False)
    return left.version == right.version and left.overlaps(right)
