"""The exercises of lesson provisioning: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.provisioning import CLONED, PLANT, race_for_tokens, registry_rows
from labkit.errors import RefusedError
from labkit.provisioning.client import enrol, renew
from labkit.provisioning.slots import Slots
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.scenarios.separate import separate_authority

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("provisioning", workspace=tmp_path / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("provisioning").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was run, both exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in (1, 2)}


# --- one token, once ----------------------------------------------------------------------------------------------


def right(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Return the right answer."""
    return (
        db.execute(
            "UPDATE tokens SET used_by = ? WHERE token = ? AND used_by IS NULL AND ends_at > ?",
            (who, token, now),
        ).rowcount
        == 1
    )


def look_first(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Look, and then change: what is printed."""
    row = db.execute("SELECT used_by, ends_at FROM tokens WHERE token = ?", (token,)).fetchone()
    if row is None or row[0] is not None or row[1] <= now:
        return False
    db.execute("UPDATE tokens SET used_by = ? WHERE token = ?", (who, token))
    return True


def for_ever(db: sqlite3.Connection, token: str, who: str, _: float) -> bool:
    """Forget the end."""
    return (
        db.execute("UPDATE tokens SET used_by = ? WHERE token = ? AND used_by IS NULL", (who, token)).rowcount
        == 1
    )


def anonymous(db: sqlite3.Connection, token: str, _: str, now: float) -> bool:
    """Forget who it was."""
    done = db.execute(
        "UPDATE tokens SET used_by = 'somebody' WHERE token = ? AND used_by IS NULL AND ends_at > ?",
        (token, now),
    )
    return done.rowcount == 1


def nobody(*_: Any) -> bool:
    """Refuse everybody."""
    return False


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (right, "passed", "30 winners"),
        (look_first, "failed", "more than one client"),
        (for_ever, "failed", "'expired'"),
        (anonymous, "failed", "other clients"),
        (nobody, "failed", "nobody was given"),
    ],
)
def test_tokens_are_counted(lab: Lab, answer: Callable[..., bool], status: str, word: str) -> None:
    """The right statement passes; each way of leaving something out is told what came of it."""
    race_for_tokens(lab, answer)
    result = check(lab, 1)
    assert (status, True) == (result.status, word in result.observed), result


def test_a_stub_leaves_nothing(lab: Lab) -> None:
    """A function that raises ends the race at once, and the exercise is not attempted."""

    def stub(*_: Any) -> bool:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        race_for_tokens(lab, stub)
    assert "not-attempted" == check(lab, 1).status


def test_a_file_that_is_no_database(lab: Lab) -> None:
    """Garbage in the answer's place is told so."""
    lab.workspace.write("answers/provisioning/tokens.db", b"no database at all" * 100)
    assert ("failed", True) == ((result := check(lab, 1)).status, "can't be read" in result.observed)


# --- the way back -------------------------------------------------------------------------------------------------


@pytest.fixture
def office(lab: Lab) -> Iterator[ProvisioningSite]:
    """Return the plant's service, after the alarm."""
    plant = separate_authority(lab.workspace, PLANT)
    with provisioning_site(plant) as running:
        victim = running.enrolled(CLONED)
        old = victim.current
        assert old
        running.act(CLONED, "renewal")
        running.anyone.as_device(old).renew(_request())
        with pytest.raises(RefusedError):
            renew(running.anyone, victim)
        yield running


def _request() -> bytes:
    from labkit.pki import Key, make_request

    return make_request(Key.generate(), CLONED)


def by_the_book(office: ProvisioningSite) -> None:
    """Return the right answer."""
    office.act(CLONED, "release")
    enrol(office.anyone, office.new_board(CLONED), CLONED)


def only_released(office: ProvisioningSite) -> None:
    """Release, and forget that it has no certificate now."""
    office.act(CLONED, "release")


def elsewhere(office: ProvisioningSite) -> None:
    """Enrol something that is not the device."""
    office.act(CLONED, "release")
    board = Slots(office.store.workspace.path("scratch/other"))
    board.put_token(office.token(CLONED))
    enrol(office.anyone, board, CLONED)


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (lambda _: None, "not-attempted", ""),
        (by_the_book, "passed", "is back"),
        (only_released, "failed", "0 certificates"),
        (elsewhere, "failed", "store does not hold"),
    ],
)
def test_the_way_back(
    lab: Lab, office: ProvisioningSite, answer: Callable[[ProvisioningSite], None], status: str, word: str
) -> None:
    """Release, token and first boot pass; each half of it is told what is missing."""
    answer(office)
    result = check(lab, 2)
    assert (status, True) == (result.status, word in result.observed), result


def test_the_registry_is_a_table(lab: Lab, office: ProvisioningSite) -> None:
    """The lesson's table has a row a device, with the newest certificate's status."""
    assert [(CLONED, "quarantined", "", "ended")] == [row[:4] for row in registry_rows(lab)]
