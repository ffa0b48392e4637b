"""The exercises of lesson audit: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from labkit.audit import BY_ID, MISTAKES, audit
from labkit.audit.dependencies import ADVISORIES, audit_lock, older, read_lock
from labkit.audit.privacy import SAMPLES, judge, minimise
from labkit.broker import DEVICE_ACL
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import audit as lesson
from labkit.course.lessons import find, slugs
from labkit.scenarios.audited_plant import Plant, weak_plant
from labkit.scenarios.plant_faults import choose_faults
from tests.answers.audit import PLANS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.audit import Report
    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def lab(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("audit", workspace=tmp_path_factory.mktemp("lab") / "w")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def plant(lab: Lab) -> Iterator[Plant]:
    """Return the lesson's plant."""
    with weak_plant(lab.workspace, lesson.SEED) as running:
        yield running


@pytest.fixture(scope="module")
def before(plant: Plant) -> Report:
    """Return the audit of the weak plant."""
    return audit(plant.target)


def make_weak(plant: Plant) -> None:
    """Make the plant as weak as it was, after something was mended in it."""
    plant.plant({"never-renewed"})
    plant.plant(choose_faults(lesson.SEED))


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("audit").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was run, no exercise is attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in range(1, 6)}


def test_the_six_mistakes_have_their_finders(before: Report) -> None:
    """In the lesson's plant each mistake is found by the item that the lesson names."""
    assert set(MISTAKES) == set(lesson.FINDERS) == set(before.mistakes())
    for mistake, item in lesson.FINDERS.items():
        assert mistake == BY_ID[item].mistake
        assert item in before.failed()


# --- exercise 1 ---------------------------------------------------------------------------------------------------


def three(plant: Plant) -> None:
    """Mend three things."""
    ini = plant.folder / "grafana.ini"
    ini.write_text(ini.read_text().replace("password = admin", "password = correct-horse-battery"))
    config = replace(plant.config, listeners=plant.config.listeners[:1], allow_anonymous=False)
    plant.restart_broker(config, DEVICE_ACL)


def one(plant: Plant) -> None:
    """Mend one thing."""
    ini = plant.folder / "grafana.ini"
    ini.write_text(ini.read_text().replace("password = admin", "password = correct-horse-battery"))


def other_password(plant: Plant) -> None:
    """Choose another password that everybody knows."""
    ini = plant.folder / "grafana.ini"
    ini.write_text(ini.read_text().replace("password = admin", "password = password"))


def at_a_price(plant: Plant) -> None:
    """Mend three things, and let the log fall silent."""
    three(plant)
    plant.restart_broker(replace(plant.config, log_type="information"))


def test_three_mended_things_pass(lab: Lab, plant: Plant, before: Report) -> None:
    """A plant that was mended in three places passes, each with its plan."""
    lesson.remediate(lab, plant, before, three, PLANS)
    make_weak(plant)
    assert "passed" == check(lab, 1).status


@pytest.mark.parametrize(
    ("mend", "word"),
    [
        (one, "1 items"),
        pytest.param(other_password, "0 items", marks=pytest.mark.slow),
        pytest.param(at_a_price, "monitoring-1 did not fail before", marks=pytest.mark.slow),
    ],
)
def test_mending_is_judged_by_what_it_did(
    lab: Lab, plant: Plant, before: Report, mend: Callable[[Plant], None], word: str
) -> None:
    """Too few mended items, none, or a price for it are told."""
    lesson.remediate(lab, plant, before, mend, PLANS)
    make_weak(plant)
    result = check(lab, 1)
    assert ("failed", True) == (result.status, word in result.observed), result


def test_a_stub_leaves_nothing(lab: Lab, plant: Plant, before: Report) -> None:
    """A function that raises leaves no report, and the exercise is not attempted."""

    def stub(_: Plant) -> None:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        lesson.remediate(lab, plant, before, stub, {})
    assert "not-attempted" == check(lab, 1).status


# --- exercise 2 ---------------------------------------------------------------------------------------------------


def test_our_own_twin_is_minimal() -> None:
    """Our minimise passes our judge for each reading, and NaN never leaves."""
    for sample in SAMPLES:
        assert [] == judge(sample, minimise(sample))
    assert "temperature" not in minimise(SAMPLES[2])


# --- exercise 3 ---------------------------------------------------------------------------------------------------


def test_our_own_lock_is_sound() -> None:
    """Every package of the course is pinned, has hashes, and has no hole that is on the list."""
    import datetime as dt

    text = lesson.lock_text()
    assert [] == audit_lock(text, today=dt.date(2025, 10, 1))
    assert len(read_lock(text)) > 100
    spoilt = text.replace("alembic==", "alembic>=", 1).replace("--hash=sha256:", "--hash=md5:", 1)
    assert {"not-pinned"} <= {found.rule for found in audit_lock(spoilt, today=dt.date(2025, 10, 1))}
    assert ["old-list"] == [found.rule for found in audit_lock(text, today=dt.date(2026, 10, 1))]


@pytest.mark.parametrize(
    ("version", "than", "wanted"),
    [
        ("1.9", "1.10", True),
        ("1.10", "1.9", False),
        ("2", "2.0", False),
        ("2.1.post1", "2.1", False),
        ("2.0rc1", "2.0", True),
        ("3+local", "2", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, than: str, wanted: bool) -> None:  # noqa: FBT001
    """Ten is more than nine; what is no row of numbers is looked at."""
    assert wanted is older(version, than)
    assert all(older("0", known.fixed) for known in ADVISORIES)


# --- the map --------------------------------------------------------------------------------------------------------


def test_the_map_has_each_lesson(lab: Lab) -> None:
    """Each lesson of the course but the first has a row, and the evidence is the reader's own."""
    rows = lesson.course_map(lab)
    assert set(slugs()) - {"start-here"} <= {row[3] for row in rows}
    assert "not run" in next(row[2] for row in rows if row[3] == "tls")
    lab.record.set("claims", "no-tls", value=True)
    assert "1 of 16 claims held" in next(row[2] for row in lesson.course_map(lab) if row[3] == "audit")


def test_garbage_on_the_shelf_is_told(lab: Lab) -> None:
    """Garbage where an answer should lie is told so, and raises nothing."""
    for number, name in ((1, "after.json"), (2, "payloads.json"), (3, "holes.json")):
        lab.workspace.write(f"{lesson.SHELF}/{name}", json.dumps("x") + "{")
        assert "failed" == check(lab, number).status
