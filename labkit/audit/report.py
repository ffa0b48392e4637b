"""An audit's report: every item with its verdict and evidence; what changed from one to the next."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.audit.checklist import BY_ID, ITEMS, Item
from labkit.audit.evidence import Evidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = 1
"""Version of the report in JSON."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One item and what became of it.

    Attributes:
        item: The item.
        verdict: The verdict.
        evidence: What it rests on; faults first.
    """

    item: Item
    verdict: Verdict
    evidence: tuple[Evidence, ...]

    @property
    def faults(self) -> tuple[Evidence, ...]:
        """What speaks against it."""
        return tuple(each for each in self.evidence if not each.holds)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "id": self.item.id,
            "asks": self.item.asks,
            "owasp": list(self.item.owasp),
            "verdict": self.verdict.value,
            "evidence": [each.to_json() for each in self.evidence],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """An audit.

    Attributes:
        title: What was audited.
        at: When.
        judged: Its items, in the order of the checklist.
        seconds: How long it took.
    """

    title: str
    at: dt.datetime
    judged: tuple[Judged, ...]
    seconds: float = 0.0

    def __getitem__(self, item_id: str) -> Judged:
        """Return what became of an item.

        Raises:
            KeyError: It was not audited.
        """
        for each in self.judged:
            if each.item.id == item_id:
                return each
        raise KeyError(item_id)

    def failed(self) -> tuple[str, ...]:
        """Return the ids of items that failed."""
        return tuple(each.item.id for each in self.judged if each.verdict is Verdict.FAIL)

    def counts(self) -> Mapping[Verdict, int]:
        """Return how many items have which verdict."""
        found = Counter(each.verdict for each in self.judged)
        return {verdict: found[verdict] for verdict in Verdict}

    def mistakes(self) -> Mapping[str, tuple[Judged, ...]]:
        """Return the common mistakes that were found, with the items that found them."""
        found: dict[str, tuple[Judged, ...]] = {}
        for each in self.judged:
            if each.verdict is Verdict.FAIL and each.item.mistake:
                found[each.item.mistake] = (*found.get(each.item.mistake, ()), each)
        return found

    def summary(self) -> str:
        """Return the counts in a sentence."""
        words = [f"{number} {verdict.value}" for verdict, number in self.counts().items() if number]
        return f"{len(self.judged)} items: {', '.join(words)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "format": FORMAT,
            "title": self.title,
            "at": self.at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "items": [each.to_json() for each in self.judged],
        }

    @classmethod
    def from_json(cls, value: Any) -> Report:
        """Return a report from plain values; text of items is that of today's checklist.

        Raises:
            ValueError: The value is no report of this format.
        """
        try:
            if value["format"] != FORMAT:
                text = f"format {value['format']!r}"
                raise ValueError(text)
            judged = tuple(
                Judged(
                    BY_ID[each["id"]],
                    Verdict(each["verdict"]),
                    tuple(Evidence.from_json(found) for found in each["evidence"]),
                )
                for each in value["items"]
            )
            at = dt.datetime.fromisoformat(value["at"])
            return cls(str(value["title"]), at, judged, float(value["seconds"]))
        except (KeyError, TypeError) as error:
            text = f"it lacks or mistakes {error}"
            raise ValueError(text) from error


@dataclass(frozen=True, slots=True)
class Change:
    """One item before and after.

    Attributes:
        item: The item.
        before: Its verdict before; None if it was not audited.
        after: Its verdict after.
        mended: Faults that are gone.
        new: Faults that were not there.
    """

    item: Item
    before: Verdict | None
    after: Verdict | None
    mended: tuple[Evidence, ...]
    new: tuple[Evidence, ...]

    @property
    def kind(self) -> str:
        """`mended`, `broken`, `better` (fewer faults, and still failing), `worse`, `same`, or `not compared`."""
        if self.before is None or self.after is None:
            return "not compared"
        if self.before != self.after:
            if self.after is Verdict.FAIL:
                return "broken"
            if self.before is Verdict.FAIL:
                return "mended"
        if self.mended and not self.new:
            return "better"
        return "worse" if self.new and not self.mended else "same"


def compare(before: Report, after: Report) -> tuple[Change, ...]:
    """Hold two reports against each other, item by item, in the order of the checklist."""
    old, new = ({each.item.id: each for each in report.judged} for report in (before, after))
    found = []
    for item in ITEMS:
        was, now = old.get(item.id), new.get(item.id)
        if was is None and now is None:
            continue
        gone = _less(was.faults if was else (), now.faults if now else ())
        fresh = _less(now.faults if now else (), was.faults if was else ())
        found.append(Change(item, was.verdict if was else None, now.verdict if now else None, gone, fresh))
    return tuple(found)


def _less(these: Sequence[Evidence], those: Sequence[Evidence]) -> tuple[Evidence, ...]:
    known = {each.what for each in those}
    return tuple(each for each in these if each.what not in known)
