"""Why was it refused? One word, derived from three witnesses and from nothing else.

The witnesses are the alert on the wire, the broker's own log lines of that connection, and the verdict of
`openssl verify` over the certificate that was presented. The name of the case is never among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.pki.openssl import Verdict

# X509_V_ERR_* of OpenSSL's x509_vfy.h; `openssl verify` prints the number.
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED_LEAF = 18
_SELF_SIGNED_IN_CHAIN = 19
_NO_ISSUER = 20
_REVOKED = 23
_WRONG_PURPOSE = 26

_NO_LIST = 3
_LIST_NOT_YET_VALID = 11
_LIST_STALE = 12

_NO_CERTIFICATE_WORDS = ("peer did not return a certificate",)

_BY_VERDICT = {
    # (reason on the wire, number of `openssl verify`): the reason that the two tell together
    ("bad-certificate", _NOT_YET_VALID): "certificate-not-yet-valid",
    ("unsupported-certificate", _WRONG_PURPOSE): "wrong-purpose",
    ("certificate-expired", _EXPIRED): "certificate-expired",
    ("certificate-revoked", _REVOKED): "certificate-revoked",
    # Nothing is wrong with the certificate, and the alert says that there is: these are the broker's own fault.
    ("unknown-ca", _NO_LIST): "revocation-list-missing",
    ("bad-certificate", _LIST_NOT_YET_VALID): "revocation-list-not-yet-valid",
    ("certificate-expired", _LIST_STALE): "revocation-list-stale",
}

_SAME_ON_THE_WIRE = {
    _SELF_SIGNED_LEAF: "it is self-signed",
    _SELF_SIGNED_IN_CHAIN: "its chain ends in another root",
    _NO_ISSUER: "its issuer is not the one that we trust",
}


def diagnose(
    outcome: Outcome, *, broker_lines: Sequence[str] = (), verdict: Verdict | None = None
) -> Outcome:
    """Put the witnesses together.

    Args:
        outcome: What the client saw.
        broker_lines: What the broker logged about the same connection.
        verdict: What `openssl verify` says of the presented certificate, where one was presented.

    Returns:
        The outcome with the witnesses in its detail (`broker_log`, `openssl`, `diagnosis`) and, for a refusal
        during TLS, the most exact reason that they support. Where the wire can't tell two cases apart the
        reason stays the wire's, and the diagnosis says what `openssl verify` adds.

    Does not check: that the lines and the verdict belong to this attempt; the caller collected them.
    """
    detail: dict[str, object] = {"broker_log": list(broker_lines)}
    if verdict is not None:
        detail["openssl"] = "OK" if verdict.ok else f"error {verdict.code}: {verdict.text}"
    if outcome.accepted or outcome.stage != "tls":
        return outcome.with_detail(**detail)
    reason, why = _explain(outcome.reason, broker_lines, verdict)
    return Outcome(
        outcome.stage, accepted=False, reason=reason, detail={**outcome.detail, **detail, "diagnosis": why}
    )


def _explain(wire: str, lines: Sequence[str], verdict: Verdict | None) -> tuple[str, str]:
    if wire in {"certificate-required", "handshake-failure"} and _logged(lines, _NO_CERTIFICATE_WORDS):
        # TLS 1.2 has no alert of its own for this (RFC 5246 §7.4.6), so the log is what tells.
        return "no-certificate", "no certificate was presented"
    if verdict is None:
        return wire, "the alert is all there is"
    if verdict.ok:
        return wire, "openssl verify accepts this certificate: the cause lies elsewhere"
    if exact := _BY_VERDICT.get((wire, verdict.code)):
        return exact, verdict.text
    if wire == "unknown-ca" and verdict.code in _SAME_ON_THE_WIRE:
        extra = _SAME_ON_THE_WIRE[verdict.code]
        return wire, f"{extra} (the wire says the same for every unknown issuer)"
    return wire, verdict.text


def _logged(lines: Sequence[str], words: Sequence[str]) -> bool:
    return any(word in line for line in lines for word in words)
