"""labkit.broker.guard: whatever happens to whom, the process that it owns does not stay behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import guard as guard_module
from labkit.broker.guarded import environment, start_guarded
from labkit.broker.mosquitto import Mosquitto
from labkit.clock import Deadline
from labkit.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker.guarded import Guarded

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and sockets of files")

WAITS = [sys.executable, "-c", "import signal; print('here', flush=True); signal.pause()"]
STUBBORN = [
    sys.executable, "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True)\nwhile True: signal.pause()",
]  # fmt: skip


def lives(pid: int) -> bool:
    """Return whether a process lives; a zombie does not."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(said.stdout.strip()) and not said.stdout.startswith("Z")


def ends(pid: int, seconds: float = 8.0) -> bool:
    """Wait for the end of a process, and say whether it came."""
    deadline = Deadline(seconds)
    while lives(pid) and not deadline.passed:
        deadline.pause(0.02)
    return not lives(pid)


@contextmanager
def guarded(folder: Path, argv: list[str] = WAITS) -> Iterator[Guarded]:
    """Start a process under a guard that has everything, and wait until it has begun."""
    (folder / "state.json").write_text("{}")
    child = start_guarded(
        argv, env=dict(os.environ), log=folder / "log", state=folder / "state.json", control=folder / "control.sock"
    )  # fmt: skip
    deadline = Deadline(10)
    while "here" not in (folder / "log").read_text() and not deadline.passed:
        deadline.pause()
    try:
        yield child
    finally:
        child.close()


def say(child: Guarded, *pieces: bytes) -> bytes:
    """Send pieces to the control socket and return the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(child.control))
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return client.recv(4096)


def assert_nothing_is_left(folder: Path, child: Guarded) -> None:
    """Check that process, guard, state and socket are gone."""
    assert ends(child.pid)
    assert ends(child.guard)
    assert {path.name for path in folder.iterdir()} == {"log"}


def test_close_ends_it(tmp_path: Path) -> None:
    """Closing ends the process and removes what spoke of it."""
    with guarded(tmp_path) as child:
        assert lives(child.pid)
        assert not child.ended
    assert_nothing_is_left(tmp_path, child)


def test_term_to_the_guard_ends_it(tmp_path: Path) -> None:
    """A guard that is asked to end takes the process with it."""
    with guarded(tmp_path) as child:
        os.kill(child.guard, signal.SIGTERM)
        assert ends(child.pid)
    assert_nothing_is_left(tmp_path, child)


def test_interrupt_spares_both(tmp_path: Path) -> None:
    """SIGINT to the guard is nothing; it goes on answering."""
    with guarded(tmp_path) as child:
        os.kill(child.guard, signal.SIGINT)
        assert json.loads(say(child, b'{"do": "status"}\n'))["alive"] is True
        assert lives(child.pid)


def test_its_own_end_is_noticed(tmp_path: Path) -> None:
    """When the process ends by itself, the guard cleans up and ends as well."""
    with guarded(tmp_path) as child:
        os.kill(child.pid, signal.SIGKILL)
        assert ends(child.guard, 2.0)
        assert child.ended
    assert_nothing_is_left(tmp_path, child)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_guard_leaves_nothing(tmp_path: Path) -> None:
    """If the guard is killed the kernel ends the process, and closing removes the socket."""
    with guarded(tmp_path) as child:
        os.kill(child.guard, signal.SIGKILL)
        assert ends(child.pid)
    assert not (tmp_path / "control.sock").exists()


@pytest.mark.slow
def test_a_stubborn_process_is_killed(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after a while."""
    with guarded(tmp_path, STUBBORN) as child:
        pass
    assert_nothing_is_left(tmp_path, child)


JUNK = [
    b"\n", b"{}\n", b"[1]\n", b"\xff\n", b"[" * 5000, b'{"do": "rm"}\n', b'{"do": ["stop"]}\n', b"",
    b'{"do": "x", "token": "\\ud800"}\n', b'{"token": 7}\n', b"1" * 5000 + b"\n", b"x" * 100_000,
]  # fmt: skip


def test_junk_on_the_socket_is_survived(tmp_path: Path) -> None:
    """Whatever is sent gets an error or nothing, and the next one who asks is answered."""
    with guarded(tmp_path) as child:
        for junk in JUNK:
            try:
                assert b"error" in say(child, junk)
            except ConnectionError:
                assert len(junk) > 8192  # it need not read all of a flood
        assert json.loads(say(child, b'{"do": ', b'"status"}\n'))["pid"] == child.pid


def test_a_slow_peer_does_not_hold_the_guard(tmp_path: Path) -> None:
    """A peer that sends a byte now and then is dropped in time, so that stopping stays possible."""
    with guarded(tmp_path) as child, socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(child.control))
        slow.settimeout(0.3)
        deadline = Deadline(8)
        answer = b""
        while not answer and not deadline.passed:
            slow.sendall(b" ")
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                continue
        assert b"error" in answer
        assert not deadline.passed
        assert json.loads(say(child, b'{"do": "stop"}\n')) == {"ok": True}
        assert ends(child.pid)


def test_a_silent_peer_does_not_outlive_the_owner(tmp_path: Path) -> None:
    """A peer that connects and says nothing delays the end by its patience and no more."""
    with guarded(tmp_path) as child, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(child.control))
        child.close()
        assert ends(child.pid, 4.0)


def test_the_socket_is_private_from_the_start(tmp_path: Path) -> None:
    """The control socket is for its owner alone."""
    with guarded(tmp_path) as child:
        assert stat.S_IMODE(Path(str(child.control)).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["missing/control.sock", "x" * 120])
def test_where_no_socket_can_be_it_is_elsewhere(tmp_path: Path, name: str) -> None:
    """A path that is too long, or that can't hold a socket, is replaced by a private folder that goes away again."""
    child = start_guarded(WAITS, env=dict(os.environ), log=tmp_path / "log", control=tmp_path / name)
    folder = Path(str(child.control)).parent
    try:
        assert tmp_path not in folder.parents
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert json.loads(say(child, b'{"do": "status"}\n'))["alive"] is True
    finally:
        child.close()
    assert not folder.exists()


def test_what_can_not_start_leaves_nothing(tmp_path: Path) -> None:
    """A program or log that is not there is one clear error, and no socket stays."""
    for argv, log in (["/no/such/program"], tmp_path / "log"), (WAITS, tmp_path / "no" / "log"):
        with pytest.raises(BrokerStartError) as caught:
            start_guarded(argv, env={}, log=log, control=tmp_path / "control.sock")
        assert "No such file" in caught.value.message
    assert {path.name for path in tmp_path.iterdir()} <= {"log"}


def test_the_broker_is_told_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases and tokens in our environment reach neither the process nor its guard."""
    monkeypatch.setenv("LABKIT_CA_PASSPHRASE", "hunter2")
    monkeypatch.setenv("SOME_TOKEN", "hunter2")
    program = Mosquitto(Path("/x"), (2, 0), "test", {"LD_LIBRARY_PATH": "/lib/of/ours"})
    env = environment(program, tmp_path / "openssl.cnf")
    assert "hunter2" not in env.values()
    assert ("/lib/of/ours", str(tmp_path / "openssl.cnf")) == (env["LD_LIBRARY_PATH"], env["OPENSSL_CONF"])
    assert env["PATH"] == os.environ["PATH"]
    child = start_guarded(WAITS, env=env, log=tmp_path / "log")
    try:
        for pid in (child.pid, child.guard) if sys.platform == "linux" else ():
            assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        child.close()


def by_hand(folder: Path, **changes: Any) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start a guard with a specification of our own and return it with its first answer."""
    spec = {
        "argv": WAITS, "env": dict(os.environ), "log": str(folder / "log"), "state": None, "parent": os.getpid(),
        "control": None, "token": "secret", **changes,
    }  # fmt: skip
    argv = [sys.executable, "-I", "-S", str(guard_module.__file__)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    child.stdin.write(json.dumps(spec).encode() + b"\n")
    child.stdin.flush()
    return child, json.loads(child.stdout.readline())


def test_a_port_wants_its_token(tmp_path: Path) -> None:
    """Where the control socket is a port (Windows), only who knows the token is heard."""
    guard, answer = by_hand(tmp_path)
    with guard:
        for token, heard in (
            (None, False),
            ("wrong", False),
            ("\udcff", False),
            (["secret"], False),
            ("secret", True),
        ):
            with socket.create_connection(("127.0.0.1", answer["control"]), timeout=5) as client:
                client.sendall(json.dumps({"do": "status", "token": token}).encode() + b"\n")
                assert heard is ("ok" in json.loads(client.recv(4096)))
        assert guard.stdin
        guard.stdin.close()
    assert ends(answer["pid"])


def test_another_parent_is_the_end(tmp_path: Path) -> None:
    """A guard whose parent is not who asked for it stops, even if somebody still holds the pipe."""
    guard, answer = by_hand(tmp_path, parent=1)
    with guard:
        assert ends(answer["pid"])
        guard.wait(5)
