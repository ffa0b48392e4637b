"""The exercises of lesson tls where there is no answer, or no broker; answers are in `tests/answers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.tls import MENDED, make_inputs
from labkit.mqtt import Capture
from labkit.mqtt.records import Chunk
from labkit.mqtt.suites import SUITES
from labkit.pki import Store
from labkit.scenarios import mutual_tls
from labkit.scenarios.eavesdropping import old_broker
from tests.answers.shape import handing, laying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

STREAM = b"\x16\x03\x03\x00\x02ab\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x0a0123456789"
SETTINGS = laying("flip.json", {"direction": "server", "number": 1})
SAID = handing("said", "def said(lengths):\n    return 'open' if lengths[1] < 62 else 'closed'\n")


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("tls", workspace=tmp_path / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("tls").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, every exercise is not attempted."""
    assert {check.run(lab).status for check in find("tls").checks} == {"not-attempted"}


def test_the_inputs_are_whole_cut_and_hostile(lab: Lab) -> None:
    """Of a recording the reader gets all, half, and its first record with a lie behind it."""
    inputs = make_inputs(lab, Capture((Chunk("server", 0.0, STREAM),)))
    assert (STREAM, STREAM[: len(STREAM) // 2]) == (inputs["real"], inputs["cut off"])
    assert inputs["hostile"].startswith(STREAM[:7] + b"\x16\x03\x03\xff\xff")


def test_without_a_broker_that_lets_the_device_in_nothing_is_proved(lab: Lab) -> None:
    """Right answers prove nothing where no broker runs, or one that refuses the device too."""
    SETTINGS(lab)
    SAID(lab)
    assert {check(lab, number).fault for number in (3, 5)} == {"no-broker"}
    store = Store(lab.workspace)
    with mutual_tls(store, cafile=store.trust_anchor):
        assert {check(lab, number).fault for number in (3, 5)} == {"sick-broker"}


def test_the_answer_is_not_given_away(lab: Lab, openssl: object) -> None:
    """A failed check names no suite."""
    with old_broker(lab.workspace, folder=MENDED):
        result = check(lab, 2)
    assert "weak-suite" == result.fault
    assert not any(
        name in result.observed + result.expected + result.advice
        for suite in SUITES.values()
        for name in (suite.name, suite.openssl)
    )
