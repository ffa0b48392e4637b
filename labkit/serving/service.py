"""Start a service in processes of its own, and stop it for sure."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

from labkit.clock import Deadline
from labkit.errors import PortTakenError, ServiceStartError
from labkit.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

START_SECONDS = 30.0
STOP_SECONDS = 5.0
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a service is started with.

    Attributes:
        application: Who makes it: `module:function`; the function takes `options` and returns an ASGI application.
        options: Plain values.
        certificate: The chain that it presents.
        key: The key of that.
        client_authorities: Files with the authorities that clients' certificates come from.
        log: Where its processes write what went wrong.
        host: The address.
        port: The port; 0 takes a free one.
        workers: How many processes.
    """

    application: str
    options: Mapping[str, Any]
    certificate: Path
    key: Path
    client_authorities: tuple[Path, ...]
    log: Path
    host: str = LOOPBACK
    port: int = 0
    workers: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)


class RunningService:
    """A service that runs for the length of a `with` block.

    Its processes end when we end, however that comes about: they notice that their standard input does.

    Args:
        settings: What to start it with.

    Raises:
        PortTakenError: Another program listens there.
        ServiceStartError: It did not come up; the error has its log.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.port = settings.port
        self._children: list[subprocess.Popen[str]] = []

    def __repr__(self) -> str:
        return f"<RunningService {self.url}>"

    @property
    def url(self) -> str:
        """Where it is."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"https://{host}:{self.port}"

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [child.pid for child in self._children]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def alive(self) -> bool:
        """Return whether every process is running."""
        return bool(self._children) and all(child.poll() is None for child in self._children)

    def wait(self) -> None:
        """Wait until a process of it ends by itself, which it should not.

        Raises:
            ServiceStartError: One has; the error has its log.
        """
        while self.alive():
            Deadline(1.0).pause(1.0)
        raise self._start_error("")

    def stop(self) -> None:
        """Stop it; a second time does nothing."""
        for child in self._children:
            with contextlib.suppress(OSError):
                _pipe(child.stdin).close()
        for child in self._children:
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            _pipe(child.stdout).close()
        self._children.clear()

    def kill(self) -> None:
        """Kill every process, as a power cut would."""
        for child in self._children:
            child.kill()
        self.stop()

    def _start(self) -> None:
        handed_down = os.name == "posix"
        workers = self.settings.workers if handed_down else 1
        with self._listen() as listening:
            self.port = listening.getsockname()[1]
            if not handed_down:
                listening.close()
            for _ in range(workers):
                self._launch(listening.fileno() if handed_down else None)
        self._await_ready()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        try:
            return socket.create_server(
                (self.settings.host, self.settings.port), family=family, backlog=BACKLOG
            )
        except OSError as error:
            raise PortTakenError(
                f"Can't listen on {self.settings.host}, port {self.settings.port}: {error.strerror}.",
                advice="Choose another port (--port 0 takes a free one), or stop the program that has it.",
                port=self.settings.port,
            ) from error

    def _launch(self, inherited: int | None) -> None:
        told: dict[str, Any] = {
            "application": self.settings.application,
            "options": dict(self.settings.options),
            "certificate": str(self.settings.certificate),
            "key": str(self.settings.key),
            "client_authorities": [str(path) for path in self.settings.client_authorities],
        }
        told |= (
            {"host": self.settings.host, "port": self.port} if inherited is None else {"socket": inherited}
        )
        with self.settings.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "labkit.serving.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=() if inherited is None else (inherited,),
                env={**os.environ, **self.settings.variables},
                start_new_session=os.name == "posix",  # Ctrl-C is ours to hear; we close their standard input
            )
        self._children.append(child)
        with contextlib.suppress(BrokenPipeError):
            _pipe(child.stdin).write(json.dumps(told, default=str) + "\n")
            _pipe(child.stdin).flush()

    def _await_ready(self) -> None:
        deadline = Deadline(START_SECONDS)
        heard: queue.Queue[str] = queue.Queue()
        for child in self._children:
            threading.Thread(target=_first_line, args=(child, heard), daemon=True).start()
        for _ in self._children:
            try:
                line = heard.get(timeout=deadline.left)
            except queue.Empty:
                line = ""
            if line != "ready":
                raise self._start_error(line)

    def _start_error(self, line: str) -> ServiceStartError:
        try:
            told = json.loads(line)
            message, advice = told["error"], told["advice"]
        except (ValueError, KeyError, TypeError):
            message, advice = f"it ended before it was ready; see {self.settings.log}", "labkit doctor"
        tail = "\n".join(self.settings.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        return ServiceStartError(f"The service did not come up: {message}", advice=advice, log=tail)


def _first_line(child: subprocess.Popen[str], heard: queue.Queue[str]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed under our feet by stop()
        heard.put(_pipe(child.stdout).readline().strip())


def _pipe(end: IO[str] | None) -> IO[str]:
    if end is None:
        text = "this child was started without pipes"
        raise RuntimeError(text)
    return end
