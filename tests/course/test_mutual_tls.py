"""The exercises of lesson mutual-tls: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import DEVICE_ACL, Acl, Rule
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.mutual_tls import CASES
from labkit.pki import Store
from labkit.scenarios import Site, mutual_tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

RIGHT = dict.fromkeys(CASES, False) | {"own telemetry": True, "own status": True, "telemetry itself": True}
SIMPLE = Acl((Rule("readwrite", "#", user="admin"), Rule("readwrite", "devices/#", pattern=True)))
OPERATOR = DEVICE_ACL.rules[:2]
SPEAKING = DEVICE_ACL.rules[2:4]
HEARING = DEVICE_ACL.rules[4:]


@pytest.fixture(scope="module")
def lab(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("mutual-tls", workspace=tmp_path_factory.mktemp("lab") / "w")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """Return the lesson's broker."""
    return lab.enter(mutual_tls(Store(lab.workspace)))


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("mutual-tls").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab, site: Site) -> None:
    """Before anything was written, and under the simple rules, both exercises are not attempted."""
    site.broker.reload(SIMPLE)
    assert {check(lab, number).status for number in (1, 2)} == {"not-attempted"}


@pytest.mark.parametrize(
    ("heard", "status", "word"),
    [
        (RIGHT, "passed", ""),
        ({**RIGHT, "hostile": True}, "failed", "'hostile'"),
        ({**RIGHT, "a longer name": True}, "failed", "'a longer name'"),
        ({**RIGHT, "telemetry itself": False}, "failed", "'telemetry itself'"),
        ({**RIGHT, "own status": 1}, "failed", "'own status'"),
        (dict.fromkeys(RIGHT, True), "failed", "'below own status'"),
        ({}, "failed", "'own telemetry'"),
        ([], "failed", "'own telemetry'"),
    ],
)
def test_decisions_are_compared(lab: Lab, heard: Any, status: str, word: str) -> None:
    """Only the broker's own decisions pass; the first difference is named, never the right answer."""
    lab.workspace.write_json("answers/mutual-tls/decisions.json", heard)
    result = check(lab, 1)
    assert (status, True) == (result.status, word in result.observed), result


@pytest.mark.parametrize(
    ("acl", "status", "word"),
    [
        (DEVICE_ACL, "passed", "all seven"),
        (Acl((*OPERATOR, *SPEAKING)), "failed", "hears its own commands"),
        (Acl((*OPERATOR, *HEARING)), "failed", "delivers its telemetry"),
        (
            Acl((*OPERATOR, *SPEAKING, Rule("readwrite", "devices/%u/commands/#", pattern=True))),
            "failed",
            "commands itself",
        ),
        (
            Acl((*OPERATOR, *SPEAKING, *HEARING, Rule("read", "devices/+/commands/#", pattern=True))),
            "failed",
            "sensor-002 hears",
        ),
        (
            Acl((*OPERATOR, *HEARING, *SPEAKING, Rule("write", "devices/+/telemetry/#", pattern=True))),
            "failed",
            "speaks for",
        ),
    ],
)
def test_rules_are_tried(lab: Lab, site: Site, acl: Acl, status: str, word: str) -> None:
    """The course's rules pass; rules that lack one sentence or give one too many are told which."""
    site.broker.reload(acl)
    result = check(lab, 2)
    assert (status, True) == (result.status, word in result.observed), result


def test_without_a_broker_nothing_is_proved(
    lab: Lab, mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rules that nobody goes by are not enough."""
    lab.close()
    other = open_lab("mutual-tls", workspace=tmp_path_factory.mktemp("other") / "w")
    try:
        assert check(other, 2).observed == "no broker is running in this lab"
    finally:
        other.close()
