"""The exercises of lesson certificate-authority where there is no answer, or no broker; answers are in `tests/answers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.certificate_authority import NAMES, empty_workshop, make_specimens
from labkit.errors import NameRefusedError
from labkit.pki import Store, flawed
from labkit.pki.names import device_id
from labkit.scenarios import mutual_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto

pytestmark = pytest.mark.broker


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("certificate-authority", workspace=tmp_path / "w")
    yield opened
    opened.close()


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, every exercise is not attempted."""
    assert {check.run(lab).status for check in find("certificate-authority").checks} == {"not-attempted"}


@pytest.mark.parametrize(
    "case", [case for case in NAMES if len(case.args[0]) == 1], ids=lambda case: case.about
)
def test_the_exercise_says_what_the_library_says(case: object) -> None:
    """What the exercise asks a rule to say of a name is what the grammar of the library does with it."""
    try:
        device_id(case.args[0][0])  # type: ignore[attr-defined] # a Case
        verdict = "ok"
    except NameRefusedError as error:
        verdict = "reserved" if error.rule == "reserved" else "grammar"
    assert case.wanted == verdict  # type: ignore[attr-defined]


def test_a_guest_needs_a_broker_that_turns_others_away(lab: Lab) -> None:
    """A flawed guest proves nothing where no broker runs, or one that asks for no certificate."""
    store = Store(lab.workspace)
    store.save_intruder("welcome", flawed.no_purpose(store.authority(), "sensor-001"))
    check = find("certificate-authority").checks[2]
    assert "no-broker" == check.run(lab).fault
    with mutual_tls(store, require_certificate=False):
        assert "other-broker" == check.run(lab).fault


def test_each_specimen_has_its_fault(lab: Lab) -> None:
    """The specimens carry the names that the text speaks of."""
    names = {label: each.subject.rfc4514_string() for label, each in make_specimens(lab).items()}
    assert ["good", "two", "slash", "admin", "line feed"] == list(names)
    assert "commands" in names["slash"]


def test_the_workshop_is_empty_each_time(lab: Lab) -> None:
    """What an earlier run left in the workshop is gone."""
    first = empty_workshop(lab)
    first.write("root/ca.crt", "old")
    assert list(empty_workshop(lab).path("root").iterdir()) == []
