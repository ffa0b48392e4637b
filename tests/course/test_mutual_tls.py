"""The exercises of lesson mutual-tls where there is no answer, or no broker; answers are in `tests/answers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.broker import DEVICE_ACL, Acl, Rule
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.mutual_tls_exercises import LOOSE, LOOSE_ACL, changed_for_others
from labkit.pki import Store
from labkit.scenarios import mutual_tls
from tests.answers.shape import laying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

SIMPLE = Acl((Rule("readwrite", "#", user="admin"), Rule("readwrite", "devices/#", pattern=True)))


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("mutual-tls", workspace=tmp_path / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("mutual-tls").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, and under the simple rules, every exercise is not attempted."""
    with mutual_tls(Store(lab.workspace), acl=SIMPLE):
        assert {check.run(lab).status for check in find("mutual-tls").checks} == {"not-attempted"}


def test_without_a_broker_nothing_is_proved(lab: Lab) -> None:
    """Rules that nobody goes by, and a hole in them, are not enough; nor is a broker with other rules."""
    laying("hole.json", ["sensor-001", "plant/hall/alarm"])(lab)
    assert ("no-broker", "no-broker") == (check(lab, 2).fault, check(lab, 4).fault)
    everything = Acl((*LOOSE_ACL.rules, Rule("write", "#", pattern=True)))
    with mutual_tls(Store(lab.workspace), folder=LOOSE, acl=everything):
        assert "other-broker" == check(lab, 4).fault


def test_what_changes_for_others_is_noticed() -> None:
    """The course's rules change nothing; more or less for anybody is told."""
    assert [] == list(changed_for_others(DEVICE_ACL))
    assert next(changed_for_others(Acl(DEVICE_ACL.rules[1:]))).startswith("admin may not read")
    assert any("pump-7 may read" in each for each in changed_for_others(SIMPLE))
