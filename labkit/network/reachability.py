"""Who reaches whom: predicted packet by packet from the rules, and compared with what a kernel did.

A connection is opened by a packet, answered by another, and confirmed by a third. All of them pass firewalls: the
sender's OUTPUT, the router's FORWARD, the receiver's INPUT; and back the same way.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.network.policy import HOST_INTERFACE
from labkit.network.rules import (
    ACCEPT,
    DESTINATION_UNREACHABLE,
    REJECT,
    TCP_RESET,
    Firewall,
    Packet,
    Verdict,
    decide,
)
from labkit.network.zones import FAMILIES, ROUTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from labkit.network.zones import Address, Flow, Plan

OPEN, DROPPED, REJECTED = "open", "dropped", "rejected"
"""What becomes of an attempt: a whole exchange; silence; somebody on the way said no."""

EPHEMERAL = 49152
"""The client's port in a prediction. A kernel chooses from 32768 to 60999; rules that part this range are not modelled."""

LO = "lo"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody tries to open a connection.

    Attributes:
        source: The node that tries.
        destination: The address.
        protocol: `tcp` or `udp`.
        port: The port.
        claimed: An address to send from that is not the node's usual one.
    """

    source: str
    destination: Address
    protocol: str
    port: int
    claimed: Address | None = None

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.destination.version


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of an attempt.

    Attributes:
        result: `open`, `dropped` or `rejected`.
        node: Where it was decided; empty if it is open, or where nobody knows.
        verdict: Which rule decided, in a prediction.
    """

    result: str
    node: str = ""
    verdict: Verdict | None = None

    def __str__(self) -> str:
        return f"{self.result} by {self.node}: {self.verdict}" if self.verdict else self.result


@dataclass(frozen=True)
class Topology:
    """One router, one host a zone.

    Attributes:
        plan: The zones.
        aliases: More addresses of hosts, which the router knows the way to.
    """

    plan: Plan
    aliases: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The router and the hosts."""
        return (ROUTER, *(zone.name for zone in self.plan.zones))

    def interface_to(self, node: str) -> str:
        """Return the router's interface to a host."""
        return self.plan.zone(node).interface

    def address(self, node: str, family: int, *, seen_from: str = "") -> Address:
        """Return a node's address; the router has one in each zone."""
        if node != ROUTER:
            return self.plan.zone(node).host(family)
        zones = self.plan.zones
        return (self.plan.zone(seen_from) if seen_from and seen_from != ROUTER else zones[0]).gateway(family)

    def owner(self, address: Address) -> str | None:
        """Return the node that an address belongs to, or None; loopback addresses belong to everybody."""
        for zone in self.plan.zones:
            if address == zone.host(address.version) or address in self.aliases.get(zone.name, ()):
                return zone.name
            if address == zone.gateway(address.version):
                return ROUTER
        return None

    def way(self, source: str, destination: str) -> list[tuple[str, str, str, str]]:
        """Return what a packet passes: node, chain, interface it comes in by, interface it goes out by."""
        if source == destination:
            return [(source, "OUTPUT", "", LO), (source, "INPUT", LO, "")]
        steps = []
        if source == ROUTER:
            steps.append((ROUTER, "OUTPUT", "", self.interface_to(destination)))
        else:
            steps.append((source, "OUTPUT", "", HOST_INTERFACE))
        if destination == ROUTER:
            steps.append((ROUTER, "INPUT", self.interface_to(source), ""))
            return steps
        if source != ROUTER:
            steps.append((ROUTER, "FORWARD", self.interface_to(source), self.interface_to(destination)))
        steps.append((destination, "INPUT", HOST_INTERFACE, ""))
        return steps


def predict(topology: Topology, firewalls: Mapping[str, Firewall], attempt: Attempt) -> Reply:
    """Return what becomes of an attempt, where something listens on every port that is tried.

    Args:
        topology: Who is where.
        firewalls: The rules of each node; a node without any accepts everything.
        attempt: The attempt.

    Does not check: address translation, other tables, rate limits, fragments, and anything below IP.
    """
    return _Exchange(topology, firewalls, attempt).run()


class _Exchange:
    """The packets of one attempt, one after the other."""

    def __init__(self, topology: Topology, firewalls: Mapping[str, Firewall], attempt: Attempt) -> None:
        self.topology, self.firewalls, self.attempt = topology, firewalls, attempt
        looped = attempt.destination.is_loopback
        self.target = attempt.source if looped else topology.owner(attempt.destination)
        self.source = attempt.claimed or (
            attempt.destination
            if looped or self.target == attempt.source
            else topology.address(attempt.source, attempt.family, seen_from=self.target or "")
        )

    def run(self) -> Reply:
        if self.target is None or self._home() is None:
            return Reply(DROPPED)
        # A TCP client needs its third packet to arrive, too: until then the server hands over nothing.
        steps = ["ask", "answer", "confirm"] if self.attempt.protocol == "tcp" else ["ask", "answer"]
        for step in steps:
            back = step == "answer"
            ends = (self.target, self._home()) if back else (self.attempt.source, self.target)
            where, verdict = self._pass(self._packet(step), *ends)  # type: ignore[arg-type]
            if verdict is not None:
                hears = self._hears_of_reset if back else self._hears
                heard = verdict.target == REJECT and hears(where, verdict)
                return Reply(REJECTED if heard else DROPPED, where, verdict)
        return Reply(OPEN)

    def _home(self) -> str | None:
        """Return where answers go: to whoever has the address that was claimed."""
        home = self.attempt.source if self.source.is_loopback else self.topology.owner(self.source)
        return home if home == self.attempt.source else None

    def _packet(self, step: str) -> Packet:
        back = step == "answer"
        ends = (self.attempt.destination, self.source) if back else (self.source, self.attempt.destination)
        ports = (self.attempt.port, EPHEMERAL) if back else (EPHEMERAL, self.attempt.port)
        return Packet(
            family=self.attempt.family, protocol=self.attempt.protocol, source=ends[0], destination=ends[1],
            source_port=ports[0], destination_port=ports[1], state="NEW" if step == "ask" else "ESTABLISHED",
            syn=step == "ask" and self.attempt.protocol == "tcp",
        )  # fmt: skip

    def _pass(
        self, packet: Packet, source: str, destination: str, first: str = ""
    ) -> tuple[str, Verdict | None]:
        """Return the node and verdict that stopped a packet, or no verdict."""
        for node, chain, came_in, goes_out in self.topology.way(source, destination):
            firewall = self.firewalls.get(node)
            if firewall is None:
                continue
            seen = _at(packet, came_in, goes_out, state=first if node == source and first else packet.state)
            verdict = decide(firewall, chain, seen)
            if verdict.target != ACCEPT:
                return node, verdict
        return "", None

    def _hears(self, node: str, verdict: Verdict) -> bool:
        """Return whether a rejection's own answer finds its way back."""
        assert verdict.rule is not None  # noqa: S101 - policies don't reject
        family, asker = self.attempt.family, self.attempt.source
        if verdict.rule.reject_with == TCP_RESET:
            # As if from the other end. The node that sends it calls it related, everybody else part of the connection.
            answer = Packet(
                family=family, protocol="tcp", source=self.attempt.destination, destination=self.source,
                source_port=self.attempt.port, destination_port=EPHEMERAL, state="ESTABLISHED",
            )  # fmt: skip
            if node == asker:
                answer = _at(answer, "", "", state="RELATED")
        else:
            local = self.target == node
            speaker = self.attempt.destination if local else self._speaker(node)
            answer = Packet(
                family=family, protocol="icmp", source=speaker, destination=self.source, state="RELATED",
                icmp_type=DESTINATION_UNREACHABLE,
            )  # fmt: skip
        _, stopped = self._pass(answer, node, asker, first="RELATED")
        return stopped is None

    def _hears_of_reset(self, node: str, verdict: Verdict) -> bool:
        """Return whether the asker hears of an answer's rejection, which is told to the other end.

        Only so: a reset looks as if the asker had sent it. Where a rule rejects that reset in its turn, the asker is told.
        """
        assert verdict.rule is not None  # noqa: S101 - policies don't reject
        if verdict.rule.reject_with != TCP_RESET:
            return False  # nobody rejects the message of a rejection: RFC 1122, 3.2.2
        reset = Packet(
            family=self.attempt.family, protocol="tcp", source=self.source, destination=self.attempt.destination,
            source_port=EPHEMERAL, destination_port=self.attempt.port, state="ESTABLISHED",
        )  # fmt: skip
        where, stopped = self._pass(reset, node, self.target, first="RELATED")  # type: ignore[arg-type]
        if stopped is None or stopped.target != REJECT or stopped.rule is None:
            return False
        return stopped.rule.reject_with != TCP_RESET and self._hears(
            where, stopped
        )  # no reset answers a reset

    def _speaker(self, node: str) -> Address:
        if node == self.attempt.source:
            return self.source
        return self.topology.address(node, self.attempt.family, seen_from=self.attempt.source)


def _at(packet: Packet, came_in: str, goes_out: str, *, state: str) -> Packet:
    return Packet(
        family=packet.family, protocol=packet.protocol, source=packet.source, destination=packet.destination,
        source_port=packet.source_port, destination_port=packet.destination_port, in_interface=came_in,
        out_interface=goes_out, state=state, syn=packet.syn, icmp_type=packet.icmp_type,
    )  # fmt: skip


# --- matrices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of a matrix.

    Attributes:
        source: Who tries.
        destination: Whom they try to reach.
        protocol: `tcp` or `udp`.
        port: The port.
        family: 4 or 6.
    """

    source: str
    destination: str
    protocol: str
    port: int
    family: int

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} {self.protocol}/{self.port} over IPv{self.family}"


def cells(
    topology: Topology, ports: Sequence[tuple[str, int]], families: Sequence[int] = FAMILIES
) -> Iterator[Cell]:
    """Yield every pair of zones and every port, and the router as somebody to reach."""
    for source in topology.plan.zones:
        for destination in topology.nodes:
            if destination != source.name:
                for protocol, port in ports:
                    for family in families:
                        yield Cell(source.name, destination, protocol, port, family)


def attempt_of(topology: Topology, cell: Cell) -> Attempt:
    """Return the attempt that a cell stands for."""
    address = topology.address(cell.destination, cell.family, seen_from=cell.source)
    return Attempt(cell.source, address, cell.protocol, cell.port)


Matrix = dict[Cell, Reply]
"""What became of each pair."""


def predicted(topology: Topology, firewalls: Mapping[str, Firewall], wanted: Sequence[Cell]) -> Matrix:
    """Return the matrix that the rules promise."""
    return {cell: predict(topology, firewalls, attempt_of(topology, cell)) for cell in wanted}


def disagreements(one: Matrix, other: Matrix) -> list[Cell]:
    """Return the pairs for which two matrices say different things."""
    return [cell for cell, reply in one.items() if cell in other and other[cell].result != reply.result]


def needed_ports(flows: Sequence[Flow]) -> list[tuple[str, int]]:
    """Return the ports that flows speak of, in order, each once."""
    return sorted({(flow.protocol, flow.port) for flow in flows})


def against_flows(matrix: Matrix, flows: Sequence[Flow]) -> tuple[list[Cell], list[Cell]]:
    """Return the pairs that ought to be open and are not, and those that are open and ought not to be."""
    wanted = {flow.key for flow in flows}
    cut_off, surplus = [], []
    for cell, reply in matrix.items():
        needed = (cell.source, cell.destination, cell.protocol, cell.port) in wanted
        if needed and reply.result != OPEN:
            cut_off.append(cell)
        if not needed and reply.result == OPEN:
            surplus.append(cell)
    return cut_off, surplus


LOOPBACK = {4: ipaddress.IPv4Address("127.0.0.1"), 6: ipaddress.IPv6Address("::1")}
"""How a machine calls itself."""
