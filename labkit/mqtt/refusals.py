"""What went wrong on a connection, in one stable word: what TLS reports, turned into stage and reason."""

from __future__ import annotations

import re
import ssl
from typing import Any

# A name like TLSV1_ALERT_UNKNOWN_CA. Libraries differ in what they put in front of ALERT.
_ALERT = re.compile(r"(?:^|[^A-Z])ALERT[_ ]([A-Z0-9_ ]+)$")

# X509_V_ERR_* of OpenSSL's x509_vfy.h, as `SSLCertVerificationError.verify_code` has them.
_SERVER_FAULTS = {
    2: "server-untrusted",  # the issuer of an issuer is missing
    7: "server-untrusted",  # a signature that its issuer's key did not make
    9: "server-not-yet-valid",
    10: "server-expired",
    18: "server-untrusted",
    19: "server-untrusted",
    20: "server-untrusted",
    21: "server-untrusted",
    23: "server-revoked",
    24: "server-untrusted",  # an issuer that is no authority
    25: "server-untrusted",  # more authorities than the path length allows
    26: "server-wrong-purpose",
    62: "server-wrong-name",
    64: "server-wrong-name",
    79: "server-untrusted",  # an issuer that is no authority, in newer versions
}

_NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}
_NO_VERSION = {"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"}


class Refused(Exception):  # noqa: N818 - a verdict on its way up, not an error
    """The verdict that ends an attempt.

    Args:
        stage: Where it fell.
        reason: Why.
        **detail: The evidence.
    """

    def __init__(self, stage: str, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.stage, self.reason, self.detail = stage, reason, detail


def tls_refusal(error: OSError) -> Refused:
    """Return what an error during or after the TLS handshake means.

    An alert of the peer becomes its own name (RFC 8446 §6); a fault that we find in the server's certificate becomes
    a reason that begins with `server-`.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _SERVER_FAULTS.get(error.verify_code, "server-refused")
        told = f"{error.verify_message} (verify code {error.verify_code})"
        return Refused("tls", reason, client_error=told)
    if isinstance(error, TimeoutError):
        return Refused("tls", "timeout", client_error="no answer in time")
    word = str(getattr(error, "reason", None) or "")
    if found := _ALERT.search(word.upper()):
        alert = found[1].lower().replace(" ", "_")
        return Refused("tls", alert.replace("_", "-"), alert=alert, client_error=word)
    if word in _NOT_TLS:
        return Refused("tls", "not-tls", client_error=word)
    if word in _NO_VERSION:
        return Refused("tls", "protocol-version", client_error=word)
    # Python before 3.11.4 calls a connection that ends in mid-handshake a clean end.
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError) or "EOF" in word:
        return Refused("tls", "closed-without-reason", client_error="it hung up during the handshake")
    return Refused("tls", "handshake-error", client_error=word or str(error))
