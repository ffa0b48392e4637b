"""Events: what lines of the broker's log and of the service's log of decisions tell, in one shape.

Clients choose some of the words in these lines. They may be counted and shown; nothing is ever run or opened because a
log says so.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.audit.evidence import printable
from labkit.broker.log import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from labkit.broker.log import Event as Line


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        at: When.
        kind: One of `KINDS`.
        who: Which client, device or address.
        cause: Why, or what exactly: a cause of a refusal, a topic, a code.
        text: The line, without its time.
    """

    at: dt.datetime
    kind: str
    who: str
    cause: str = ""
    text: str = ""


KINDS = (
    "tls-refused",
    "login-refused",
    "connected",
    "message",
    "denied",
    "takeover",
    "service-refused",
    "clone-alarm",
    "other",
)
"""What can happen."""

_CAUSES = (
    ("peer did not return a certificate", "no-certificate"),
    ("certificate verify failed", "certificate-refused"),
    ("unknown ca", "peer-refused-us"),
    ("unsupported protocol", "old-tls"),
    ("no shared cipher", "no-common-suite"),
    ("wrong version number", "not-tls"),
    ("http request", "not-tls"),
    ("unexpected eof", "gave-up"),
)
"""What OpenSSL writes, and the word that we count it under."""

_PUBLISH = re.compile(r"Received PUBLISH from (?P<client>.+?) \(d\d, ", re.DOTALL)
_CONNACK = re.compile(r"Sending CONNACK to (?P<client>.+) \(\d+, (?P<code>\d+)\)", re.DOTALL)
_REFUSED = {"clone-alarm": "clone-alarm"}


def cause_of(error: str) -> str:
    """Return the word that a TLS error is counted under."""
    lowered = error.lower()
    return next((word for part, word in _CAUSES if part in lowered), "other")


def broker_events(lines: Iterable[str], *, seen_at: dt.datetime) -> Iterator[Event]:
    """Yield what the lines of a broker's log tell.

    Args:
        lines: The lines.
        seen_at: The time of a line that does not tell its own.
    """
    for line in lines:
        parsed = parse_line(line)
        at = _time(parsed.time, seen_at)
        event = _of(parsed, at)
        if event is not None:
            yield event


def _event(at: dt.datetime, kind: str, who: str, cause: str, text: str) -> Event:
    return Event(at, kind, printable(who), printable(cause), printable(text))


def _of(line: Line, at: dt.datetime) -> Event | None:
    if line.kind == "tls-error":
        return _event(at, "tls-refused", "", cause_of(line["error"]), line.text)
    if line.kind == "accept-failed":
        return _event(at, "tls-refused", line["peer"], cause_of(line["error"]), line.text)
    if line.kind == "connected":
        return _event(at, "connected", line["user"] or line["client"], line["client"], line.text)
    if line.kind == "denied":
        return _event(at, "denied", line["client"], line["topic"], line.text)
    if line.kind == "takeover":
        return _event(at, "takeover", line["client"], "", line.text)
    if found := _PUBLISH.match(line.text):
        return _event(at, "message", found["client"], "", line.text)
    if (found := _CONNACK.fullmatch(line.text)) and found["code"] != "0":
        return _event(at, "login-refused", found["client"], f"code {found['code']}", line.text)
    return None


def service_event(line: str, *, seen_at: dt.datetime) -> Event | None:
    """Return what a line of a service's log of decisions tells; None where it tells of nothing that matters."""
    try:
        value = json.loads(line)
        status, code = int(value["status"]), str(value["code"])
        who = str(value.get("subject") or value.get("actor") or value.get("address") or "")
        told = f"{value.get('method', '')} {value.get('path', '')} {code}"
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    at = _time(str(value.get("at", "")), seen_at)
    if code == "clone-alarm":
        return _event(at, "clone-alarm", who, code, told)
    if status in {401, 403, 429} or code.startswith("token-"):
        return _event(at, "service-refused", who, code, told)
    return None


def _time(text: str, otherwise: dt.datetime) -> dt.datetime:
    try:
        if text.isdecimal():
            told = dt.datetime.fromtimestamp(int(text), dt.UTC)
        else:
            told = dt.datetime.fromisoformat(text).astimezone(dt.UTC)  # Mosquitto: local time without a zone
    except (ValueError, OverflowError, OSError):
        return otherwise
    # Nothing is logged before it happens: such a line is forged, or a clock is wrong, and must not move ours.
    return min(told, otherwise)
