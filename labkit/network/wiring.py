"""What `ip` is told, to wire a router and a host in each zone; as text, so that it can be read and tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.network.policy import HOST_INTERFACE
from labkit.network.zones import FAMILIES

if TYPE_CHECKING:
    from labkit.network.reachability import Topology
    from labkit.network.zones import Address, Zone


SETTINGS = {
    # Reverse path filtering would hide what the rules do with forged addresses.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # Errors are otherwise rationed, and a rejection without its answer looks like silence.
    "ipv4/icmp_ratemask": "0",
    "ipv6/icmp/ratelimit": "0",
    # A fixed range that no rule in a generated set parts.
    "ipv4/ip_local_port_range": "32768 60999",
    # Attempts that were dropped on the way would fill the table for two minutes.
    "netfilter/nf_conntrack_tcp_timeout_syn_sent": "5",
}
"""What the kernel is told in each namespace, by the name below /proc/sys/net."""


def wires(topology: Topology, places: dict[str, str]) -> list[str]:
    """Return the lines for the router: a wire to each zone, and its own address there.

    Args:
        topology: The zones.
        places: Where the kernel finds each host's namespace.
    """
    lines = ["link set lo up"]
    for number, zone in enumerate(topology.plan.zones):
        lines += [
            f"link add {zone.interface} type veth peer name {HOST_INTERFACE} netns {places[zone.name]}",
            f"link set {zone.interface} address {_hardware(number, router=True)}",
            *(_address(zone.gateway(f), zone, f, zone.interface) for f in FAMILIES),
            f"link set {zone.interface} up",
        ]
    return lines


def ends(topology: Topology, zone: Zone) -> list[str]:
    """Return the lines for a zone's host: addresses, aliases, and the way out."""
    number = topology.plan.zones.index(zone)
    aliases = topology.aliases.get(zone.name, ())
    return [
        "link set lo up",
        f"link set {HOST_INTERFACE} address {_hardware(number)}",
        *(_address(zone.host(f), zone, f, HOST_INTERFACE) for f in FAMILIES),
        *(f"address add {each} dev lo" for each in aliases),
        f"link set {HOST_INTERFACE} up",
        *(f"route add default via {zone.gateway(f)}" for f in FAMILIES),
    ]


def ways_back(topology: Topology) -> list[str]:
    """Return the lines that tell the router where the hosts' aliases are."""
    return [
        f"route add {alias} dev {zone.interface}"
        for zone in topology.plan.zones
        for alias in topology.aliases.get(zone.name, ())
    ]


def neighbours(topology: Topology, node: str) -> list[str]:
    """Return the lines that tell a node its neighbours' hardware addresses, so that it need not look for them."""
    lines = []
    for number, zone in enumerate(topology.plan.zones):
        if node == zone.name:
            router = _hardware(number, router=True)
            lines += [_known(zone.gateway(f), router, HOST_INTERFACE) for f in FAMILIES]
        elif node not in {each.name for each in topology.plan.zones}:
            addresses = [*(zone.host(f) for f in FAMILIES), *topology.aliases.get(zone.name, ())]
            lines += [_known(each, _hardware(number), zone.interface) for each in addresses]
    return lines


def _address(address: Address, zone: Zone, family: int, interface: str) -> str:
    # Nobody else is here, and to look for duplicates (RFC 4862 §5.4) takes a second.
    quick = " nodad" if family == 6 else ""
    return f"address add {address}/{zone.network(family).prefixlen} dev {interface}{quick}"


def _hardware(number: int, *, router: bool = False) -> str:
    # Locally administered, as 02 at the beginning says (IEEE 802, clause 8.4).
    return f"02:00:00:00:{number + 1:02x}:{1 if router else 10:02x}"


def _known(address: Address, hardware: str, interface: str) -> str:
    return f"neighbour replace {address} lladdr {hardware} dev {interface} nud permanent"
