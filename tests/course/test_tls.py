"""The exercises of lesson tls: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.tls import MENDED, make_inputs
from labkit.mqtt import Capture
from labkit.mqtt.records import Chunk
from labkit.scenarios.eavesdropping import old_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker

STREAM = b"\x16\x03\x03\x00\x02ab\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x0a0123456789"
WALKED = {"real": [[22, 2], [20, 1], [23, 10]], "cut off": [[22, 2], [20, 1]], "hostile": "refused"}


@pytest.fixture(scope="module")
def lab(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("tls", workspace=tmp_path_factory.mktemp("lab") / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("tls").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, both exercises are not attempted."""
    assert {check(lab, number).status for number in (1, 2)} == {"not-attempted"}


@pytest.mark.parametrize(
    ("heard", "status", "word"),
    [
        (WALKED, "passed", ""),
        ({**WALKED, "cut off": [[22, 2]]}, "failed", "'cut off'"),
        ({**WALKED, "cut off": "refused"}, "failed", "'cut off'"),
        ({**WALKED, "hostile": [[22, 2]]}, "failed", "'hostile'"),
        ({**WALKED, "hostile": [[22, 2], [22, 65535]]}, "failed", "'hostile'"),
        ({**WALKED, "real": []}, "failed", "'real'"),
        ({}, "failed", "'real'"),
        ([], "failed", "'real'"),
    ],
)
def test_walks_are_compared(lab: Lab, heard: Any, status: str, word: str) -> None:
    """Only the walk that labkit takes passes; the first difference is named, never the right answer."""
    make_inputs(lab, Capture((Chunk("server", 0.0, STREAM),)))
    lab.workspace.write_json("answers/tls/records.json", heard)
    result = check(lab, 1)
    assert (status, True) == (result.status, word in result.observed)


@pytest.mark.tool
@pytest.mark.parametrize(
    ("suites", "lowest", "status", "word"),
    [
        (("ECDHE-RSA-AES128-GCM-SHA256",), "tlsv1.2", "passed", ""),
        (
            ("ECDHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"),
            "tlsv1.2",
            "passed",
            "",
        ),
        ((), "tlsv1.2", "failed", "weak suites"),
        (("ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256"), "tlsv1.2", "failed", "no forward secrecy"),
        (("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"), "tlsv1.2", "failed", "CBC and SHA-1"),
        (("ECDHE-ECDSA-AES128-GCM-SHA256",), "tlsv1.2", "failed", "does not get in"),
        (("ECDHE-RSA-AES128-GCM-SHA256",), "tlsv1.3", "failed", "does not get in"),
    ],
)
def test_suites_are_judged_by_what_the_broker_takes(  # noqa: PLR0917
    lab: Lab, openssl: object, suites: tuple[str, ...], lowest: str, status: str, word: str
) -> None:
    """AEAD with forward secrecy passes while the device is in; a weak suite, or a device locked out, does not."""
    with old_broker(lab.workspace, folder=MENDED, ciphers=suites, lowest=lowest):
        result = check(lab, 2)
    assert (status, True) == (result.status, word in result.observed), result


def test_the_answer_is_not_given_away(lab: Lab, openssl: object) -> None:
    """A failed check names no suite."""
    with old_broker(lab.workspace, folder=MENDED):
        result = check(lab, 2)
    assert "TLS_" not in result.observed + result.expected + result.advice
