"""Answers to the exercises of lesson segmentation."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from labkit.course.lab import Lab, open_lab
from labkit.network import NEEDED, PRINTED, Flow
from tests.answers.shape import Answers, Right, Wrong, handing, laying, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab."""
    lab = open_lab("segmentation", workspace=folder / "w")
    yield lab
    lab.close()


# --- 1: flows -------------------------------------------------------------------------------------------------------


def flows(*given: Flow) -> Callable[[Any], None]:
    """Hand in flows."""
    return writing("flows.json", json.dumps([asdict(flow) for flow in given]))


def turned(port: int) -> Sequence[Flow]:
    """Return the flows with those of a port the wrong way round."""
    return [Flow(f.destination, f.source, f.protocol, f.port, "") if f.port == port else f for f in NEEDED]


# --- 2: a script ----------------------------------------------------------------------------------------------------


def script(*, left_out: str = "", more: str = "") -> Callable[[Any], None]:
    """Hand in the right script, or one that lacks the lines with a word, or has more lines in front."""
    lines = [more] if more else []
    lines.append("ip6tables -A INPUT -p icmpv6 -j ACCEPT")
    for program, sensors, office in (
        ("iptables", "192.168.20.0/24", "192.168.10.0/24"),
        ("ip6tables", "fd00:20::/64", "fd00:10::/64"),
    ):
        lines += [
            f"{program} -A INPUT -i lo -j ACCEPT",
            f"{program} -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            f"{program} -A INPUT -p tcp --dport 8883 -s {sensors} -j ACCEPT",
            f"{program} -A INPUT -p tcp --dport 22 -s {office} -j ACCEPT",
            f"{program} -P INPUT DROP",
        ]
    return writing("rules.sh", "\n".join(line for line in lines if not left_out or left_out not in line))


_WITH_DROPS = """\
# policies first, then a last rule that says DROP
iptables -P INPUT DROP
ip6tables -P INPUT DROP
iptables -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -s 192.168.20.0/24 -p tcp -m tcp --dport 8883 -j ACCEPT
iptables -A INPUT -s 192.168.10.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
iptables -A INPUT -j DROP
ip6tables -A INPUT -p ipv6-icmp -j ACCEPT
ip6tables -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
ip6tables -A INPUT -i lo -j ACCEPT
ip6tables -A INPUT -s fd00:20::/64 -p tcp -m tcp --dport 8883 -j ACCEPT
ip6tables -A INPUT -s fd00:10::/64 -p tcp -m tcp --dport 22 -j ACCEPT
ip6tables -A INPUT -j DROP
"""

_PRINTED = """\
iptables -A INPUT -p tcp --dport 8883 -s 192.168.20.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 8883 -j DROP
"""

# --- 3: idle rules --------------------------------------------------------------------------------------------------

_IDLE = """
def idle(rules):
    def covers(one, other):
        return all(one[field] in ("any", other[field]) for field in ("source", "port"))

    return [place for place, rule in enumerate(rules) if any(covers(earlier, rule) for earlier in rules[:place])]
"""

_BY_SETS = """
def idle(rules):
    seen, found = set(), []
    for place, rule in enumerate(rules):
        source, port = rule["source"], rule["port"]
        if {(source, port), ("any", port), (source, "any"), ("any", "any")} & seen:
            found.append(place)
        seen.add((source, port))
    return found
"""


_EACH = """
def idle(rules):
    def covers(one, other):
        return all(one[field] in ("any", other[field]) for field in ("source", "port"))

    return [place for place, rule in enumerate(rules) for earlier in rules[:place] if covers(earlier, rule)]
"""


def hunting(old: str, new: str) -> Callable[[Any], None]:
    """Hand in a hunt that is wrong in one place."""
    assert old in _IDLE
    return handing("idle", _IDLE.replace(old, new))


def flow(source: str, destination: str, protocol: str = "tcp", port: Any = 631) -> Callable[[Any], None]:
    """Hand in one flow."""
    return laying(
        "flow.json", {"source": source, "destination": destination, "protocol": protocol, "port": port}
    )


def packet(protocol: Any, source_port: Any, destination_port: Any = 22) -> Callable[[Any], None]:
    """Hand in a packet."""
    return laying(
        "packet.json",
        {"protocol": protocol, "source_port": source_port, "destination_port": destination_port},
    )


TABLE = (
    Answers(
        "segmentation.1",
        right=(
            Right("the thirteen", flows(*NEEDED)),
            Right("in another order, with reasons of one's own", flows(*(Flow(f.source, f.destination, f.protocol, f.port, "", "mine") for f in reversed(NEEDED)))),
        ),
        wrong=(
            Wrong("one is missing", flows(*NEEDED[1:]), "cut-off", says="between iot to backend"),
            Wrong("the printed list", flows(*PRINTED), "cut-off"),
            Wrong("the dashboard the wrong way round", flows(*turned(3000)), "cut-off", says="between corporate to backend"),
            Wrong("servers reach the office", flows(*NEEDED, Flow("backend", "corporate", "tcp", 443, "")), "too-open"),
            Wrong("sensors reach accounting", flows(*NEEDED, Flow("iot", "corporate", "tcp", 5432, "")), "too-open"),
            Wrong("a port where nobody listens", flows(*NEEDED, Flow("iot", "backend", "tcp", 4444, "")), "too-open", says="tcp 4444"),
            Wrong("the web in the clear", flows(*NEEDED, Flow("corporate", "internet", "tcp", 80, "")), "too-open", says="tcp 80"),
            Wrong("sensors reach the internet", flows(*NEEDED, Flow("iot", "internet", "tcp", 443, "")), "too-open"),
            Wrong("no list of flows", writing("flows.json", "[1]"), "unreadable"),
            Wrong("a zone that there is not", writing("flows.json", '[{"source": "iot", "destination": "attic", "protocol": "tcp", "port": 1, "service": "", "reason": ""}]'), "unreadable"),
        ),
    ),
    Answers(
        "segmentation.2",
        right=(
            Right("policies last", script()),
            Right("policies first, and a rule that drops", writing("rules.sh", _WITH_DROPS)),
        ),
        wrong=(
            Wrong("as printed", writing("rules.sh", _PRINTED), "shut-out", says="its own broker over IPv4"),
            Wrong("without loopback", script(left_out="lo"), "shut-out"),
            Wrong("without answers", script(left_out="ctstate"), "shut-out"),
            Wrong("without neighbours", script(left_out="icmpv6"), "shut-out", says="forgotten where it is"),
            Wrong("without a policy for IPv6", script(left_out="ip6tables -P"), "let-in", says="SSH over IPv6"),
            Wrong("without a policy for IPv4", script(left_out="iptables -P INPUT"), "let-in", says="SSH over IPv4"),
            Wrong("everything first", script(more="iptables -A INPUT -p tcp -j ACCEPT"), "let-in"),
            Wrong("answers by their port", script(more="iptables -A INPUT -p tcp --sport 443 -j ACCEPT"), "let-in", says="and yet"),
            Wrong("all of UDP", script(more="ip6tables -A INPUT -p udp -j ACCEPT"), "let-in", says="and yet"),
            Wrong("a door for the internet", script(more="iptables -A INPUT -p tcp --dport 8883 -s 203.0.113.0/24 -j ACCEPT"), "let-in"),
            Wrong("another language", script(more="nft flush ruleset"), "not-a-script"),
            Wrong("nothing", writing("rules.sh", ""), "let-in"),
        ),
    ),
    Answers(
        "segmentation.3",
        right=(Right("looks at all before", handing("idle", _IDLE)), Right("keeps what it has seen", handing("idle", _BY_SETS))),
        wrong=(
            Wrong("finds none", handing("idle", "def idle(rules):\n    return []"), "idle-missed"),
            Wrong("looks at the neighbour alone", hunting("rules[:place]", "rules[max(0, place - 1):place]"), "idle-missed"),
            Wrong("looks at later rules too", hunting("rules[:place]", "rules[:place] + rules[place + 1:]"), "idle-missed"),
            Wrong("wants the same target", hunting('("source", "port")', '("source", "port", "target")'), "target-matters"),
            Wrong("knows no any", hunting('("any", other[field])', "(other[field],)"), "idle-missed"),
            Wrong("one field is enough", hunting("return all(", "return any("), "narrower-does-not"),
            Wrong("any on either side", hunting('in ("any", other[field])', 'in ("any", other[field]) or other[field] == "any"'), "narrower-does-not"),
            Wrong("looks at ports alone", hunting('("source", "port")', '("port",)'), "narrower-does-not"),
            Wrong("once for each that covers it", handing("idle", _EACH), "told-twice", says="[2, 2]"),
            Wrong("covered by exactly one", hunting("if any(", "if 1 == sum("), "told-twice"),
            Wrong("counts from one", hunting("enumerate(rules)", "enumerate(rules, 1)"), "none-is-idle"),
            Wrong("returns the rules", hunting("[place for", "[rule for"), "idle-missed"),
            Wrong("a field that is not there", hunting('"source", "port"', '"zone", "port"'), "crashed", says="KeyError"),
        ),
    ),
    Answers(
        "segmentation.4",
        right=(
            Right("from the backend to the office", flow("backend", "corporate")),
            Right("fields in another order", laying("flow.json", {"port": 631, "protocol": "tcp", "destination": "corporate", "source": "backend"})),
        ),
        wrong=(
            Wrong("the wrong way round", flow("corporate", "backend"), "turned-round"),
            Wrong("from the sensors", flow("iot", "corporate"), "cut-off"),
            Wrong("over UDP", flow("backend", "corporate", "udp"), "cut-off"),
            Wrong("another port", flow("backend", "corporate", port=443), "cut-off"),
            Wrong("to the internet", flow("backend", "internet"), "cut-off"),
            Wrong("the port as a word", flow("backend", "corporate", port="631"), "not-a-flow"),
            Wrong("true for a port", flow("backend", "corporate", port=True), "not-a-flow"),
            Wrong("a zone that there is not", flow("dashboard", "printer"), "not-a-flow"),
            Wrong("a list", laying("flow.json", ["backend", "corporate", "tcp", 631]), "not-a-flow"),
            Wrong("a field too many", laying("flow.json", {"source": "backend", "destination": "corporate", "protocol": "tcp", "port": 631, "reason": ""}), "not-a-flow"),
        ),
    ),
    Answers(
        "segmentation.5",
        right=(Right("an answer of DNS", packet("tcp", 53)), Right("an answer of a web server", packet("tcp", 443))),
        wrong=(
            Wrong("an ordinary port", packet("tcp", 50000), "dropped"),
            Wrong("the broker's port", packet("tcp", 8883), "dropped"),
            Wrong("from SSH's own port", packet("tcp", 22), "dropped"),
            Wrong("UDP, which gets in and is not SSH", packet("udp", 53), "not-ssh"),
            Wrong("another door", packet("tcp", 53, 8883), "not-ssh"),
            Wrong("a port as a word", packet("tcp", "53"), "not-a-packet"),
            Wrong("no port", packet("tcp", 0), "not-a-packet"),
            Wrong("true for a port", packet("tcp", True), "not-a-packet"),
            Wrong("another protocol", packet("icmp", 53), "not-a-packet"),
            Wrong("forges an address", laying("packet.json", {"protocol": "tcp", "source": "192.168.10.5", "source_port": 5, "destination_port": 22}), "not-a-packet"),
            Wrong("a list", laying("packet.json", ["tcp", 53, 22]), "not-a-packet"),
        ),
    ),
)  # fmt: skip
