"""The exercises of lesson segmentation: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.segmentation import (
    SERVICES,
    SHELF,
    TRIALS,
    hand_in_flows,
    hand_in_script,
    scan,
    trials,
)
from labkit.network import NEEDED, Flow, availability
from labkit.network.namespaces import OFF
from labkit.scenarios.segmented_plant import segmented_plant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker


@pytest.fixture(params=["measured", "predicted"], autouse=True)
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have everything measured where that can be, and predicted the second time."""
    if request.param == "predicted":
        monkeypatch.setenv(OFF, "1")
    elif not (found := availability()):
        pytest.skip(found.why)
    return str(request.param)


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path, how: str) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("segmentation", workspace=tmp_path / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("segmentation").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was handed in, both exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in (1, 2)}


def test_the_table_is_the_plan() -> None:
    """The words of the first exercise's table speak of as many flows as there are, and of their ports."""
    told = {
        (zone, where, *port.split()) for _, zone, _, where, ports in SERVICES for port in ports.split(" and ")
    }
    assert {(f.source, f.destination, f.protocol, str(f.port)) for f in NEEDED} == told


# --- flows --------------------------------------------------------------------------------------------------------

# The whole tables are in tests/answers/; these are held in the kernel and on paper.
TURNED = tuple(Flow(f.destination, f.source, f.protocol, f.port, "") if f.port == 3000 else f for f in NEEDED)


@pytest.mark.parametrize(
    ("flows", "status", "words"),
    [
        (NEEDED, "passed", "13 flows are open"),
        (TURNED, "failed", "1 flows are cut off, between corporate to backend"),
        ((*NEEDED, Flow("backend", "corporate", "tcp", 443, "")), "failed", "backend reaches corporate on tcp 443"),
    ],
)  # fmt: skip
def test_flows_are_tried(lab: Lab, flows: tuple[Flow, ...], status: str, words: str, how: str) -> None:
    """The right flows pass; one that is missing, turned round or too much is told; and how that was found out."""
    hand_in_flows(lab, flows)
    result = check(lab, 1)
    assert (status, True) == (result.status, words in result.observed), result
    assert ("a simulation" if how == "predicted" else "measured in the kernel") in result.observed


def test_flows_that_make_no_sense(lab: Lab) -> None:
    """A flow to nowhere is refused when it is handed in, and a damaged answer is told so."""
    with pytest.raises(ValueError, match="one zone to another"):
        hand_in_flows(lab, [Flow("iot", "nowhere", "tcp", 1, "")])
    assert "not-attempted" == check(lab, 1).status
    lab.workspace.write(f"{SHELF}/flows.json", b"[1]")
    assert ("failed", True) == ((result := check(lab, 1)).status, "can't be read" in result.observed)


# --- a script -----------------------------------------------------------------------------------------------------


def script(*, left_out: str = "") -> str:
    """Return the right answer, or one that lacks the lines with a word."""
    lines = ["ip6tables -A INPUT -p icmpv6 -j ACCEPT"]
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
    return "\n".join(line for line in lines if not left_out or left_out not in line)


PRINTED_RULES = """\
iptables -A INPUT -p tcp --dport 8883 -s 192.168.20.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT
iptables -A INPUT -p tcp --dport 8883 -j DROP
"""


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (script(), "passed", f"all {TRIALS} sentences hold"),
        (script(left_out="icmpv6"), "failed", "has forgotten where it is: it can not"),
        (script(left_out="8883 -s 192"), "failed", "a sensor reaches the broker over IPv4: it can not; DROP (INPUT, policy)"),
    ],
)  # fmt: skip
def test_scripts_are_tried(lab: Lab, text: str, status: str, words: str) -> None:
    """The right script passes; what each missing line costs, or an extra one, is told; strange words are refused."""
    hand_in_script(lab, text)
    result = check(lab, 2)
    assert (status, True) == (result.status, words in result.observed), result


def test_a_script_that_the_real_program_refuses(lab: Lab, how: str) -> None:
    """What our parser takes and iptables does not is told in its words; only a kernel can know."""
    hand_in_script(lab, "iptables -N LAB\niptables -N LAB")
    result = check(lab, 2)
    assert ("failed", how == "measured") == (result.status, "already exists" in result.observed), result


# --- what the lesson shows ----------------------------------------------------------------------------------------


def test_a_scan_lists_what_is_reached() -> None:
    """A sensor in a flat network reaches everybody; without any flow, nobody."""
    from labkit.network import COURSE_PLAN, ROUTER, derive

    with segmented_plant() as plant:
        assert ["router", "corporate", "backend", "internet"] == [who for who, _ in scan(plant, "iot")]
        plant.apply(ROUTER, derive(COURSE_PLAN.with_flows(()), ROUTER))
        assert [] == scan(plant, "iot")
        assert TRIALS == len(trials(plant))


def test_listings_are_real_or_say_so(how: str) -> None:
    """A listing is the program's own, or ours with a line that says that it is a simulation."""
    with segmented_plant() as plant:
        plant.type_commands("backend", PRINTED_RULES)
        said = plant.listing("backend", "iptables", "-S")
    assert how == ("predicted" if said.startswith("# a simulation") else "measured")
    assert 3 == sum(line.startswith(("-A INPUT", "iptables -A INPUT")) for line in said.splitlines())
