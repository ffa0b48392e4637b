"""labkit.broker.control: another process finds the broker, asks it, and is told clearly when it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import Acl, Broker, Rule, attach, control, stop_all
from labkit.broker.control import process_is
from labkit.errors import BrokerGoneError, BrokerNotRunningError, WorkspaceCorruptError
from tests.simulators.processes import plain

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto

pytestmark = pytest.mark.broker


def test_attach_from_elsewhere(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Another process finds the broker by its folder, asks for its state, and stops it."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        program = (
            "import sys; from pathlib import Path; from labkit.broker import attach\n"
            "running = attach(Path(sys.argv[1])); print(running.port, running.status()['pid']); running.stop()"
        )
        argv = [sys.executable, "-c", program, str(broker.folder)]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        assert said == [str(broker.port), str(broker.pid)]
        assert not broker.alive
    with pytest.raises(BrokerNotRunningError):
        attach(tmp_path / "b")


def test_stop_all_finds_brokers_below(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Every broker in a folder and below it is stopped."""
    with (
        Broker(tmp_path / "b", plain, mosquitto=mosquitto) as one,
        Broker(tmp_path / "b" / "two", plain, mosquitto=mosquitto) as two,
    ):
        assert stop_all(tmp_path) == 2
        assert (one.alive, two.alive) == (False, False)
    assert stop_all(tmp_path) == 0


GOOD: dict[str, Any] = {
    "pid": 1, "guard": 1, "host": "127.0.0.1", "port": 1, "control": "/no/such.sock", "token": "", "version": "2.0.11",
    "since": "",
}  # fmt: skip

CORRUPT = [
    "{half", "", "[]", "7", '"x"', "[" * 100_000, "{}", json.dumps({**GOOD, "pid": "1"}), json.dumps({**GOOD, "pid": -1}),
    json.dumps({**GOOD, "port": True}), json.dumps({**GOOD, "control": ["x"]}), json.dumps({**GOOD, "token": None}),
    json.dumps({**GOOD, "more": 1}), "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("text", CORRUPT, ids=range(len(CORRUPT)))
def test_corrupt_state_is_named(tmp_path: Path, text: str) -> None:
    """A damaged state file is named when attaching, with the path to delete."""
    (tmp_path / "state.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WorkspaceCorruptError) as caught:
        attach(tmp_path)
    assert tmp_path / "state.json" == caught.value.path
    (tmp_path / "state.json").write_text(json.dumps(GOOD))
    with pytest.raises(BrokerNotRunningError):
        attach(tmp_path)


def test_corrupt_state_keeps_no_broker_from_starting(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The next start replaces a damaged state file."""
    (tmp_path / "state.json").write_text("{half")
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        assert attach(tmp_path).port == broker.port


def test_who_is_gone_is_said_to_be(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """What attached to a broker is told when that has been stopped since."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        running = attach(tmp_path)
        assert (broker.host, broker.port) == (running.host, running.port)
        assert running.status()["pid"] == broker.pid
    for ask in (running.status, running.reload, running.stop):
        with pytest.raises(BrokerGoneError):
            ask()


def test_a_reload_needs_files_that_can_be_read(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """If the rules are missing or no text, the running broker is not told, and goes by those that it has."""
    with Broker(tmp_path, plain, acl=Acl((Rule("read", "a"),)), mosquitto=mosquitto) as broker:
        mark = broker.log.mark()
        (tmp_path / "acl.conf").write_bytes(b"topic read \xff\n")
        with pytest.raises(WorkspaceCorruptError):
            attach(tmp_path).reload()
        (tmp_path / "acl.conf").unlink()
        with pytest.raises(WorkspaceCorruptError) as caught:
            attach(tmp_path).reload()
        assert tmp_path / "acl.conf" == caught.value.path
        assert broker.log.lines(mark) == []
        assert broker.alive


def test_a_broker_that_misread_its_rules_is_stopped(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a bad rule slips past every check, the broker is stopped and does not go on without rules."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        running = attach(tmp_path)

        def meanwhile(*_: object) -> None:
            (tmp_path / "acl.conf").write_text("topc read #\n")  # somebody saves the file after we read it

        monkeypatch.setattr(control, "try_rules", meanwhile)
        with pytest.raises(BrokerGoneError):
            running.reload()
        assert not broker.alive


@pytest.mark.skipif(os.name != "posix", reason="Windows is not asked")
def test_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is known by a word on its command line, with /proc and without."""
    waits = [sys.executable, "-c", "import signal; print(flush=True); signal.pause()", "röd word"]
    with subprocess.Popen(waits, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()  # until it runs, the system has no command line of it
        assert process_is(child.pid, "röd word")
        assert not process_is(child.pid, "another")
        monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
        monkeypatch.setattr("os.path.exists", lambda _: False)
        try:
            assert process_is(child.pid, "word")
            assert not process_is(child.pid, "another")
        finally:
            child.kill()
    assert not process_is(child.pid, "word")
