"""Audit a lock file of Python packages, offline: is everything pinned and hashed, and is a hole known in any of it?

An advisory list is only as good as its date. The one here is short, made for the course, and says when it was made; for
real work take one that is kept up (OSV, the PyPA's advisory database), and keep a copy beside the lock.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.outcome import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 4 * 1024 * 1024
LIST_AGE = dt.timedelta(days=180)
"""An advisory list that is older than this knows nothing of what was found since."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A package of a lock.

    Attributes:
        name: Its normalised name.
        version: Its version; empty where none is pinned.
        hashes: How many hashes it may have.
        marker: On which machines it is installed; empty for all.
    """

    name: str
    version: str
    hashes: int
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Advisory:
    """A hole that is known.

    Attributes:
        id: Its number.
        package: The package's normalised name.
        fixed: The first version without it.
        what: What it is, in a sentence.
    """

    id: str
    package: str
    fixed: str
    what: str


LIST_DATE = dt.date(2025, 9, 1)
"""When `ADVISORIES` was made."""

ADVISORIES = (
    Advisory(
        "CVE-2024-26130", "cryptography", "42.0.4", "a PKCS #12 with a mismatched key crashes the process"
    ),
    Advisory(
        "CVE-2025-27516", "jinja2", "3.1.6", "a template breaks out of the sandbox with the filter attr"
    ),
    Advisory("CVE-2025-43859", "h11", "0.16.0", "malformed chunked bodies let requests be smuggled"),
    Advisory("CVE-2025-47287", "tornado", "6.5", "malformed forms fill the log and hold the server up"),
    Advisory("CVE-2024-47081", "requests", "2.32.4", "credentials of .netrc are sent to a crafted address"),
    Advisory("CVE-2025-50181", "urllib3", "2.5.0", "redirects are followed although they were switched off"),
    Advisory("CVE-2024-39689", "certifi", "2024.7.4", "a root is trusted that browsers have removed"),
    Advisory("CVE-2024-3651", "idna", "3.7", "a crafted name takes quadratic time"),
    Advisory("CVE-2024-47874", "starlette", "0.40.0", "form fields without an end fill the memory"),
)
"""Holes in packages that a course like this one has among its dependencies."""

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*(?P<version>[^\s;\\]+))?")
_HASH = re.compile(r"--hash=sha(?:256|384|512):[0-9a-f]{64,128}\b")


def read_lock(text: str) -> list[Pin]:
    """Return the packages of a lock file in pip's format, in order; lines that are none are passed over.

    Raises:
        ValueError: It is longer than any lock.
    """
    if len(text) > LONGEST:
        raise ValueError("a lock has a few thousand lines")
    found: list[Pin] = []
    for line in text.replace("\\\n", " ").split("\n"):
        words = line.split(" #")[0].strip()
        if words and not words.startswith(("#", "-")) and (match := _PIN.match(words)):
            name = normalised(match["name"])
            marker = words.partition(";")[2].partition("--hash")[0].strip()
            found.append(Pin(name, match["version"] or "", len(_HASH.findall(words)), marker))
    return found


def normalised(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def older(version: str, than: str) -> bool:
    """Return whether a version is older than another; one that is no row of numbers counts as older, to be looked at."""
    left, right = _numbers(version), _numbers(than)
    if left is None or right is None:
        return True
    width = max(len(left), len(right))
    return left + (0,) * (width - len(left)) < right + (0,) * (width - len(right))


def _numbers(version: str) -> tuple[int, ...] | None:
    words = version.split("+", maxsplit=1)[0].removeprefix("v").split(".")
    if words and words[-1].startswith("post"):
        words = words[:-1]  # a later build of the same version
    return (
        tuple(map(int, words)) if words and all(word.isascii() and word.isdigit() for word in words) else None
    )


def audit_lock(
    text: str,
    *,
    today: dt.date,
    advisories: Sequence[Advisory] = ADVISORIES,
    listed: dt.date = LIST_DATE,
) -> list[Finding]:
    """Return what is wrong with a lock.

    Args:
        text: The lock.
        today: The date.
        advisories: Holes that are known.
        listed: When that list was made.

    Returns:
        Findings `not-pinned`, `no-hash`, `pinned-twice`, `known-hole`, `empty`, and `old-list` as a warning.

    Does not check: holes that are not on the list, and whether a package is what its name promises.
    """
    pins = read_lock(text)
    found = [*_pins(pins), *_holes(pins, advisories)]
    if not pins:
        found.append(_finding("empty", "the lock", "There is no package in it.", "Is it the right file?"))
    if today - listed > LIST_AGE:
        told = f"The advisory list is of {listed}: it knows nothing that was found since."
        found.append(Finding("old-list", Severity.WARNING, "the advisory list", told, "Fetch a newer one."))
    return found


def _pins(pins: Sequence[Pin]) -> Iterator[Finding]:
    seen: dict[tuple[str, str], str] = {}
    for pin in pins:
        if not pin.version:
            yield _finding("not-pinned", pin.name, "Any version may be installed.", "Pin it: NAME==VERSION")
        if not pin.hashes:
            yield _finding(
                "no-hash", pin.name, "Whatever the index hands out is installed.", "Lock it with hashes."
            )
        if seen.setdefault((pin.name, pin.marker), pin.version) != pin.version:
            yield _finding("pinned-twice", pin.name, "It has two versions.", "Lock again.")


def _holes(pins: Sequence[Pin], advisories: Sequence[Advisory]) -> Iterator[Finding]:
    for pin in pins:
        for advisory in advisories:
            if advisory.package == pin.name and older(pin.version or "0", advisory.fixed):
                told = f"{advisory.id}: {advisory.what}; version {pin.version or 'any'}, mended in {advisory.fixed}."
                yield _finding(
                    "known-hole", pin.name, told, f"Take {advisory.fixed} or newer, and run the tests."
                )


def _finding(rule: str, subject: str, message: str, advice: str) -> Finding:
    return Finding(rule, Severity.ERROR, subject, message, advice)
