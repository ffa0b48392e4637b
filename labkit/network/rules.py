"""Firewall rules as data, in the words of iptables; nftables and iptables text are two ways to write them.

A firewall has the chains INPUT, FORWARD and OUTPUT and chains of its own, and decides on packets of both families.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from labkit.network.zones import Address, Network

BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")
"""The chains that the kernel calls."""

ACCEPT, DROP, REJECT, RETURN, LOG = "ACCEPT", "DROP", "REJECT", "RETURN", "LOG"
TARGETS = (ACCEPT, DROP, REJECT, RETURN, LOG)
"""What a rule can do, besides jumping to a chain."""

STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
"""What connection tracking calls a packet."""

PORT_UNREACHABLE, ADMIN_PROHIBITED, TCP_RESET = "port-unreachable", "admin-prohibited", "tcp-reset"
"""The answers of REJECT."""

PortRange = tuple[int, int]

DESTINATION_UNREACHABLE = "destination-unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What a firewall sees of a packet.

    Attributes:
        family: 4 or 6.
        protocol: `tcp`, `udp` or `icmp` (which is ICMPv6 in family 6).
        source: Where it comes from, as it says.
        destination: Where it goes.
        source_port: 0 where the protocol has none.
        destination_port: 0 where the protocol has none.
        in_interface: Where it came in; empty in OUTPUT.
        out_interface: Where it goes out; empty in INPUT.
        state: What connection tracking calls it.
        syn: Whether it asks for a TCP connection: SYN without ACK, RST and FIN.
        icmp_type: The type's name, of ICMP.
    """

    family: int
    protocol: str
    source: Address
    destination: Address
    source_port: int = 0
    destination_port: int = 0
    in_interface: str = ""
    out_interface: str = ""
    state: str = "NEW"
    syn: bool = False
    icmp_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """If all that is given matches, do what the target says. What is not given matches everything.

    Attributes:
        target: One of `TARGETS`, or a chain to jump to.
        family: 4 or 6; None for both.
        protocol: `tcp`, `udp` or `icmp`.
        source: The network that it comes from.
        destination: The network that it goes to.
        source_ports: Ranges, both ends included.
        destination_ports: Ranges.
        in_interface: An interface, or a beginning followed by `+`.
        out_interface: The same.
        states: Any of these.
        syn: Only packets that ask for a TCP connection.
        icmp_type: Only this type of ICMP.
        inverted: Names of the fields above that must *not* match (`!`).
        reject_with: How REJECT answers.
        comment: What it is for.
    """

    target: str
    family: int | None = None
    protocol: str = ""
    source: Network | None = None
    destination: Network | None = None
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()
    in_interface: str = ""
    out_interface: str = ""
    states: frozenset[str] = frozenset()
    syn: bool = False
    icmp_type: str = ""
    inverted: frozenset[str] = frozenset()
    reject_with: str = PORT_UNREACHABLE
    comment: str = ""

    @property
    def matchers(self) -> tuple[str, ...]:
        """The names of the fields that it looks at."""
        return tuple(name for name in MATCHERS if getattr(self, name))

    def matches(self, packet: Packet) -> bool:
        """Return whether it is about a packet."""
        if self.family and self.family != packet.family:
            return False
        return all(MATCHERS[name](self, packet) != (name in self.inverted) for name in self.matchers)


def _within(port: int, ranges: tuple[PortRange, ...]) -> bool:
    return any(low <= port <= high for low, high in ranges)


def _same_interface(wanted: str, name: str) -> bool:
    # iptables: a name that ends in + is any name that begins so (man iptables, -i).
    return name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted


def _in_network(address: Address, network: Network | None) -> bool:
    return network is not None and address in network


MATCHERS: Mapping[str, Callable[[Rule, Packet], bool]] = {
    "protocol": lambda rule, packet: packet.protocol == rule.protocol,
    "source": lambda rule, packet: _in_network(packet.source, rule.source),
    "destination": lambda rule, packet: _in_network(packet.destination, rule.destination),
    "source_ports": lambda rule, packet: _within(packet.source_port, rule.source_ports),
    "destination_ports": lambda rule, packet: _within(packet.destination_port, rule.destination_ports),
    "in_interface": lambda rule, packet: _same_interface(rule.in_interface, packet.in_interface),
    "out_interface": lambda rule, packet: _same_interface(rule.out_interface, packet.out_interface),
    "states": lambda rule, packet: packet.state in rule.states,
    "syn": lambda _, packet: packet.syn,
    "icmp_type": lambda rule, packet: packet.icmp_type == rule.icmp_type,
}
"""Each thing that a rule can look at, and how."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order.

    Attributes:
        name: Its name.
        rules: The rules; the first that matches and decides, decides.
        policy: What becomes of packets that no rule decided on, by family; empty for a chain that is jumped to.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    policy: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Firewall:
    """All chains of one node.

    Attributes:
        chains: The chains by name, the built-in ones first.
    """

    chains: Mapping[str, Chain]

    @classmethod
    def open(cls) -> Firewall:
        """Return the firewall of a machine on which nobody has set up any: it accepts everything."""
        return cls({name: Chain(name, policy={4: ACCEPT, 6: ACCEPT}) for name in BUILT_IN})

    def with_policy(self, chain: str, policy: str, family: int | None = None) -> Firewall:
        """Return it with another policy of a built-in chain."""
        old = self.chains[chain]
        families = (family,) if family else (4, 6)
        return self._with(replace(old, policy={**old.policy, **dict.fromkeys(families, policy)}))

    def adding(self, chain: str, *rules: Rule, at: int | None = None) -> Firewall:
        """Return it with more rules in a chain, which is made where there is none.

        Args:
            chain: The chain.
            *rules: The rules.
            at: Before which rule; at the end without it.
        """
        old = self.chains.get(chain, Chain(chain))
        place = len(old.rules) if at is None else at
        return self._with(replace(old, rules=(*old.rules[:place], *rules, *old.rules[place:])))

    def replacing(self, chain: str, rules: tuple[Rule, ...]) -> Firewall:
        """Return it with exactly these rules in a chain."""
        return self._with(replace(self.chains.get(chain, Chain(chain)), rules=rules))

    def without_rule(self, chain: str, number: int) -> Firewall:
        """Return it without one rule, counted from 0."""
        old = self.chains[chain].rules
        return self.replacing(chain, (*old[:number], *old[number + 1 :]))

    def _with(self, chain: Chain) -> Firewall:
        return Firewall({**self.chains, chain.name: chain})

    def rules(self) -> Iterator[tuple[str, int, Rule]]:
        """Yield each rule with its chain and its number in it."""
        for chain in self.chains.values():
            for number, rule in enumerate(chain.rules):
                yield chain.name, number, rule


DEEPEST = 15
"""Chains that may lead into one another. The kernel's nf_tables refuses more ("too many links")."""

LONGEST_WAY = 100_000
"""Rules that one packet may have to pass. A kernel has no such limit; whoever evaluates rules of strangers needs one."""


def beyond_limits(firewall: Firewall) -> str:
    """Return why a firewall can't be evaluated within limits, or nothing."""
    chains = firewall.chains
    # How many rules a packet passes in a chain, counted to one jump more in each round; it settles at the deepest one.
    passed = {name: len(chain.rules) for name, chain in chains.items()}
    for _ in range(DEEPEST + 1):
        before = passed
        passed = {
            name: sum(1 + before.get(rule.target, 0) for rule in chain.rules)
            for name, chain in chains.items()
        }
    called = [name for name in BUILT_IN if name in chains]
    if any(passed[name] > LONGEST_WAY for name in called):
        return f"a packet would pass more than {LONGEST_WAY} rules"
    if any(passed[name] != before[name] for name in called):
        return f"more than {DEEPEST} chains lead into one another"
    return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a firewall does with a packet, and which rule says so.

    Attributes:
        target: ACCEPT, DROP or REJECT.
        chain: Where it was decided.
        number: The rule's number in the chain, from 0; None for the policy.
        rule: The rule.
        passed: The rules that matched on the way, as (chain, number), the deciding one included.
    """

    target: str
    chain: str
    number: int | None = None
    rule: Rule | None = None
    passed: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        where = "policy" if self.number is None else f"rule {self.number + 1}"
        return f"{self.target} ({self.chain}, {where})"


def decide(firewall: Firewall, chain: str, packet: Packet) -> Verdict:
    """Return what becomes of a packet in a built-in chain.

    Args:
        firewall: The node's rules.
        chain: INPUT, FORWARD or OUTPUT.
        packet: The packet.

    Does not check: anything before or after the chain: address translation, other tables, routing.
    """
    passed: list[tuple[str, int]] = []
    found = _walk(firewall, chain, packet, passed)
    if found is None:
        return Verdict(firewall.chains[chain].policy[packet.family], chain, passed=tuple(passed))
    name, number, rule = found
    return Verdict(rule.target, name, number, rule, tuple(passed))


def _walk(
    firewall: Firewall, name: str, packet: Packet, passed: list[tuple[str, int]]
) -> tuple[str, int, Rule] | None:
    for number, rule in enumerate(firewall.chains[name].rules):
        if not rule.matches(packet):
            continue
        passed.append((name, number))
        if rule.target == RETURN:
            return None
        if rule.target in {ACCEPT, DROP, REJECT}:
            return name, number, rule
        if rule.target != LOG and (found := _walk(firewall, rule.target, packet, passed)):
            return found
    return None
