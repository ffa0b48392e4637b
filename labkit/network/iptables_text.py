"""Write a firewall as commands of iptables and ip6tables, or for their `-restore` programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labkit.network.iptables import ICMP_TYPES, REJECTS
from labkit.network.rules import BUILT_IN, LOG, REJECT, STATES, Firewall, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.network.rules import PortRange


def render(firewall: Firewall, family: int) -> str:
    """Return the commands that make a firewall out of an open one, for one family.

    The policies come last: a script that is typed over SSH must not lock out whoever types it.

    Args:
        firewall: The firewall.
        family: 4 for iptables, 6 for ip6tables.
    """
    program = "iptables" if family == 4 else "ip6tables"
    own = [name for name in firewall.chains if name not in BUILT_IN]
    lines = [f"{program} -N {name}" for name in own]
    lines += [
        f"{program} -A {chain} {_options(rule, family)}" for chain, rule in _of_family(firewall, family)
    ]
    lines += [f"{program} -P {name} {firewall.chains[name].policy[family]}" for name in BUILT_IN]
    return "\n".join(lines) + "\n"


def render_restore(firewall: Firewall, family: int) -> str:
    """Return the same for `iptables-restore` or `ip6tables-restore`, which swaps all rules in one step.

    Args:
        firewall: The firewall.
        family: 4 or 6.
    """
    heads = [f":{name} {chain.policy.get(family, '-')} [0:0]" for name, chain in firewall.chains.items()]
    rules = [f"-A {chain} {_options(rule, family)}" for chain, rule in _of_family(firewall, family)]
    return "\n".join(["*filter", *heads, *rules, "COMMIT"]) + "\n"


def _of_family(firewall: Firewall, family: int) -> Iterator[tuple[str, Rule]]:
    for chain, _, rule in firewall.rules():
        networks = [net.version for net in (rule.source, rule.destination) if net is not None]
        if rule.family in {None, family} and set(networks) <= {family}:
            yield chain, rule


def _options(rule: Rule, family: int) -> str:
    parts = [*_where(rule), *_what(rule, family)]
    if rule.states:
        states = ",".join(state for state in STATES if state in rule.states)
        parts.append(f"-m conntrack {_no(rule, 'states')}--ctstate {states}")
    if rule.comment:
        parts.append(f"-m comment --comment {_quoted(rule.comment)}")
    parts.append(f"-j {rule.target}")
    if rule.target == REJECT:
        words = {value: word for word, value in REJECTS[family].items()}
        parts.append(f"--reject-with {words[rule.reject_with]}")
    if rule.target == LOG and rule.comment:
        parts.append(f"--log-prefix {_quoted(rule.comment[:28] + ' ')}")
    return " ".join(parts)


def _where(rule: Rule) -> Iterator[str]:
    options = {"in_interface": "-i", "out_interface": "-o", "source": "-s", "destination": "-d"}
    for name, word in options.items():
        if value := getattr(rule, name):
            yield f"{_no(rule, name)}{word} {value}"


def _what(rule: Rule, family: int) -> Iterator[str]:
    protocol = {"icmp": "icmp" if family == 4 else "ipv6-icmp"}.get(rule.protocol, rule.protocol)
    if protocol:
        yield f"{_no(rule, 'protocol')}-p {protocol}"
    if rule.syn:
        yield f"{_no(rule, 'syn')}--syn"
    if rule.icmp_type:
        word = "--icmp-type" if family == 4 else "--icmpv6-type"
        yield f"{_no(rule, 'icmp_type')}{word} {ICMP_TYPES[family][rule.icmp_type]}"
    yield from _ports(rule)


def _no(rule: Rule, name: str) -> str:
    return "! " if name in rule.inverted else ""


def _quoted(text: str) -> str:
    # Read by a shell and by iptables-restore, which have different ideas of quotes: only what is plain to both.
    return '"' + re.sub(r"[^A-Za-z0-9 ,.:;()/_+-]", "", text) + '"'


def _ports(rule: Rule) -> Iterator[str]:
    # Single ports first: behind -m multiport, iptables takes --dport for a short way to write --dports.
    named = (("source_ports", "--sport"), ("destination_ports", "--dport"))
    for name, word in sorted(named, key=lambda each: len(getattr(rule, each[0])) > 1):
        ranges: tuple[PortRange, ...] = getattr(rule, name)
        texts = [str(low) if low == high else f"{low}:{high}" for low, high in ranges]
        turned = "! " if name in rule.inverted else ""
        if len(texts) == 1:
            yield f"{turned}{word} {texts[0]}"
        elif texts:
            yield f"-m multiport {turned}{word}s {','.join(texts)}"
