"""The parser of iptables commands: it reads what it knows and refuses everything else; the real program agrees."""

from __future__ import annotations

import ipaddress
import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError
from labkit.network import Availability, Firewall, Rule, Topology, generated, predict
from labkit.network.iptables import LONGEST, parse
from labkit.network.iptables_text import render, render_restore

PRINTED = """\
# Allow MQTT/TLS from IoT VLAN only
iptables -A INPUT -p tcp --dport 8883 -s 192.168.20.0/24 -j ACCEPT
# Allow SSH from corporate VLAN for management
iptables -A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT
# Drop everything else to the MQTT port
iptables -A INPUT -p tcp --dport 8883 -j DROP
"""


def rules(text: str) -> list[Rule]:
    """Return the rules that a script makes."""
    return [rule for _, _, rule in parse(text).rules()]


def test_the_printed_rules_are_read() -> None:
    """The three printed commands are three rules of IPv4, and the policies stay open."""
    found = parse(PRINTED)
    assert [("ACCEPT", 8883), ("ACCEPT", 22), ("DROP", 8883)] == [
        (rule.target, rule.destination_ports[0][0]) for _, _, rule in found.rules()
    ]
    assert {4} == {rule.family for _, _, rule in found.rules()}
    assert {"ACCEPT"} == {policy for chain in found.chains.values() for policy in chain.policy.values()}


def test_everything_that_a_rule_can_say() -> None:
    """Each option becomes the field that it speaks of, turned round where '!' stands before it."""
    (rule,) = rules(
        "sudo iptables -t filter -A FORWARD ! -i vlan20 -o vlan+ -s 192.168.20.7/24 ! -d 10.0.0.1 -p tcp --syn "
        "--sport 1024: -m multiport ! --dports 22,80:90 -m conntrack --ctstate NEW,RELATED "
        "-m comment --comment 'one two' -j REJECT --reject-with tcp-reset"
    )
    assert Rule(
        target="REJECT", family=4, protocol="tcp", source=ipaddress.ip_network("192.168.20.0/24"),
        destination=ipaddress.ip_network("10.0.0.1/32"), source_ports=((1024, 65535),),
        destination_ports=((22, 22), (80, 90)), in_interface="vlan20", out_interface="vlan+",
        states=frozenset({"NEW", "RELATED"}), syn=True, reject_with="tcp-reset", comment="one two",
        inverted=frozenset({"in_interface", "destination", "destination_ports"}),
    ) == rule  # fmt: skip


def test_several_addresses_are_several_rules() -> None:
    """A list of sources is short for a rule each, as iptables does it."""
    found = rules("iptables -A INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.0/16,10.2.0.0/16 -j DROP")
    assert 4 == len({(rule.source, rule.destination) for rule in found})


def test_ip6tables_is_another_family() -> None:
    """Rules of ip6tables are for IPv6, and its types have names of their own."""
    found = rules("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbor-solicitation -j ACCEPT")
    assert [(6, "icmp", "neighbour-solicitation")] == [(r.family, r.protocol, r.icmp_type) for r in found]


def test_insert_counts_its_own_family() -> None:
    """-I and -D count the rules of their family, because the program sees no others."""
    text = "ip6tables -A INPUT -j DROP\niptables -A INPUT -j DROP\niptables -I INPUT -j ACCEPT\n"
    assert [(6, "DROP"), (4, "ACCEPT"), (4, "DROP")] == [(r.family, r.target) for r in rules(text)]
    assert [(6, "DROP"), (4, "ACCEPT")] == [(r.family, r.target) for r in rules(text + "iptables -D INPUT 2")]
    assert [(6, "DROP"), (4, "DROP")] == [
        (r.family, r.target) for r in rules(text + "iptables -D INPUT -j ACCEPT")
    ]
    assert [(6, "DROP")] == [(r.family, r.target) for r in rules(text + "iptables -F INPUT")]


def test_chains_and_policies() -> None:
    """A chain can be made and jumped to, and a policy belongs to its family."""
    found = parse(
        "iptables -N LAB\niptables -A LAB -j RETURN\niptables -A INPUT -j LAB\nip6tables -P INPUT DROP"
    )
    assert ({4: "ACCEPT", 6: "DROP"}, {}) == (found.chains["INPUT"].policy, found.chains["LAB"].policy)


def test_a_line_that_goes_on() -> None:
    """A backslash at the end of a line goes on in the next."""
    assert 1 == len(rules("iptables -A INPUT \\\n  -p udp \\\n --dport 53 -j ACCEPT   # names\n"))


def test_a_comment_ends_where_a_shell_ends_it() -> None:
    """A backslash in a comment doesn't hide the next line, and a `#` within a word hides nothing."""
    text = "# old \\\niptables -A INPUT -j DROP\niptables -A INPUT -j RETURN # why \\\niptables -A INPUT -j ACCEPT"
    assert ["DROP", "RETURN", "ACCEPT"] == [rule.target for rule in rules(text)]
    (rule,) = rules("iptables -A INPUT -j DROP -m comment --comment a#b -s 10.0.0.0/8 # all of it")
    assert ("a#b", "10.0.0.0/8") == (rule.comment, str(rule.source))
    (rule,) = rules("iptables -A INPUT -m comment --comment 'the # inside' -s 10.0.0.0/255.0.0.0 -j DROP")
    assert ("the # inside", "10.0.0.0/8") == (rule.comment, str(rule.source))


def chained(number: int, jumps: int = 1) -> str:
    """Return a script in which so many chains lead into one another, each so many times."""
    made = "".join(f"iptables -N c{n}\n" for n in range(number))
    led = "".join(f"iptables -A c{n} -j c{n + 1}\n" * jumps for n in range(number - 1))
    return made + led + f"iptables -A c{number - 1} -j DROP\niptables -A INPUT -j c0\n"


def test_chains_have_an_end() -> None:
    """As deep as the kernel goes is read; deeper, or so wide that evaluation never ends, is refused."""
    assert 16 == len(rules(chained(15)))
    for text, why in ((chained(16), "more than 15 chains"), (chained(7, 20), "more than 100000 rules")):
        with pytest.raises(FormatError, match=why):
            parse(text)


@pytest.mark.tool
def test_the_real_program_agrees_on_depth(namespaces: Availability) -> None:
    """The kernel takes fifteen chains that lead into one another, and not sixteen."""
    prefix = ["unshare", *(["-Ur"] if namespaces.kind == "user" else []), "-n", "sh", "-e"]
    ended = [
        subprocess.run(
            prefix, input=f"PATH=$PATH:/usr/sbin:/sbin\n{chained(number)}", text=True, capture_output=True,
            check=False, timeout=60,
        )
        for number in (15, 16)
    ]  # fmt: skip
    assert (0, True) == (ended[0].returncode, ended[1].returncode != 0)
    assert "Too many links" in ended[1].stderr


REFUSED = [
    ("echo hello", "begins with iptables"),
    ("iptables", "the command is missing"),
    ("iptables -L", "not a command"),
    ("iptables -t nat -A INPUT -j DROP", "only the table filter"),
    ("iptables -A NOWHERE -j DROP", "no chain 'NOWHERE'"),
    ("iptables -A INPUT", "without -j"),
    ("iptables -A INPUT -j NOWHERE", "no target"),
    ("iptables -A INPUT -j OUTPUT", "no target"),
    ("iptables -A INPUT -m limit --limit 1/s -j ACCEPT", "module 'limit'"),
    ("iptables -A INPUT --uid-owner 0 -j ACCEPT", "not an option"),
    ("iptables -A INPUT --dport 22 -j ACCEPT", "ports need"),
    ("iptables -A INPUT ! -p tcp --dport 22 -j ACCEPT", "ports need"),
    ("iptables -A INPUT -p udp --syn -j ACCEPT", "--syn needs"),
    ("iptables -A INPUT -p tcp --dports 22 -j ACCEPT", "needs -m multiport"),
    ("iptables -A INPUT -p tcp --dport 65536 -j ACCEPT", "no port"),
    ("iptables -A INPUT -p tcp --dport 90:80 -j ACCEPT", "no port"),
    ("iptables -A INPUT -p tcp --dport 22 --dport 23 -j ACCEPT", "stands twice"),
    ("iptables -A INPUT -p sctp -j ACCEPT", "not a protocol"),
    ("iptables -A INPUT -p icmpv6 -j ACCEPT", "not a protocol"),
    ("iptables -A INPUT -s fd00::/64 -j ACCEPT", "no network"),
    ("ip6tables -A INPUT -s 10.0.0.0/8 -j ACCEPT", "no network"),
    ("iptables -A INPUT ! -s 10.0.0.1,10.0.0.2 -j ACCEPT", "several addresses"),
    ("iptables -A INPUT -o eth0 -j ACCEPT", "-o has no meaning"),
    ("iptables -A OUTPUT -i eth0 -j ACCEPT", "-i has no meaning"),
    ("iptables -A INPUT -i eth0/../x -j ACCEPT", "no interface"),
    ("iptables -A INPUT -i abcdefghijklmnopq -j ACCEPT", "no interface"),
    ("iptables -A INPUT --ctstate NEW -j ACCEPT", "needs -m conntrack"),
    ("iptables -A INPUT -m state --state OLD -j ACCEPT", "no state"),
    ("iptables -A INPUT -j REJECT --reject-with tcp-reset", "tcp-reset needs"),
    ("iptables -A INPUT -j DROP --reject-with icmp-port-unreachable", "needs -j REJECT"),
    ("iptables -A INPUT ! -j DROP", "can't be turned round"),
    ("iptables -A INPUT -j DROP !", "'!' stands before"),
    ("iptables -A INPUT -j", "the target is missing"),
    ("iptables -P INPUT REJECT", "a policy is"),
    ("iptables -N DROP", "no name for a chain"),
    ("iptables -I INPUT 3 -j DROP", "no place 3"),
    ("iptables -D INPUT 2", "no rule 2"),
    ("iptables -D INPUT -j DROP", "no such rule"),
    ("iptables -A INPUT -j DROP 'unfinished", "no closing quotation"),
    ("iptables -N A\niptables -N B\niptables -A A -j B\niptables -A B -j A", "lead to itself"),
    ("iptables -F INPUT extra", "too much"),
    ("iptables -A INPUT -s 10.0.0.7/0.0.0.255 -j DROP", "no mask"),
    ("iptables -A INPUT -s 10.0.0.0/010 -j DROP", "no network"),
    ("ip6tables -A INPUT -s fe80::1%eth0/64 -j DROP", "no network"),
    ("iptables -A INPUT -p tcp --dport 010 -j DROP", "no port"),
    ("iptables -I INPUT 01 -j DROP", "no number"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_is_not_understood_is_refused(text: str, why: str) -> None:
    """Nothing is skipped: the error says what is wrong and where, and a good line before it is no excuse."""
    with pytest.raises(FormatError) as caught:
        parse(f"iptables -A INPUT -j ACCEPT\n{text}")
    assert ("iptables", True) == (caught.value.what, why in caught.value.message), caught.value.message
    assert 28 <= caught.value.offset <= 28 + len(text)


def test_a_script_has_an_end() -> None:
    """A script that is too long is refused before it is read."""
    for text in ("#" * (LONGEST + 1), "iptables -F\n" * 2001, "iptables -A INPUT -j DROP\n" * 2000 * 2):
        with pytest.raises(FormatError):
            parse(text)
    many = ",".join(f"10.0.{n // 250}.{n % 250}" for n in range(4001))
    with pytest.raises(FormatError, match="too many rules"):
        parse(f"iptables -A INPUT -s {many} -j DROP")


WORDS = st.sampled_from(
    ["iptables", "ip6tables", "-A", "-I", "-D", "-P", "-N", "-F", "INPUT", "FORWARD", "LAB", "-p", "tcp", "udp", "icmp", "-s", "10.0.0.0/8", "fd00::/8", "!", "-j", "ACCEPT", "DROP", "REJECT", "--dport", "22", "1:5", "-m", "multiport", "--dports", "1,2", "conntrack", "--ctstate", "NEW", "-i", "eth0", "-o", "\n", "\\\n", "#", "'", '"', "0", "-1"]
)  # fmt: skip


@given(st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=25).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever a stranger sends, the parser returns a firewall or raises FormatError, and nothing else."""
    try:
        found = parse(text)
    except FormatError as error:
        assert 0 <= error.offset <= len(text)
    else:
        assert isinstance(found, Firewall)


@pytest.mark.parametrize("number", range(20))
def test_what_is_written_is_read_back(number: int, topology: Topology) -> None:
    """Reading what was written gives a firewall that is written the same way, and that decides the same."""
    source = random.Random(number)
    made = generated.firewalls(source, topology)
    back = {node: parse(render(each, 4) + render(each, 6)) for node, each in made.items()}
    for node, each in made.items():
        assert [render(each, family) for family in (4, 6)] == [
            render(back[node], family) for family in (4, 6)
        ]
    for attempt in generated.attempts(source, topology, 50):
        assert predict(topology, made, attempt).result == predict(topology, back, attempt).result


@pytest.mark.tool
def test_the_real_programs_take_what_we_write(namespaces: Availability, topology: Topology) -> None:
    """iptables and ip6tables, each in a namespace of its own, take every command of the derived rules."""
    from labkit.network import COURSE_PLAN, derive

    prefix = ["unshare", *(["-Ur"] if namespaces.kind == "user" else []), "-n"]
    for node in ("router", "backend"):
        script = "".join(render(derive(COURSE_PLAN, node), family) for family in (4, 6))
        ended = subprocess.run(
            [*prefix, "sh", "-e"], input=f"PATH=$PATH:/usr/sbin:/sbin\n{script}iptables-save -c >/dev/null",
            text=True, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert (0, "") == (ended.returncode, ended.stderr)


def test_restore_text_has_every_chain() -> None:
    """The text for the restore programs declares each chain and ends with COMMIT."""
    made = parse("iptables -N LAB\niptables -A INPUT -j LAB\niptables -P INPUT DROP")
    assert [
        "*filter", ":INPUT DROP [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":LAB - [0:0]",
        "-A INPUT -j LAB", "COMMIT",
    ] == render_restore(made, 4).splitlines()  # fmt: skip
