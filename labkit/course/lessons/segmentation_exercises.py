"""Lesson segmentation: the exercises for whoever wants more."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any

from labkit.course.lesson import PASSED, Check, CheckResult
from labkit.course.shelf import Case, failed, laid, not_attempted, questioned
from labkit.network import COURSE_PLAN, ROUTER, Flow, Packet, decide, derive
from labkit.network.iptables import parse
from labkit.scenarios.segmented_plant import segmented_plant

if TYPE_CHECKING:
    from labkit.course.lab import Lab

# --- 3: rules that do nothing -----------------------------------------------------------------------------------------

_ANY = {"source": "any", "port": "any"}


def _rule(target: str, *, source: str = "any", port: int | str = "any") -> dict[str, Any]:
    return {"source": source, "port": port, "target": target}


LISTS: tuple[tuple[str, tuple[dict[str, Any], ...], str], ...] = (
    ("one rule", (_rule("ACCEPT", source="iot", port=8883),), "none-is-idle"),
    ("two that share nothing", (_rule("ACCEPT", source="iot", port=8883), _rule("ACCEPT", source="corporate", port=22)), "none-is-idle"),
    ("the same rule twice", (_rule("ACCEPT", source="iot", port=8883), _rule("ACCEPT", source="iot", port=8883)), "idle-missed"),
    ("a DROP behind an ACCEPT for the same", (_rule("ACCEPT", source="iot", port=8883), _rule("DROP", source="iot", port=8883)), "target-matters"),
    ("everything is dropped first", (_rule("DROP"), _rule("ACCEPT", source="iot", port=8883), _rule("ACCEPT", port=22)), "idle-missed"),
    ("a port for everybody, then for one", (_rule("ACCEPT", port=22), _rule("DROP", source="iot", port=22)), "wider-covers"),
    ("a zone on every port, then on one", (_rule("DROP", source="iot"), _rule("ACCEPT", source="iot", port=8883)), "wider-covers"),
    ("one port for one zone, then for everybody", (_rule("ACCEPT", source="iot", port=22), _rule("DROP", port=22)), "narrower-does-not"),
    ("one zone on one port, then the zone", (_rule("ACCEPT", source="iot", port=22), _rule("DROP", source="iot")), "narrower-does-not"),
    ("a zone, and a port; neither covers the other", (_rule("DROP", source="iot"), _rule("ACCEPT", port=22), _rule("DROP", source="corporate", port=8883)), "narrower-does-not"),
    ("covered by the third", (_rule("ACCEPT", source="iot", port=8883), _rule("ACCEPT", source="corporate", port=22), _rule("DROP"), _rule("DROP", source="internet", port=22)), "idle-missed"),
    ("covered by two", (_rule("ACCEPT", port=502), _rule("DROP", source="iot"), _rule("DROP", source="iot", port=502)), "told-twice"),
    ("a later rule covers nothing before it", (_rule("ACCEPT", source="iot", port=8883), _rule("ACCEPT", source="corporate", port=22), _rule("DROP")), "none-is-idle"),
    ("no rules", (), "none-is-idle"),
)  # fmt: skip
"""Lists of rules, and the mistake of somebody who finds other idle rules in them."""


def covers(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether a rule matches every packet that another one matches."""
    return all(one[field] in {"any", other[field]} for field in _ANY)


def idle(rules: tuple[dict[str, Any], ...]) -> list[int]:
    """Return the places of rules that never decide anything, because one before them has."""
    return [
        place for place, rule in enumerate(rules) if any(covers(earlier, rule) for earlier in rules[:place])
    ]


def _check_idle(lab: Lab) -> CheckResult:
    """Let the reader's function look at the same lists."""
    cases = [Case(about, (list(rules),), idle(rules), fault) for about, rules, fault in LISTS]
    return questioned(
        lab, "idle", cases,
        expected="the places, counted from 0, of rules that an earlier rule covers whole",
        looks={
            "none-is-idle": "compare each rule with those before it, and with no others",
            "idle-missed": "compare each rule with all before it, not only with its neighbour",
            "told-twice": "a rule that two others cover is one rule; and look at ports that you have not seen before",
            "target-matters": "what a rule would do does not matter if no packet comes as far",
            "wider-covers": '"any" matches what every other word matches',
            "narrower-does-not": "the earlier rule must match everything that the later one does, in both fields",
        },
        passed=f"{len(LISTS)} lists, and you found every rule that does nothing",
    )  # fmt: skip


# --- 4: one flow more -------------------------------------------------------------------------------------------------

PRINTER = 631
"""IPP, which office printers speak (RFC 8010)."""

_FIELDS = {"source": str, "destination": str, "protocol": str, "port": int}


def _check_flow(lab: Lab) -> CheckResult:
    """Add the reader's flow to the plan, derive the router's rules, and try them."""
    try:
        given = laid(lab, "flow.json")
    except FileNotFoundError:
        return not_attempted("complete one_more(), then run the cell below it")
    wanted = f"one flow: {', '.join(_FIELDS)}"
    if not isinstance(given, dict) or {k: type(v) for k, v in given.items()} != _FIELDS:
        return failed(
            "not-a-flow",
            f"{given!r}"[:120],
            expected=wanted,
            advice="four fields, no more and no less; the port is a number",
        )
    try:
        plan = COURSE_PLAN.with_flows(
            (*COURSE_PLAN.flows, Flow(**given, service="a printer", reason="the daily report"))
        )
    except ValueError as error:
        return failed(
            "not-a-flow",
            str(error),
            expected=wanted,
            advice="zones are named as in the map: zone_map shows them",
        )
    with segmented_plant(simulate=True) as plant:
        plant.apply(ROUTER, derive(plan, ROUTER))

        def reached(source: str, destination: str, port: int) -> bool:
            return all(
                plant.attempt(source, destination, port=port, family=family).accepted for family in (4, 6)
            )

        report = reached("backend", "corporate", PRINTER)
        back = reached("corporate", "backend", PRINTER)
    if not report and back:
        return failed(
            "turned-round", "the office opens connections to the dashboard's machine, and the report is not printed",
            expected="the report is printed", advice="who opens the connection? that zone is the source",
        )  # fmt: skip
    if not report:
        return failed(
            "cut-off", f"with {given['source']} to {given['destination']} on {given['protocol']} {given['port']} the report is not printed",
            expected="the dashboard's machine reaches the printer", advice="where does the printer stand, and what does it listen on?",
        )  # fmt: skip
    return CheckResult(
        PASSED, observed="the report is printed, in both families, and nothing else is new (a simulation)"
    )


# --- 5: the answer that nobody asked for --------------------------------------------------------------------------------

LEAKY = """\
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p udp --sport 53 -j ACCEPT
iptables -A INPUT -p tcp --sport 53 -j ACCEPT
iptables -A INPUT -p tcp --sport 443 -d 192.168.30.10 -j ACCEPT
iptables -A INPUT -p tcp --dport 8883 -s 192.168.20.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT
iptables -P INPUT DROP
"""
"""Rules of somebody who lets answers in by their port, instead of asking who has asked."""

STRANGER = IPv4Address("203.0.113.66")
"""Where the reader sits."""

TARGET = IPv4Address("192.168.30.10")
_PACKET = {"protocol", "source_port", "destination_port"}


def asks(protocol: str, source_port: int, destination_port: int) -> str:
    """Return what the leaky rules do with the first packet of a stranger's connection."""
    packet = Packet(
        family=4, protocol=protocol, source=STRANGER, destination=ip_address(TARGET), source_port=source_port,
        destination_port=destination_port, in_interface="eth0", syn=protocol == "tcp",
    )  # fmt: skip
    return decide(parse(LEAKY), "INPUT", packet).target


def _check_leak(lab: Lab) -> CheckResult:
    """Send the reader's packet to the rules; the same packet from an ordinary port is the control."""
    try:
        given = laid(lab, "packet.json")
    except FileNotFoundError:
        return not_attempted("complete packet(), then run the cell below it")
    expected = "a new TCP connection to SSH, from your own address, that the rules let in"
    if not isinstance(given, dict) or set(given) != _PACKET:
        return failed(
            "not-a-packet",
            f"{given!r}"[:120],
            expected=expected,
            advice=f"three fields: {', '.join(sorted(_PACKET))}",
        )
    ports = (given["source_port"], given["destination_port"])
    if any(type(port) is not int or not 1 <= port <= 65535 for port in ports) or given["protocol"] not in {
        "tcp",
        "udp",
    }:
        return failed(
            "not-a-packet",
            f"{given!r}"[:120],
            expected=expected,
            advice="ports are numbers from 1 to 65535; protocols tcp and udp",
        )
    if given["protocol"] != "tcp" or given["destination_port"] != 22:
        return failed(
            "not-ssh", f"{given['protocol']} to port {given['destination_port']}", expected=expected,
            advice="SSH speaks TCP and listens on port 22",
        )  # fmt: skip
    if asks("tcp", 50_000, 22) == "ACCEPT":  # pragma: no cover - the control
        return failed(
            "no-control", "the rules let everybody in", expected=expected, advice="tell the maintainers"
        )
    if asks("tcp", *ports) != "ACCEPT":
        return failed(
            "dropped", f"from port {ports[0]} the packet meets the policy: DROP", expected=expected,
            advice="which rules match without looking at where the packet goes, or at who asked?",
        )  # fmt: skip
    return CheckResult(
        PASSED, observed=f"from port {ports[0]} a stranger reaches SSH; from an ordinary port nobody does"
    )


MORE = (
    Check(
        "segmentation.3",
        "your function finds every rule that never decides anything",
        (
            "The first rule that matches decides. A rule is idle when one before it matches all that it matches.",
            'For each place: look at the rules before it. Covers means, for source and for port: equal, or "any".',
            "Two loops: for place, rule in enumerate(rules), and any(… for earlier in rules[:place]).",
        ),
        _check_idle,
        why="A rule that does nothing looks like protection to whoever reads the list, and an exception that does nothing is found out at night.",
        kind="bug-hunt",
        required=False,
        minutes=10,
    ),
    Check(
        "segmentation.4",
        "with one flow more the daily report is printed, and nothing else becomes possible",
        (
            "Draw an arrow from whoever opens the connection to whoever listens.",
            "The dashboard lives in the backend zone, the printer in the office.",
            "Its port is in the sentence; printers of this kind speak TCP.",
        ),
        _check_flow,
        why="Each exception is for ever; the narrow one costs a minute more to write down.",
        kind="tweak",
        required=False,
        minutes=4,
    ),
    Check(
        "segmentation.5",
        "your packet gets from the internet to SSH, through rules that let answers in by their port",
        (
            "Read each rule and ask what it does not look at.",
            "Whoever sends a packet chooses both of its ports.",
            "Two rules let in TCP that *comes from* a certain port, wherever it goes.",
        ),
        _check_leak,
        why="Rules without connection tracking guess who asked, and the sender decides what they guess.",
        kind="break-it",
        required=False,
        minutes=6,
    ),
)
