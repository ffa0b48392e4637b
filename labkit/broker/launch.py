"""Start a broker, reload it safely, and leave none behind."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from labkit.broker import acl as rules
from labkit.broker import config as configuration
from labkit.broker.control import LOG, STATE, State, gone, process_is
from labkit.broker.log_file import LogFile
from labkit.broker.mosquitto import Mosquitto, find_mosquitto
from labkit.broker.trial import OPENSSL_CONF, START_TIME, environment, reload_refused, try_rules
from labkit.clock import SYSTEM_CLOCK, Deadline
from labkit.errors import (
    BrokerError,
    BrokerRunningError,
    BrokerStartError,
    LabError,
    PortTakenError,
)
from labkit.ports import is_listening, reserve_port
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.broker.acl import Acl
    from labkit.broker.config import BrokerConfig

SOCKET_PATH = 100
"""Longest path of a control socket; Linux allows 107 bytes and macOS 103 (sun_path)."""

_GUARD = Path(__file__).with_name("guard.py")
_TRIES = 5


class Broker:
    """A Mosquitto of our own, for as long as the `with` block lasts and never longer.

    Args:
        folder: Where its files are: configuration, rules, log, state.
        make_config: Returns the configuration for a port. Its `acl_file` and `user` are filled in here.
        acl: Who may read and write what.
        mosquitto: The program; found where it is not given.
        port: The port; a free one where it is not given.
    """

    def __init__(
        self,
        folder: Path,
        make_config: Callable[[int], BrokerConfig],
        *,
        acl: Acl = rules.DEVICE_ACL,
        mosquitto: Mosquitto | None = None,
        port: int | None = None,
    ) -> None:
        self.folder = folder
        self.acl = acl
        self.log = LogFile(folder / LOG)
        self.config: BrokerConfig | None = None
        self._make_config = make_config
        self._mosquitto = mosquitto
        self._wanted_port = port
        self._state: State | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._held = ExitStack()

    def __repr__(self) -> str:
        return f"<Broker on port {self.port}>" if self._state else f"<Broker, stopped, in {self.folder}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if isinstance(kind, type) and issubclass(kind, BrokerError):
            sys.stderr.write(f"The broker's log ended:\n{self.log.tail(15)}\n")
        self.stop()

    @property
    def host(self) -> str:
        """Where it listens."""
        return self._running().host

    @property
    def port(self) -> int:
        """On which port."""
        return self._running().port

    @property
    def pid(self) -> int:
        """Its process."""
        return self._running().pid

    @property
    def version(self) -> str:
        """Mosquitto's version."""
        return self._running().version

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._state is not None and self._state.answers()

    @property
    def configuration(self) -> str:
        """The configuration file, as it is on disk."""
        return (self.folder / "mosquitto.conf").read_text(encoding="utf-8")

    def check(self) -> None:
        """Raise if the broker has died.

        Raises:
            BrokerGoneError: With the end of its log.
        """
        if not self.alive:
            raise gone(self.log, "is not running any more")

    def _running(self) -> State:
        if self._state is None:
            text = "the broker is not running; use it inside `with`"
            raise RuntimeError(text)
        return self._state

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            PortTakenError: The port that was asked for is somebody else's.
            BrokerRunningError: Another broker runs in this folder.
            BrokerStartError: Mosquitto refused its configuration or files; the error has its words.
            ToolMissingError: There is no Mosquitto, or see `find_mosquitto`.
        """
        mosquitto = self._program()
        make_folder(self.folder, private=True)
        try:
            self._take_folder()
            for attempt in range(_TRIES):
                if self._launch(mosquitto, last=attempt == _TRIES - 1):
                    return
        except BaseException:
            self.stop()
            raise

    def _program(self) -> Mosquitto:
        self._mosquitto = self._mosquitto or find_mosquitto()
        return self._mosquitto

    def _take_folder(self) -> None:
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self._held.enter_context(lock)
        except Timeout as error:
            raise BrokerRunningError(
                f"A broker runs in {self.folder} already.",
                advice="Use it (labkit broker status), or stop it: labkit broker stop",
                path=self.folder,
            ) from error
        self._clear_stale()

    def _clear_stale(self) -> None:
        """Wait for, or end, what an earlier owner left behind: it is dead, since we hold its lock."""
        with suppress(LabError):
            state = State.read(self.folder)
            deadline = Deadline(5.0)
            while state and state.answers() and not deadline.passed:
                with suppress(OSError, ValueError):
                    state.ask("stop")
                deadline.pause(0.05)
            if state and process_is(state.pid, str(self.folder)):
                with suppress(OSError):
                    os.kill(state.pid, signal.SIGKILL)
        (self.folder / STATE).unlink(missing_ok=True)

    def _launch(self, mosquitto: Mosquitto, *, last: bool) -> bool:
        with ExitStack() as reservation:
            port = self._wanted_port or reservation.enter_context(reserve_port())
            if self._wanted_port and is_listening(port):
                raise _port_taken(port)
            self._write_files(port)
            mark = self.log.mark()
            answer = self._spawn(mosquitto)
            seen = self.log.wait_for(
                lambda event: event.kind in {"running", "in-use"},
                since=mark,
                timeout=START_TIME,
                give_up=lambda: self._guard is None or self._guard.poll() is not None,
            )
        if seen and seen.kind == "running":
            self._state = self._write_state(answer, port, seen["version"])
            return True
        self._end_guard()
        if seen and self._wanted_port:
            raise _port_taken(port)
        if seen and not last:
            return False  # somebody was quicker: another port
        raise self._start_error(mark)

    def _write_files(self, port: int) -> None:
        self.config = self._complete(self._make_config(port), self.folder / "acl.conf")
        write_atomic(self.folder / "acl.conf", rules.render(self.acl), secret=True)
        write_atomic(self.folder / "openssl.cnf", OPENSSL_CONF)
        write_atomic(self.folder / "mosquitto.conf", configuration.render(self.config), secret=True)

    @staticmethod
    def _complete(config: BrokerConfig, acl_file: Path) -> BrokerConfig:
        # Started as root, Mosquitto becomes `mosquitto`, who can't read keys that are for their owner alone.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        return dataclasses.replace(config, acl_file=acl_file, user="root" if root else config.user)

    def _spawn(self, mosquitto: Mosquitto) -> dict[str, Any]:
        control, token = self._control()
        spec = {
            "argv": [str(mosquitto.path), "-c", str(self.folder / "mosquitto.conf")],
            "env": environment(mosquitto, self.folder),
            "log": str(self.log.path),
            "state": str(self.folder / STATE),
            "control": control,
            "token": token,
        }
        detached: dict[str, Any] = {"start_new_session": True}
        if os.name != "posix":
            detached = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(_GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **detached,
        )
        assert self._guard.stdin  # noqa: S101 - asked for above
        assert self._guard.stdout  # noqa: S101 - asked for above
        with suppress(BrokenPipeError):
            self._guard.stdin.write(json.dumps(spec).encode() + b"\n")
            self._guard.stdin.flush()
        answer: dict[str, Any] = json.loads(self._guard.stdout.readline() or b'{"error": "the guard died"}')
        if "error" in answer:
            raise BrokerStartError(
                f"The broker's guard could not start it: {answer['error']}.",
                advice="Look at that file or folder, and try again.",
                log=str(answer["error"]),
            )
        return {**answer, "token": token}

    def _control(self) -> tuple[str | None, str]:
        if os.name != "posix":
            return None, secrets.token_hex(16)
        path = self.folder / "control.sock"
        if len(os.fsencode(path)) > SOCKET_PATH:
            path = Path(tempfile.mkdtemp(prefix="labkit-"), "control.sock")
        return str(path), ""

    def _write_state(self, answer: dict[str, Any], port: int, version: str) -> State:
        state = State(
            pid=answer["pid"],
            guard=answer["guard"],
            host="127.0.0.1",
            port=port,
            control=answer["control"],
            token=answer["token"],
            version=version,
            since=SYSTEM_CLOCK.now().isoformat(timespec="seconds"),
        )
        write_atomic(self.folder / STATE, json.dumps(dataclasses.asdict(state)) + "\n", secret=True)
        return state

    def _start_error(self, mark: int) -> BrokerStartError:
        words = "\n".join(self.log.lines(mark)[-8:])
        errors = [event.text for event in self.log.since(mark) if event.kind in {"error", "tls-error"}]
        why = errors[0] if errors else (words.splitlines() or ["it said nothing"])[-1]
        return BrokerStartError(
            f"Mosquitto did not start: {why}",
            advice=f"Its log is {self.log.path}; its configuration is {self.folder / 'mosquitto.conf'}.",
            log=words,
        )

    def stop(self) -> None:
        """Stop it. Harmless when it is stopped."""
        self._end_guard()
        self._state = None
        self._held.close()

    def _end_guard(self) -> None:
        if self._guard is None:
            return
        assert self._guard.stdin  # noqa: S101 - opened as a pipe
        assert self._guard.stdout  # noqa: S101 - opened as a pipe
        with suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(10.0)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._guard.stdout.close()
        self._guard = None

    def reload(self, acl: Acl, *, confirm: Callable[[], object] = lambda: None) -> None:
        """Put new access rules in force, or leave the old ones.

        2.0 answers a rule that it can't read by dropping *all* rules, and lets everybody do everything. So the
        new rules are parsed by us, then tried by a second Mosquitto on a scratch port, then swapped in one step,
        then read by the running one, and then `confirm` has to see a forbidden thing refused.

        Args:
            acl: The new rules.
            confirm: Raises if what must be refused is not. It runs after the reload.

        Raises:
            AclError: A rule is malformed; nothing has changed.
            ReloadRefusedError: Mosquitto refused the rules, or `confirm` did; the old ones are in force.
            BrokerGoneError: The broker has died.
        """
        self.check()
        text = rules.render(acl)
        rules.parse(text)
        assert self.config is not None  # noqa: S101 - it is running
        try_rules(self.folder, self.config, text, self._program())
        before = self.acl
        self._swap(acl)
        try:
            confirm()
        except Exception as error:
            self._swap(before)
            raise reload_refused(f"after the reload, {error}", self.log.tail()) from error

    def _swap(self, acl: Acl) -> None:
        write_atomic(self.folder / "acl.conf", rules.render(acl), secret=True)
        mark = self.log.mark()
        try:
            self._running().ask("reload")
        except (OSError, ValueError) as error:
            raise gone(self.log, "does not answer any more") from error
        said = self.log.wait_for(lambda event: event.kind in {"reload", "running"}, since=mark)
        # 2.0 says that it reloads before it does. Its answer to the next connection comes after it has.
        is_listening(self.port)
        failed = [event.text for event in self.log.since(mark) if event.kind == "error"]
        if said is None or failed or not self.alive:
            # Fail closed: a broker whose rules are unknown must not go on.
            self.stop()
            raise gone(self.log, "was stopped, because it could not read its rules again")
        self.acl = acl


def _port_taken(port: int) -> PortTakenError:
    return PortTakenError(
        f"Port {port} is taken by another program.",
        advice="Leave the port away to get a free one, or find the program: ss -ltnp (lsof -i on macOS)",
        port=port,
    )
