"""What the provisioning service answers, as the device reads it: nothing in a reply is believed that can be looked at."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass

from labkit.errors import MessageRefusedError
from labkit.node.codes import refused
from labkit.node.commands import LONGEST_INTERVAL, SHORTEST_INTERVAL
from labkit.node.documents import Document, read_object

LONGEST_REPLY = 16 * 1024
LONGEST_CHAIN = 3967
"""What a string of NVS can hold. A chain of RSA certificates has 2,771 bytes with the course's names."""

MOST_CERTIFICATES = 4

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|\+00:00)", flags=re.ASCII)
_BEGIN, _END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
_BASE64_LINES = re.compile(r"(?:[A-Za-z0-9+/]{1,76}={0,2}\n)+")
_CODE = re.compile(r"[a-z][a-z-]{0,39}")


@dataclass(frozen=True, slots=True)
class Granted:
    """A certificate that was granted.

    Attributes:
        chain: The certificate and those above it, PEM, leaf first.
        renew_after: From when on it may be renewed, in seconds since 1970.
    """

    chain: str
    renew_after: int


@dataclass(frozen=True, slots=True)
class Configured:
    """What the service has set for the device.

    Attributes:
        interval: Seconds between readings.
        renew_after: From when on the certificate may be renewed, in seconds since 1970.
    """

    interval: int
    renew_after: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal.

    Attributes:
        code: `service-later` or `service-refused`.
        reason: The service's own code, `internal` where it said none.
    """

    code: str
    reason: str


def read_grant(body: bytes, device: str) -> Granted:
    """Return what is in the reply to `/provision` or `/renew`.

    Raises:
        MessageRefusedError: `reply-device`, `reply-chain`, `reply-time`, or a code that begins with `json-`.

    Does not check: that the chain fits our key and leads to our authority. The store does the first before it switches,
        the broker the second.
    """
    document = read_object(body, longest=LONGEST_REPLY)
    _verify_device(document, device)
    chain = document.text("chain", longest=LONGEST_CHAIN)
    renew_after = read_time(document.text("renew_after", longest=40))
    verify_chain(chain)
    return Granted(chain, renew_after)


def read_config(body: bytes, device: str) -> Configured:
    """Return what is in the reply to `/config`.

    Raises:
        MessageRefusedError: `reply-device`, `reply-time`, or a code that begins with `json-`.
    """
    document = read_object(body, longest=LONGEST_REPLY)
    _verify_device(document, device)
    interval = document.object("settings").integer("telemetry_seconds", SHORTEST_INTERVAL, LONGEST_INTERVAL)
    return Configured(interval, read_time(document.text("renew_after", longest=40)))


def read_refusal(status: int, body: bytes) -> Refusal:
    """Return what a refusal means for the device; its body may be anything."""
    code = "service-later" if status in {408, 429} or status >= 500 else "service-refused"
    try:
        reason = read_object(body, longest=LONGEST_REPLY).text("code", longest=40)
    except MessageRefusedError:
        reason = ""
    return Refusal(code, reason if _CODE.fullmatch(reason) else "internal")


def verify_chain(chain: str) -> None:
    """Verify that a text is one to four certificates in PEM and nothing else.

    Raises:
        MessageRefusedError: `reply-chain`.

    Does not check: what is in them.
    """
    blocks = chain.split(_BEGIN)
    if blocks[0] or not 2 <= len(blocks) <= MOST_CERTIFICATES + 1:
        raise refused("reply-chain", "")
    for block in blocks[1:]:
        if not block.endswith(_END) or not _BASE64_LINES.fullmatch(block.removesuffix(_END)):
            raise refused("reply-chain", "")


def read_time(text: str) -> int:
    """Return the seconds since 1970 of a time like `2026-11-25T10:00:00Z`.

    Raises:
        MessageRefusedError: `reply-time`: another form, a day that does not exist, a year outside 2000 to 2199.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise refused("reply-time", "")
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if not (2000 <= year < 2200 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        raise refused("reply-time", "")
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        raise refused("reply-time", "")
    return calendar.timegm((year, month, day, hour, minute, second))


def _verify_device(document: Document, device: str) -> None:
    if document.text("device_id", longest=63) != device:
        raise refused("reply-device", "")
