"""The guard: a small process that owns the broker, so that the broker never outlives whoever asked for it.

It runs as `python -I guard.py` in a session of its own and imports the standard library alone. The notebook's stop
button sends SIGINT to the kernel's process group, which the guard is not in, so the broker goes on. The end of the
kernel, however it comes, closes the pipe on the guard's standard input, or gives the guard another parent: both stop
the broker. On Linux the kernel itself kills the broker if the guard is killed (PR_SET_PDEATHSIG, prctl(2)).

Its first line of input is a JSON object: `argv`, `env`, `log` and `state` (a file to remove at the end, or null),
`parent` (the process that asked), `control` (a socket path; null for a loopback port; false for none) and `token`.
It answers with one JSON line and then serves the control socket: one JSON line in, one out,
`{"do": "status" | "reload" | "stop", "token": …}`.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

LINE = 4096
TICK = 0.5
PATIENCE = 2.0
GRACE = 5.0

SOCKET_PATH = 100
"""Longest path of a control socket; Linux allows 107 bytes and macOS 103 (sun_path)."""


class Guard:
    """Owns one broker until somebody says stop, or nobody is left to say anything."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.orphaned = False
        self.stopping = False
        self.wake, self.waker = socket.socketpair()
        self.waker.settimeout(0)
        self.server: socket.socket | None = None
        self.address: str | int | None = None
        try:
            if spec["control"] is not False:
                self.server, self.address = listen(spec["control"])
            self.child = self.spawn()
        except OSError:
            self.remove_leftovers()
            raise

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the broker; what it prints goes to the log."""
        with open(self.spec["log"], "ab") as log:
            return subprocess.Popen(
                self.spec["argv"],
                env=self.spec["env"],
                stdin=subprocess.PIPE,  # ends with us, which an engine's container takes as its own end
                stdout=log,
                stderr=log,
                preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 - before any thread
            )

    def run(self) -> int:
        """Serve until there is no reason to go on, then leave nothing behind."""
        try:
            self.listen_to_signals()
            threading.Thread(target=self.watch_pipe, daemon=True).start()
            say({"pid": self.child.pid, "guard": os.getpid(), "control": self.address})
            while not self.finished():
                self.wait()
        finally:
            self.end_child()
            self.remove_leftovers()
        return self.child.returncode

    def listen_to_signals(self) -> None:
        """Have SIGTERM stop the broker, and the broker's own end be noticed at once."""
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        if os.name == "posix":
            signal.signal(signal.SIGCHLD, lambda *_: None)

    def finished(self) -> bool:
        """Return whether there is no reason to go on."""
        # A child that was forked off the kernel may hold the pipe open; a changed parent tells all the same.
        gone = self.orphaned or (os.name == "posix" and os.getppid() != self.spec["parent"])
        return gone or self.stopping or self.child.poll() is not None

    def watch_pipe(self) -> None:
        """Wait for the end of whoever started us."""
        with contextlib.suppress(OSError):
            while os.read(0, LINE):
                pass
        self.orphaned = True
        with contextlib.suppress(OSError):
            self.waker.send(b"\0")

    def wait(self) -> None:
        """Wait for a request, a signal or the end of our parent, and answer the request."""
        sources = [self.wake] if self.server is None else [self.wake, self.server]
        ready, _, _ = select.select(sources, [], [], TICK)
        if self.wake in ready:
            self.wake.recv(LINE)
        if self.server in ready:
            # Whatever a peer sends, or fails to, must not end the guard.
            with contextlib.suppress(OSError, ValueError):
                self.serve_one()

    def serve_one(self) -> None:
        """Answer one request."""
        assert self.server is not None  # noqa: S101 - it was ready
        connection, _ = self.server.accept()
        with connection:
            answer = self.answer(receive(connection))
            connection.settimeout(PATIENCE)
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        if self.spec["token"] and not same(str(request.get("token")), self.spec["token"]):
            return {"error": "wrong token"}
        commands = {"status": self.status, "reload": self.reload, "stop": self.quit}
        command = commands.get(str(request.get("do")))
        return command() if command else {"error": "unknown command"}

    def status(self) -> dict[str, Any]:
        """Return what lives."""
        return {"ok": True, "pid": self.child.pid, "guard": os.getpid(), "alive": self.child.poll() is None}

    def reload(self) -> dict[str, Any]:
        """Have the broker read its files again."""
        if os.name == "posix":
            self.child.send_signal(signal.SIGHUP)
        else:  # Windows has no SIGHUP: a restart reads the files as well
            self.end_child()
            self.child = self.spawn()
        return self.status()

    def quit(self) -> dict[str, Any]:
        """Stop soon."""
        self.stopping = True
        return {"ok": True}

    def end_child(self) -> None:
        """End the broker, politely first."""
        self.child.terminate()
        end = time.monotonic() + GRACE
        while self.child.poll() is None and time.monotonic() < end:
            if select.select([self.wake], [], [], 0.05)[0]:  # SIGCHLD wakes us at once, where there is one
                self.wake.recv(LINE)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def remove_leftovers(self) -> None:
        """Close the socket and remove the files that speak of a running broker."""
        if self.server is not None:
            self.server.close()
        remove_control(self.address)
        if self.spec["state"]:
            with contextlib.suppress(OSError):
                os.unlink(self.spec["state"])


def listen(path: str | None) -> tuple[socket.socket, str | int]:
    """Return the control socket and its address; only its owner may connect, or who knows the token."""
    if path is None:
        server = socket.create_server(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return server, port
    if len(os.fsencode(path)) <= SOCKET_PATH:
        # Some file systems can't hold sockets: shared folders of virtual machines, drives of Windows in WSL.
        with contextlib.suppress(OSError):
            return bind(path), path
    import tempfile

    path = os.path.join(tempfile.mkdtemp(prefix="labkit-"), "control.sock")
    return bind(path), path


def bind(path: str) -> socket.socket:
    """Return a socket that listens at a path and is for its owner alone from its first moment."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        server.bind(path)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    server.listen()
    return server


def remove_control(address: str | int | None) -> None:
    """Remove a control socket, and its folder if that was made for it."""
    if not isinstance(address, str):
        return
    with contextlib.suppress(OSError):
        os.unlink(address)
    folder = os.path.dirname(address)
    if os.path.basename(folder).startswith("labkit-"):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def receive(connection: socket.socket) -> dict[str, Any]:
    """Return one request; anything that is not one, or comes too slowly, is an empty one."""
    text = b""
    # One deadline for the whole request: a byte a second would hold the guard for an hour otherwise.
    end = time.monotonic() + PATIENCE
    while b"\n" not in text and len(text) < LINE:
        connection.settimeout(max(0.001, end - time.monotonic()))
        try:
            piece = connection.recv(LINE)
        except TimeoutError:
            return {}
        if not piece:
            break
        text += piece
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def same(one: str, other: str) -> bool:
    """Return whether two words are the same, in a time that does not tell where they differ."""
    import hmac  # costs a tenth of the guard's start, and a socket of files needs no token

    # JSON may hold half of a surrogate pair, which UTF-8 proper can't.
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())


def dying_with(guard: int) -> Any:
    """Return what a child does before it becomes the broker: ask the kernel to kill it when the guard dies."""
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None)  # loaded here, because little is safe between fork and exec
    pr_set_pdeathsig = 1

    def ask() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != guard:  # it died before we could ask
            os._exit(1)

    return ask


def say(value: object) -> None:
    """Answer whoever started us."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read what to do, and do it."""
    spec = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        guard = Guard(spec)
    except OSError as error:
        say({"error": f"{error.strerror}: {error.filename}"})
        return 1
    return guard.run()


if __name__ == "__main__":
    sys.exit(main())
