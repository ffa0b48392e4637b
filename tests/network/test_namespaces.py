"""The zones in the real kernel: what is in force there, what is counted, and that nothing is left behind."""

from __future__ import annotations

import ipaddress
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.errors import NamespaceError, NamespacesUnavailableError
from labkit.network import (
    COURSE_PLAN,
    NEEDED,
    NFT,
    ROUTER,
    Attempt,
    Availability,
    Firewall,
    Rule,
    Testbed,
    Topology,
    against_flows,
    attempt_of,
    availability,
    cells,
    derive,
    disagreements,
    generated,
    needed_ports,
    predict,
    predicted,
)
from labkit.network.iptables import parse
from labkit.network.namespaces import IPTABLES, OFF

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tool

PORTS = [*needed_ports(NEEDED), ("tcp", 1883)]


@pytest.fixture(scope="module")
def plant(namespaces: Availability) -> Iterator[Testbed]:
    """Return the zones with an alias in the office that claims to be a device; neighbours look for each other."""
    topology = Topology(COURSE_PLAN, {"corporate": (ipaddress.ip_address("192.168.20.99"),)})
    with Testbed(topology, PORTS) as running:
        yield running


@pytest.fixture(autouse=True)
def no_rules(plant: Testbed) -> None:
    """Begin without rules."""
    for node in plant.topology.nodes:
        plant.clear(node)


def host_network() -> list[str]:
    """Return what the network of this machine looks like, as far as our programs could change it.

    Without counters: another program's rules may count packets while a test runs.
    """
    return [
        subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}).stdout
        for words in (["ip", "-o", "link"], ["ip", "-o", "address", "show", "scope", "global"], ["nft", "--stateless", "list", "ruleset"], ["ip", "netns"])
    ]  # fmt: skip


def test_everybody_reaches_everybody_at_first(plant: Testbed) -> None:
    """The positive control of all that follows: without rules every pair is open, in both families."""
    wanted = list(cells(plant.topology, PORTS))
    assert {"open"} == {reply.result for reply in plant.matrix(wanted).values()}


@pytest.mark.parametrize("program", [NFT, IPTABLES])
def test_the_derived_rules_hold_in_the_kernel(plant: Testbed, program: str) -> None:
    """With the rules that follow from the flows, measured is what is needed, nothing else, and as predicted."""
    rules = {node: derive(COURSE_PLAN, node) for node in (ROUTER, "backend")}
    for node, firewall in rules.items():
        plant.load(node, firewall, program=program)
    wanted = list(cells(plant.topology, PORTS))
    found = plant.matrix(wanted)
    assert ([], []) == against_flows(found, NEEDED)
    assert [] == disagreements(found, predicted(plant.topology, rules, wanted))


def test_the_way_of_the_facts(plant: Testbed) -> None:
    """A forged address of the devices' zone passes rules that look at addresses alone, and not the bound ones."""
    forged = Attempt(
        "corporate", ipaddress.ip_address("192.168.30.10"), "tcp", 8883, ipaddress.ip_address("192.168.20.99")
    )
    by_address = parse("iptables -A INPUT -s 192.168.20.0/24 -j ACCEPT\niptables -P INPUT DROP")
    plant.load("backend", by_address)
    assert ["open"] == [reply.result for reply in plant.measure([forged])]
    plant.load(ROUTER, derive(COURSE_PLAN, ROUTER))
    assert ["dropped"] == [reply.result for reply in plant.measure([forged])]
    assert 0 < sum(n for _, why, n in plant.counters(ROUTER) if why == "not an address of corporate")


def test_counters_tell_which_flow_was_used(plant: Testbed) -> None:
    """After one connection exactly that flow's rule has counted one packet, and the answers' rule the others."""
    plant.load(ROUTER, derive(COURSE_PLAN, ROUTER))
    plant.measure([Attempt("iot", ipaddress.ip_address("192.168.30.10"), "tcp", 8883)])
    counted = [(why, n) for chain, why, n in plant.counters(ROUTER) if chain == "FORWARD" and n]
    assert [("iot to backend: MQTT over TLS", 1)] == [each for each in counted if each[0] != "answers"]
    assert {"answers", "iot to backend: MQTT over TLS"} == {why for why, _ in counted}


def test_neighbours_are_needed_for_ipv6(plant: Testbed, namespaces: Availability) -> None:
    """A default of drop that forgets neighbour discovery ends IPv6 where nobody knows the way yet; ARP is not asked."""
    fresh = Testbed(plant.topology, [("tcp", 22)])
    with fresh:
        fresh.load(
            "iot", parse("ip6tables -P INPUT DROP\nip6tables -A INPUT -m state --state ESTABLISHED -j ACCEPT")
        )
        fresh.load_text("iot", [[["ip", "-6", "neigh", "flush", "dev", "eth0"], ""]])
        tried = [Attempt("iot", plant.topology.address("backend", family), "tcp", 22) for family in (4, 6)]
        assert ["open", "dropped"] == [reply.result for reply in fresh.measure(tried, patience=0.3)]
        fresh.load("iot", derive(COURSE_PLAN, "iot"))
        assert ["open", "open"] == [reply.result for reply in fresh.measure(tried, patience=1.5)]


def test_a_dialled_connection_is_in_the_zone(plant: Testbed) -> None:
    """A socket from a zone has the zone's address, and is refused where the zone is."""
    with plant.dial("iot", ("192.168.30.10", 8883), 2) as line:
        assert ("192.168.20.10", ("192.168.30.10", 8883)) == (line.getsockname()[0], line.getpeername())
    plant.load(ROUTER, derive(COURSE_PLAN.with_flows(()), ROUTER))
    with pytest.raises(TimeoutError):
        plant.dial("iot", ("192.168.30.10", 8883), 0.2)
    with pytest.raises(ConnectionRefusedError):
        plant.dial("iot", ("192.168.20.10", 4), 2)


def test_a_program_inside(plant: Testbed) -> None:
    """A program that is run inside a node sees that node's interfaces and no others."""
    said = subprocess.run(
        [*plant.inside("iot"), "cat", "/proc/net/dev"], capture_output=True, text=True, check=True
    ).stdout
    assert {"lo", "eth0"} <= {line.split(":")[0].strip() for line in said.splitlines()[2:]} - {"vlan10"}


def test_bad_rules_are_refused_by_the_program(plant: Testbed) -> None:
    """What nft says no to is told in its words, and the rules that were there stay."""
    plant.load("backend", Firewall.open().with_policy("INPUT", "DROP"))
    with pytest.raises(NamespaceError, match="nft") as caught:
        plant.load_text(
            "backend", [[["nft", "-f", "-"], "flush ruleset\ntable inet labkit { chain x { nonsense } }\n"]]
        )
    assert "nonsense" in caught.value.output
    assert ["dropped"] == [
        r.result for r in plant.measure([Attempt("iot", ipaddress.ip_address("192.168.30.10"), "tcp", 22)])
    ]


def test_a_long_answer_comes_whole(plant: Testbed) -> None:
    """Rules by the hundred make an answer of more than a packet, and it is read to its end."""
    many = Firewall.open().adding(
        "INPUT", *(Rule(target="ACCEPT", comment=f"number {n} of many") for n in range(1500))
    )
    plant.load("internet", many)
    assert [f"number {n} of many" for n in range(1500)] == [why for _, why, _ in plant.counters("internet")]


def test_the_host_is_not_touched() -> None:
    """Building zones, loading rules and measuring leaves this machine's interfaces, addresses and rules as they are."""
    before = host_network()
    with Testbed(Topology(COURSE_PLAN), [("tcp", 22)]) as bed:
        bed.load(ROUTER, Firewall.open().with_policy("FORWARD", "DROP"))
        assert before == host_network()
    assert before == host_network()


def test_nothing_outlives_a_kill() -> None:
    """Killed in the middle, the owner takes worker and namespaces with it: no process of either is left."""
    program = (
        "import os, sys\n"
        "from labkit.network import COURSE_PLAN, Testbed, Topology\n"
        "with Testbed(Topology(COURSE_PLAN), [('tcp', 22)]) as bed:\n"
        "    print(bed._child._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    worker = Path("/proc", ended.stdout.strip())
    deadline = Deadline(10)
    while worker.exists() and not deadline.passed:
        deadline.pause()
    assert (-9, False) == (ended.returncode, worker.exists())


def test_a_worker_that_dies_is_reported(namespaces: Availability) -> None:
    """If the worker is gone, the next question says so instead of waiting."""
    with Testbed(Topology(COURSE_PLAN), [("tcp", 22)]) as bed:
        assert bed._child
        bed._child._process.kill()
        with pytest.raises(NamespaceError):
            bed.clear(ROUTER)
    with pytest.raises(RuntimeError, match="not built"):
        bed.clear(ROUTER)


def test_plain_users_have_them_too(tmp_path: Path, namespaces: Availability, topology: Topology) -> None:
    """In user namespaces, without root's rights, the same rules do the same."""
    from labkit.network import namespaces as module

    if namespaces.kind == "user":
        kinds = ["user"]
    elif subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False).returncode == 0:
        kinds = ["root", "user"]
    else:
        pytest.skip("user namespaces are forbidden here")
    source = random.Random(1)
    sets, tries = generated.firewalls(source, topology), generated.attempts(source, topology, 60)
    promised = [predict(topology, sets, one).result for one in tries]
    for kind in kinds:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "availability", lambda kind=kind: Availability(kind, "chosen"))
            with Testbed(topology, generated.PORTS, fixed_neighbours=True) as bed:
                for node, firewall in sets.items():
                    bed.load(node, firewall)
                assert promised == [reply.result for reply in bed.measure(tries)]


def test_switched_off_they_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment variable set there are none, and the error says how to do without."""
    monkeypatch.setenv(OFF, "1")
    assert not availability()
    with pytest.raises(NamespacesUnavailableError) as caught, Testbed(Topology(COURSE_PLAN), []):
        pass
    assert (f"{OFF} is set", True) == (caught.value.why, "--simulate" in caught.value.advice)


def test_attempts_stand_for_cells(topology: Topology) -> None:
    """The router is asked at its address in the zone of whoever asks."""
    asked = {
        attempt_of(topology, cell).destination
        for cell in cells(topology, [("tcp", 22)], [4])
        if cell.destination == ROUTER
    }
    assert {"192.168.10.1", "192.168.20.1", "192.168.30.1", "203.0.113.1"} == {str(each) for each in asked}
