"""Exercise security-audit: what counts as true of a plant is what an audit of it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.audit import audit
from labkit.course.exercises import find
from labkit.course.exercises.security_audit_plant import as_found, before, changed, laid_out, put_in
from labkit.course.work import Work

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto

pytestmark = pytest.mark.broker
EXERCISE = find("security-audit")


def truth_of(student: str, folder: Path) -> None:
    """Stage a student's plant, and hold an audit against what follows from its faults."""
    with Work(EXERCISE, folder, student) as work, as_found(work) as plant:
        found = {judged.item.id: judged.verdict for judged in audit(plant.target).judged}
        assert before(work.variant) == found
        files = laid_out(plant)
        assert [] == changed(files, files)
        put_in(plant, files, [])


@pytest.mark.slow(share=0.1)
@pytest.mark.parametrize("student", ["grace", "alan", "edsger", "barbara", "donald", "radia"])
def test_the_truth_is_what_an_audit_finds(mosquitto: Mosquitto, tmp_path: Path, student: str) -> None:
    """The verdicts that marks are held against, for plants with other faults; ada's is in the whole notebook's test."""
    truth_of(student, tmp_path)


@pytest.mark.parametrize("number", range(30))
def test_every_plant_can_be_mended_from_its_files(number: int) -> None:
    """Five of the faults lie in files that can be changed, and more than three items fail for them."""
    variant = EXERCISE.variant(f"student-{number}")
    failing = [item for item, verdict in before(variant).items() if verdict == "fail"]
    assert len(variant.faults) == 8
    assert 6 <= len(failing) <= 14
    assert {"access-1", "monitoring-2", "communication-4"} & set(failing) >= {"access-1", "monitoring-2"}
