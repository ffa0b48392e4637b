"""Write a firewall for nftables: one table of family `inet`, so that no family is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.network.rules import (
    ACCEPT,
    BUILT_IN,
    LOG,
    REJECT,
    STATES,
    TARGETS,
    TCP_RESET,
    Chain,
    Firewall,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.network.rules import PortRange
    from labkit.network.zones import Network

TABLE = "labkit"
"""The table that we write, and the only one that we touch."""

_ICMP6 = {
    "neighbour-solicitation": "nd-neighbor-solicit",
    "neighbour-advertisement": "nd-neighbor-advert",
    "router-solicitation": "nd-router-solicit",
    "router-advertisement": "nd-router-advert",
}


def render(firewall: Firewall) -> str:
    """Return a script for `nft -f` that replaces our table in one step and counts what each rule matched.

    Args:
        firewall: The firewall. A chain whose policy differs between the families ends with a rule that says so.
    """
    # Declared before it is deleted, because deleting what is not there is an error and would undo the whole script.
    out = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    own = [chain for name, chain in firewall.chains.items() if name not in BUILT_IN]
    for chain in [*own, *(firewall.chains[name] for name in BUILT_IN)]:
        out += _chain(chain)
    return "\n".join([*out, "}"]) + "\n"


def _chain(chain: Chain) -> Iterator[str]:
    if not chain.policy:
        yield from _block(chain.name, [line(rule) for rule in chain.rules])
        return
    head = f"type filter hook {chain.name.lower()} priority filter; policy"
    policies = set(chain.policy.values())
    if len(policies) == 1:
        lines = [f"{head} {policies.pop().lower()};", *(line(rule) for rule in chain.rules)]
        yield from _block(chain.name, lines)
        return
    # A policy is for both families. Where they differ, the rules stand in a chain of their own, so that a rule with
    # `return` ends at the two lines that stand for the policies, too.
    yield from _block(f"{chain.name}-rules", [line(rule) for rule in chain.rules])
    ends = [f"meta nfproto ipv{family} counter {policy.lower()}" for family, policy in chain.policy.items()]
    yield from _block(chain.name, [f"{head} {ACCEPT.lower()};", f"jump {chain.name}-rules", *ends])


def _block(name: str, lines: list[str]) -> Iterator[str]:
    yield f"  chain {name} {{"
    for each in lines:
        yield f"    {each}"
    yield "  }"


def line(rule: Rule) -> str:
    """Return one rule as nftables writes it."""
    words = list(_matches(rule))
    if rule.family and rule.source is None and rule.destination is None:  # an address tells its family itself
        words.insert(0, f"meta nfproto ipv{rule.family}")
    words.append("counter")
    words.append(_statement(rule))
    if rule.comment:
        words.append(f'comment "{_quoted(rule.comment)}"')
    return " ".join(words)


def _matches(rule: Rule) -> Iterator[str]:
    if rule.in_interface:
        yield f"iifname {_no(rule, 'in_interface')}{_interface(rule.in_interface)}"
    if rule.out_interface:
        yield f"oifname {_no(rule, 'out_interface')}{_interface(rule.out_interface)}"
    for name, word in (("source", "saddr"), ("destination", "daddr")):
        network = getattr(rule, name)
        if network is not None:
            yield f"{'ip' if network.version == 4 else 'ip6'} {word} {_no(rule, name)}{_network(network)}"
    yield from _matches_protocol(rule)
    if rule.states:
        states = [state.lower() for state in STATES if state in rule.states]
        yield f"ct state {_no(rule, 'states')}{states[0] if len(states) == 1 else '{ ' + ', '.join(states) + ' }'}"


def _network(network: Network) -> str:
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _matches_protocol(rule: Rule) -> Iterator[str]:
    # `tcp dport` and `icmp type` look at the protocol themselves.
    if rule.protocol and not (rule.source_ports or rule.destination_ports or rule.icmp_type):
        yield f"meta l4proto {_no(rule, 'protocol')}{_protocol(rule)}"
    for name, word in (("source_ports", "sport"), ("destination_ports", "dport")):
        ranges: tuple[PortRange, ...] = getattr(rule, name)
        if ranges:
            yield f"{rule.protocol} {word} {_no(rule, name)}{_set(ranges)}"
    if rule.syn:
        yield f"tcp flags & (fin|syn|rst|ack) {'!=' if 'syn' in rule.inverted else '=='} syn"
    if rule.icmp_type:
        word = "icmp" if rule.family == 4 else "icmpv6"
        yield f"{word} type {_no(rule, 'icmp_type')}{_ICMP6.get(rule.icmp_type, rule.icmp_type)}"


def _no(rule: Rule, name: str) -> str:
    return "!= " if name in rule.inverted else ""


def _interface(name: str) -> str:
    return f'"{name[:-1]}*"' if name.endswith("+") else f'"{name}"'


def _protocol(rule: Rule) -> str:
    if rule.protocol != "icmp":
        return rule.protocol
    if rule.family is None:
        return "{ icmp, ipv6-icmp }"
    return "icmp" if rule.family == 4 else "ipv6-icmp"


def _set(ranges: tuple[PortRange, ...]) -> str:
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in _merged(ranges)]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def _merged(ranges: tuple[PortRange, ...]) -> list[PortRange]:
    # A set of nftables refuses intervals that overlap.
    done: list[PortRange] = []
    for low, high in sorted(ranges):
        if done and low <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(high, done[-1][1]))
        else:
            done.append((low, high))
    return done


def _statement(rule: Rule) -> str:
    if rule.target == REJECT:
        return (
            "reject with tcp reset"
            if rule.reject_with == TCP_RESET
            else f"reject with icmpx type {rule.reject_with}"
        )
    if rule.target == LOG:
        return f'log prefix "{_quoted(rule.comment[:28])} "'
    return rule.target.lower() if rule.target in TARGETS else f"jump {rule.target}"


def _quoted(text: str) -> str:
    # Inside the quotes of nft there is no escape.
    return text.replace('"', "'").replace("\\", "/")
