"""Alert rules as data: which detector, from when on, how loud; read from JSON, strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.errors import FormatError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

FORMAT = 1
SEVERITIES = ("info", "warning", "page")
"""How loud: to be read some day, today, or to wake somebody up."""

DETECTORS: dict[str, str] = {
    "failed-tls": "refused handshakes from one cause",
    "unknown-id": "a client that the registry does not know",
    "rate": "a client that sends more than its own pattern",
    "clone": "two that claim to be one device",
    "denied": "messages to topics that are not the sender's",
    "service-refused": "callers that the provisioning service turned away",
    "certificate-ending": "a certificate in service that runs out",
    "list-ending": "the revocation list that runs out, and would lock everybody out",
}
"""What is looked for, by name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a detector raises an alert.

    Attributes:
        detector: One of `DETECTORS`.
        at_least: From how many on; for `rate`, how many times its own pattern; for what ends, how many hours are left.
        within: In how many seconds; without meaning for what ends.
        severity: One of `SEVERITIES`.
    """

    detector: str
    at_least: float
    within: float = 60.0
    severity: str = "warning"


@dataclass(frozen=True, slots=True)
class AlertRules:
    """The rules that are in force, one a detector."""

    rules: tuple[Rule, ...]

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def of(self, detector: str) -> Rule | None:
        """Return the rule of a detector, or None: then it stays silent."""
        return next((rule for rule in self.rules if rule.detector == detector), None)

    def to_json(self) -> str:
        """Return the file."""
        value = {
            "format": FORMAT,
            "rules": [
                {"detector": r.detector, "at_least": r.at_least, "within": r.within, "severity": r.severity}
                for r in self.rules
            ],
        }
        return json.dumps(value, indent=2) + "\n"


READY = AlertRules(
    (
        Rule("failed-tls", 5, 60, "warning"),
        Rule("unknown-id", 1, 60, "page"),
        Rule("rate", 5, 60, "warning"),
        Rule("clone", 2, 300, "page"),
        Rule("denied", 3, 60, "warning"),
        Rule("service-refused", 5, 60, "warning"),
        Rule("certificate-ending", 14 * 24, 0, "warning"),
        Rule("list-ending", 48, 0, "page"),
    )
)
"""Rules to begin with. Try them on an attack, and on a quiet day, before you trust them."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody has to look at.

    Attributes:
        detector: Who noticed.
        severity: How loud.
        at: When.
        subject: Whom it is about.
        message: What was noticed.
        action: What to do first.
    """

    detector: str
    severity: str
    at: dt.datetime
    subject: str
    message: str
    action: str

    def to_json(self) -> dict[str, str]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "detector": self.detector,
            "severity": self.severity,
            "at": self.at.isoformat(timespec="seconds"),
            "subject": self.subject,
            "message": self.message,
            "action": self.action,
        }


def read_rules(text: str) -> AlertRules:
    """Read a file of alert rules.

    Raises:
        FormatError: It is none: a detector is unknown or stands twice, or a value is of the wrong kind.
    """
    try:
        value = json.loads(text)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise _bad(0, f"it is not of format {FORMAT}")
        rules = tuple(_rule(each, number) for number, each in enumerate(value["rules"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _bad(0, str(error)) from error
    names = [rule.detector for rule in rules]
    if len(set(names)) < len(names):
        raise _bad(0, "a detector has two rules")
    return AlertRules(rules)


def _rule(value: Any, number: int) -> Rule:
    rule = Rule(
        str(value["detector"]), _number(value["at_least"]), _number(value.get("within", 60)),
        str(value.get("severity", "warning")),
    )  # fmt: skip
    if rule.detector not in DETECTORS:
        raise _bad(number, f"there is no detector {rule.detector!r}")
    if rule.severity not in SEVERITIES:
        raise _bad(number, f"a severity is one of {', '.join(SEVERITIES)}, not {rule.severity!r}")
    if (
        rule.at_least <= 0
        or rule.within < 0
        or not value.keys() <= {"detector", "at_least", "within", "severity"}
    ):
        raise _bad(number, "at_least is more than 0, within is not less, and there are no other words")
    return rule


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        text = f"{value!r} is no number"
        raise ValueError(text)
    return float(value)


def _bad(number: int, why: str) -> FormatError:
    return FormatError(
        f"These are no alert rules: {why}.",
        advice="Compare with: labkit monitor --print-rules",
        what="alert rules",
        offset=number,
    )
