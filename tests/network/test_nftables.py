"""What is written for nftables."""

from __future__ import annotations

import ipaddress

import pytest

from labkit.network import Firewall, Rule
from labkit.network.nftables import line, render


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(target="ACCEPT", in_interface="lo"), 'iifname "lo" counter accept'),
        (Rule(target="DROP", in_interface="vlan+", inverted=frozenset({"in_interface"})), 'iifname != "vlan*" counter drop'),
        (Rule(target="ACCEPT", protocol="tcp", destination_ports=((8883, 8883),)), "tcp dport 8883 counter accept"),
        (
            Rule(target="ACCEPT", protocol="udp", source_ports=((53, 60), (58, 70), (123, 123))),
            "udp sport { 53-70, 123 } counter accept",
        ),
        (
            Rule(target="DROP", family=4, source=ipaddress.ip_network("10.0.0.0/8"), inverted=frozenset({"source"})),
            "ip saddr != 10.0.0.0/8 counter drop",
        ),
        (Rule(target="ACCEPT", family=6), "meta nfproto ipv6 counter accept"),
        (Rule(target="ACCEPT", protocol="icmp"), "meta l4proto { icmp, ipv6-icmp } counter accept"),
        (Rule(target="ACCEPT", states=frozenset({"RELATED", "ESTABLISHED"})), "ct state { established, related } counter accept"),
        (Rule(target="REJECT", protocol="tcp", reject_with="tcp-reset"), "meta l4proto tcp counter reject with tcp reset"),
        (Rule(target="LAB", comment='a "quote"'), "counter jump LAB comment \"a 'quote'\""),
        (Rule(target="LOG", comment="seen"), 'counter log prefix "seen " comment "seen"'),
    ],
)  # fmt: skip
def test_a_rule_is_a_line(rule: Rule, text: str) -> None:
    """Each rule is written in nftables' own words, with a counter."""
    assert text == line(rule)


def test_the_table_is_replaced_in_one_step() -> None:
    """The script makes, deletes and makes our table, so that it works the first time and never adds to itself."""
    assert ["table inet labkit", "delete table inet labkit", "table inet labkit {"] == render(
        Firewall.open()
    ).splitlines()[:3]


def test_policies_that_differ() -> None:
    """Where the families' policies differ, a chain's rules come first and each family's policy last."""
    made = Firewall.open().with_policy("INPUT", "DROP", 6).adding("INPUT", Rule(target="RETURN"))
    text = render(made)
    assert "chain INPUT-rules {\n    counter return\n  }" in text
    assert (
        "jump INPUT-rules\n    meta nfproto ipv4 counter accept\n    meta nfproto ipv6 counter drop" in text
    )
