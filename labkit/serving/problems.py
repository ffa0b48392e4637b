"""Problem details (RFC 9457): every refusal has a status, a stable code, and what to do next."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    Attributes:
        status: The HTTP status.
        title: What it is, the same each time.
        advice: What the other side can do.
    """

    status: int
    title: str
    advice: str


COMMON: Mapping[str, Kind] = {
    "malformed": Kind(
        400, "The request is not what was asked for", "Compare it with the description at /openapi.json."
    ),
    "not-found": Kind(404, "There is nothing here", "The paths are listed at /openapi.json."),
    "method": Kind(405, "Another method is needed here", "The methods are listed at /openapi.json."),
    "request-timeout": Kind(408, "The request did not come to its end in time", "Send it in one go."),
    "body-too-large": Kind(413, "The body is too large", "A request has a few hundred bytes."),
    "media-type": Kind(415, "Another media type is needed here", "Send application/json."),
    "rate-limited": Kind(
        429, "Too many requests from this address", "Wait, then try again; wait longer each time."
    ),
    "internal": Kind(
        500, "The service has failed", "Try again later; the log on the server says what it was."
    ),
    "unavailable": Kind(
        503, "The service can't write to its registry", "Try again later; nothing was changed."
    ),
}
"""Problems that any service can have, by their code."""

WHO: Mapping[str, Kind] = {
    "certificate-missing": Kind(401, "A client certificate is needed", "Present one in the TLS handshake."),
    "not-an-operator": Kind(403, "This is for operators", "Use a certificate of the operators' authority."),
    "not-a-broker": Kind(403, "This is for the broker", "Use the certificate that was made for the broker."),
    "not-a-device": Kind(403, "This is for devices", "Use the device's certificate."),
    "certificate-unknown": Kind(403, "This certificate is not in the registry", "Enrol with a token."),
    "certificate-expired": Kind(403, "This certificate has run out", "Ask an operator for a fresh token."),
    "certificate-revoked": Kind(403, "This certificate is revoked", "Ask an operator why."),
    "certificate-superseded": Kind(403, "This certificate was replaced", "Use the newer one."),
    "device-quarantined": Kind(403, "The device is in quarantine", "An operator has to look at it."),
    "device-revoked": Kind(403, "The device is out of service", "Ask an operator why."),
}
"""Problems with who asks, by their code."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal.

    Attributes:
        code: Its stable code.
        kind: What kind it is.
        detail: What it was this time, in a sentence. Never a token, never a key.
        headers: HTTP headers that go with it.
    """

    code: str
    kind: Kind
    detail: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return it as JSON (RFC 9457 §3.1), with `code` and `advice` as extension members."""
        value: dict[str, Any] = {
            "type": f"tag:labkit,2026:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "advice": self.kind.advice,
        }
        if self.detail:
            value["detail"] = self.detail
        return json.dumps(value).encode()


def common(code: str, detail: str = "", **headers: str) -> Problem:
    """Return one of the problems that any service can have."""
    return Problem(
        code, COMMON[code], detail, {name.replace("_", "-"): text for name, text in headers.items()}
    )


def of_status(status: int, detail: str = "") -> Problem:
    """Return the problem for a status that a framework chose."""
    by_status = {kind.status: code for code, kind in COMMON.items()}
    if status in by_status:
        return common(by_status[status], detail)
    return Problem(
        f"status-{status}", Kind(status, "The request can't be answered", "See /openapi.json."), detail
    )
