"""Start a broker, reload it safely, and leave none behind."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from filelock import FileLock, Timeout

from labkit.broker import acl as rules
from labkit.broker import config as configuration
from labkit.broker import staging
from labkit.broker.choice import find_mosquitto
from labkit.broker.control import LOG, STATE, State, gone, process_is, read_again
from labkit.broker.guard import remove_control
from labkit.broker.guarded import OPENSSL_CONF, Guarded, environment, start_guarded
from labkit.broker.log_file import LogFile
from labkit.broker.trial import SCRATCH, START_TIME, reload_refused, try_rules
from labkit.clock import SYSTEM_CLOCK, Deadline
from labkit.errors import (
    BrokerConfigError,
    BrokerError,
    BrokerGoneError,
    BrokerRunningError,
    BrokerStartError,
    LabError,
    PortTakenError,
)
from labkit.ports import is_listening, reserve_port
from labkit.workspace import make_folder, os_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker.acl import Acl
    from labkit.broker.config import BrokerConfig
    from labkit.broker.mosquitto import Mosquitto

_TRIES = 5
_LONG_LOG = 8_000_000
_ours: WeakValueDictionary[Path, Broker] = WeakValueDictionary()
_replacing: ContextVar[bool] = ContextVar("replacing", default=False)


@contextmanager
def replacing() -> Iterator[None]:
    """Let a broker that starts inside the block take the place of one that this process runs in the same folder.

    So that the cell of a notebook which starts a broker can be run again, with other settings.
    """
    token = _replacing.set(True)
    try:
        yield
    finally:
        _replacing.reset(token)


class Broker:
    """A Mosquitto of our own, for as long as the `with` block lasts and never longer.

    Args:
        folder: Where its files are: configuration, rules, log, state.
        make_config: Returns the configuration for a port. Its `acl_file` and `user` are filled in here.
        acl: Who may read and write what.
        mosquitto: The program; found where it is not given.
        port: The port; a free one where it is not given.
        openssl_conf: OpenSSL's settings for the broker, which has no options of its own for some of them.
    """

    def __init__(
        self,
        folder: Path,
        make_config: Callable[[int], BrokerConfig],
        *,
        acl: Acl = rules.DEVICE_ACL,
        mosquitto: Mosquitto | None = None,
        port: int | None = None,
        openssl_conf: str = OPENSSL_CONF,
    ) -> None:
        self.folder = folder.absolute()  # we may be somewhere else when it is reloaded
        self.acl = acl
        self.log = LogFile(self.folder / LOG)
        self.config: BrokerConfig | None = None
        self._make_config = make_config
        self._mosquitto = mosquitto
        self._wanted_port = port
        self._openssl_conf = openssl_conf
        self._state: State | None = None
        self._guarded: Guarded | None = None
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
            DiskFullError, WorkspaceUnwritableError: There is no place for its files.
        """
        if self.alive:
            raise self._runs_already()
        self.stop()  # what is left of one that has died
        if _replacing.get() and (earlier := _ours.get(self.folder)):
            earlier.stop()
        mosquitto = self._program()
        make_folder(self.folder, private=True)
        try:
            self._take_folder()
            for attempt in range(_TRIES):
                if self._launch(mosquitto, last=attempt == _TRIES - 1):
                    _ours[self.folder] = self
                    return
        except BaseException:
            self.stop()
            raise

    def _program(self) -> Mosquitto:
        self._mosquitto = self._mosquitto or find_mosquitto()
        return self._mosquitto

    def _take_folder(self) -> None:
        # Not bound to a thread: one may start the broker and another stop it.
        lock = FileLock(self.folder / ".lock", timeout=0, thread_local=False)
        try:
            with os_errors(self.folder):
                self._held.enter_context(lock)
        except Timeout as error:
            raise self._runs_already() from error
        self._clear_stale()

    def _runs_already(self) -> BrokerRunningError:
        return BrokerRunningError(
            f"A broker runs in {self.folder} already.",
            advice="Use it (labkit broker status), or stop it: labkit broker stop",
            path=self.folder,
        )

    def _clear_stale(self) -> None:
        """Wait for, or end, what an earlier owner left behind: it is dead, since we hold its lock."""
        with suppress(LabError):
            state = State.read(self.folder)
            deadline = Deadline(5.0)
            while state and state.answers() and not deadline.passed:
                with suppress(OSError, ValueError):
                    state.ask("stop")
                deadline.pause(0.05)
            while state and process_is(state.pid, str(self.folder)) and not deadline.passed:
                with suppress(OSError):
                    os.kill(state.pid, signal.SIGKILL)
                deadline.pause(0.05)
            remove_control(state.control if state else None)
        (self.folder / STATE).unlink(missing_ok=True)
        for scratch in self.folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(scratch, ignore_errors=True)
        if self.log.mark() > _LONG_LOG:
            self.log.path.unlink()

    def _launch(self, mosquitto: Mosquitto, *, last: bool) -> bool:
        with ExitStack() as reservation:
            port = self._wanted_port or reservation.enter_context(reserve_port())
            if self._wanted_port and is_listening(port):
                raise _port_taken(port)
            self._write_files(port)
            mark = self.log.mark()
            child = self._guarded = start_guarded(
                mosquitto.command(self.folder / "mosquitto.conf", self.folder / "openssl.cnf"),
                env=environment(mosquitto, self.folder / "openssl.cnf"),
                log=self.log.path,
                state=self.folder / STATE,
                control=self.folder / "control.sock",
            )
            seen = self.log.wait_for(
                lambda event: event.kind in {"running", "in-use"},
                since=mark,
                timeout=max(START_TIME, mosquitto.patience),
                give_up=lambda: child.ended,
            )
        if seen and seen.kind == "running":
            self._state = self._write_state(child, seen["version"])
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
        write_atomic(self.folder / "openssl.cnf", self._openssl_conf)
        write_atomic(self.folder / "mosquitto.conf", configuration.render(self.config), secret=True)

    @staticmethod
    def _complete(config: BrokerConfig, acl_file: Path) -> BrokerConfig:
        # Started as root, Mosquitto becomes `mosquitto`, who can't read keys that are for their owner alone.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        return dataclasses.replace(config, acl_file=acl_file, user="root" if root else config.user)

    def _write_state(self, child: Guarded, version: str) -> State:
        assert child.control is not None  # noqa: S101 - asked for
        assert self.config is not None  # noqa: S101 - written before
        state = State(
            pid=child.pid,
            guard=child.guard,
            host=self.config.listeners[0].host,
            port=self.config.listeners[0].port,  # which may be one that `make_config` insists on
            control=child.control,
            token=child.token,
            version=version,
            since=SYSTEM_CLOCK.now().isoformat(timespec="seconds"),
        )
        write_atomic(self.folder / STATE, json.dumps(dataclasses.asdict(state)) + "\n", secret=True)
        return state

    def _start_error(self, mark: int) -> BrokerStartError:
        words = "\n".join(self.log.lines(mark)[-8:])
        if not words:
            with os_errors(self.log.path), self.log.path.open("ab") as file:
                file.write(b"Mosquitto said nothing.\n")  # on a full disk it could not
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
        if self._guarded is None:
            return
        self._guarded.close()
        self._guarded = None
        staging.clear(self.folder)
        (self.folder / STATE).unlink(missing_ok=True)  # a guard that was killed could not

    def reload(
        self,
        acl: Acl | None = None,
        *,
        config: BrokerConfig | None = None,
        confirm: Callable[[], object] = lambda: None,
    ) -> None:
        """Put new access rules in force, or leave the old ones.

        2.0 answers a rule that it can't read by dropping *all* rules, and lets everybody do everything. So the
        new rules are parsed by us, then tried by a second Mosquitto on a scratch port, then swapped in one step,
        then read by the running one, and then `confirm` has to see a forbidden thing refused.

        The broker also reads its certificate, its key and the revocation list again, from where they were.

        Args:
            acl: The new rules; the present ones where they are not given.
            config: A new configuration with the same listeners, which Mosquitto does not read again.
            confirm: Raises if what must be refused is not. It runs after the reload.

        Raises:
            AclError: A rule is malformed; nothing has changed.
            BrokerConfigError: The listeners are others, or a value is no value; nothing has changed.
            ReloadRefusedError: Mosquitto refused the rules, or `confirm` did; the old ones are in force.
            BrokerGoneError: The broker has died, or could not read its rules all the same and was stopped.

        Does not check: that the rules forbid what they should; `confirm` is for that.
        """
        self.check()
        assert self.config is not None  # noqa: S101 - it is running
        before = (self.acl, self.config)
        after = (self.acl if acl is None else acl, self._same_listeners(config or self.config))
        text = rules.render(after[0])
        rules.parse(text)
        try_rules(self.folder, after[1], text, self._program())
        self._swap(*after)
        try:
            confirm()
        except BaseException as error:
            self._swap(*before)
            if not isinstance(error, Exception):
                raise  # somebody pressed stop: unconfirmed rules do not stay
            raise reload_refused(f"after the reload, {error}", self.log.tail()) from error

    def _same_listeners(self, config: BrokerConfig) -> BrokerConfig:
        assert self.config is not None  # noqa: S101 - it is running
        if config.listeners != self.config.listeners:
            raise BrokerConfigError(
                "A running broker keeps its listeners; the new configuration has others.",
                advice="Stop the broker and start it with the new configuration.",
                line=0,
                key="listener",
            )
        return self._complete(config, self.folder / "acl.conf")

    def _swap(self, acl: Acl, config: BrokerConfig) -> None:
        self._write_rules(acl, config)
        try:
            read_again(self._running(), self.log)
        except BrokerGoneError:
            self.stop()  # fail closed: a broker whose rules are unknown must not go on
            raise
        self.acl, self.config = acl, config

    def _write_rules(self, acl: Acl, config: BrokerConfig) -> None:
        assert self.config is not None  # noqa: S101 - it is running
        old = configuration.render(self.config)
        new = configuration.render(config)
        if new != old:
            write_atomic(self.folder / "mosquitto.conf", new, secret=True)
        try:
            write_atomic(self.folder / "acl.conf", rules.render(acl), secret=True)
        except LabError:
            if new != old:
                write_atomic(self.folder / "mosquitto.conf", old, secret=True)
            raise


def _port_taken(port: int) -> PortTakenError:
    return PortTakenError(
        f"Port {port} is taken by another program.",
        advice="Leave the port away to get a free one, or find the program: ss -ltnp (lsof -i on macOS)",
        port=port,
    )
