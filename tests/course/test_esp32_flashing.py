"""The exercises of lesson esp32-flashing: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.esp32_flashing import (
    DEVICE,
    PAYLOADS,
    PLANT,
    SHELF,
    agrees,
    listed,
    try_interval,
)
from labkit.course.lessons.esp32_flashing_clients import CALLS, clients
from labkit.firmware.nvs_encryption import build_key_partition
from labkit.firmware.tools import encrypt_nvs
from labkit.scenarios.device_boot import Bench, device_bench
from labkit.scenarios.mutual_tls import mutual_tls
from labkit.scenarios.separate import separate_authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    """Before anything was run, both exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in (1, 2)}


# --- a command is understood --------------------------------------------------------------------------------------


def right(payload: bytes) -> int:
    """Return the right answer."""
    asked = json.loads(payload) if len(payload) < 100 else None
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if type(seconds) is not int or not 5 <= seconds <= 86_400:
        raise ValueError
    return seconds


def trusting(payload: bytes) -> int:
    """Take whatever comes."""
    return int(json.loads(payload)["seconds"])


def unbounded(payload: bytes) -> int:
    """Forget the range."""
    asked = json.loads(payload) if len(payload) < 100 else None
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if type(seconds) is not int or seconds < 0:
        raise ValueError
    return seconds


def takes_true(payload: bytes) -> int:
    """Take true for one, and one day for too long."""
    asked = json.loads(payload) if len(payload) < 100 else None
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if not isinstance(seconds, int) or not 1 <= seconds <= 86_400 or seconds == 4:
        raise ValueError
    return seconds


def deep(payload: bytes) -> int:
    """Forget how deep brackets can be, and let the program end."""
    asked = json.loads(payload)
    return right(json.dumps(asked).encode())


def too_strict(payload: bytes) -> int:
    """Leave out an end of the range."""
    found = right(payload)
    if found == 86_400:
        raise ValueError
    return found


def nobody(_: bytes) -> int:
    """Refuse everything."""
    raise ValueError


def words(payload: bytes) -> Any:
    """Return a text."""
    return str(right(payload))


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


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (right, "passed", "3 obeyed"),
        (trusting, "failed", "set to 0"),
        (unbounded, "failed", "set to 0"),
        (takes_true, "failed", "set to 1"),
        (deep, "failed", "RecursionError"),
        (too_strict, "failed", "refused"),
        (nobody, "failed", "refused"),
        (words, "failed", "it returned"),
    ],
)
def test_commands_are_counted(
    lab: Lab, bench: Bench, answer: Callable[[bytes], int], status: str, word: str
) -> None:
    """The right function passes; each way of being careless is told what the board did."""
    rows = try_interval(lab, bench, answer)
    result = check(lab, 1)
    assert (status, True, len(PAYLOADS)) == (result.status, word in result.observed, len(rows)), result
    assert bench.board.running


def test_a_stub_leaves_nothing(lab: Lab, bench: Bench) -> None:
    """A function that raises NotImplementedError ends at once, and the exercise is not attempted."""

    def stub(_: bytes) -> int:
        raise NotImplementedError

    try_interval(lab, bench, right)
    with pytest.raises(NotImplementedError):
        try_interval(lab, bench, stub)
    assert "not-attempted" == check(lab, 1).status


@pytest.mark.parametrize("record", [b"no record", b"[1, 2]", b'[{"payload": 1}]', b"{}"])
def test_a_record_that_is_none(lab: Lab, record: bytes) -> None:
    """Garbage in the record's place fails the check, and breaks nothing."""
    lab.workspace.write(f"{SHELF}/interval.json", record)
    assert "failed" == check(lab, 1).status


def test_agreement_with_the_twin() -> None:
    """The right function agrees with the firmware's on every payload; a trusting one does not."""
    assert all(agrees(right, payload) for payload, _ in PAYLOADS)
    assert not agrees(unbounded, b'{"seconds": 0}')


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


# --- an identity is sealed ----------------------------------------------------------------------------------------


def encrypted_board(bench: Bench) -> Bench:
    """Turn flash encryption on, as the lesson does."""
    bench.board.burn({"FLASH_CRYPT_CONFIG": 15, "FLASH_CRYPT_CNT": 1, "BLOCK1": secrets.token_bytes(32)})
    bench.esptool("write-flash", "--encrypt", *bench.plan("node-1.0.0.bin", identity=False))
    return bench


@pytest.fixture(scope="module")
def sealed_bench(
    mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lab, Bench]]:
    """Return a lab with a board whose flash is encrypted, and a snapshot of that."""
    opened = open_lab("esp32-flashing", workspace=tmp_path_factory.mktemp("sealed") / "w")
    plant = separate_authority(opened.workspace, PLANT)
    with mutual_tls(plant) as site, device_bench(site, DEVICE) as made:
        made.make_firmware()
        made.make_identity()
        made.esptool("write-flash", *made.plan("node-1.0.0.bin"))
        assert "not-attempted" == check(opened, 2).status
        encrypted_board(made).board.snapshot("encrypted")
        yield opened, made
    opened.close()


def by_the_book(bench: Bench) -> None:
    """Return the right answer."""
    key = secrets.token_bytes(64)
    bench.write("sealed.bin", encrypt_nvs(bench.values(), key))
    bench.write("keys.bin", build_key_partition(key))
    bench.esptool("write-flash", "0x10000", "sealed.bin")
    bench.esptool("write-flash", "--encrypt", "0x16000", "keys.bin")


def bare_key(bench: Bench) -> None:
    """Write the key in the clear."""
    key = secrets.token_bytes(64)
    bench.write("sealed.bin", encrypt_nvs(bench.values(), key))
    bench.write("keys.bin", build_key_partition(key))
    bench.esptool("write-flash", "0x10000", "sealed.bin", "0x16000", "keys.bin")


def only_the_key(bench: Bench) -> None:
    """Write a key, and forget the values."""
    bench.write("keys.bin", build_key_partition(secrets.token_bytes(64)))
    bench.esptool("write-flash", "--encrypt", "0x16000", "keys.bin")


def another_key(bench: Bench) -> None:
    """Write another key than the values were encrypted with."""
    bench.write("sealed.bin", encrypt_nvs(bench.values(), secrets.token_bytes(64)))
    bench.esptool("write-flash", "0x10000", "sealed.bin")
    only_the_key(bench)


def nothing_in_it(bench: Bench) -> None:
    """Encrypt something else than the values."""
    key = secrets.token_bytes(64)
    bench.write("sealed.bin", encrypt_nvs(bench.values()[:1], key))
    bench.write("keys.bin", build_key_partition(key))
    bench.esptool("write-flash", "0x10000", "sealed.bin")
    bench.esptool("write-flash", "--encrypt", "0x16000", "keys.bin")


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (lambda _: None, "not-attempted", ""),
        (by_the_book, "passed", "noise"),
        (bare_key, "failed", "in the clear"),
        (only_the_key, "failed", "can be read as it is"),
        (another_key, "failed", "the chip itself"),
        (nothing_in_it, "failed", "something else"),
    ],
)
def test_the_seal(
    sealed_bench: tuple[Lab, Bench], answer: Callable[[Bench], None], status: str, word: str
) -> None:
    """Encrypted values and a protected key pass; each half of it is told what a thief or the chip finds."""
    lab, bench = sealed_bench
    bench.board.restore("encrypted")
    answer(bench)
    bench.boot()
    result = check(lab, 2)
    assert (status, True) == (result.status, word in result.observed), result
