"""The exercises of lesson revocation without a fitting broker; right and wrong answers are in tests/answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.revocation import RETIRED
from labkit.pki import Store
from labkit.scenarios.revocation import silence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

RIGHT = {"ours": "revoked", "stale": "stale", "forged": "signature", "not on it": "good"}


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the lesson's lab with a device that is to be retired."""
    opened = open_lab("revocation", workspace=tmp_path_factory.mktemp("lab") / "w")
    Store(opened.workspace).identity("sensor-001")
    Store(opened.workspace).issue_device(RETIRED)
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("revocation").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, all exercises are not attempted."""
    assert {check(lab, number).status for number in range(1, 6)} == {"not-attempted"}


def test_without_a_broker_nothing_is_proved(lab: Lab) -> None:
    """A revoked device without a running broker is not enough."""
    Store(lab.workspace).revocations.revoke(RETIRED)
    assert check(lab, 2).observed == "no broker is running in this lab"


def test_a_deaf_broker_is_found_out(lab: Lab) -> None:
    """A broker that goes by no list lets the retired device in, and the check says so."""
    from labkit.scenarios import mutual_tls

    store = Store(lab.workspace)
    with mutual_tls(store) as site:
        store.revocations.revoke(RETIRED)
        silence(site, RETIRED)
        assert "accepted" in check(lab, 2).observed
