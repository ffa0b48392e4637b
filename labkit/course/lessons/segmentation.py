"""Lesson segmentation: zones, the printed rules and their back doors, rules that hold, measured in the kernel."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Any

from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.segmentation_exercises import MORE
from labkit.course.lessons.segmentation_questions import QUESTIONS
from labkit.course.shelf import failed, not_attempted
from labkit.errors import FormatError, NetworkError
from labkit.network import (
    COURSE_PLAN,
    COURSE_ZONES,
    NEEDED,
    ROUTER,
    Firewall,
    Flow,
    Packet,
    Plan,
    against_flows,
    decide,
    derive,
)
from labkit.outcome import Outcome
from labkit.scenarios.segmented_plant import ACCOUNTING, PORTS, cells_of, segmented_plant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.course.lab import Lab
    from labkit.scenarios.segmented_plant import SegmentedPlant

SHELF = "answers/segmentation"
"""Where the reader's answers lie."""

FORGED = ipaddress.IPv4Address("192.168.20.99")
"""An address of the sensors' zone that a machine in the office gives itself."""

TRIALS = 17
"""Sentences that the second exercise has to make true."""

LOCALHOST = {4: ipaddress.IPv4Address("127.0.0.1"), 6: ipaddress.IPv6Address("::1")}

PRINTED_RULES = """\
iptables -A INPUT -p tcp --dport 8883 -s 192.168.20.0/24 -j ACCEPT   # the broker, for devices
iptables -A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT     # SSH, for the office
iptables -A INPUT -p tcp --dport 8883 -j DROP                        # and nobody else
"""
"""Three rules for the broker's machine, as many tutorials have them."""

CLAIMS = (
    Claim("flat-accounting", "In a flat network a sensor reaches the accounting database.", "network"),
    Claim("flat-internet", "And the internet reaches the sensor.", "network"),
    Claim("printed-sensor", "With the printed rules a sensor reaches the broker.", "network"),
    Claim("printed-office", "The office does not, over IPv4.", "network", "dropped"),
    Claim("printed-ipv6", "Over IPv6 it does.", "network", "accepted", "ipv6"),
    Claim("printed-ssh", "The rule about SSH does nothing: a sensor reaches it.", "network", "accepted", "ssh"),
    Claim("printed-localhost", "The broker's own machine is locked out.", "network", "dropped"),
    Claim("printed-accounting", "The sensor still reaches accounting.", "network"),
    Claim("policy-answers", "With a default of drop and nothing else, a server hears no answers.", "network", "dropped"),
    Claim("list-provisioning", "The printed list of VLAN rules cuts devices off from provisioning.", "network", "dropped"),
    Claim("list-updates", "And from updates.", "network", "dropped"),
    Claim("list-direction", "It lets a server that was taken over into the office.", "network", "accepted", "direction"),
    Claim("ours-agrees", "Derived rules: the kernel does on every pair what was predicted.", "network"),
    Claim("ours-sensor", "A sensor opens an MQTT session with the broker, over TLS.", "mqtt"),
    Claim("ours-office", "The office does not get as far as TLS.", "tcp", "timeout"),
    Claim("ours-dashboard", "It sees its dashboard, without a flow in the other direction.", "network"),
    Claim("stolen-accounting", "A sensor that was taken over does not reach accounting.", "network", "dropped"),
    Claim("stolen-ipv6", "Nor over IPv6.", "network", "dropped"),
    Claim("stolen-internet", "Nor its master in the internet.", "network", "dropped"),
    Claim("stolen-pivot", "Nor does a server that was taken over reach the office.", "network", "dropped"),
    Claim("stolen-broker", "It does reach the broker: that is what it is for.", "network"),
    Claim("forged-addresses", "Rules that look at addresses let an office machine in that calls itself a sensor.",
          "network", "accepted", "forged"),
    Claim("forged-bound", "Rules that are bound to interfaces do not.", "network", "dropped"),
    Claim("break-answers", "Without the line about answers nothing works.", "network", "dropped", "answers"),
)  # fmt: skip

PREDICTIONS = (
    Prediction(
        "ipv6",
        "The printed rules are in force on the broker's machine. Somebody in the office tries port 8883 over IPv6. What happens?",
        {"dropped": "dropped, as over IPv4", "open": "the connection comes about", "none": "the broker does not speak IPv6"},
        "open",
        {
            "dropped": "iptables is about IPv4. Nobody has said anything about IPv6.",
            "none": "It listens on every address of its machine, unless it is told otherwise.",
        },
    ),
    Prediction(
        "ssh",
        "The second printed rule lets the office reach SSH. Does a sensor reach it?",
        {"no": "no: only the office is allowed", "yes": "yes"},
        "yes",
        {"no": "The rule allows the office and forbids nobody. What no rule decides, the policy does, and that is ACCEPT."},
    ),
    Prediction(
        "direction",
        "The printed list says: VLAN 30 to VLAN 10, allow 443 (dashboard access). Who may open connections to whom?",
        {
            "office": "the office to the dashboard",
            "server": "the servers to the office",
            "both": "both to each other",
        },
        "server",
        {
            "office": "VLAN 30 is the backend. The dashboard is *there*, and those who look at it are in VLAN 10.",
            "both": "A flow has one direction. Answers come back by themselves.",
        },
    ),
    Prediction(
        "forged",
        "A machine in the office gives itself an address of the sensors' zone, and the router knows the way back. The broker's machine lets in 192.168.20.0/24. Does it get in?",
        {"yes": "yes", "no": "no: it is plugged in elsewhere"},
        "yes",
        {"no": "Who looks at the wire? The rule looks at the address, and the sender has written that."},
    ),
    Prediction(
        "answers",
        "You delete one line from the router's rules: the one that accepts established and related. A sensor asks for the broker. What is dropped?",
        {"first": "the sensor's first packet", "second": "the broker's answer", "nothing": "nothing; the line is for speed"},
        "second",
        {
            "first": "That is what the flow allows, and the flow is still there.",
            "nothing": "The answer goes from backend to iot, and no flow allows that.",
        },
    ),
)  # fmt: skip


def scan(plant: SegmentedPlant, source: str) -> list[tuple[str, str]]:
    """Return whom a node reaches on which ports, over IPv4 and IPv6: what whoever sits there finds out first."""
    wanted = [cell for cell in cells_of(plant) if cell.source == source]
    found: dict[str, list[str]] = {}
    for cell, reply in plant.matrix(wanted).items():
        if reply.result == "open" and (word := f"{cell.protocol} {cell.port}") not in found.setdefault(
            cell.destination, []
        ):
            found[cell.destination].append(word)
    return [(who, ", ".join(ports)) for who, ports in found.items() if ports]


# --- exercise 1 ---------------------------------------------------------------------------------------------------

SERVICES = (
    ("sensors", "iot", "send readings to the broker", "backend", "tcp 8883"),
    ("sensors", "iot", "enrol and renew at the provisioning service", "backend", "tcp 5000"),
    ("sensors", "iot", "fetch firmware", "backend", "tcp 8070"),
    ("sensors", "iot", "ask for names and for the time", "backend", "udp 53 and udp 123"),
    (
        "people",
        "corporate",
        "look at dashboards, directly and through a proxy",
        "backend",
        "tcp 3000 and tcp 443",
    ),
    ("people", "corporate", "query the database of readings", "backend", "tcp 8086"),
    ("administrators", "corporate", "log in to servers", "backend", "tcp 22"),
    ("administrators", "corporate", "log in to the router", "router", "tcp 22"),
    ("people", "corporate", "work on the web", "internet", "tcp 443"),
    (
        "servers",
        "backend",
        "fetch their own updates, and ask for the time",
        "internet",
        "tcp 443 and udp 123",
    ),
)
"""What happens in the plant, in words: who, where they are, what they do, where that is, by which ports."""


def hand_in_flows(lab: Lab, flows: Sequence[Flow]) -> Plan:
    """Put the reader's flows on the shelf, and return the plan that they make.

    Raises:
        ValueError: A flow makes no sense.
    """
    plan = Plan(COURSE_ZONES, tuple(flows))
    lab.workspace.write(
        f"{SHELF}/flows.json", json.dumps([asdict(flow) for flow in flows], indent=1).encode()
    )
    return plan


def _check_flows(lab: Lab) -> CheckResult:
    """Derive rules from the flows on the shelf, and try every pair under them."""
    path = lab.workspace.path(SHELF, "flows.json")
    if not path.exists():
        return not_attempted("complete the list of flows, then hand it in")
    try:
        plan = Plan(
            COURSE_ZONES, tuple(Flow(**each) for each in json.loads(path.read_text(encoding="utf-8")))
        )
    except (ValueError, TypeError) as error:
        return failed(
            "unreadable",
            f"the flows can't be read: {error}",
            expected="a list of flows",
            advice="hand them in again",
        )
    with segmented_plant() as plant:
        for node in (ROUTER, "backend"):
            plant.apply(node, derive(plan, node))
        cut_off, surplus = against_flows(plant.matrix(cells_of(plant)), NEEDED)
        how = plant.how
    if cut_off:
        words = sorted({f"{c.source} to {c.destination}" for c in cut_off})
        return failed(
            "cut-off", f"{len(cut_off) // 2} flows are cut off, between {', '.join(words)} ({how})",
            expected="everybody in the table can do what they have to", advice="read the table row by row; who opens the connection?",
        )  # fmt: skip
    if surplus:
        return failed(
            "too-open", f"{surplus[0].source} reaches {surplus[0].destination} on {surplus[0].protocol} {surplus[0].port} ({how})",
            expected="nobody reaches what the table does not name", advice="which row of the table is that?",
        )  # fmt: skip
    # Where nobody listens nothing is tried; a rule that was made for it stands there all the same.
    if more := sorted({flow.key for flow in plan.flows} - {flow.key for flow in NEEDED}):
        source, destination, protocol, port = more[0]
        return failed(
            "too-open", f"{source} may reach {destination} on {protocol} {port}, by the list itself",
            expected="nobody reaches what the table does not name", advice="which row of the table is that?",
        )  # fmt: skip
    return CheckResult(
        "passed", observed=f"{len(NEEDED)} flows are open in both families and nothing else is ({how})"
    )


# --- exercise 2 ---------------------------------------------------------------------------------------------------


def hand_in_script(lab: Lab, text: str) -> str:
    """Put the reader's script on the shelf, and return it."""
    lab.workspace.write(f"{SHELF}/rules.sh", text.encode())
    return text


def trials(plant: SegmentedPlant) -> list[tuple[str, bool, Outcome]]:
    """Return what the broker's machine must let in and must not, and what it did: sentence, wanted, outcome.

    Args:
        plant: The plant, with rules on the broker's machine.
    """
    found: list[tuple[str, bool, Outcome]] = []

    def must(text: str, *attempt: Any, **more: Any) -> None:
        found.append((text, True, plant.attempt(*attempt, **more)))

    def must_not(text: str, *attempt: Any, **more: Any) -> None:
        found.append((text, False, plant.attempt(*attempt, **more)))

    for family in (4, 6):
        over = f"over IPv{family}"
        must(f"a sensor reaches the broker {over}", "iot", "backend", family=family)
        must(f"the office reaches SSH {over}", "corporate", "backend", port=22, family=family)
        must(f"the machine reaches its own broker {over}", "backend", LOCALHOST[family])
        must(f"the machine fetches its updates {over}", "backend", "internet", port=443, family=family)
        must_not(f"a sensor reaches SSH {over}", "iot", "backend", port=22, family=family)
        must_not(f"a sensor reaches port 1883 {over}", "iot", "backend", port=1883, family=family)
        must_not(f"the office reaches the broker {over}", "corporate", "backend", family=family)
        must_not(f"the internet reaches SSH {over}", "internet", "backend", port=22, family=family)
    found.append(
        (
            "the router finds the machine over IPv6 when it has forgotten where it is",
            True,
            _found_again(plant),
        )
    )
    return found


def _found_again(plant: SegmentedPlant) -> Outcome:
    """Ask our model what becomes of a neighbour's question: the kernel remembers answers for longer than we want to wait."""
    zone = COURSE_PLAN.zone("backend")
    question = Packet(
        family=6, protocol="icmp", source=zone.gateway(6), destination=zone.host(6), in_interface="eth0",
        state="UNTRACKED", icmp_type="neighbour-solicitation",
    )  # fmt: skip
    verdict = decide(plant.firewalls.get("backend", Firewall.open()), "INPUT", question)
    open_ = verdict.target == "ACCEPT"
    detail = {"how": "predicted from the rules", "rule": f"{verdict} on backend"}
    return Outcome("network", accepted=open_, reason="accepted" if open_ else "dropped", detail=detail)


_DOORS = (1, 22, 53, 80, 123, 443, 1883, 5683, 8080, 8883, 9999, 60_000)
_FROM = (50_000, 22, 53, 80, 123, 443, 8883)
"""Ports that strangers knock at, and those that they come from: whoever sends chooses both."""


def _surplus(plant: SegmentedPlant) -> str:
    """Return a new connection that the machine's rules let in and nobody asked for, by our model; or nothing."""
    rules = plant.firewalls.get("backend", Firewall.open())
    needed = {("iot", "tcp", 8883), ("corporate", "tcp", 22)}
    for family, zone, protocol, door, port in product(
        (4, 6), ("iot", "corporate", "internet"), ("tcp", "udp"), _DOORS, _FROM
    ):
        packet = Packet(
            family=family, protocol=protocol, source=COURSE_PLAN.zone(zone).host(family),
            destination=COURSE_PLAN.zone("backend").host(family), source_port=port, destination_port=door,
            in_interface="eth0", syn=protocol == "tcp",
        )  # fmt: skip
        if (zone, protocol, door) not in needed and decide(rules, "INPUT", packet).target == "ACCEPT":
            return f"{zone} opens a connection to {protocol} port {door} from port {port} over IPv{family}"
    return ""


def _check_script(lab: Lab) -> CheckResult:
    """Type the script on the shelf on the broker's machine, and try what it must and must not let in."""
    path = lab.workspace.path(SHELF, "rules.sh")
    if not path.exists():
        return not_attempted("complete the script, then hand it in")
    with segmented_plant() as plant:
        try:
            plant.type_commands("backend", path.read_text(encoding="utf-8"))
        except (FormatError, NetworkError) as error:
            return failed(
                "not-a-script", error.message, expected="a script that can be run", advice=error.advice
            )
        wrong = [(text, wanted, got) for text, wanted, got in trials(plant) if got.accepted != wanted]
        surplus = "" if wrong else _surplus(plant)
        how = plant.how
    if wrong:
        text, wanted, got = wrong[0]
        rule = got.detail.get("rule", "no rule stands in the way")
        return failed(
            "shut-out" if wanted else "let-in",
            f"{text}: {'it can not' if wanted else 'it can'}; {rule} ({how}; {len(wrong)} of {TRIALS} are wrong)",
            expected=f"{text}: {'yes' if wanted else 'no'}",
            advice="follow that packet through your rules from the top; and its answer",
        )
    if surplus:
        return failed(
            "let-in",
            f"all {TRIALS} sentences hold, and yet {surplus} (predicted from the rules)",
            expected="what the sentences name, and nothing else",
            advice="which rule lets that packet in? what does it not look at?",
        )
    return CheckResult(
        "passed", observed=f"all {TRIALS} sentences hold, in both families ({how}; the last one predicted)"
    )


CHECKS = (
    Check(
        "segmentation.1",
        "rules derived from your flows open what the table names, in both families, and nothing else",
        (
            "One row of the table can be more than one flow. Whoever opens the connection is the source.",
            'A flow: Flow("iot", "backend", "tcp", 8883, "MQTT over TLS"). Answers need no flow.',
            "Thirteen flows in all: five from iot, six from corporate, two from backend.",
        ),
        _check_flows,
        why="Rules that cut off what is needed are switched off, and what is open too far is found by somebody.",
        kind="fill-in",
        minutes=10,
    ),
    Check(
        "segmentation.2",
        "the broker's machine lets in sensors to the broker, the office to SSH, itself and answers; nothing else",
        (
            "Eight sentences a family, and each family has a program and a policy of its own.",
            "lo is an interface. Answers are packets in the state ESTABLISHED (or RELATED). IPv6 finds neighbours by icmpv6.",
            "A policy of DROP decides on what no rule has decided; then no rule that says DROP is needed.",
        ),
        _check_script,
        why="The second wall stands when the first one has a hole; half a wall, in one family, is none.",
        kind="defend-it",
        minutes=12,
    ),
    *MORE,
)

LESSON = Lesson(
    slug="segmentation",
    title="Segment: keep a stolen sensor away from everything else",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)

__all__ = [
    "ACCOUNTING",
    "COURSE_PLAN",
    "FORGED",
    "LESSON",
    "LOCALHOST",
    "PORTS",
    "PRINTED_RULES",
    "SERVICES",
    "hand_in_flows",
    "hand_in_script",
    "scan",
    "trials",
]
