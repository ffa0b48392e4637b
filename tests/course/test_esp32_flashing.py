"""What lesson esp32-flashing shows of a board and of clients; right and wrong answers are in tests/answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.esp32_flashing import (
    DEVICE,
    PAYLOADS,
    PLANT,
    agrees,
    listed,
    try_interval,
)
from labkit.course.lessons.esp32_flashing_clients import CALLS, clients
from labkit.scenarios.device_boot import Bench, device_bench
from labkit.scenarios.mutual_tls import mutual_tls
from labkit.scenarios.separate import separate_authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = [pytest.mark.broker, pytest.mark.tool]


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("esp32-flashing", workspace=tmp_path / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("esp32-flashing").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was run, all exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in range(1, 6)}


# --- a command is understood --------------------------------------------------------------------------------------


def right(payload: bytes) -> int:
    """Return the right answer."""
    asked = json.loads(payload) if len(payload) < 100 else None
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if type(seconds) is not int or not 5 <= seconds <= 86_400:
        raise ValueError
    return seconds


@pytest.fixture(scope="module")
def bench(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a board with the node on it."""
    from labkit.workspace import Workspace

    plant = separate_authority(Workspace.open(tmp_path_factory.mktemp("bench") / "w"), PLANT)
    with mutual_tls(plant) as site, device_bench(site, DEVICE) as made:
        made.make_firmware()
        made.make_identity()
        made.esptool("write-flash", *made.plan("node-1.0.0.bin"))
        made.console()
        yield made


def test_a_stub_leaves_nothing(lab: Lab, bench: Bench) -> None:
    """A function that raises NotImplementedError ends at once, and the exercise is not attempted."""

    def stub(_: bytes) -> int:
        raise NotImplementedError

    try_interval(lab, bench, right)
    with pytest.raises(NotImplementedError):
        try_interval(lab, bench, stub)
    assert "not-attempted" == check(lab, 1).status


def test_agreement_with_the_twin() -> None:
    """The right function agrees with the firmware's on every payload; a trusting one does not."""
    assert all(agrees(right, payload) for payload, _ in PAYLOADS)
    assert not agrees(lambda payload: int(json.loads(payload)["seconds"]), b'{"seconds": 0}')


def test_listed_values_hide_what_is_in_them(bench: Bench) -> None:
    """The table of values says how long a text is and not what it says."""
    rows = listed(bench.values())
    assert ("identity", "device_id") == rows[0][:2]
    assert "PRIVATE KEY" not in str(rows)


def test_every_call_is_found_in_both_clients() -> None:
    """The table of the two clients has lines for each purpose, cut from the files, and no key in them."""
    rows = clients().rows
    assert len(CALLS) == len(rows)
    assert "tls.setPrivateKey(key.c_str());" in {row[2] for row in rows}
    assert all(cell and cell != "(not here)" for row in rows for cell in row)
    assert "BEGIN" not in str(rows)
