"""labkit.broker.launch: a real Mosquitto that starts, stops, and says clearly why it can't."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest

from labkit.broker import Acl, Broker, BrokerConfig, Listener, Rule, attach, launch
from labkit.broker.control import State
from labkit.errors import (
    BrokerConfigError,
    BrokerGoneError,
    BrokerNotRunningError,
    BrokerRunningError,
    BrokerStartError,
    DiskFullError,
    PortTakenError,
    WorkspaceUnwritableError,
)
from labkit.ports import is_listening, reserve_port
from tests.simulators.processes import gone, plain, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto

pytestmark = pytest.mark.broker


def test_starts_and_stops(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A broker answers on its port while the block lasts; afterwards nothing of it is left."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        pid, port = broker.pid, broker.port
        assert broker.alive
        assert is_listening(port)
        assert broker.version == mosquitto.version_text
    assert gone(pid)
    assert not is_listening(port)
    left = {path.name for path in (tmp_path / "b").iterdir()}
    assert left == {"mosquitto.conf", "acl.conf", "openssl.cnf", "mosquitto.log", ".lock"}
    with pytest.raises(RuntimeError, match="not running"):
        assert broker.port


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_files_are_private(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Configuration, state and control socket are for their owner alone."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        modes = {name: stat.S_IMODE((broker.folder / name).stat().st_mode) for name in
                 ("mosquitto.conf", "acl.conf", "state.json", "control.sock")}  # fmt: skip
    assert set(modes.values()) == {0o600}


def test_long_paths_get_a_socket_elsewhere(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A workspace too deep for a socket's name works all the same, and its socket's folder goes away."""
    with Broker(tmp_path / ("deep" * 20) / ("er" * 20), plain, mosquitto=mosquitto) as broker:
        control = Path(str(attach(broker.folder).state.control))
        assert control.exists()
        assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700
    assert not control.parent.exists()


def test_taken_port_is_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A port that somebody else has is one clear error; the same broker starts on a free one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(PortTakenError) as caught,
            Broker(tmp_path / "b", plain, mosquitto=mosquitto, port=port),
        ):
            pass
    assert port == caught.value.port
    with reserve_port() as free:
        pass
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto, port=free) as broker:
        assert free == broker.port


def test_one_broker_a_folder(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A second broker in the same folder is refused, and the first goes on."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as first:
        with pytest.raises(BrokerRunningError), Broker(tmp_path / "b", plain, mosquitto=mosquitto):
            pass
        assert first.alive


def test_a_broker_may_take_the_place_of_our_own(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Where it was asked for, the second broker in a folder replaces the first, whose end does not touch it."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as first:
        with launch.replacing():
            second = Broker(tmp_path / "b", plain, mosquitto=mosquitto).__enter__()
        assert (False, True) == (first.alive, second.alive)
        first.stop()
        assert second.alive
        with pytest.raises(BrokerRunningError), Broker(tmp_path / "b", plain, mosquitto=mosquitto):
            pass
        second.check()
    assert second.alive
    second.stop()


def test_start_error_has_mosquittos_words(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """What Mosquitto can't use is told in its own words, and nothing is left running."""

    def broken(port: int) -> BrokerConfig:
        key = tmp_path / "absent.key"
        return BrokerConfig(listeners=(Listener(port=port, cafile=key, certfile=key, keyfile=key),))

    with pytest.raises(BrokerStartError) as caught, Broker(tmp_path / "b", broken, mosquitto=mosquitto):
        pass
    assert "Unable to load" in caught.value.message
    with pytest.raises(BrokerNotRunningError):
        attach(tmp_path / "b")


def test_killed_broker_is_noticed(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A broker that was killed is reported as gone, with its log, and can be started again."""
    broker = Broker(tmp_path / "b", plain, mosquitto=mosquitto)
    with broker:
        os.kill(broker.pid, signal.SIGKILL)
        assert wait_until_gone(broker.pid)
        with pytest.raises(BrokerGoneError) as caught:
            broker.check()
        assert "running" in caught.value.log
    with broker:
        broker.check()


def test_starting_twice_spares_the_first(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A broker that runs is not started again, and goes on."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        pid = broker.pid
        with pytest.raises(BrokerRunningError):
            broker.start()
        assert (True, pid) == (broker.alive, broker.pid)


def test_a_broker_that_died_can_be_started_again(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Inside one block, a broker that was killed is started anew without stopping it first."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        first = broker.pid
        os.kill(first, signal.SIGKILL)
        assert wait_until_gone(first)
        broker.start()
        assert broker.alive
        assert first != broker.pid


def test_the_folder_may_be_relative(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker in a relative folder is found again after we went elsewhere."""
    monkeypatch.chdir(tmp_path)
    with Broker(Path("my b"), plain, mosquitto=mosquitto) as broker:
        monkeypatch.chdir("/")
        assert broker.alive
        broker.reload(Acl((Rule("read", "#", user="x"),)))
        assert tmp_path / "my b" == broker.folder


def test_another_thread_may_stop_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A broker that one thread started is stopped by another, and its folder is free again."""
    broker = Broker(tmp_path / "b", plain, mosquitto=mosquitto)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(broker.start).result()
    broker.stop()
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as next_one:
        assert next_one.alive


def test_leftovers_of_the_dead_are_cleared(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A broker that outlived its guard is ended by the next start; a stranger with a reused number is not."""
    folder = tmp_path / "b"
    (folder / ".try-old").mkdir(parents=True)
    waits = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen([*waits, str(folder)]) as orphan, subprocess.Popen(waits) as stranger:
        for pid in (stranger.pid, orphan.pid):
            state = State(pid=pid, guard=pid, host="127.0.0.1", port=1, control=str(folder / "control.sock"),
                          token="", version="2.0.11", since="2026-01-01")  # fmt: skip
            (folder / "state.json").write_text(json.dumps(dataclasses.asdict(state)))
            with Broker(folder, plain, mosquitto=mosquitto) as broker:
                assert broker.alive
        assert wait_until_gone(orphan.pid)
        assert not gone(stranger.pid)
        stranger.kill()
    assert not (folder / ".try-old").exists()


def test_a_long_log_begins_afresh(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log goes on from start to start, and is begun anew when it has grown long."""
    broker = Broker(tmp_path / "b", plain, mosquitto=mosquitto)
    for expected in (1, 2):
        with broker:
            pass
        assert expected == sum(event.kind == "running" for event in broker.log.since(0))
    monkeypatch.setattr("labkit.broker.launch._LONG_LOG", 10)
    with broker:
        assert sum(event.kind == "running" for event in broker.log.since(0)) == 1


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a small disk of its own, with next to no space left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_named(mosquitto: Mosquitto, full_disk: Path) -> None:
    """Without space the start ends in one clear error, and works once there is some."""
    filler = full_disk / "filler"
    (full_disk / "b").mkdir()
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(DiskFullError) as caught, Broker(full_disk / "b", plain, mosquitto=mosquitto):
        pass
    assert full_disk in caught.value.path.parents
    with pytest.raises(BrokerNotRunningError):
        attach(full_disk / "b")
    filler.unlink()
    with Broker(full_disk / "b", plain, mosquitto=mosquitto) as broker:
        assert broker.alive


def test_a_log_that_can_not_be_written_is_named(
    mosquitto: Mosquitto, full_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is space for the configuration and none for the log, that is what the error says."""
    (full_disk / "b").mkdir()
    real = launch.start_guarded

    def fill_first(*args: Any, **options: Any) -> Any:
        with suppress(OSError), (full_disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        return real(*args, **options)

    monkeypatch.setattr(launch, "start_guarded", fill_first)
    monkeypatch.setattr(launch, "START_TIME", 0.5)
    with pytest.raises(DiskFullError), Broker(full_disk / "b", plain, mosquitto=mosquitto):
        pass


def test_folders_in_the_way_are_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A file where the folder should be, or a name that Mosquitto can't read, is one clear error."""
    (tmp_path / "b").write_text("")
    with pytest.raises(WorkspaceUnwritableError), Broker(tmp_path / "b", plain, mosquitto=mosquitto):
        pass
    with pytest.raises(BrokerConfigError), Broker(tmp_path / "a\nb", plain, mosquitto=mosquitto):
        pass


def test_clients_can_not_write_the_log(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A client that puts the broker's words into a topic does not make the log say them."""
    forged = [
        "Error: boom",
        "x\u2028mosquitto version 9.9 running",
        "x\u2028Error: boom",
        "Reloading config.",
    ]
    allow = Acl((Rule("readwrite", "#"),))

    def open_to_all(port: int) -> BrokerConfig:
        return BrokerConfig(listeners=(Listener(port=port),), allow_anonymous=True)

    with Broker(tmp_path / "b", open_to_all, acl=allow, mosquitto=mosquitto) as broker:
        mark = broker.log.mark()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="Error: me")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        for topic in forged:
            client.publish(topic, b"x", qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
        kinds = {event.kind for event in broker.log.since(mark)}
        assert {"connection", "connected", "disconnected", "other"} >= kinds
        assert sum("boom" in line for line in broker.log.lines(mark)) == 2
        broker.reload(allow)
