"""The exercises of lesson firmware-signing: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from labkit.board.board_files import BoardFiles
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.firmware_signing import (
    attacks_table,
    cut_lanes,
    museum_of,
    soldered,
    vault_folder,
)
from labkit.course.lessons.firmware_signing_exercise import try_take
from labkit.scenarios.power_cuts import Cut, Sweep
from labkit.scenarios.releases import ReleaseHouse
from labkit.scenarios.signing_desk import SigningDesk
from labkit.workspace import Workspace
from tests.answers.firmware_signing import LOCKED, vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    del mosquitto
    opened = open_lab("firmware-signing", workspace=tmp_path / "w")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> ReleaseHouse:
    """Return a house with keys."""
    return ReleaseHouse(Workspace.open(tmp_path_factory.mktemp("house") / "w"))


@pytest.fixture(scope="module")
def image(house: ReleaseHouse) -> bytes:
    """Return a signed application."""
    return house.image("1.0.0")


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("firmware-signing").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was run, no exercise is attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in range(1, 6)}


# --- a megabyte does not fit --------------------------------------------------------------------------------------


def test_a_stub_leaves_nothing(lab: Lab) -> None:
    """A function that raises is not attempted."""

    def stub(*_: Any) -> str:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        try_take(lab, stub)
    assert "not-attempted" == check(lab, 1).status


# --- the vault ----------------------------------------------------------------------------------------------------


def test_a_new_board_is_not_attempted(lab: Lab, house: ReleaseHouse) -> None:
    """A blank board that nobody has touched is not attempted."""
    BoardFiles(vault_folder(lab)).create(house.chip)
    assert "not-attempted" == check(lab, 2).status


def test_judging_leaves_the_vault_as_it_is(lab: Lab) -> None:
    """The check tries an unsigned image on a copy; the files of the board stay as they were, to the byte."""
    vault(**LOCKED)(lab)
    before = [path.read_bytes() for path in sorted(vault_folder(lab).glob("*.bin"))]
    assert "passed" == check(lab, 2).status
    assert before == [path.read_bytes() for path in sorted(vault_folder(lab).glob("*.bin"))]


# --- what the lesson shows ----------------------------------------------------------------------------------------


def test_both_columns(house: ReleaseHouse, image: bytes) -> None:
    """The table has seven attacks, three of which the printed verifier takes."""
    rows = attacks_table(museum_of(house, house.image("1.4.2"), image)).rows
    assert (7, 3, 0) == (
        len(rows),
        sum("accepted" in str(row[1]) for row in rows),
        sum("accepted" in str(row[2]) for row in rows),
    )


def test_old_images_until_a_fuse_is_burned(house: ReleaseHouse) -> None:
    """The old image boots from a soldered flash until a newer secure version has called itself valid on that chip."""
    old, new = house.image("1.3.0"), house.image("1.9.0", secure_version=1)
    before, newest, after = soldered(house, old, new, old)
    assert (True, True, "secure-version") == (before.accepted, newest.accepted, after.reason)


def test_the_figure_has_every_state() -> None:
    """The lanes of the figure are those of the sweep, for both looks at it."""
    sweep = Sweep((Cut(0, "write the image", "the old image runs", "the new one, confirmed", ""),), "")
    assert ["the old image runs"] == list(cut_lanes(sweep).steps)
    assert ["the new one, confirmed"] == list(cut_lanes(sweep, finally_=True).steps)


@pytest.mark.tool
def test_the_desk_asks_the_real_openssl(tmp_path: Path, openssl: Path) -> None:
    """A signature that openssl made is verified, one of another file is not, and the command is shown."""
    del openssl
    desk = SigningDesk(tmp_path / "desk")
    desk.write("a", b"one")
    desk.write("b", b"two")
    desk.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem")
    desk.openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    desk.openssl("dgst", "-sha256", "-sign", "key.pem", "-out", "a.sig", "a")
    assert desk.verdict("a", "a.sig", "public.pem").accepted
    refused = desk.verdict("b", "a.sig", "public.pem")
    assert ("signature-wrong", True) == (refused.reason, "Verification failure" in refused.detail["found"])
