"""The exercises of lesson revocation: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.revocation import RETIRED, make_lists
from labkit.pki import Store
from labkit.scenarios.revocation import enforce, revoke, revoking_broker, silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult
    from labkit.scenarios import Site

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
    """Before anything was written, both exercises are not attempted."""
    assert {check(lab, number).status for number in (1, 2)} == {"not-attempted"}


@pytest.mark.parametrize(
    ("heard", "status", "word"),
    [
        (RIGHT, "passed", ""),
        ({**RIGHT, "forged": "revoked"}, "failed", "'forged'"),
        ({**RIGHT, "stale": "revoked"}, "failed", "'stale'"),
        ({**RIGHT, "not on it": "revoked"}, "failed", "'not on it'"),
        (dict.fromkeys(RIGHT, "good"), "failed", "'ours'"),
        ({}, "failed", "'ours'"),
        ([], "failed", "'ours'"),
    ],
)
def test_verdicts_are_compared(lab: Lab, heard: Any, status: str, word: str) -> None:
    """Only labkit's own verdicts pass; the first difference is named, never the right answer."""
    make_lists(lab)
    lab.workspace.write_json("answers/revocation/verdicts.json", heard)
    result = check(lab, 1)
    assert (status, True) == (result.status, word in result.observed)


def by_the_book(site: Site) -> None:
    """Return the right answer."""
    revoke(site, RETIRED, "cessation-of-operation")


def on_paper(site: Site) -> None:
    """Revoke, and tell nobody."""
    site.store.revocations.revoke(RETIRED)
    silence_without_reload(site)


def silence_without_reload(site: Site) -> None:
    """Write the rule, and tell nobody."""
    path = site.broker.folder / "acl.conf"
    path.write_text(f"user {RETIRED}\ntopic deny #\n\n{path.read_text()}")


def without_silence(site: Site) -> None:
    """Revoke and reload, and forget the open session."""
    site.store.revocations.revoke(RETIRED)
    enforce(site)


def silence_only(site: Site) -> None:
    """Silence, and forget the list."""
    silence(site, RETIRED)


def with_collateral(site: Site) -> None:
    """Retire the healthy device too."""
    revoke(site, RETIRED, "cessation-of-operation")
    revoke(site, "sensor-001", "cessation-of-operation")


@pytest.mark.parametrize(
    ("retire", "status", "word"),
    [
        (by_the_book, "passed", "refused for that"),
        (on_paper, "failed", "the broker says to it: accepted"),
        (without_silence, "failed", "may still speak"),
        (silence_only, "not-attempted", ""),
        (with_collateral, "failed", "sensor-001"),
    ],
)
def test_retiring_is_judged_by_what_the_broker_does(
    lab: Lab, retire: Callable[[Site], None], status: str, word: str
) -> None:
    """On record, in force and silenced pass; each of them alone does not, and neither does too much."""
    with revoking_broker(Store(lab.workspace)) as site:
        retire(site)
        result = check(lab, 2)
    assert (status, True) == (result.status, word in result.observed)


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
