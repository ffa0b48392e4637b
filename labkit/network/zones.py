"""A network as data: zones, what flows between them, and whom each flow is for. Rules are derived from it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ROUTER = "router"
"""The node that all zones are connected to."""

FAMILIES = (4, 6)
"""IPv4 and IPv6. A rule that names neither is for both."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the network whose members trust each other alike: a VLAN, or an SSID.

    Attributes:
        name: Its name; the host that stands for its members has the same.
        vlan: The VLAN's number; 0 for what is not ours.
        subnet: Its IPv4 network.
        subnet6: Its IPv6 network.
        interface: The router's interface in it.
        members: Who lives there, in words.
        outside: Whether it is not ours: it may have any address but those of our zones.
    """

    name: str
    vlan: int
    subnet: ipaddress.IPv4Network
    subnet6: ipaddress.IPv6Network
    interface: str
    members: str = ""
    outside: bool = False

    def network(self, family: int) -> Network:
        """Return its network of a family."""
        return self.subnet if family == 4 else self.subnet6

    def host(self, family: int) -> Address:
        """Return the address of the host that stands for its members."""
        return self.network(family).network_address + 10

    def gateway(self, family: int) -> Address:
        """Return the router's address in it."""
        return self.network(family).network_address + 1


@dataclass(frozen=True, slots=True)
class Flow:
    """Who opens connections to whom, and what for. Answers come back on the connection that was opened.

    Attributes:
        source: The zone that opens the connection.
        destination: The zone, or `router`.
        protocol: `tcp` or `udp`.
        port: The port that is asked for.
        service: What is there.
        reason: What it is needed for.
    """

    source: str
    destination: str
    protocol: str
    port: int
    service: str
    reason: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What the firewall sees of it."""
        return self.source, self.destination, self.protocol, self.port

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} {self.protocol}/{self.port}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Zones, and the flows that are allowed between them. What is not allowed is forbidden.

    Attributes:
        zones: The zones.
        flows: The flows.
    """

    zones: tuple[Zone, ...]
    flows: tuple[Flow, ...]

    def __post_init__(self) -> None:
        names = [zone.name for zone in self.zones]
        if len(set(names)) != len(names) or ROUTER in names:
            text = f"zones need names of their own, and none is called {ROUTER!r}: {names}"
            raise ValueError(text)
        for flow in self.flows:
            _check_flow(flow, {*names, ROUTER})

    def zone(self, name: str) -> Zone:
        """Return a zone by its name.

        Raises:
            ValueError: There is none.
        """
        for zone in self.zones:
            if zone.name == name:
                return zone
        text = f"there is no zone {name!r}"
        raise ValueError(text)

    def with_flows(self, flows: tuple[Flow, ...]) -> Plan:
        """Return the same zones with other flows."""
        return Plan(self.zones, flows)

    def subnets(self, family: int) -> Iterator[Network]:
        """Yield the networks that are ours."""
        for zone in self.zones:
            if not zone.outside:
                yield zone.network(family)


def _check_flow(flow: Flow, names: set[str]) -> None:
    if flow.source not in names or flow.destination not in names or flow.source == flow.destination:
        text = f"a flow goes from one zone to another: {flow}"
        raise ValueError(text)
    if flow.protocol not in {"tcp", "udp"} or not 0 < flow.port < 65536:
        text = f"a flow has a protocol and a port: {flow}"
        raise ValueError(text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a plan allows beside what is needed.

    Attributes:
        cut_off: Needed, and not allowed.
        surplus: Allowed, and needed by nobody.
        turned_round: Allowed from A to B, and needed from B to A.
    """

    cut_off: tuple[Flow, ...]
    surplus: tuple[Flow, ...]
    turned_round: tuple[Flow, ...]

    @property
    def fits(self) -> bool:
        """Whether the plan allows what is needed and nothing else."""
        return not (self.cut_off or self.surplus or self.turned_round)


def compare(allowed: tuple[Flow, ...], needed: tuple[Flow, ...]) -> Comparison:
    """Hold what is allowed against what is needed.

    Args:
        allowed: The flows of a plan.
        needed: The flows without which something stops working.
    """
    have, want = {flow.key for flow in allowed}, {flow.key for flow in needed}
    backwards = {(there, here, protocol, port) for here, there, protocol, port in want}
    more = [flow for flow in allowed if flow.key not in want]
    return Comparison(
        cut_off=tuple(flow for flow in needed if flow.key not in have),
        surplus=tuple(flow for flow in more if flow.key not in backwards),
        turned_round=tuple(flow for flow in more if flow.key in backwards),
    )


def _zone(name: str, vlan: int, members: str) -> Zone:
    return Zone(
        name,
        vlan,
        ipaddress.IPv4Network(f"192.168.{vlan}.0/24"),
        ipaddress.IPv6Network(f"fd00:{vlan}::/64"),
        f"vlan{vlan}",
        members,
    )


COURSE_ZONES = (
    _zone("corporate", 10, "workstations, file servers, the accounting database"),
    _zone("iot", 20, "sensor nodes, cameras"),
    _zone("backend", 30, "broker, provisioning, updates, database, dashboard, time and name server"),
    # Documentation prefixes (RFC 5737, RFC 3849): nothing real is reached by them.
    Zone(
        "internet",
        0,
        ipaddress.IPv4Network("203.0.113.0/24"),
        ipaddress.IPv6Network("2001:db8::/64"),
        "wan",
        "everybody else",
        outside=True,
    ),
)
"""The zones of the course's plant."""

NEEDED = (
    Flow("iot", "backend", "tcp", 8883, "MQTT over TLS", "telemetry and commands"),
    Flow("iot", "backend", "tcp", 5000, "provisioning", "first boot and renewal"),
    Flow("iot", "backend", "tcp", 8070, "updates", "signed firmware"),
    Flow("iot", "backend", "udp", 53, "DNS", "finding the three above"),
    Flow("iot", "backend", "udp", 123, "NTP", "certificates have dates, and a device has no clock at first"),
    Flow("corporate", "backend", "tcp", 22, "SSH", "administration"),
    Flow("corporate", "backend", "tcp", 443, "HTTPS", "the dashboard behind its proxy"),
    Flow("corporate", "backend", "tcp", 3000, "Grafana", "the dashboard itself"),
    Flow("corporate", "backend", "tcp", 8086, "InfluxDB", "queries"),
    Flow("corporate", "router", "tcp", 22, "SSH", "administration of the router"),
    Flow("corporate", "internet", "tcp", 443, "HTTPS", "work"),
    Flow("backend", "internet", "tcp", 443, "HTTPS", "the servers' own updates"),
    Flow("backend", "internet", "udp", 123, "NTP", "the time that the devices are given"),
)
"""What the course's plant needs to work."""

PRINTED = (
    Flow("iot", "backend", "tcp", 8883, "MQTT over TLS", "VLAN 20 -> VLAN 30"),
    Flow("backend", "corporate", "tcp", 443, "HTTPS", "VLAN 30 -> VLAN 10, 'Grafana dashboard access'"),
    Flow("corporate", "backend", "tcp", 443, "HTTPS", "VLAN 10 -> VLAN 30, 'admin access'"),
    Flow("corporate", "backend", "tcp", 3000, "Grafana", "VLAN 10 -> VLAN 30"),
    Flow("corporate", "backend", "tcp", 8086, "InfluxDB", "VLAN 10 -> VLAN 30"),
)
"""What the printed list of VLAN rules allows."""

COURSE_PLAN = Plan(COURSE_ZONES, NEEDED)
"""The plant's zones with the flows that it needs, and no others."""
