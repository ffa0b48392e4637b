"""labkit.broker: a real Mosquitto that starts, reloads safely, and never stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.broker import DEVICE_ACL, Acl, Broker, BrokerConfig, Listener, Rule, attach, stop_all
from labkit.clock import Deadline
from labkit.errors import (
    AclError,
    BrokerGoneError,
    BrokerNotRunningError,
    BrokerRunningError,
    BrokerStartError,
    PortTakenError,
    ReloadRefusedError,
    ToolMissingError,
    ToolVersionError,
    WorkspaceCorruptError,
)
from labkit.ports import is_listening, reserve_port
from labkit.scenarios import mutual_tls

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.pki import Store
    from labkit.scenarios import Site

pytestmark = pytest.mark.broker


def plain(port: int) -> BrokerConfig:
    """Return a configuration without TLS, for tests that are not about it."""
    return BrokerConfig(listeners=(Listener(port=port),))


def gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid: int, seconds: float = 8.0) -> bool:
    """Wait until a process has ended."""
    deadline = Deadline(seconds)
    while not gone(pid) and not deadline.passed:
        deadline.pause(0.02)
    return gone(pid)


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


def test_hostile_requests_are_survived(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Garbage, silence and floods on the control socket get an error or nothing, and the broker lives."""
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        control = str(attach(broker.folder).state.control)
        for junk in (b"\n", b"{}\n", b"[1]\n", b"\xff\n", b"[" * 5000, b'{"do": "rm"}\n', b""):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(control)
                client.sendall(junk)
                client.shutdown(socket.SHUT_WR)
                assert b"error" in client.recv(4096)
        assert broker.alive


def test_corrupt_state_is_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A damaged state file is named when attaching, and does not keep a broker from starting."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "state.json").write_text("{half")
    with pytest.raises(WorkspaceCorruptError) as caught:
        attach(tmp_path / "b")
    assert caught.value.path.name == "state.json"
    with Broker(tmp_path / "b", plain, mosquitto=mosquitto) as broker:
        assert attach(broker.folder).port == broker.port


HOLDER = """
import os, signal, sys
from pathlib import Path
from labkit.broker import Broker, BrokerConfig, Listener
broker = Broker(Path(sys.argv[1]), lambda port: BrokerConfig(listeners=(Listener(port=port),)))
broker.start()
how = sys.argv[2]
if how == "fork" and os.fork() == 0:
    while True: signal.pause()
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
print(broker.pid, flush=True)
if how == "exit": sys.exit()
if how == "raise": raise ValueError("on purpose")
while True: signal.pause()
"""


@pytest.mark.parametrize("how", ["exit", "raise", "SIGKILL", "SIGTERM", "fork"])
def test_no_broker_outlives_its_owner(mosquitto: Mosquitto, tmp_path: Path, how: str) -> None:
    """However its owner ends, the broker ends too, even if a forked child holds the pipe open."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "b"), how]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        if how in {"SIGKILL", "SIGTERM", "fork"}:
            owner.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
        owner.wait(10)
        assert wait_until_gone(pid)
        if how == "fork":
            os.killpg(owner.pid, signal.SIGKILL)


def test_the_stop_button_spares_the_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """SIGINT to the owner's whole process group interrupts the owner and not the broker."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "b"), "stay"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.readline() == b"interrupted\n"
        assert attach(tmp_path / "b").status()["alive"]
        assert not gone(pid)
        owner.kill()
    assert wait_until_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_guard_takes_the_broker_along(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """If the guard itself is killed, the kernel kills the broker, and the next start works."""
    broker = Broker(tmp_path / "b", plain, mosquitto=mosquitto)
    broker.start()
    state = json.loads((tmp_path / "b" / "state.json").read_text())
    os.kill(state["guard"], signal.SIGKILL)
    assert wait_until_gone(state["pid"])
    broker.stop()
    with broker:
        assert broker.alive


def test_reload_takes_new_rules(site: Site) -> None:
    """New rules are in force after a reload, for those who connect and for the observer's eyes."""
    device = site.identity("sensor-007")
    topic = "devices/sensor-007/status"
    assert site.attempt(device, publish=topic).accepted
    site.reload(DEVICE_ACL.denying("sensor-007"))
    assert site.attempt(device, publish=topic).reason == "not-authorised"
    assert site.attempt(site.identity("sensor-008"), publish="devices/sensor-008/status").accepted
    site.reload(DEVICE_ACL)
    assert site.attempt(device, publish=topic).accepted


def test_bad_rules_never_reach_the_broker(site: Site) -> None:
    """Rules that can't be read are refused before the running broker sees them; the old ones stay in force."""
    before = (site.broker.folder / "acl.conf").read_bytes()
    with pytest.raises(AclError):
        site.reload(Acl((Rule("write", "a/#/b", user="x"),)))
    assert before == (site.broker.folder / "acl.conf").read_bytes()
    assert site.attempt(site.identity("admin"), publish="labkit/x").reason == "not-authorised"


def test_mosquitto_has_the_last_word_on_rules(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that pass our parser but not Mosquitto's are refused by the trial, and nothing changes."""
    before = (site.broker.folder / "acl.conf").read_bytes()
    monkeypatch.setattr("labkit.broker.acl.render", lambda _: "nonsense a b\n")
    monkeypatch.setattr("labkit.broker.acl.parse", lambda _: None)
    with pytest.raises(ReloadRefusedError):
        site.broker.reload(DEVICE_ACL)
    assert before == (site.broker.folder / "acl.conf").read_bytes()
    assert site.broker.alive


def test_unconfirmed_rules_are_taken_back(site: Site) -> None:
    """If what must be refused is not, the old rules come back."""

    def disappointed() -> None:
        raise ValueError("a forbidden message went through")

    with pytest.raises(ReloadRefusedError, match="went through"):
        site.broker.reload(Acl(()), confirm=disappointed)
    assert site.broker.acl == DEVICE_ACL
    assert site.attempt(site.identity("sensor-001"), publish="devices/sensor-001/status").accepted


def test_reload_by_hand_is_as_careful(site: Site) -> None:
    """A rule file that somebody edited by hand is tried before the running broker is told; 2.0 would fail open."""
    path = site.broker.folder / "acl.conf"
    good = path.read_bytes()
    running = attach(site.broker.folder)
    try:
        path.write_text("user admin\ntopc read #\n")
        with pytest.raises(AclError) as caught:
            running.reload()
        assert caught.value.line == 2
        assert site.attempt(site.identity("admin"), publish="labkit/x").reason == "not-authorised"
    finally:
        path.write_bytes(good)
    running.reload()


def test_2_0_fails_open_if_told_blindly(site: Site, store: Store) -> None:
    """The reason for all that care: told to read a bad rule, 2.0 drops every rule (2.1 quits instead)."""
    with mutual_tls(store) as victim:
        if not victim.broker.version.startswith("2.0"):
            pytest.skip("2.1 and newer quit instead")
        (victim.broker.folder / "acl.conf").write_text("topc nonsense\n")
        mark = victim.broker.log.mark()
        os.kill(victim.broker.pid, signal.SIGHUP)
        assert victim.broker.log.wait_for(lambda event: event.kind == "error", since=mark)
        assert victim.attempt(victim.identity("sensor-001"), publish="devices/sensor-002/status").accepted
    assert (
        site.attempt(site.identity("sensor-001"), publish="devices/sensor-002/status").reason
        == "not-authorised"
    )


@pytest.mark.skipif(os.name != "posix", reason="scripts")
def test_old_and_broken_programs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mosquitto older than 2.0, or something that is none, is refused with what to do."""
    from labkit.broker import find_mosquitto

    old = tmp_path / "mosquitto"
    old.write_text("#!/bin/sh\necho mosquitto version 1.6.9\n")
    monkeypatch.setenv("LABKIT_MOSQUITTO", str(old))
    with pytest.raises(ToolMissingError, match="not a program"):
        find_mosquitto()
    old.chmod(0o755)
    with pytest.raises(ToolVersionError) as caught:
        find_mosquitto()
    assert (caught.value.found, caught.value.needed) == ("1.6.9", "2.0")


def test_missing_mosquitto_gives_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none and none may be fetched, one message says how to install it."""
    from labkit.broker import mosquitto as module

    monkeypatch.delenv("LABKIT_MOSQUITTO", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_FOLDERS", ())
    with pytest.raises(ToolMissingError) as caught:
        module.find_mosquitto(fetch=False)
    assert "LABKIT_MOSQUITTO" in caught.value.advice
