"""What an audit says: evidence, and the verdict that follows from it. Nothing else decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Verdict(StrEnum):
    """What became of one item."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    """The target has nothing that the item speaks of, and was not said to have."""
    PERSON = "needs a person"
    """There is dated, reviewed evidence, and whether it is any good only a person can say."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen.

    Attributes:
        holds: Whether it is as it should be.
        what: What was seen, in a sentence. Never a key, never a token.
        source: Where: a probe, a file, a table.
        person: Whether somebody has to read it before it counts.
    """

    holds: bool
    what: str
    source: str
    person: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        value: dict[str, Any] = {"holds": self.holds, "what": self.what, "source": self.source}
        return value | ({"person": True} if self.person else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evidence:
        """Return evidence from plain values."""
        return cls(bool(value["holds"]), str(value["what"]), str(value["source"]), bool(value.get("person")))


def printable(text: str) -> str:
    """Return a text on one line, without characters that would steer a terminal: names in it are chosen by others."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def seen(what: str, source: str) -> Evidence:
    """Return evidence that speaks for the target."""
    return Evidence(holds=True, what=printable(what), source=printable(source))


def fault(what: str, source: str) -> Evidence:
    """Return evidence that speaks against it."""
    return Evidence(holds=False, what=printable(what), source=printable(source))


def verdict_of(evidence: Iterable[Evidence]) -> Verdict:
    """Return what follows from evidence: one fault fails an item, and so does having nothing to go by."""
    found = list(evidence)
    if not found or not all(each.holds for each in found):
        return Verdict.FAIL
    return Verdict.PERSON if any(each.person for each in found) else Verdict.PASS
