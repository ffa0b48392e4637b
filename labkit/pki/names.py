"""Names that may stand in a certificate: one strict grammar for devices, one for hosts.

Mosquitto takes the user name from the certificate's CN and puts it into topics, so a name is a path component and
an identity at once. `sensor-001/commands` as a CN would speak in another device's command tree; `+`, `#` and `%u`
mean something to the access rules; `admin` already belongs to somebody.
"""

from __future__ import annotations

import ipaddress
import re

from labkit.errors import NameRefusedError

MAX_LENGTH = 63
"""Longest device id: a device id is also a DNS label (RFC 1035 §2.3.4)."""

MAX_COMMON_NAME = 64
"""Longest common name that X.509 allows."""

DEVICE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""The grammar of device ids; matched whole."""

OPERATORS = frozenset({"admin", "operator", "auditor"})
"""Names for people. Only `Authority.issue_operator` gives them out."""

BROKER = "broker"
"""The name of a broker where it asks other services. Only `Authority.issue_broker` gives it out."""

FILE_NAMES = frozenset(
    {"aux", "con", "nul", "prn"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
)
"""Names that Windows keeps for hardware: a key written to `nul.key` is gone."""

RESERVED = (
    OPERATORS
    | FILE_NAMES
    | frozenset(
        {
            "all",
            "anonymous",
            "any",
            BROKER,
            "ca",
            "intermediate",
            "localhost",
            "provisioning",
            "root",
            "server",
            "sys",
            "system",
        }
    )
)
"""Names that no device may have, because something else answers to them."""

_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def device_id(text: str) -> str:
    """Return a device id, or refuse it.

    Args:
        text: The name that somebody wants.

    Returns:
        The same text.

    Raises:
        NameRefusedError: It is not a device id; `rule` is `empty`, `too-long`, `not-ascii`, `separator`,
            `wildcard`, `substitution`, `path`, `grammar` or `reserved`.

    Does not check: that no other device has the name; the ledger does.
    """
    rule, why = _first_broken_rule(text)
    if rule:
        raise NameRefusedError(
            f"{_shown(text)} can't be a device id: {why}.",
            advice="Use 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit, for example sensor-001.",
            name=text,
            rule=rule,
        )
    return text


def _first_broken_rule(text: str) -> tuple[str, str]:
    rules = (
        (not text, "empty", "it is empty"),
        (len(text) > MAX_LENGTH, "too-long", f"it has {len(text)} characters and {MAX_LENGTH} are allowed"),
        (not text.isascii(), "not-ascii", "it has characters that only look like letters of ours"),
        (".." in text, "path", "two dots lead out of a folder"),
        ("/" in text or "\\" in text, "separator", "a slash would put it into another device's topics"),
        (any(c in text for c in "+#"), "wildcard", "+ and # stand for other names in topic filters"),
        ("%" in text, "substitution", "% begins a substitution in the broker's access rules"),
        ("$" in text, "reserved", "names with $ belong to the broker itself"),
        (text.lower() in RESERVED, "reserved", "the name is reserved"),
        (DEVICE_ID.fullmatch(text) is None, "grammar", "only a-z, 0-9 and - are allowed, and no - in front"),
    )
    return next(((rule, why) for broken, rule, why in rules if broken), ("", ""))


def numbered(prefix: str, count: int, *, start: int = 1) -> list[str]:
    """Return ids for a fleet, `prefix001`, `prefix002`, …, all of one width.

    The width is that of the last number, at least three digits, so that a thousandth device does not give the first one
    another name.

    Raises:
        NameRefusedError: They would not be device ids.
    """
    last = start + count - 1
    width = max(3, len(str(last)))
    device_id(f"{prefix}{last:0{width}d}")
    return [f"{prefix}{number:0{width}d}" for number in range(start, last + 1)]


def operator_name(text: str) -> str:
    """Return the name of an operator, or refuse it.

    Raises:
        NameRefusedError: It is not one of `OPERATORS`; `rule` is `operator`.
    """
    if text not in OPERATORS:
        raise NameRefusedError(
            f"{_shown(text)} is not an operator's name.",
            advice=f"Operators here are: {', '.join(sorted(OPERATORS))}. For a device: labkit ca issue NAME",
            name=text,
            rule="operator",
        )
    return text


def host_name(text: str) -> str:
    """Return a DNS host name, or refuse it (RFC 1123 §2.1; no wildcards, because a broker has one name).

    Raises:
        NameRefusedError: It is not a host name; `rule` is `host-name`.
    """
    labels = text.split(".")
    if len(text) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise NameRefusedError(
            f"{_shown(text)} is not a host name.",
            advice="Use labels of a-z, 0-9 and - with dots between them, for example broker.local.",
            name=text,
            rule="host-name",
        )
    return text


def bounded(text: str) -> str:
    """Return a text that fits into a common name (RFC 5280 appendix A.1, ub-common-name), or refuse it.

    Raises:
        NameRefusedError: `rule` is `empty` or `too-long`.
    """
    if not 0 < len(text) <= MAX_COMMON_NAME:
        raise NameRefusedError(
            f"{_shown(text)} can't be a common name: it has {len(text)} characters.",
            advice=f"Use 1 to {MAX_COMMON_NAME} characters. A longer host name can stand second: it needs no common name.",
            name=text,
            rule="too-long" if text else "empty",
        )
    return text


def ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an IP address, or refuse it.

    Raises:
        NameRefusedError: It is not an address; `rule` is `ip-address`.
    """
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise NameRefusedError(
            f"{_shown(text)} is not an IP address.",
            advice="Write it like 192.168.1.100 or fd00::1.",
            name=text,
            rule="ip-address",
        ) from error


def common_name(names: list[str]) -> str:
    """Return the one common name of a subject.

    Mosquitto takes the first CN in DER order where there are several, other software the last; so there is one.

    Raises:
        NameRefusedError: There is none (`rule` is `empty`) or more than one (`rule` is `several-names`).
    """
    if len(names) == 1:
        return names[0]
    rule = "several-names" if names else "empty"
    raise NameRefusedError(
        f"A subject has exactly one common name; this one has {len(names)}.",
        advice="Ask for a certificate with one CN.",
        name=", ".join(names),
        rule=rule,
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
