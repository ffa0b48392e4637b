"""The plant's model: every question of STRIDE is answered, and everything that is named is there, in both directions."""

from __future__ import annotations

import dataclasses

import pytest

from labkit.audit.checklist import ITEMS
from labkit.course.lessons import find, slugs
from labkit.threats import AUDIT_ITEMS, DISMISSALS, MIRAI, PLANT, ROWS, THREATS, TREES, Kind, Stride, answers
from labkit.threats.model import PER_ELEMENT, Boundary, DataFlow, Element, EntryPoint, Model
from labkit.threats.stride import Dismissal, strays

CLAIMS = {f"{slug}:{claim.id}" for slug in slugs() for claim in find(slug).claims}
CHECKS = {check.id for slug in slugs() for check in find(slug).checks}


def test_every_question_has_an_answer() -> None:
    """For each part of the plant and each kind of STRIDE there is a threat, or a reason why there is none."""
    found = answers(PLANT, THREATS, DISMISSALS)
    assert [] == [(each.element, each.kind) for each in found if not each.given]
    assert len(found) == len(list(PLANT.candidates())) > 100


def test_a_question_without_an_answer_is_noticed() -> None:
    """Without a threat that is the only answer to something, something is without an answer."""
    rest = [threat for threat in THREATS if threat.id != "false-time"]
    assert [("time", Stride.TAMPERING)] == [
        (each.element, each.kind) for each in answers(PLANT, rest, DISMISSALS) if not each.given
    ]


def test_no_dismissal_is_idle() -> None:
    """A dismissal is of a question that is asked, and that no threat answers."""
    named = [(e, d.kind) for d in DISMISSALS for e in d.elements]
    answered = {(each.element, each.kind) for each in answers(PLANT, THREATS, ()) if each.given}
    assert (set(), len(named)) == (answered & set(named), len(set(named)))


def test_nothing_is_named_that_is_not_there() -> None:
    """Threats name parts, assets, actors and entry points of the plant, and each of those is named by one."""
    assert [] == strays(PLANT, THREATS, DISMISSALS)
    assert {each.id for each in PLANT.assets} == {asset for threat in THREATS for asset in threat.assets}
    assert {each.id for each in PLANT.actors} == {threat.actor for threat in THREATS}
    used = {threat.entry for threat in THREATS} - {""}
    assert {each.id for each in PLANT.entry_points} - used == {"factory-line"}  # insiders need no way in
    assert len({threat.id for threat in THREATS}) == len(THREATS)


def test_strays_are_named() -> None:
    """A threat of a part, an asset, an actor or a kind that is not there is told, and so is an idle dismissal."""
    odd = dataclasses.replace(
        THREATS[0], elements=("nowhere",), assets=("nothing",), actor="nobody", kinds=(Stride.SPOOFING,)
    )
    found = strays(PLANT, [odd], [Dismissal(Stride.SPOOFING, ("flash",), "")])
    assert [
        "sniffed-password: no part 'nowhere'",
        "sniffed-password: no asset 'nothing'",
        "sniffed-password: no actor 'nobody', or no entry point 'port-1883'",
        "sniffed-password: answers no question",
        "dismissal of spoofing: not asked of flash",
    ] == found


def test_evidence_resolves() -> None:
    """Each experiment that closes a threat is a claim of a lesson; each lesson that is there closes something."""
    named = {each for threat in THREATS for each in threat.evidence}
    assert set() == named - CLAIMS
    assert set(slugs()) == {lesson for threat in THREATS for lesson in threat.lessons}


def test_exercises_resolve_in_both_directions() -> None:
    """Each exercise of a row is an exercise of a lesson, and each exercise of a lesson belongs to a row."""
    assert {check for row in ROWS for check in row.checks} == CHECKS


def test_audit_items_resolve_in_both_directions() -> None:
    """The 27 items are those of the checklist, each serves the rows that the checklist says, and each has a threat."""
    assert tuple(item.id for item in ITEMS) == AUDIT_ITEMS
    assert {item.id: set(item.owasp) for item in ITEMS} == {
        item: {row.id for row in ROWS if item in row.audit} for item in AUDIT_ITEMS
    }
    assert set(AUDIT_ITEMS) == {item for threat in THREATS for item in threat.audit}


def test_no_row_is_empty() -> None:
    """There are ten rows, and each has threats, exercises, items of the audit, and lessons."""
    assert [f"I{number}" for number in range(1, 11)] == [row.id for row in ROWS]
    assert all(row.threats and row.checks and row.audit and row.lessons and row.seen for row in ROWS)
    assert {row.id for row in ROWS} == {row for threat in THREATS for row in threat.owasp}


def test_scores_get_better() -> None:
    """Dealing with a threat makes it less likely, and every threat has something that looks for it."""
    assert [] == [threat.id for threat in THREATS if not 1 <= threat.residual < threat.likelihood <= 5]
    assert [] == [threat.id for threat in THREATS if not (threat.audit and 1 <= threat.impact <= 5)]


def test_trees_speak_of_threats() -> None:
    """Each leaf of each attack tree is a threat of the plant."""
    leaves = {leaf.threat for tree in [*TREES.values(), MIRAI] for leaf in tree.leaves()}
    assert leaves <= {threat.id for threat in THREATS}


def test_what_crosses_a_border() -> None:
    """As it was found nothing that crosses a border is protected all the way; as built, everything but the time is."""
    assert {flow.id for flow in PLANT.crossings()} == {flow.id for flow in PLANT.exposed()}
    assert ["time"] == [flow.id for flow in PLANT.exposed(after=True)]
    assert "storing" not in {flow.id for flow in PLANT.crossings()}


def test_a_log_can_be_denied() -> None:
    """A store that keeps who did what is asked about repudiation, another is not."""
    asked = set(PLANT.candidates())
    assert ("registry-store", Stride.REPUDIATION) in asked
    assert ("readings-store", Stride.REPUDIATION) not in asked
    assert 6 == len(PER_ELEMENT[Kind.PROCESS])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"elements": (*PLANT.elements, Element("sensor", "again", Kind.PROCESS, "field"))}, "two parts"),
        ({"flows": (DataFlow("x", "sensor", "nowhere", "", ""),)}, "x does not go"),
        ({"flows": (DataFlow("x", "sensor", "sensor", "", ""),)}, "x does not go"),
        ({"boundaries": (Boundary("field", "", ""),)}, "lies in no boundary"),
        ({"entry_points": (EntryPoint("x", "", "sensor", ("nobody",)),)}, "entry point x"),
    ],
)
def test_a_model_fits_together(change: dict[str, object], words: str) -> None:
    """A model whose parts don't fit together is refused, with what is wrong."""
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(PLANT, **change)
    with pytest.raises(ValueError, match="no element"):
        PLANT.element("nowhere")


def test_an_empty_model_asks_nothing() -> None:
    """Without elements there are no questions."""
    assert [] == list(Model("empty", (), (), (), (), ()).candidates())
