"""The checklist: 27 items, each with a rule, a row of OWASP's list, and a way to mend it."""

from __future__ import annotations

from collections import Counter

from labkit.audit import ITEMS, MISTAKES, PARTS
from labkit.audit.checklist import SECTIONS
from labkit.audit.rules import RULES

NUMBERS = {"communication": 6, "identity": 4, "firmware": 5, "network": 4, "access": 4, "monitoring": 4}


def test_there_are_twenty_seven_items() -> None:
    """The items are numbered through in each section, and there are 27."""
    wanted = [f"{section}-{n}" for section, most in NUMBERS.items() for n in range(1, most + 1)]
    assert (27, wanted) == (len(ITEMS), [item.id for item in ITEMS])
    assert list(SECTIONS) == list(NUMBERS)


def test_each_item_has_a_rule() -> None:
    """Items and rules are the same."""
    assert [item.id for item in ITEMS] == list(RULES)


def test_each_item_is_mapped() -> None:
    """Each item serves a row of the OWASP IoT Top 10, speaks of a part of a target, and says how to mend it."""
    rows = {f"I{number}" for number in range(1, 11)}
    for item in ITEMS:
        assert item.owasp, item.id
        assert set(item.owasp) <= rows
        assert item.scope <= set(PARTS), item.id
        assert len(item.remedy.split()) >= 20, item.id
        assert len(item.steps) >= 2, item.id
    assert rows == {row for item in ITEMS for row in item.owasp}


def test_each_mistake_is_found_by_an_item() -> None:
    """Each of the six common mistakes is looked for by a rule."""
    assert set(MISTAKES) == {item.mistake for item in ITEMS if item.mistake}


def test_few_items_need_a_person() -> None:
    """At most four items can't be judged by a machine."""
    assert ["network-1", "monitoring-4"] == [item.id for item in ITEMS if item.person]


def test_no_item_is_written_twice() -> None:
    """No two items ask the same."""
    assert {1} == set(Counter(item.asks for item in ITEMS).values())
