"""How likely, how bad, and what is done about it: a risk register with scales that say what their numbers mean."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from labkit.threats.stride import Threat

LIKELIHOOD = {
    1: "needs luck, skill and money at once; we know of no case",
    2: "somebody with skill and a reason could do it in weeks",
    3: "somebody with skill could do it in days",
    4: "tools for it can be downloaded; an afternoon",
    5: "it is tried on every address every day, by programs",
}
"""What the numbers of likelihood mean: how much it takes."""

IMPACT = {
    1: "somebody is annoyed",
    2: "one device, for a day",
    3: "some devices, or readings that tell something about people",
    4: "the plant stands, or commands come from a stranger",
    5: "every device, or the keys of the house; or somebody may be hurt",
}
"""What the numbers of impact mean: how much is lost."""

FORMAT = 1
_LONGEST = 1 << 20
_NOTE = 500


class Level(StrEnum):
    """How a score is read."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Treatment(StrEnum):
    """What is done about a risk."""

    MITIGATE = "mitigate"
    ACCEPT = "accept"
    AVOID = "avoid"
    TRANSFER = "transfer"


def score(likelihood: int, impact: int) -> int:
    """Return likelihood times impact, from 1 to 25.

    Raises:
        ValueError: One of them is not from 1 to 5.
    """
    for name, value, scale in (("likelihood", likelihood, LIKELIHOOD), ("impact", impact, IMPACT)):
        if type(value) is not int or value not in scale:
            text = f"{name} is a whole number from 1 to 5, not {value!r}"
            raise ValueError(text)
    return likelihood * impact


def level(points: int) -> Level:
    """Return how a score is read: from 20 critical, from 12 high, from 6 medium."""
    if points >= 20:
        return Level.CRITICAL
    if points >= 12:
        return Level.HIGH
    return Level.MEDIUM if points >= 6 else Level.LOW


@dataclass(frozen=True, slots=True)
class Risk:
    """What somebody thinks of a threat.

    Attributes:
        threat: The threat's id.
        likelihood: From 1 to 5; see `LIKELIHOOD`.
        impact: From 1 to 5; see `IMPACT`.
        treatment: What is done about it.
        reason: Why these numbers.
    """

    threat: str
    likelihood: int
    impact: int
    treatment: Treatment = Treatment.MITIGATE
    reason: str = ""

    def __post_init__(self) -> None:
        score(self.likelihood, self.impact)

    @property
    def score(self) -> int:
        """Likelihood times impact."""
        return self.likelihood * self.impact

    @property
    def level(self) -> Level:
        """How the score is read."""
        return level(self.score)


@dataclass(frozen=True, slots=True)
class Register:
    """All risks that somebody has written down, by threat.

    Attributes:
        risks: The risks.
    """

    risks: Mapping[str, Risk] = field(default_factory=dict)

    def with_risk(self, risk: Risk) -> Register:
        """Return it with one more risk, or with another opinion of one."""
        return replace(self, risks={**self.risks, risk.threat: risk})

    def ranked(self) -> list[Risk]:
        """Return the risks, the highest score first; among equals the one with the greater impact."""
        return sorted(self.risks.values(), key=lambda risk: (-risk.score, -risk.impact, risk.threat))

    def to_json(self) -> str:
        """Return it as text for a file."""
        risks = [asdict(risk) for risk in self.risks.values()]
        return json.dumps({"format": FORMAT, "risks": risks}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Register:
        """Read what `to_json` wrote.

        Raises:
            FormatError: It is none of ours.
        """
        if len(text) > _LONGEST:
            raise _bad("it is too long")
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _bad(f"it is no JSON ({error})") from error
        if (
            not isinstance(whole, dict)
            or whole.get("format") != FORMAT
            or not isinstance(whole.get("risks"), list)
        ):
            raise _bad("it has no list of risks")
        risks = [_risk(each) for each in whole["risks"]]
        return cls({risk.threat: risk for risk in risks})


def _risk(value: Any) -> Risk:
    names = {"threat", "likelihood", "impact", "treatment", "reason"}
    if not isinstance(value, dict) or set(value) != names:
        raise _bad(f"a risk has the fields {', '.join(sorted(names))}")
    if not all(
        isinstance(value[name], str) and len(value[name]) <= _NOTE
        for name in ("threat", "treatment", "reason")
    ):
        raise _bad(f"a text of a risk is no text, or longer than {_NOTE} characters")
    try:
        return Risk(**{**value, "treatment": Treatment(value["treatment"])})
    except ValueError as error:
        raise _bad(str(error)) from error


def _bad(why: str) -> FormatError:
    return FormatError(
        f"The risk register can't be read: {why}.",
        advice="Delete course/register.json in the workspace to begin a new one.",
        what="risk register",
        offset=0,
    )


def reference(threats: Iterable[Threat]) -> Register:
    """Return the course's own opinion of threats, in the plant as it was found."""
    return Register(
        {t.id: Risk(t.id, t.likelihood, t.impact, Treatment.MITIGATE, t.mitigation) for t in threats}
    )


def residual(threat: Threat, *, closed: bool) -> Risk:
    """Return the risk of a threat that has been dealt with, or has not.

    Args:
        threat: The threat.
        closed: Whether an experiment has shown it closed.
    """
    likelihood = threat.residual if closed else threat.likelihood
    return Risk(threat.id, likelihood, threat.impact, Treatment.MITIGATE, threat.mitigation)
