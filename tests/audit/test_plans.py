"""What an audit makes of a network's plan: holes are found wherever the rules have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.audit.plans import RULES, read_network
from labkit.scenarios.plant_papers import write_network

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.audit.facts import NetworkFacts


def network(folder: Path, more: str = "") -> NetworkFacts:
    """Return what is found out about the course's plan, with more commands at the end of its rules."""
    write_network(folder, frozenset())
    path = folder / RULES
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    return read_network(folder)


def holes(found: NetworkFacts) -> set[tuple[str, str, str, int, int]]:
    """Return the ways that are open and that nobody needs."""
    return {(p.source, p.target, p.protocol, p.port, p.family) for p in found.passages if not p.needed}


HOLES = {
    "iptables -I FORWARD -i vlan20 -d 192.168.10.50 -p tcp --dport 9100 -j ACCEPT": ("corporate", "tcp", 9100, 4),
    "iptables -I FORWARD -s 192.168.20.77 -d 192.168.10.0/24 -p tcp --dport 22 -j ACCEPT": ("corporate", "tcp", 22, 4),
    "iptables -I FORWARD -i vlan20 -d 198.51.100.7 -p udp --dport 4500 -j ACCEPT": ("internet", "udp", 4500, 4),
    "ip6tables -I FORWARD -i vlan20 -o vlan10 -p tcp --dport 7001:7100 -j ACCEPT": ("corporate", "tcp", 7001, 6),
    "iptables -I FORWARD -i vlan20 -o vlan10 -p tcp ! --dport 22 -j ACCEPT": ("corporate", "tcp", 23, 4),
    "iptables -I FORWARD -i vlan20 -o vlan10 -p udp -j ACCEPT": ("corporate", "udp", 5683, 4),
}  # fmt: skip


@pytest.mark.parametrize("rule", HOLES)
def test_a_hole_is_found_wherever_it_is(tmp_path: Path, rule: str) -> None:
    """A hole for one machine, one port or one family alone is found, and none leads from another zone."""
    found = holes(network(tmp_path, rule + "\n"))
    assert ("iot", *HOLES[rule]) in found
    assert {"iot"} == {source for source, *_ in found}


def test_sound_rules_have_no_holes(tmp_path: Path) -> None:
    """The derived rules have none, with every flow open; nor do they once a machine is shut out that nobody needs."""
    for more in ("", "iptables -I FORWARD -s 192.168.20.77,192.168.20.1 -p tcp --dport 9100:9200 -j DROP\n"):
        found = network(tmp_path, more)
        assert ("", set(), ()) == (found.problem, holes(found), tuple(found.missing))


def test_a_hole_cannot_be_hidden_in_a_heap(tmp_path: Path) -> None:
    """Rules that name more than can be tried are a problem, and not looked at in part."""
    heap = "".join(
        f"iptables -A FORWARD -s 192.168.20.{n} -p tcp --dport {1000 + 3 * n} -j DROP\n"
        for n in range(20, 200)
    )
    found = network(tmp_path, heap)
    assert ("the router's rules name too much to be judged", ()) == (found.problem, found.passages)
