"""Rules that end with a person: there is a dated record that somebody has reviewed, and it is recent."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.audit.facts import Facts

    Reviewed = Callable[[str], Iterator[Evidence]]

YEAR = dt.timedelta(days=366)
LEAST_WORDS = 60
"""Fewer words are no plan."""


def reviewed(facts: Facts, name: str) -> Iterator[Evidence]:
    """Ask for a record: it exists, has a date and a reader other than nobody, is recent, and says something."""
    record = facts.record(name)
    if record is None:
        yield fault(f"there is no record {name}.md", "the folder of documents")
        return
    today = facts.now.date()
    if record.problem:
        yield fault(record.problem, record.place)
    elif record.dated is None or record.reviewed is None or not record.reviewer:
        yield fault("it does not say when it was written, and who reviewed it when", record.place)
    elif record.reviewed > today or record.reviewed < record.dated:
        yield fault(f"it was changed on {record.dated} and reviewed on {record.reviewed}", record.place)
    elif today - record.reviewed > YEAR:
        yield fault(f"it was last reviewed on {record.reviewed}", record.place)
    elif record.words < LEAST_WORDS:
        yield fault(f"it has {record.words} words", record.place)
    else:
        told = f"dated {record.dated}, reviewed by {record.reviewer} on {record.reviewed}"
        yield Evidence(holds=True, what=told, source=record.place, person=True)
