"""labkit.pki.file_ledger: a file that only grows, whoever writes to it and whatever happens to them."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from labkit.errors import AlreadyIssuedError, WorkspaceCorruptError
from labkit.pki import Store, file_ledger

if TYPE_CHECKING:
    from pathlib import Path


def ledger_of(store: Store) -> Path:
    """Return the ledger's file."""
    return store.workspace.path(file_ledger.LEDGER)


def test_torn_last_line_is_cut_off(store: Store) -> None:
    """A line that a crash left half-written was never handed out, and goes."""
    ledger = ledger_of(store)
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"serial": "12')
    again = Store(store.workspace)
    assert len(again.ledger.entries()) == 3
    again.issue_device("sensor-001")
    lines = ledger.read_bytes().splitlines()
    assert whole.splitlines() == lines[:3]
    assert json.loads(lines[3])["name"] == "sensor-001"


@pytest.mark.parametrize("line", [b"garbage", b"{}", b"[]", b'{"serial": 1}', b"\xff\xfe"])
def test_damaged_ledger_is_named_by_its_line(store: Store, line: bytes) -> None:
    """A damaged line is named by number, and is left for somebody to look at."""
    ledger = ledger_of(store)
    lines = ledger.read_bytes().splitlines()
    ledger.write_bytes(b"\n".join([lines[0], line, *lines[1:]]) + b"\n")
    before = ledger.read_bytes()
    with pytest.raises(WorkspaceCorruptError, match="line 2"):
        Store(store.workspace).issue_device("sensor-001")
    assert before == ledger.read_bytes()


def test_two_processes_lose_nothing(store: Store) -> None:
    """Two processes that issue at once end with every certificate on record, and one winner an id."""
    program = (
        "import sys; from labkit.pki import Store; from labkit.workspace import Workspace\n"
        "from labkit.errors import AlreadyIssuedError\n"
        "store = Store(Workspace.open(sys.argv[1])); won = 0\n"
        "for n in range(25):\n"
        "    try: store.issue_device(f'd-{n}'); won += 1\n"
        "    except AlreadyIssuedError: pass\n"
        "print(won)"
    )
    argv = [sys.executable, "-c", program, str(store.workspace.root)]
    racers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    won = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(won) == 25
    entries = store.ledger.entries()
    assert len({entry.serial for entry in entries}) == len(entries) == 28


def test_wrong_types_are_damage(store: Store) -> None:
    """An entry whose serial is a number is not an entry."""
    path = ledger_of(store)
    entry = json.loads(path.read_bytes().splitlines()[0])
    path.write_text(json.dumps({**entry, "serial": 12}) + "\n")
    with pytest.raises(WorkspaceCorruptError, match="line 1"):
        store.ledger.entries()


def test_another_ledger_of_the_same_length_is_noticed(store: Store) -> None:
    """A checkpoint may bring back a longer or an equally long ledger: what was known is forgotten."""
    workspace = store.workspace
    store.issue_device("sensor-001")
    store.issue_device("sensor-002")
    workspace.checkpoint("two")
    workspace.reset()
    store.create(passphrase=b"x")
    assert len(store.ledger.entries()) == 3
    workspace.restore("two")
    with pytest.raises(AlreadyIssuedError):
        store.issue_device("sensor-002")
    store.issue_device("sensor-003")
    names = [json.loads(line)["name"] for line in ledger_of(store).read_text().splitlines()]
    assert ["sensor-001", "sensor-002", "sensor-003"] == names[3:]


def test_mended_ledger_is_read_once(store: Store) -> None:
    """After somebody mended a damaged line, the same object reads each entry once."""
    path = ledger_of(store)
    good = path.read_bytes()
    damaged = Store(store.workspace)
    path.write_bytes(good + b"garbage\n")
    with pytest.raises(WorkspaceCorruptError, match="line 4"):
        damaged.ledger.entries()
    path.write_bytes(good)
    assert len(damaged.ledger.entries()) == 3


def test_failed_append_leaves_no_trace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the moment when the line is synced leaves neither a line nor a memory of it."""
    before = ledger_of(store).read_bytes()

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(file_ledger.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.authority().issue_device("sensor-001")
    monkeypatch.undo()
    assert before == ledger_of(store).read_bytes()
    assert store.issue_device("sensor-001").certificate.exists()


def test_threads_lose_nothing(store: Store) -> None:
    """Threads that share one store issue side by side, and each id once."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(store.issue_device, [f"d-{n}" for n in range(20)]))
    assert len(store.ledger.entries()) == len(made) + 3
    assert all(files.certificate.exists() for files in made)
