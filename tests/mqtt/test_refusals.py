"""labkit.mqtt.refusals: what TLS libraries say, in our words."""

from __future__ import annotations

import ssl

import pytest

from labkit.mqtt.refusals import tls_refusal


def error(reason: str, kind: type[ssl.SSLError] = ssl.SSLError, **attributes: object) -> ssl.SSLError:
    """Return an error as the ssl module makes it."""
    made = kind(1, f"[SSL: {reason}] (_ssl.c:1)")
    for name, value in {"reason": reason, **attributes}.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("said", "reason", "alert"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate-required", "certificate_required"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "handshake-failure", "handshake_failure"),
        ("TLSV1_ALERT_UNKNOWN_CA", "unknown-ca", "unknown_ca"),
        ("ssl/tls alert certificate revoked", "certificate-revoked", "certificate_revoked"),
        ("SSL/TLS_ALERT_BAD_CERTIFICATE", "bad-certificate", "bad_certificate"),
    ],
)
def test_alerts_keep_their_names(said: str, reason: str, alert: str) -> None:
    """An alert is recognised in the wording of every version of OpenSSL."""
    verdict = tls_refusal(error(said))
    assert ("tls", reason, alert) == (verdict.stage, verdict.reason, verdict.detail["alert"])


@pytest.mark.parametrize(
    ("code", "reason"),
    [(10, "server-expired"), (20, "server-untrusted"), (62, "server-wrong-name"), (99, "server-refused")],
)
def test_faults_of_the_server(code: int, reason: str) -> None:
    """What we find in the server's certificate has a reason of its own, and is never called an alert."""
    verdict = tls_refusal(
        error(
            "CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError, verify_code=code, verify_message="why"
        )
    )
    assert reason == verdict.reason
    assert "alert" not in verdict.detail
    assert f"why (verify code {code})" == verdict.detail["client_error"]


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "closed-without-reason"),
        (error("UNEXPECTED_EOF_WHILE_READING"), "closed-without-reason"),
        (error("EOF", ssl.SSLEOFError), "closed-without-reason"),
        (error("WRONG_VERSION_NUMBER"), "not-tls"),
        (error("UNSUPPORTED_PROTOCOL"), "protocol-version"),
        (error("DH_KEY_TOO_SMALL"), "handshake-error"),
        (OSError(113, "no route"), "handshake-error"),
    ],
)
def test_everything_else_has_a_word_too(raised: OSError, reason: str) -> None:
    """Whatever goes wrong in a handshake is one of a few words, and none of them claims an alert."""
    verdict = tls_refusal(raised)
    assert ("tls", reason, False) == (verdict.stage, verdict.reason, "alert" in verdict.detail)
