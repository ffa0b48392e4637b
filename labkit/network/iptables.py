"""Read the commands of iptables and ip6tables, as far as this course speaks them; `iptables_text` writes them.

What is not understood is refused and never skipped: a rule set that is half read decides other things than it says.
A script comes from strangers, so every number, name and length in it is theirs.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.errors import FormatError
from labkit.network.rules import (
    ACCEPT,
    ADMIN_PROHIBITED,
    BUILT_IN,
    DROP,
    PORT_UNREACHABLE,
    REJECT,
    STATES,
    TARGETS,
    TCP_RESET,
    Chain,
    Firewall,
    Rule,
    beyond_limits,
)
from labkit.network.script_lines import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.network.rules import PortRange

LONGEST = 64 * 1024
"""Characters that a script may have."""

_LINES, _RULES = 2000, 4000
_PORTS = 15
"""Ports that multiport takes (man iptables-extensions)."""

_NUMBER = "(?:0|[1-9][0-9]{0,4})"
"""A number as it is meant: iptables takes one that begins with 0 for octal, Python doesn't."""

_NETWORK = re.compile(r"[0-9a-fA-F.:]{1,45}(?:/(?:0|[1-9][0-9]{0,2}|[0-9]+(?:\.[0-9]+){3}))?")
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,27}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}|[A-Za-z0-9_.-]{0,14}\+")
_WORD = re.compile(r"[ -~]{0,80}")
_PROTOCOLS = {"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp"}
_ICMP = {4: {"icmp", "1"}, 6: {"icmpv6", "ipv6-icmp", "icmp6", "58"}}
ICMP_TYPES = {
    4: {"destination-unreachable": "3", "echo-request": "8", "echo-reply": "0"},
    6: {
        "destination-unreachable": "1", "packet-too-big": "2", "echo-request": "128", "echo-reply": "129",
        "router-solicitation": "133", "router-advertisement": "134",
        "neighbour-solicitation": "135", "neighbour-advertisement": "136",
    },
}  # fmt: skip
REJECTS = {
    4: {"icmp-port-unreachable": PORT_UNREACHABLE, "icmp-admin-prohibited": ADMIN_PROHIBITED, "tcp-reset": TCP_RESET},
    6: {"icmp6-port-unreachable": PORT_UNREACHABLE, "icmp6-adm-prohibited": ADMIN_PROHIBITED, "tcp-reset": TCP_RESET},
}  # fmt: skip
_MODULES = {"tcp", "udp", "multiport", "state", "conntrack", "comment", "icmp", "icmp6"}


def parse(text: str, *, firewall: Firewall | None = None) -> Firewall:
    """Run a script of iptables and ip6tables commands on a firewall, and return what it has become.

    Args:
        text: Lines as they are typed; `#` begins a comment, a backslash at the end goes on, `sudo` is passed over.
        firewall: What was there before; a machine that accepts everything where it is not given.

    Raises:
        FormatError: A line is not understood; the error has its offset in the text.

    Does not check: tables other than `filter`, and whether the kernel at hand has each module.
    """
    if len(text) > LONGEST:
        raise _bad("the script is too long", 0)
    found = firewall or Firewall.open()
    lines = list(commands(text))
    if len(lines) > _LINES:
        raise _bad("the script has too many lines", lines[-1][0])
    for offset, line in lines:
        found = _run(found, line, offset)
        if sum(len(chain.rules) for chain in found.chains.values()) > _RULES:
            raise _bad("there are too many rules", offset)
    if lines and (too_much := beyond_limits(found)):
        raise _bad(too_much, lines[-1][0])
    return found


def _run(firewall: Firewall, line: str, offset: int) -> Firewall:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _bad(str(error).lower(), offset) from error
    if words and words[0] == "sudo":
        words = words[1:]
    if not words or words[0] not in {"iptables", "ip6tables"}:
        raise _bad("a line begins with iptables or ip6tables", offset)
    return _Command(6 if words[0] == "ip6tables" else 4, words[1:], offset).run(firewall)


@dataclass
class _Command:
    """One command on its way through its words."""

    family: int
    words: list[str]
    offset: int
    made: dict[str, Any] = field(default_factory=dict)
    inverted: set[str] = field(default_factory=set)
    sources: list[Any] = field(default_factory=list)
    destinations: list[Any] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    negate: bool = False

    def bad(self, why: str) -> FormatError:
        return _bad(why, self.offset)

    def take(self, what: str) -> str:
        """Return the next word."""
        if not self.words:
            raise self.bad(f"{what} is missing")
        return self.words.pop(0)

    def run(self, firewall: Firewall) -> Firewall:
        if self.words[:1] in (["-t"], ["--table"]):
            self.words.pop(0)
            if self.take("the table") != "filter":
                raise self.bad("only the table filter is understood")
        action = self.take("the command")
        known: dict[str, Callable[[Firewall], Firewall]] = {
            "-A": self.append, "--append": self.append, "-I": self.insert, "--insert": self.insert,
            "-P": self.policy, "--policy": self.policy, "-N": self.new_chain, "--new-chain": self.new_chain,
            "-F": self.flush, "--flush": self.flush, "-D": self.delete, "--delete": self.delete,
        }  # fmt: skip
        if action not in known:
            raise self.bad(f"{action!r} is not a command that is understood")
        done = known[action](firewall)
        if self.words:
            raise self.bad(f"{self.words[0]!r} is too much")
        return done

    def chain(self, firewall: Firewall) -> str:
        name = self.take("the chain")
        if name not in firewall.chains:
            raise self.bad(f"there is no chain {name!r}")
        return name

    def new_chain(self, firewall: Firewall) -> Firewall:
        name = self.take("the chain")
        if not _CHAIN.fullmatch(name) or name in TARGETS:
            raise self.bad(f"{name!r} is no name for a chain")
        if name in firewall.chains:
            # The two families have chains of their own under one name; a second -N for the other one is no news.
            return firewall
        return Firewall({**firewall.chains, name: Chain(name)})

    def policy(self, firewall: Firewall) -> Firewall:
        name, target = self.chain(firewall), self.take("the policy")
        if name not in BUILT_IN or target not in {ACCEPT, DROP}:
            raise self.bad("a policy is ACCEPT or DROP, of INPUT, FORWARD or OUTPUT")
        return firewall.with_policy(name, target, self.family)

    def flush(self, firewall: Firewall) -> Firewall:
        names = [self.chain(firewall)] if self.words else list(firewall.chains)
        for name in names:
            kept = tuple(rule for rule in firewall.chains[name].rules if rule.family != self.family)
            firewall = firewall.replacing(name, kept)
        return firewall

    def append(self, firewall: Firewall) -> Firewall:
        name = self.chain(firewall)
        return self._checked(firewall.adding(name, *self.rules(firewall, name)), name)

    def insert(self, firewall: Firewall) -> Firewall:
        name = self.chain(firewall)
        place = self.number() if self.words and self.words[0].isdigit() else 1
        # Counted among the rules of its own family, which are the only ones that iptables sees.
        own = [n for n, rule in enumerate(firewall.chains[name].rules) if rule.family == self.family]
        if not 1 <= place <= len(own) + 1:
            raise self.bad(f"there is no place {place}")
        at = own[place - 1] if place <= len(own) else None
        return self._checked(firewall.adding(name, *self.rules(firewall, name), at=at), name)

    def delete(self, firewall: Firewall) -> Firewall:
        name = self.chain(firewall)
        own = [n for n, rule in enumerate(firewall.chains[name].rules) if rule.family == self.family]
        if self.words and self.words[0].isdigit():
            place = self.number()
            if not 1 <= place <= len(own):
                raise self.bad(f"there is no rule {place}")
            return firewall.without_rule(name, own[place - 1])
        for rule in self.rules(firewall, name):
            same = [n for n in own if firewall.chains[name].rules[n] == rule]
            if not same:
                raise self.bad("there is no such rule")
            firewall = firewall.without_rule(name, same[0])
        return firewall

    def number(self) -> int:
        text = self.take("a number")
        if not re.fullmatch(_NUMBER, text):
            raise self.bad(f"{text!r} is no number that is understood")
        return int(text)

    def _checked(self, firewall: Firewall, name: str) -> Firewall:
        # The kernel refuses chains that lead back to themselves, too.
        if _leads_to(firewall, name, name):
            raise self.bad(f"the chain {name} would lead to itself")
        return firewall

    # --- one rule -------------------------------------------------------------------------------------------------

    def rules(self, firewall: Firewall, chain: str) -> list[Rule]:
        """Read what follows the chain's name; several addresses make several rules, as iptables does it."""
        while self.words:
            word = self.take("an option")
            if word == "!":
                if self.negate or not self.words:
                    raise self.bad("'!' stands before an option")
                self.negate = True
                continue
            self.option(word)
        if "target" not in self.made:
            raise self.bad("a rule without -j decides nothing")
        self.check(firewall, chain)
        return [
            Rule(
                family=self.family,
                **self.made,
                source=source,
                destination=destination,
                inverted=frozenset(self.inverted),
            )
            for source in self.sources or [None]
            for destination in self.destinations or [None]
        ]

    def option(self, word: str) -> None:
        name, reader = _OPTIONS.get(word, ("", None))
        if reader is None:
            raise self.bad(f"{word!r} is not an option that is understood")
        if self.negate and name in {"", "target", "reject_with", "comment"}:
            raise self.bad(f"{word!r} can't be turned round with '!'")
        if self.negate:
            self.inverted.add(name)
        self.negate = False
        if name and (
            name in self.made
            or (name == "source" and self.sources)
            or (name == "destination" and self.destinations)
        ):
            raise self.bad(f"{word!r} stands twice")
        value = reader(self, word)
        if name == "source":
            self.sources = value
        elif name == "destination":
            self.destinations = value
        elif name:
            self.made[name] = value

    def check(self, firewall: Firewall, chain: str) -> None:
        made, protocol = self.made, self.made.get("protocol", "")
        with_ports = protocol in {"tcp", "udp"} and "protocol" not in self.inverted
        target = made["target"]
        checks = {
            "ports need -p tcp or -p udp": ("source_ports" in made or "destination_ports" in made) and not with_ports,
            "--syn needs -p tcp": "syn" in made and (protocol != "tcp" or "protocol" in self.inverted),
            "--icmp-type needs -p icmp": "icmp_type" in made and (protocol != "icmp" or "protocol" in self.inverted),
            "-o has no meaning in INPUT": chain == "INPUT" and "out_interface" in made,
            "-i has no meaning in OUTPUT": chain == "OUTPUT" and "in_interface" in made,
            "--reject-with needs -j REJECT": "reject_with" in made and target != REJECT,
            "tcp-reset needs -p tcp": made.get("reject_with") == TCP_RESET and (protocol != "tcp" or "protocol" in self.inverted),
            f"there is no target {target!r}": target not in TARGETS and (target not in firewall.chains or target in BUILT_IN),
            "'!' with several addresses": ("source" in self.inverted and len(self.sources) > 1) or ("destination" in self.inverted and len(self.destinations) > 1),
        }  # fmt: skip
        for why, broken in checks.items():
            if broken:
                raise self.bad(why)

    # --- the values of options ------------------------------------------------------------------------------------

    def protocol(self, _: str) -> str:
        word = self.take("the protocol").lower()
        if word in _ICMP[self.family]:
            return "icmp"
        if word not in _PROTOCOLS:
            raise self.bad(f"{word!r} is not a protocol that is understood")
        return _PROTOCOLS[word]

    def networks(self, _: str) -> list[Any]:
        found = self.take("the address").split(",")
        return [self._network(each) for each in found]

    def _network(self, text: str) -> Any:
        kind = ipaddress.IPv4Network if self.family == 4 else ipaddress.IPv6Network
        if not _NETWORK.fullmatch(text):
            raise self.bad(f"{text!r} is no network")
        try:
            network = kind(text, strict=False)
        except ValueError as error:
            raise self.bad(f"no network: {error}") from error
        mask = text.partition("/")[2]
        # Python reads 0.0.0.255 as a wildcard mask of routers; iptables compares the last byte alone.
        if "." in mask and mask != str(network.netmask):
            raise self.bad(f"{mask} is no mask that begins with its ones")
        return network

    def interface(self, _: str) -> str:
        name = self.take("the interface")
        if not _INTERFACE.fullmatch(name):
            raise self.bad(f"{name!r} is no interface")
        return name

    def one_range(self, _: str) -> tuple[PortRange, ...]:
        return (self._range(self.take("the port")),)

    def many_ranges(self, word: str) -> tuple[PortRange, ...]:
        if "multiport" not in self.modules:
            raise self.bad(f"{word} needs -m multiport")
        ranges = tuple(self._range(each) for each in self.take("the ports").split(","))
        if sum(1 + (low != high) for low, high in ranges) > _PORTS:
            raise self.bad(f"multiport takes at most {_PORTS} ports")
        return ranges

    def _range(self, text: str) -> PortRange:
        match = re.fullmatch(rf"({_NUMBER})?(?:(:)({_NUMBER})?)?", text)
        if not match or not text:
            raise self.bad(f"{text!r} is no port")
        low = int(match[1] or 0)
        high = int(match[3] or 65535) if match[2] else low
        if not (match[1] or match[2]) or low > high or high > 65535:
            raise self.bad(f"{text!r} is no port")
        return low, high

    def states(self, word: str) -> frozenset[str]:
        needed = {"--state": "state", "--ctstate": "conntrack"}[word]
        if needed not in self.modules:
            raise self.bad(f"{word} needs -m {needed}")
        found = frozenset(self.take("the states").upper().split(","))
        if not found <= set(STATES):
            raise self.bad(f"no state: {', '.join(sorted(found - set(STATES)))}")
        return found

    def flag(self, _: str) -> bool:
        return True

    def icmp_type(self, _: str) -> str:
        word, known = self.take("the type"), ICMP_TYPES[self.family]
        by_number = {number: name for name, number in known.items()}
        spelt = word.replace("neighbor", "neighbour")
        if spelt not in known and spelt not in by_number:
            raise self.bad(f"{word!r} is not a type that is understood")
        return by_number.get(spelt, spelt)

    def target(self, _: str) -> str:
        return self.take("the target")

    def reject_with(self, _: str) -> str:
        word = self.take("the answer")
        if word not in REJECTS[self.family]:
            raise self.bad(f"{word!r} is not an answer that is understood")
        return REJECTS[self.family][word]

    def comment(self, _: str) -> str:
        text = self.take("the comment")
        if not _WORD.fullmatch(text):
            raise self.bad("a comment is up to 80 plain characters")
        return text

    def module(self, _: str) -> None:
        name = self.take("the module")
        if name not in _MODULES:
            raise self.bad(f"the module {name!r} is not understood")
        self.modules.add(name)

    def skipped(self, _: str) -> None:
        if not _WORD.fullmatch(self.take("the prefix")):
            raise self.bad("a prefix is up to 80 plain characters")


_OPTIONS: dict[str, tuple[str, Callable[[_Command, str], Any] | None]] = {
    "-p": ("protocol", _Command.protocol), "--protocol": ("protocol", _Command.protocol),
    "-s": ("source", _Command.networks), "--source": ("source", _Command.networks),
    "-d": ("destination", _Command.networks), "--destination": ("destination", _Command.networks),
    "-i": ("in_interface", _Command.interface), "--in-interface": ("in_interface", _Command.interface),
    "-o": ("out_interface", _Command.interface), "--out-interface": ("out_interface", _Command.interface),
    "--sport": ("source_ports", _Command.one_range), "--source-port": ("source_ports", _Command.one_range),
    "--dport": ("destination_ports", _Command.one_range), "--destination-port": ("destination_ports", _Command.one_range),
    "--sports": ("source_ports", _Command.many_ranges), "--dports": ("destination_ports", _Command.many_ranges),
    "--state": ("states", _Command.states), "--ctstate": ("states", _Command.states),
    "--syn": ("syn", _Command.flag),
    "--icmp-type": ("icmp_type", _Command.icmp_type), "--icmpv6-type": ("icmp_type", _Command.icmp_type),
    "-j": ("target", _Command.target), "--jump": ("target", _Command.target),
    "--reject-with": ("reject_with", _Command.reject_with),
    "--comment": ("comment", _Command.comment), "--log-prefix": ("", _Command.skipped), "-m": ("", _Command.module),
    "--match": ("", _Command.module),
}  # fmt: skip


def _leads_to(firewall: Firewall, start: str, goal: str) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        chain = firewall.chains.get(waiting.pop())
        for rule in chain.rules if chain else ():
            if rule.target == goal:
                return True
            if rule.target not in seen:
                seen.add(rule.target)
                waiting.append(rule.target)
    return False


def _bad(why: str, offset: int) -> FormatError:
    return FormatError(
        f"These iptables commands are not understood at character {offset}: {why}.",
        advice="Commands -A -I -D -P -N -F of the table filter are understood; compare with: labkit network apply --help",
        what="iptables",
        offset=offset,
    )
