"""The two result shapes of the whole library: `Outcome` of an attempt, `Finding` of an inspection.

Refusal is what the lessons show, so a probe, a lint or an audit *returns* these and never raises them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTION = ("tcp", "tls", "mqtt", "authorised")
"""Stages of a connection, in order. The verdict of an attempt falls at the furthest stage that it entered."""

HTTP = ("tcp", "tls", "http")
"""Stages of a request."""

BOOT = ("rom", "bootloader", "partitions", "image", "application")
"""Stages of a board's way from reset to its application: who judged last, or on what."""

UPDATE = ("manifest", "header", "signature", "policy", "image")
"""Stages of an update on its way into a slot."""

NETWORK = ("network",)
"""The stage of what a firewall lets through: open, dropped or rejected on the way."""

READOUT = ("read", "parse", "key")
"""Stages of a theft from a chip's flash: it is read out, it makes sense, and a key that works is in it."""

TRIAL = ("trial",)
"""The stage at which a new image has to prove itself, once it is in its slot."""

AUDIT = ("monitor", "audit")
"""Stages of an audit: a monitor has noticed, a rule has judged."""

LIFE = ("life",)
"""The stage of a simulated device's whole life."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "audit": AUDIT,
    "connection": CONNECTION,
    "http": HTTP,
    "boot": BOOT,
    "update": UPDATE,
    "trial": TRIAL,
    "network": NETWORK,
    "life": LIFE,
    "readout": READOUT,
}
"""The ordered vocabulary of stages, by domain."""

ACCEPTED = "accepted"
"""The reason of every outcome that was accepted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        stage: The furthest stage that the attempt entered, from an ordered vocabulary (see `STAGES`);
            a refusal fell there, an acceptance reached its end.
        accepted: Whether that stage said yes.
        reason: One stable word for the verdict (`accepted`, `unknown-ca`, …), never free text.
        detail: The evidence: values by name, ready for JSON.
    """

    stage: str
    accepted: bool
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not any(self.stage in stages for stages in STAGES.values()):
            text = f"unknown stage {self.stage!r}"
            raise ValueError(text)
        if self.accepted != (self.reason == ACCEPTED):
            text = f"accepted={self.accepted} contradicts reason {self.reason!r}"
            raise ValueError(text)

    def __str__(self) -> str:
        if self.accepted:
            return f"accepted ({self.stage})"
        return f"refused at {self.stage}: {self.reason}"

    def with_detail(self, **more: Any) -> Outcome:
        """Return the same outcome with more evidence beside it."""
        return Outcome(self.stage, self.accepted, self.reason, {**self.detail, **more})

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "stage": self.stage,
            "accepted": self.accepted,
            "reason": self.reason,
            "detail": dict(self.detail),
        }


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an inspection found.

    Attributes:
        rule: The stable id of the rule.
        severity: How much it matters.
        subject: What it was found on.
        message: What is wrong, in a sentence.
        advice: What to do about it.
    """

    rule: str
    severity: Severity
    subject: str
    message: str
    advice: str

    def to_json(self) -> dict[str, str]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "subject": self.subject,
            "message": self.message,
            "advice": self.advice,
        }
