"""The exercises of lesson start-here: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.errors import WorkspaceCorruptError
from labkit.pki import Authority, Store, flawed
from labkit.scenarios import Site, mutual_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

RIGHT = {
    "sensor-001": "silence",
    "nobody": "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "nobody, TLS 1.2": "SSLV3_ALERT_HANDSHAKE_FAILURE",
}


@pytest.fixture(scope="module")
def lab(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the lesson's lab with its authority and device."""
    opened = open_lab("start-here", workspace=tmp_path_factory.mktemp("lab") / "w")
    store = Store(opened.workspace)
    store.ensure_authority()
    store.identity("sensor-001")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """Return the lesson's broker."""
    return lab.enter(mutual_tls(Store(lab.workspace)))


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("start-here").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab, site: Site) -> None:
    """Before anything was written, both exercises are not attempted."""
    assert {check(lab, number).status for number in (1, 2)} == {"not-attempted"}


@pytest.mark.parametrize(
    ("heard", "status", "word"),
    [
        (RIGHT, "passed", ""),
        ({**RIGHT, "nobody": "silence"}, "failed", "for nobody you heard"),
        ({**RIGHT, "nobody": "EOF occurred in violation of protocol"}, "failed", "nobody"),
        ({**RIGHT, "sensor-001": None}, "failed", "sensor-001"),
        ({}, "failed", "sensor-001"),
        ([], "failed", "sensor-001"),
        ("silence", "failed", "sensor-001"),
    ],
)
def test_what_was_heard_is_compared(lab: Lab, site: Site, heard: Any, status: str, word: str) -> None:
    """Only what the broker really says passes; the first difference is named, never the right answer."""
    lab.workspace.write_json("answers/start-here/knock.json", heard)
    result = check(lab, 1)
    assert status == result.status, f"{result.observed}; {result.advice}"
    if status == "failed":
        assert word in result.observed
        assert "ALERT" not in result.observed + result.expected + result.advice


def rogue(store: Store) -> Any:
    """Return the right answer."""
    return (
        Authority.new_root(store.names.root)
        .new_intermediate(store.names.intermediate)
        .issue_device("sensor-001")
    )


@pytest.mark.parametrize(
    ("forge", "status", "word"),
    [
        (rogue, "passed", ""),
        (lambda store: flawed.rogue(store.authority(), "sensor-001"), "passed", ""),
        (
            lambda _: Authority.new_root("Evil").new_intermediate("Evil CA").issue_device("sensor-001"),
            "failed",
            "Evil CA",
        ),
        (lambda store: rogue_named(store, "sensor-002"), "failed", "sensor-002"),
        (lambda _: flawed.self_signed("sensor-001"), "failed", "issued by CN=sensor-001"),
        (lambda store: flawed.expired(store.authority(), "sensor-001"), "failed", "certificate-expired"),
        (
            lambda store: store.authority().issue_device("sensor-001", renew=True),
            "failed",
            "our own authority signed",
        ),
    ],
)
def test_the_forgery_is_judged(
    lab: Lab, site: Site, forge: Callable[[Store], Any], status: str, word: str
) -> None:
    """Same names and another key pass; other names, our own signature, or another defect do not."""
    store = Store(lab.workspace)
    store.save_intruder("impostor", forge(store))
    result = check(lab, 2)
    assert (status, word in result.observed) == (result.status, True)


def rogue_named(store: Store, name: str) -> Any:
    """Return a forgery for another device."""
    return Authority.new_root(store.names.root).new_intermediate(store.names.intermediate).issue_device(name)


def test_a_broker_that_refuses_everybody_passes_nobody(
    lab: Lab, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Without a broker, or with one that refuses the device too, nothing passes: there is no positive control."""
    lab.reset()
    store = Store(lab.workspace)
    store.ensure_authority()
    store.identity("sensor-001")
    lab.workspace.write_json("answers/start-here/knock.json", RIGHT)
    store.save_intruder("impostor", rogue(store))
    assert {check(lab, number).observed for number in (1, 2)} == {"no broker is running in this lab"}
    with mutual_tls(store, require_certificate=False):
        results = [check(lab, number) for number in (1, 2)]
    assert {(r.status, r.observed) for r in results} == {("failed", "the broker refuses sensor-001 too")}


def test_a_file_that_is_no_certificate_is_told(lab: Lab) -> None:
    """Junk in place of the forged certificate is named in the result, without a traceback."""
    path = lab.workspace.write("intruders/impostor.crt", "junk")
    lab.check("start-here.2")
    assert lab.record.get("checks", "start-here.2") == "failed"
    with pytest.raises(WorkspaceCorruptError) as caught:
        check(lab, 2)
    assert path == caught.value.path
