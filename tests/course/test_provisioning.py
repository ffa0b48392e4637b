"""What lesson provisioning shows of its plant; right and wrong answers to its exercises are in tests/answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.provisioning import CLONED, PLANT, race_for_tokens, registry_rows
from labkit.errors import RefusedError
from labkit.provisioning.client import renew
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.scenarios.separate import separate_authority

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    """Before anything was run, all exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in range(1, 6)}


# --- one token, once ----------------------------------------------------------------------------------------------


def test_a_stub_leaves_nothing(lab: Lab) -> None:
    """A function that raises ends the race at once, and the exercise is not attempted."""

    def stub(*_: Any) -> bool:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        race_for_tokens(lab, stub)
    assert "not-attempted" == check(lab, 1).status


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


def test_the_registry_is_a_table(lab: Lab, office: ProvisioningSite) -> None:
    """The lesson's table has a row a device, with the newest certificate's status."""
    assert [(CLONED, "quarantined", "", "ended")] == [row[:4] for row in registry_rows(lab)]
