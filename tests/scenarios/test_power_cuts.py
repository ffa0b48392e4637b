"""labkit.scenarios.power_cuts: whatever moment the power goes at, what runs afterwards was signed, and something runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.board.efuse import Efuses
from labkit.board.nor_flash import NorFlash
from labkit.firmware.partitions import COURSE_TABLE
from labkit.firmware.tools import run_tool
from labkit.scenarios.power_cuts import DARK, NEW, OLD, TRIAL, UNSIGNED, CutBench, Sweep
from labkit.scenarios.releases import MAC, ReleaseHouse, Shelf
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> ReleaseHouse:
    """Return a house with keys."""
    return ReleaseHouse(Workspace.open(tmp_path_factory.mktemp("house") / "w"))


@pytest.fixture(scope="module")
def bench(house: ReleaseHouse) -> CutBench:
    """Return a board with Secure Boot on, and an update for it."""
    return CutBench.of(house, house.image("1.4.2"), house.image("1.5.0"))


def test_the_power_cut_at_every_operation(bench: CutBench) -> None:
    """Each of more than 200 points ends with a signed image that runs; left alone, nearly all end with the new one."""
    sweep = bench.sweep()
    assert [number for number, _ in enumerate(sweep.cuts)] == [cut.operation for cut in sweep.cuts]
    assert len(sweep.cuts) >= 200
    assert NEW == sweep.uncut
    met = sweep.count()
    assert (0, 0) == (met[UNSIGNED], met[DARK])
    assert {OLD, TRIAL, NEW} == set(met)
    assert sweep.outcome.accepted
    # A trial that the power ends is taken for a failure: the price of going back at all.
    failed = [cut for cut in sweep.cuts if cut.finally_ != NEW]
    assert {"version-rolled-back"} == {cut.code for cut in failed}
    assert {"first boot", "call it valid"} == {cut.phase for cut in failed}
    assert len(failed) <= 3
    assert ["write the image", "choose the slot", "note the trial", "first boot", "call it valid", "forget the note"] == [
        *dict.fromkeys(cut.phase for cut in sweep.cuts)
    ]  # fmt: skip


@pytest.mark.tool
def test_espsecure_vouches_for_both_images(house: ReleaseHouse, bench: CutBench, tmp_path: Path) -> None:
    """What the sweep calls signed, the real espsecure calls so; one changed bit and it does not."""
    for image, code in ((bench.old, 0), (bench.new, 0), (bench.new[:50] + b"\xaa" + bench.new[51:], 2)):
        (tmp_path / "image").write_bytes(image)
        words = ("verify-signature", "--version", "2", "--keyfile", house.boot_key(), tmp_path / "image")
        assert code == run_tool("espsecure", *words, check=False).returncode


@pytest.mark.parametrize(("secure_boot", "state"), [(False, UNSIGNED), (True, DARK)])
def test_the_sweep_can_see_what_is_unsigned(bench: CutBench, *, secure_boot: bool, state: str) -> None:
    """The control: a stranger's bytes in the slot are seen as unsigned where the chip boots them, and dark where not."""
    from labkit.firmware.image import repair

    changed = bytearray(bench.old)
    at = changed.index(b"course-node")
    changed[at] = ord("C")
    flash = NorFlash(bench.flash)
    offset = COURSE_TABLE.ota_slots[0].offset
    flash.erase(offset, 0x20000)
    flash.program(offset, repair(bytes(changed)))
    efuses = bench.efuses if secure_boot else Efuses.fresh(bench.efuses.chip, mac=MAC)
    cut = CutBench(flash.image(), efuses, Shelf(), bench.old, bench.new).cut(0)
    assert state == cut.after
    reason = {UNSIGNED: "unsigned", DARK: "dark"}[state]
    assert reason == Sweep((cut,), cut.after).outcome.reason
