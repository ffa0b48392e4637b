"""Read the plan of a network, and find out what its rules let through.

A plan is a folder: `plan.json` has zones, flows and roles, `router.rules` the router's rules as iptables commands
(`iptables`, `ip6tables`). The evaluator of `labkit.network` says what they open; the segmentation tests hold it against
the kernel.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from labkit.audit.facts import NetworkFacts, Passage
from labkit.errors import FormatError
from labkit.network import (
    OPEN,
    ROUTER,
    Attempt,
    Firewall,
    Flow,
    Plan,
    Topology,
    Zone,
    attempt_of,
    cells,
    iptables,
    needed_ports,
    predict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from labkit.network import Cell
    from labkit.network.zones import Address, Network


PLAN, RULES = "plan.json", "router.rules"
ROLES = ("devices", "backend", "office", "internet")
USUAL = (
    ("tcp", 22),
    ("tcp", 80),
    ("tcp", 443),
    ("tcp", 445),
    ("tcp", 1883),
    ("tcp", 8883),
    ("tcp", 3000),
    ("tcp", 8086),
    ("udp", 5683),
)
"""Ports that are tried beside those of the flows and those that the rules name."""

MOST_TRIES = 40_000
"""A plan whose rules name so much that more has to be tried can't be judged: who hides a hole in a heap must not pass."""


def write_plan(folder: Path, plan: Plan, roles: Mapping[str, str], rules: str) -> None:
    """Write a plan and its rules.

    Args:
        folder: Where to.
        plan: Zones and flows.
        roles: The zone of each of `ROLES`.
        rules: The router's rules, as iptables commands.
    """
    value = {
        "zones": [
            {
                "name": z.name, "vlan": z.vlan, "subnet": str(z.subnet), "subnet6": str(z.subnet6),
                "interface": z.interface, "members": z.members, "outside": z.outside,
            }
            for z in plan.zones
        ],
        "flows": [
            {
                "from": f.source, "to": f.destination, "protocol": f.protocol, "port": f.port,
                "service": f.service, "reason": f.reason,
            }
            for f in plan.flows
        ],
        "roles": dict(roles),
    }  # fmt: skip
    (folder / PLAN).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    (folder / RULES).write_text(rules, encoding="utf-8")


def read_plan(folder: Path) -> tuple[Plan, dict[str, str]]:
    """Read zones, flows and roles.

    Raises:
        ValueError: They make no sense.
        OSError: There are none.
    """
    try:
        value: Any = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        zones = tuple(
            Zone(
                z["name"], int(z["vlan"]), ipaddress.IPv4Network(z["subnet"]), ipaddress.IPv6Network(z["subnet6"]),
                z["interface"], z.get("members", ""), outside=bool(z.get("outside")),
            )
            for z in value["zones"]
        )  # fmt: skip
        flows = tuple(
            Flow(f["from"], f["to"], f["protocol"], int(f["port"]), f["service"], f.get("reason", ""))
            for f in value["flows"]
        )
        plan, roles = Plan(zones, flows), {str(k): str(v) for k, v in value["roles"].items()}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        text = f"it lacks or mistakes {error}"
        raise ValueError(text) from error
    for role, zone in roles.items():
        if role not in ROLES:
            text = f"a role is one of {', '.join(ROLES)}, not {role!r}"
            raise ValueError(text)
        plan.zone(zone)
    return plan, roles


def read_network(folder: Path) -> NetworkFacts:
    """Read a plan, and predict what its rules let through; what can't be read is told as a problem."""
    try:
        plan, roles = read_plan(folder)
        router = iptables.parse((folder / RULES).read_text(encoding="utf-8"))
    except OSError as error:
        return NetworkFacts(folder.name, problem=f"the plan can't be read: {error.strerror}")
    except FormatError as error:
        return NetworkFacts(folder.name, problem=f"the router's rules can't be read: {error.message}")
    except ValueError as error:
        return NetworkFacts(folder.name, problem=f"the plan makes no sense: {error}")
    topology = Topology(plan, _addresses(plan, router))
    ports = sorted({*needed_ports(plan.flows), *USUAL, *_ports(router)})
    wanted = list(cells(topology, ports))
    everything = (attempt for cell in wanted for attempt in _attempts(topology, cell))
    if next(islice(everything, MOST_TRIES, None), None):
        return NetworkFacts(folder.name, problem="the router's rules name too much to be judged")
    needed = {flow.key: flow for flow in plan.flows}
    passages, missing, closed = [], [], 0
    for cell in wanted:
        attempts = _attempts(topology, cell)
        results = [predict(topology, {ROUTER: router}, attempt).result for attempt in attempts]
        flow = needed.get((cell.source, cell.destination, cell.protocol, cell.port))
        if flow and results[0] != OPEN:
            missing.append(str(cell))
        elif OPEN in results:
            ends = (cell.source, cell.destination, cell.port, cell.protocol, cell.family)
            passages.append(Passage(*ends, str(flow) if flow else ""))
        else:
            closed += 1
    return NetworkFacts(
        folder.name,
        zones={zone.name: (str(zone.subnet), str(zone.subnet6)) for zone in plan.zones},
        roles=roles,
        passages=tuple(passages),
        closed=closed,
        missing=tuple(missing),
        how="by labkit's evaluator",
    )


def _ports(firewall: Firewall) -> Iterator[tuple[str, int]]:
    """Yield where what rules say of ports begins and ceases: between two of these nothing changes."""
    for _, _, rule in firewall.rules():
        for low, high in rule.destination_ports:
            yield from ((rule.protocol, port) for port in (1, low, high + 1) if 0 < port <= 65535)


def _addresses(plan: Plan, firewall: Firewall) -> dict[str, tuple[Address, ...]]:
    """Return addresses that rules speak of apart from their zones: a hole may be for one machine alone."""
    found: dict[str, dict[Address, None]] = {zone.name: {} for zone in plan.zones}
    outside = next((zone.name for zone in plan.zones if zone.outside), None)
    for _, _, rule in firewall.rules():
        for network in (rule.source, rule.destination):
            if network is None or not network.prefixlen:
                continue
            address = network[network.num_addresses // 2]
            homes = [zone for zone in plan.zones if address in _subnet(zone, network.version)]
            name = homes[0].name if homes else outside
            whole = bool(homes) and network.prefixlen <= _subnet(homes[0], network.version).prefixlen
            hosts = {
                each
                for zone in plan.zones
                for each in (zone.host(address.version), zone.gateway(address.version))
            }
            if name and not whole and address not in hosts:
                found[name][address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def _subnet(zone: Zone, family: int) -> Network:
    return zone.subnet if family == 4 else zone.subnet6


def _attempts(topology: Topology, cell: Cell) -> Iterator[Attempt]:
    """Yield the attempt that a cell stands for, and the same from and to each other address of its zones."""
    usual = attempt_of(topology, cell)

    def also(node: str) -> list[Address]:
        return [each for each in topology.aliases.get(node, ()) if each.version == cell.family]

    for claimed in (None, *also(cell.source)):
        for address in (usual.destination, *also(cell.destination)):
            yield replace(usual, destination=address, claimed=claimed)
