"""The exercises of lesson start-here where there is no answer, or no broker; answers are in `tests/answers`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.pki import DEVICE, Store, flawed
from labkit.scenarios import mutual_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

HEARD = {
    "sensor-001": "silence",
    "nobody": "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "nobody, TLS 1.2": "SSLV3_ALERT_HANDSHAKE_FAILURE",
}
VISITOR = "answers/start-here/visitor"


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab with its authority and device."""
    opened = open_lab("start-here", workspace=tmp_path / "w")
    store = Store(opened.workspace)
    store.ensure_authority()
    store.identity("sensor-001")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("start-here").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, every exercise is not attempted."""
    assert {check.run(lab).status for check in find("start-here").checks} == {"not-attempted"}


def answered(lab: Lab) -> None:
    """Lay right answers to the first three exercises on the shelf."""
    store = Store(lab.workspace)
    lab.workspace.write_json("answers/start-here/knock.json", HEARD)
    store.save_intruder("impostor", flawed.rogue(store.authority(), "sensor-001"))
    week = flawed.craft(
        store.authority(), "visitor-001", profile=replace(DEVICE, days=5), start=SYSTEM_CLOCK.now()
    )
    lab.workspace.write(f"{VISITOR}.crt", week.certificate_pem)
    lab.workspace.write(f"{VISITOR}.key", week.key_pem, secret=True)


def test_a_broker_that_refuses_everybody_passes_nobody(lab: Lab) -> None:
    """Without a broker, or with one that refuses the device too, nothing passes: there is no positive control."""
    answered(lab)
    assert {check(lab, number).fault for number in (1, 2, 3)} == {"no-broker"}
    with mutual_tls(Store(lab.workspace), require_certificate=False):
        results = [check(lab, number) for number in (1, 2, 3)]
    assert [(r.status, r.fault) for r in results] == [
        ("failed", "sick-broker"),
        ("failed", "sick-broker"),
        ("failed", "other-broker"),
    ]


def test_the_answer_is_not_given_away(lab: Lab) -> None:
    """A knock that was misheard is told who was misheard, and never what there was to hear."""
    lab.workspace.write_json("answers/start-here/knock.json", {**HEARD, "nobody": "silence"})
    with mutual_tls(Store(lab.workspace)):
        result = check(lab, 1)
    assert "for nobody you heard" in result.observed
    assert "ALERT" not in result.observed + result.expected + result.advice
