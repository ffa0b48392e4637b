"""Detectors: what turns events into alerts. Values in, values out; the time is that of the events."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.audit.monitor.alerts import DETECTORS, READY, Alert, AlertRules, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from labkit.audit.monitor.events import Event

__all__ = ["DETECTORS", "Detectors", "Standing"]

FLOOR = 20
"""A client that sends fewer messages than this within a rule's time is never out of pattern."""

MOST_SUBJECTS = 10_000
"""So many clients are remembered; names are chosen by whoever connects, and must not fill the memory."""

ACTIONS = {
    "failed-tls": "Find the address in the log. One cause from many addresses is ours to mend; many from one is an attack.",
    "unknown-id": "Revoke its certificate now; then find out who issued it.",
    "rate": "Look at what it sends; deny it (labkit broker deny) if it is not ours.",
    "clone": "Quarantine the device; one of the two is a copy.",
    "denied": "Quarantine the device if it is not a mistake of its firmware.",
    "service-refused": "Find the address in the log of decisions; take back tokens that are out.",
    "certificate-ending": "Find out why the device has not renewed.",
    "list-ending": "Publish a new list now: labkit ca crl",
}
"""What to do first, by detector."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands on record at a moment, beside the events.

    Attributes:
        known: Users that the registry knows, operators included; None: nobody has said, and nobody is unknown.
        ends: When the certificate of each device in service ends.
        list_ends: When the revocation list ends.
    """

    known: frozenset[str] | None = None
    ends: Mapping[str, dt.datetime] = field(default_factory=dict)
    list_ends: dt.datetime | None = None


class _Window:
    """Times of events of one subject within a span."""

    def __init__(self) -> None:
        self.times: deque[dt.datetime] = deque(maxlen=100_000)
        self.raised: dt.datetime | None = None

    def add(self, at: dt.datetime, span: dt.timedelta) -> int:
        self.times.append(at)
        while self.times and at - self.times[0] > span:
            self.times.popleft()
        return len(self.times)

    def may_raise(self, at: dt.datetime, span: dt.timedelta) -> bool:
        """Return whether it is time to say it again: once in each span, by a clock that may be set back, too."""
        if self.raised is not None and abs(at - self.raised) <= max(span, dt.timedelta(seconds=60)):
            return False
        self.raised = at
        return True


class _Pattern:
    """How much one client usually sends in a span."""

    def __init__(self) -> None:
        self.begin: dt.datetime | None = None
        self.count = 0
        self.usual = 0.0
        self.spans = 0

    def add(self, at: dt.datetime, span: dt.timedelta) -> tuple[int, float]:
        """Count a message, and return how many there are in this span, and how many are usual."""
        if self.begin is None or at - self.begin > span:
            if self.begin is not None:
                # A slow average: one loud minute must not make the next one look normal.
                self.spans += 1
                self.usual += (self.count - self.usual) / min(self.spans, 30)
            self.begin, self.count = at, 0
        self.count += 1
        return self.count, self.usual


class Detectors:
    """All detectors, with what they remember.

    Args:
        rules: When they raise an alert.
    """

    def __init__(self, rules: AlertRules = READY) -> None:
        self.rules = rules
        self.standing = Standing()
        self._windows: dict[tuple[str, str], _Window] = defaultdict(_Window)
        self._patterns: dict[str, _Pattern] = defaultdict(_Pattern)

    def see(self, events: Iterable[Event]) -> list[Alert]:
        """Look at events, and return the alerts that they raise."""
        return [alert for event in events for alert in self._of(event) if alert]

    def _of(self, event: Event) -> list[Alert | None]:
        if event.kind in {"tls-refused", "login-refused"}:
            what = f"handshakes refused: {event.cause}" if event.kind == "tls-refused" else "logins refused"
            return [self._count("failed-tls", event, event.cause or event.kind, what)]
        if event.kind == "connected":
            return [self._stranger(event)]
        if event.kind == "message":
            return [self._rate(event)]
        if event.kind == "denied":
            return [
                self._count("denied", event, event.who, f"messages denied, such as to {event.cause[:80]!r}")
            ]
        if event.kind == "takeover":
            return [self._count("clone", event, event.who, "sessions taken over by another with its name")]
        if event.kind == "clone-alarm":
            return [self._raise("clone", event.at, event.who, "two renewed with one certificate")]
        if event.kind == "service-refused":
            return [self._count("service-refused", event, event.cause, f"callers refused: {event.cause}")]
        return []

    def tick(self, now: dt.datetime) -> list[Alert]:
        """Look at what ends, and return the alerts that it raises."""
        found = []
        rule = self.rules.of("certificate-ending")
        if rule:
            for name, end in self.standing.ends.items():
                found.append(self._ending(rule, now, name, end, f"the certificate of {name}"))
        rule = self.rules.of("list-ending")
        if rule and self.standing.list_ends:
            found.append(self._ending(rule, now, "the list", self.standing.list_ends, "the revocation list"))
        return [alert for alert in found if alert]

    def _ending(
        self, rule: Rule, now: dt.datetime, subject: str, end: dt.datetime, what: str
    ) -> Alert | None:
        left = (end - now).total_seconds() / 3600
        if left >= rule.at_least or not self._window(rule.detector, subject).may_raise(
            now, dt.timedelta(hours=1)
        ):
            return None
        told = f"{what} ends in {left:.0f} hours" if left > 0 else f"{what} has ended"
        return Alert(rule.detector, rule.severity, now, subject, told, ACTIONS[rule.detector])

    def _count(self, detector: str, event: Event, subject: str, what: str) -> Alert | None:
        rule = self.rules.of(detector)
        if rule is None:
            return None
        span = dt.timedelta(seconds=rule.within)
        window = self._window(detector, subject)
        number = window.add(event.at, span)
        if number < rule.at_least or not window.may_raise(event.at, span):
            return None
        told = f"{number} {what}, within {rule.within:g} s"
        return Alert(detector, rule.severity, event.at, subject[:80], told, ACTIONS[detector])

    def _stranger(self, event: Event) -> Alert | None:
        known = self.standing.known
        if known is None or event.who in known:
            return None
        return self._count(
            "unknown-id", event, event.who, f"sessions of {event.who[:80]!r}, whom the registry does not know"
        )

    def _rate(self, event: Event) -> Alert | None:
        rule = self.rules.of("rate")
        if rule is None:
            return None
        if event.who not in self._patterns and len(self._patterns) >= MOST_SUBJECTS:
            return None
        span = dt.timedelta(seconds=rule.within)
        number, usual = self._patterns[event.who].add(event.at, span)
        limit = max(FLOOR, rule.at_least * usual)
        if number <= limit or not self._window("rate", event.who).may_raise(event.at, span):
            return None
        told = f"{number} messages within {rule.within:g} s; usual are {usual:.0f}"
        return Alert("rate", rule.severity, event.at, event.who[:80], told, ACTIONS["rate"])

    def _raise(self, detector: str, at: dt.datetime, subject: str, told: str) -> Alert | None:
        rule = self.rules.of(detector)
        if rule is None:
            return None
        return Alert(detector, rule.severity, at, subject[:80], told, ACTIONS[detector])

    def _window(self, detector: str, subject: str) -> _Window:
        key = (detector, subject if len(self._windows) < MOST_SUBJECTS else "")
        return self._windows[key]
