"""Predictions: what a connection's packets meet on their way, and back."""

from __future__ import annotations

import ipaddress

import pytest

from labkit.network import (
    COURSE_PLAN,
    DROPPED,
    NEEDED,
    OPEN,
    REJECTED,
    ROUTER,
    Attempt,
    Cell,
    Firewall,
    Reply,
    Rule,
    Topology,
    against_flows,
    attempt_of,
    cells,
    derive,
    disagreements,
    needed_ports,
    predict,
    predicted,
)
from labkit.network.iptables import parse

BROKER = ipaddress.ip_address("192.168.30.10")
MQTTS = Attempt("iot", BROKER, "tcp", 8883)


def result(firewalls: dict[str, Firewall], attempt: Attempt = MQTTS, topology: Topology | None = None) -> str:
    """Return what is predicted, in a word."""
    return predict(topology or Topology(COURSE_PLAN), firewalls, attempt).result


def test_without_rules_everything_is_open(topology: Topology) -> None:
    """Zones without rules are no zones."""
    wanted = list(cells(topology, needed_ports(NEEDED)))
    assert {OPEN} == {reply.result for reply in predicted(topology, {}, wanted).values()}


def test_the_derived_rules_open_what_is_needed_and_nothing_else(topology: Topology) -> None:
    """Router and broker's machine together let exactly the flows through, in both families."""
    wanted = list(cells(topology, [*needed_ports(NEEDED), ("tcp", 1883), ("tcp", 23)]))
    rules = {node: derive(COURSE_PLAN, node) for node in (ROUTER, "backend")}
    assert ([], []) == against_flows(predicted(topology, rules, wanted), NEEDED)


def test_a_missing_flow_is_cut_off_and_a_stray_one_is_surplus(topology: Topology) -> None:
    """Held against other flows, the same matrix is cut off here and too open there."""
    wanted = list(cells(topology, [("tcp", 8883), ("tcp", 22)]))
    rules = {ROUTER: derive(COURSE_PLAN.with_flows(NEEDED[1:]), ROUTER)}
    cut_off, surplus = against_flows(predicted(topology, rules, wanted), [f for f in NEEDED if f.port != 22])
    assert {("iot", "backend", 8883)} == {(cell.source, cell.destination, cell.port) for cell in cut_off}
    assert {("corporate", "backend", 22), ("corporate", "router", 22)} == {
        (cell.source, cell.destination, cell.port) for cell in surplus
    }


def test_without_answers_nothing_is_open() -> None:
    """A default of drop without a rule for answers cuts off the machine's own connections, its own loopback too."""
    rules = {"backend": parse("iptables -P INPUT DROP")}
    out = Attempt("backend", ipaddress.ip_address("203.0.113.10"), "tcp", 443)
    home = Attempt("backend", ipaddress.ip_address("127.0.0.1"), "tcp", 8883)
    assert (DROPPED, DROPPED) == (result(rules, out), result(rules, home))
    mended = parse(
        "iptables -A INPUT -i lo -j ACCEPT\niptables -A INPUT -m state --state ESTABLISHED -j ACCEPT",
        firewall=rules["backend"],
    )
    assert (OPEN, OPEN) == (result({"backend": mended}, out), result({"backend": mended}, home))


def test_the_third_packet_counts() -> None:
    """A rule that lets only the first packet of a connection through lets no connection through."""
    text = "iptables -P INPUT DROP\niptables -A INPUT -p tcp --syn -j ACCEPT"
    assert DROPPED == result({"backend": parse(text)})
    assert OPEN == result(
        {"backend": parse(f"{text}\niptables -A INPUT -m state --state ESTABLISHED -j ACCEPT")}
    )


@pytest.mark.parametrize("answer", ["icmp-port-unreachable", "icmp-admin-prohibited", "tcp-reset"])
def test_a_rejection_is_heard(answer: str) -> None:
    """REJECT says no at once; if its answer is dropped on its way, it is silence like any other."""
    rules = {"backend": parse(f"iptables -A INPUT -p tcp --dport 8883 -j REJECT --reject-with {answer}")}
    assert REJECTED == result(rules)
    deaf = {**rules, "iot": parse("iptables -P INPUT DROP")}
    assert DROPPED == result(deaf)
    muffled = {
        **rules,
        ROUTER: parse("iptables -A FORWARD -m state --state NEW -j ACCEPT\niptables -P FORWARD DROP"),
    }
    assert DROPPED == result(muffled)


def test_a_rejected_answer_is_silence() -> None:
    """A rejection of the answer is told to the server, and the client waits."""
    assert DROPPED == result({ROUTER: parse("iptables -A FORWARD -p tcp --sport 8883 -j REJECT")})


def test_a_forged_address_works_where_the_way_back_does(topology: Topology) -> None:
    """Without a rule about interfaces, an address of the devices' zone opens the door to whoever has a way back."""
    alias = ipaddress.ip_address("192.168.20.99")
    forged = Attempt("corporate", BROKER, "tcp", 8883, claimed=alias)
    with_way_back = Topology(COURSE_PLAN, {"corporate": (alias,)})
    by_address = {"backend": parse("iptables -A INPUT -s 192.168.20.0/24 -j ACCEPT\niptables -P INPUT DROP")}
    assert (OPEN, DROPPED) == (
        result(by_address, forged, with_way_back),
        result(by_address, forged, topology),
    )
    bound = {ROUTER: derive(COURSE_PLAN, ROUTER)}
    reply = predict(with_way_back, bound, forged)
    assert (DROPPED, ROUTER, "not an address of corporate") == (
        reply.result,
        reply.node,
        reply.verdict and reply.verdict.rule and reply.verdict.rule.comment,
    )


def test_nobody_has_the_address() -> None:
    """What is sent to an address that nobody has is not answered."""
    assert DROPPED == result({}, Attempt("iot", ipaddress.ip_address("192.168.30.77"), "tcp", 8883))


def test_the_router_is_a_node_too(topology: Topology) -> None:
    """The router can be reached in each zone, can reach others, and its own INPUT decides."""
    text = "iptables -A INPUT -i vlan20 -j DROP"
    here = attempt_of(topology, Cell("iot", ROUTER, "tcp", 22, 4))
    assert ("192.168.20.1", DROPPED) == (str(here.destination), result({ROUTER: parse(text)}, here))
    assert OPEN == result(
        {ROUTER: parse(text)}, attempt_of(topology, Cell("corporate", ROUTER, "tcp", 22, 4))
    )
    out = Attempt(ROUTER, BROKER, "tcp", 8883)
    assert (OPEN, DROPPED) == (result({}, out), result({ROUTER: parse("iptables -P OUTPUT DROP")}, out))


def test_disagreements_are_named(topology: Topology) -> None:
    """Two matrices are held against each other pair by pair."""
    one, other = Cell("iot", "backend", "tcp", 1, 4), Cell("iot", "backend", "tcp", 2, 4)
    first = {one: Reply(OPEN), other: Reply(OPEN)}
    assert [other] == disagreements(first, {one: Reply(OPEN), other: Reply(DROPPED)})
    assert "iot -> backend tcp/2 over IPv4" == str(other)
    assert ("open", "dropped by backend: DROP (INPUT, policy)") == (
        str(Reply(OPEN)),
        str(predict(topology, {"backend": Firewall.open().with_policy("INPUT", "DROP")}, MQTTS)),
    )


def test_udp_needs_two_packets() -> None:
    """A question and its answer are enough for UDP; a rejection of the question is heard."""
    ask = Attempt("iot", BROKER, "udp", 53)
    assert OPEN == result({}, ask)
    assert REJECTED == result({"backend": Firewall.open().adding("INPUT", Rule(target="REJECT"))}, ask)
    assert DROPPED == result({"backend": Firewall.open().with_policy("OUTPUT", "DROP")}, ask)
