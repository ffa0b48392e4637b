"""The node on a chip's flash: the power is cut at every flash operation, page programs and erasures included."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from labkit.board import Machine, NorFlash, PowerCut, boot
from labkit.clock import Deadline
from labkit.firmware import NvsEntry, build_image
from labkit.firmware.partitions import COURSE_TABLE
from labkit.node import layout
from labkit.node.application import Options, application
from labkit.node.codes import parse_line
from labkit.scenarios import device_files
from tests.node.test_enrolment import broker
from tests.provisioning.conftest import office
from tests.simulators.flashed_board import Flashed, app

if TYPE_CHECKING:
    from labkit.scenarios import Site
    from labkit.scenarios.provisioning import ProvisioningSite

__all__ = ["broker", "office"]

pytestmark = pytest.mark.broker

FAST = Options(speed=60)


def shipped(site: Site, service: ProvisioningSite, device: str) -> Flashed:
    """Return a board with firmware, and a token for its first boot."""
    part = COURSE_TABLE.find(layout.PARTITION)
    assert part
    values = device_files.first_boot_values(site, device, service.token(device), service.service.url)
    board = Flashed().fill(app("esp32", "1.0.0"))
    board.write(part.offset, build_image(values, size=part.size), encrypted=False)
    return board


def run(board: Flashed, until: str, *, cut_after: int | None = None) -> tuple[list[NvsEntry], int, bool]:
    """Give a board power until its node says a word or the power goes; return what NVS holds, and what happened."""
    board.flash = NorFlash(board.flash.image())
    started = boot(board.flash, board.efuses)
    board.flash.operations, board.flash.cut_after = 0, cut_after
    stopping, said, cut = threading.Event(), threading.Event(), threading.Event()

    def hear(line: str) -> None:
        found = parse_line(line)
        if found is not None and found[0] == until:
            said.set()

    machine = Machine(board.flash, board.efuses, started, say=hear, stopping=stopping, restart=lambda _: None)

    def work() -> None:
        try:
            application(FAST)(machine)
        except PowerCut:
            cut.set()

    thread = threading.Thread(target=work)
    thread.start()
    deadline = Deadline(20)
    while not said.is_set() and not cut.is_set() and not deadline.passed:
        deadline.pause()
    stopping.set()
    thread.join(20)
    assert not deadline.passed, f"the node never said {until}"
    board.flash.cut_after = None
    return machine.nvs(layout.PARTITION), board.flash.operations, cut.is_set()


@pytest.mark.slow
def test_power_may_go_at_any_flash_operation_of_a_first_boot(broker: Site, office: ProvisioningSite) -> None:
    """Whatever was in flight, the next start ends with one identity and no token: first and last operations, and a sample between."""
    _, total, _ = run(shipped(broker, office, "sensor-400"), "telemetry-sent")
    chance = random.Random(6)
    cuts = sorted({0, 1, 2, total - 2, total - 1, *chance.sample(range(3, total - 2), 9)})
    for number, cut_after in enumerate(cuts, start=401):
        device = f"sensor-{number}"
        board = shipped(broker, office, device)
        run(board, "telemetry-sent", cut_after=cut_after)
        values, _, again = run(board, "mqtt-connected")
        held = {entry.key for entry in values}
        assert (False, False, True) == (again, layout.TOKEN in held, {"key", "chain"} <= held), cut_after
        assert 1 == len(office.dossier(device).certificates), cut_after


def test_a_board_whose_values_are_gone_says_so(broker: Site, office: ProvisioningSite) -> None:
    """An erased partition is no identity: the node says what is missing, and writes nothing."""
    board = shipped(broker, office, "sensor-450")
    part = COURSE_TABLE.find(layout.PARTITION)
    assert part
    board.flash.erase(part.offset, part.size)
    values, operations, _ = run(board, "nvs-missing")
    assert ([], 0) == (values, operations)
