"""A threat, and whether every question that STRIDE asks of a model has an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.threats.model import Model, Stride


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """Something that may happen, on elements of a model.

    Attributes:
        id: Its id.
        title: What happens, in a sentence.
        kinds: Which of STRIDE it is.
        elements: The elements and flows that suffer it.
        assets: What is lost by it.
        actor: Who does it.
        entry: Where they get in; empty where it needs no way in.
        owasp: The rows of the OWASP IoT Top 10 (2018) that it belongs to.
        audit: The items of the audit that look for it.
        evidence: Experiments that show it closed: lesson and claim, with a colon between.
        likelihood: How likely it is in the plant as it was found, from 1 to 5.
        impact: How much it hurts, from 1 to 5.
        residual: How likely it is when it has been dealt with.
        mitigation: How it is dealt with, in a sentence.
    """

    id: str
    title: str
    kinds: tuple[Stride, ...]
    elements: tuple[str, ...]
    assets: tuple[str, ...]
    actor: str
    entry: str = ""
    owasp: tuple[str, ...]
    audit: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    likelihood: int
    impact: int
    residual: int
    mitigation: str

    @property
    def lessons(self) -> tuple[str, ...]:
        """The lessons whose experiments show it closed, each once."""
        return tuple(dict.fromkeys(each.partition(":")[0] for each in self.evidence))


@dataclass(frozen=True, slots=True)
class Dismissal:
    """A question of STRIDE that needs no threat of its own.

    Attributes:
        kind: Which kind.
        elements: Of which elements.
        reason: Why not.
    """

    kind: Stride
    elements: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model's threats say to one question.

    Attributes:
        element: The element or flow.
        kind: The kind.
        threats: The ids of the threats that answer it.
        dismissed: Why there is none.
    """

    element: str
    kind: Stride
    threats: tuple[str, ...]
    dismissed: str

    @property
    def given(self) -> bool:
        """Whether there is an answer."""
        return bool(self.threats or self.dismissed)


def answers(model: Model, threats: Sequence[Threat], dismissals: Sequence[Dismissal]) -> list[Answer]:
    """Go through every question that STRIDE asks of a model.

    Args:
        model: The model.
        threats: Its threats.
        dismissals: The questions that need none, with reasons.
    """
    found = []
    for element, kind in model.candidates():
        named = tuple(t.id for t in threats if element in t.elements and kind in t.kinds)
        why = next((d.reason for d in dismissals if d.kind == kind and element in d.elements), "")
        found.append(Answer(element, kind, named, "" if named else why))
    return found


def strays(model: Model, threats: Sequence[Threat], dismissals: Sequence[Dismissal]) -> list[str]:
    """Return what threats and dismissals say about things that the model does not ask, as sentences."""
    asked = set(model.candidates())
    parts = {part for part, _ in asked}
    assets, actors = {each.id for each in model.assets}, {each.id for each in model.actors}
    entries = {each.id for each in model.entry_points}
    found = []
    for threat in threats:
        found += [f"{threat.id}: no part {each!r}" for each in threat.elements if each not in parts]
        found += [f"{threat.id}: no asset {each!r}" for each in threat.assets if each not in assets]
        if threat.actor not in actors or threat.entry not in {*entries, ""}:
            found.append(f"{threat.id}: no actor {threat.actor!r}, or no entry point {threat.entry!r}")
        if not any((element, kind) in asked for element in threat.elements for kind in threat.kinds):
            found.append(f"{threat.id}: answers no question")
    for each in dismissals:
        found += [
            f"dismissal of {each.kind}: not asked of {e}"
            for e in each.elements
            if (e, each.kind) not in asked
        ]
    return found
