"""labkit.scenarios.diagnosis: one word from three witnesses."""

from __future__ import annotations

import pytest

from labkit.outcome import Outcome
from labkit.pki.openssl import Verdict
from labkit.scenarios import diagnose

NO_CERTIFICATE = "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate"
FAILED = "OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed"


def refused(reason: str, stage: str = "tls") -> Outcome:
    """Return a refusal as the client sees it."""
    return Outcome(stage, accepted=False, reason=reason)


def bad(code: int, text: str = "words of openssl") -> Verdict:
    """Return a verdict that says no."""
    return Verdict(ok=False, code=code, text=text, depth=0)


GOOD = Verdict(ok=True, code=0, text="OK", depth=0)


@pytest.mark.parametrize(
    ("wire", "lines", "verdict", "reason"),
    [
        ("certificate-required", [NO_CERTIFICATE], None, "no-certificate"),
        ("handshake-failure", [NO_CERTIFICATE], None, "no-certificate"),
        ("handshake-failure", [], None, "handshake-failure"),
        ("unknown-ca", [FAILED], bad(20), "unknown-ca"),
        ("unknown-ca", [FAILED], bad(18), "unknown-ca"),
        ("certificate-expired", [FAILED], bad(10), "certificate-expired"),
        ("bad-certificate", [FAILED], bad(9), "certificate-not-yet-valid"),
        ("bad-certificate", [FAILED], bad(66), "bad-certificate"),
        ("unsupported-certificate", [FAILED], bad(26), "wrong-purpose"),
        ("certificate-revoked", [FAILED], bad(23), "certificate-revoked"),
        ("closed-without-reason", [], bad(20), "closed-without-reason"),
    ],
)
def test_reason_is_what_the_witnesses_support(
    wire: str, lines: list[str], verdict: Verdict | None, reason: str
) -> None:
    """Wire, log and openssl together give the reason, and no more than they support."""
    assert reason == diagnose(refused(wire), broker_lines=lines, verdict=verdict).reason


def test_rogue_and_self_signed_differ_only_beside_the_wire() -> None:
    """The wire says unknown-ca for both, and only the diagnosis tells them apart."""
    rogue = diagnose(refused("unknown-ca"), verdict=bad(20))
    own = diagnose(refused("unknown-ca"), verdict=bad(18))
    assert rogue.reason == own.reason
    assert rogue.detail["diagnosis"] != own.detail["diagnosis"]


def test_a_good_certificate_that_is_refused_says_so() -> None:
    """Where openssl accepts what the broker refuses, the cause is said to lie elsewhere."""
    found = diagnose(refused("certificate-expired"), verdict=GOOD)
    assert found.reason == "certificate-expired"
    assert "elsewhere" in found.detail["diagnosis"]


@pytest.mark.parametrize(
    "outcome", [Outcome("mqtt", accepted=True, reason="accepted"), refused("not-authorised", "authorised")]
)
def test_other_verdicts_keep_their_reason(outcome: Outcome) -> None:
    """An acceptance, or a refusal after TLS, is passed on with the witnesses beside it."""
    found = diagnose(outcome, broker_lines=["a line"], verdict=GOOD)
    assert (outcome.stage, outcome.accepted, outcome.reason) == (found.stage, found.accepted, found.reason)
    assert found.detail["broker_log"] == ["a line"]
    assert found.detail["openssl"] == "OK"
