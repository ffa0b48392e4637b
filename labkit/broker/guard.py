"""The guard: a small process that owns the broker, so that the broker never outlives whoever asked for it.

It runs as `python -I guard.py` in a session of its own and imports the standard library alone. The notebook's stop
button sends SIGINT to the kernel's process group, which the guard is not in, so the broker goes on. The end of the
kernel, however it comes, closes the pipe on the guard's standard input, or gives the guard another parent: both stop
the broker. On Linux the kernel itself kills the broker if the guard is killed (PR_SET_PDEATHSIG, prctl(2)).

Its first line of input is a JSON object: `argv`, `env`, `log`, `state`, `control` (a socket path, or null for a
loopback port) and `token`. It answers with one JSON line and then serves the control socket: one JSON line in, one
out, `{"do": "status" | "reload" | "stop", "token": …}`.
"""

import contextlib
import ctypes
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

LINE = 4096
TICK = 0.2
PATIENCE = 2.0
GRACE = 5.0


class Guard:
    """Owns one broker until somebody says stop, or nobody is left to say anything."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.parent = os.getppid()
        self.orphaned = threading.Event()
        self.stopping = False
        self.server, self.address = listen(spec["control"])
        self.child = self.spawn()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the broker; what it prints goes to the log."""
        with open(self.spec["log"], "ab") as log:
            return subprocess.Popen(
                self.spec["argv"],
                env=self.spec["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - before any thread
            )

    def run(self) -> int:
        """Serve until there is no reason to go on, then leave nothing behind."""
        threading.Thread(target=self.watch_pipe, daemon=True).start()
        say({"pid": self.child.pid, "guard": os.getpid(), "control": self.address})
        while not self.finished():
            with contextlib.suppress(TimeoutError, OSError):
                self.serve_one()
        self.stop()
        return self.child.returncode

    def finished(self) -> bool:
        """Return whether there is no reason to go on."""
        # A child that was forked off the kernel may hold the pipe open; a changed parent tells all the same.
        gone = self.orphaned.is_set() or (os.name == "posix" and os.getppid() != self.parent)
        return gone or self.stopping or self.child.poll() is not None

    def watch_pipe(self) -> None:
        """Wait for the end of whoever started us."""
        with contextlib.suppress(OSError):
            while os.read(0, LINE):
                pass
        self.orphaned.set()

    def serve_one(self) -> None:
        """Answer one request, if there is one."""
        connection, _ = self.server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            connection.sendall(json.dumps(self.answer(receive(connection))).encode() + b"\n")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        known = str(request.get("token") or "").encode()
        if not hmac.compare_digest(known, (self.spec["token"] or "").encode()):
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
        try:
            self.child.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def stop(self) -> None:
        """End the broker and remove what belonged to it."""
        self.end_child()
        self.server.close()
        for leftover in (self.spec["control"], self.spec["state"]):
            if leftover:
                with contextlib.suppress(OSError):
                    os.unlink(leftover)
        if self.spec["control"]:
            # A path too long for a socket got a folder of its own; where it is the lab's, it is not empty.
            with contextlib.suppress(OSError):
                Path(self.spec["control"]).parent.rmdir()


def listen(path: str | None) -> tuple[socket.socket, str | int]:
    """Return the control socket and its address; only its owner may connect, or who knows the token."""
    address: str | int
    if path is None:
        server = socket.create_server(("127.0.0.1", 0))
        address = server.getsockname()[1]
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)  # 0600 from its first moment
        server.bind(path)
        os.umask(before)
        server.listen()
        address = path
    server.settimeout(TICK)
    return server, address


def receive(connection: socket.socket) -> dict[str, Any]:
    """Return one request; anything that is not one is an empty one."""
    text = b""
    while b"\n" not in text and len(text) < LINE:
        piece = connection.recv(LINE)
        if not piece:
            break
        text += piece
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies. Runs in the child."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


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
    signal.signal(signal.SIGTERM, lambda *_: setattr(guard, "stopping", True))
    return guard.run()


if __name__ == "__main__":
    sys.exit(main())
