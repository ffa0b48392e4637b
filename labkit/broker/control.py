"""Talk to a broker's guard over its control socket, from any process of the same user."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.broker import acl as rules
from labkit.broker import config as configuration
from labkit.broker import staging
from labkit.broker.choice import find_mosquitto
from labkit.broker.log_file import LogFile
from labkit.broker.trial import try_rules
from labkit.clock import Deadline
from labkit.errors import BrokerGoneError, BrokerNotRunningError, ToolError, WorkspaceCorruptError
from labkit.processes import run
from labkit.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

STATE = "state.json"
LOG = "mosquitto.log"
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """What the launcher wrote down about a running broker.

    Attributes:
        pid: The broker's process.
        guard: The guard's process.
        host: Where it listens.
        port: On which port.
        control: The control socket: a path, or a loopback port.
        token: What a loopback control port wants to hear; empty with a socket.
        version: Mosquitto's version.
        since: When it was started.
    """

    pid: int
    guard: int
    host: str
    port: int
    control: str | int
    token: str
    version: str
    since: str

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Return the state in a broker's folder, or None where there is none.

        Raises:
            WorkspaceCorruptError: The file is damaged.
        """
        path = folder / STATE
        try:
            found = cls(**json.loads(path.read_text(encoding="utf-8")))
            found._check()
            return found
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError) as error:
            raise WorkspaceCorruptError(
                f"{path} is damaged.",
                advice=f"No broker is lost by it: delete {path} and start the broker again.",
                path=path,
            ) from error

    def _check(self) -> None:
        numbers = (self.pid, self.guard, self.port)
        words = (self.host, self.token, self.version, self.since)
        if not (
            all(type(each) is int and each > 0 for each in numbers)
            and all(isinstance(each, str) for each in words)
            and type(self.control) in {str, int}
        ):
            text = "a value is of the wrong kind"
            raise ValueError(text)

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command to the guard and return its answer.

        Raises:
            OSError: Nobody answers.
            ValueError: The answer is not the guard's.
        """
        kind = socket.AF_INET if isinstance(self.control, int) else socket.AF_UNIX
        address = ("127.0.0.1", self.control) if isinstance(self.control, int) else self.control
        with socket.socket(kind, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(address)
            connection.sendall(json.dumps({"do": command, "token": self.token}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        if "ok" not in answer:
            text = f"the guard says: {answer.get('error', answer)}"
            raise ValueError(text)
        return answer

    def answers(self) -> bool:
        """Return whether the guard is there and its broker lives."""
        try:
            return bool(self.ask("status").get("alive"))
        except (OSError, ValueError):
            return False


class RunningBroker:
    """A broker that another process started. Get one from `attach`.

    Args:
        folder: The broker's folder.
        state: What is written down about it.
    """

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder
        self.state = state
        self.log = LogFile(folder / LOG)

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.state.host

    @property
    def port(self) -> int:
        """On which port."""
        return self.state.port

    @property
    def config(self) -> configuration.BrokerConfig:
        """Its configuration, read from its file.

        Raises:
            WorkspaceCorruptError, BrokerConfigError: The file can't be read.
        """
        return configuration.parse(self._read("mosquitto.conf"))

    def check(self) -> None:
        """Raise if the broker has died.

        Raises:
            BrokerGoneError: With the end of its log.
        """
        if not self.state.answers():
            raise gone(self.log, "is not running any more")

    def status(self) -> dict[str, Any]:
        """Return `{"ok", "pid", "guard", "alive"}` from the guard.

        Raises:
            BrokerGoneError: It has gone since.
        """
        return self._ask("status")

    def reload(self) -> None:
        """Have the broker read its rules again, if they are right, and wait until its log says so.

        The rules on disk are parsed by us and tried by a second Mosquitto first, because the running one would
        drop all rules if it could not read one of them.

        Raises:
            AclError: A rule is malformed; the broker was not told, and goes by the rules that it has.
            ReloadRefusedError: Mosquitto refused the rules; likewise.
            WorkspaceCorruptError: A file of the broker's can't be read; likewise.
            BrokerGoneError: It has gone; or it could not read its rules all the same, and was stopped.

        Does not check: that the rules forbid what they should.
        """
        text = self._read("acl.conf")
        rules.parse(text)
        config = configuration.parse(self._read("mosquitto.conf"))
        try_rules(self.folder, config, text, find_mosquitto())
        try:
            read_again(self.state, self.log)
        except BrokerGoneError:
            # Fail closed: a broker whose rules are unknown must not go on.
            with suppress(BrokerGoneError):
                self.stop()
            raise

    def deny(self, user: str) -> bool:
        """Take everything from a user, in the sessions that are open too, and return whether that was news.

        Raises:
            AclError: It is no user name, or the rules on disk are malformed; nothing has changed.
            ReloadRefusedError, WorkspaceCorruptError, BrokerGoneError: See `reload`; the rules are the old ones.
        """
        before = rules.parse(self._read("acl.conf"))
        return before == before.without_denial(user) and self._replace(before.denying(user))

    def allow(self, user: str) -> bool:
        """Take back what `deny` did, and return whether there was anything to take back.

        Raises:
            AclError, ReloadRefusedError, WorkspaceCorruptError, BrokerGoneError: See `deny`.
        """
        before = rules.parse(self._read("acl.conf"))
        after = before.without_denial(user)
        return after != before and self._replace(after)

    def _replace(self, acl: rules.Acl) -> bool:
        path, old = self.folder / "acl.conf", self._read("acl.conf")
        write_atomic(path, rules.render(acl), secret=True)
        try:
            self.reload()
        except BaseException:
            write_atomic(path, old, secret=True)
            raise
        return True

    def _read(self, name: str) -> str:
        path = self.folder / name
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise WorkspaceCorruptError(
                f"{path} can't be read: {error}.",
                advice="The broker goes by what it read before. Stop it and start it again: labkit broker run",
                path=path,
            ) from error

    def stop(self) -> None:
        """Stop the broker and wait until its guard is gone.

        Raises:
            BrokerGoneError: It does not stop.
        """
        self._ask("stop")
        deadline = Deadline(2 * _PATIENCE)
        while self.state.answers() or (self.folder / STATE).exists():
            if deadline.passed:
                raise gone(self.log, "does not stop")
            deadline.pause()

    def _ask(self, command: str) -> dict[str, Any]:
        try:
            return self.state.ask(command)
        except (OSError, ValueError) as error:
            raise gone(self.log, "does not answer any more") from error


def attach(place: Workspace | Path) -> RunningBroker:
    """Return the broker that runs in a workspace, whoever started it.

    Args:
        place: A workspace, or the folder of one of its brokers, such as `workspace/broker`.

    Raises:
        BrokerNotRunningError: None runs there.
        WorkspaceCorruptError: What is written down about it is damaged.
    """
    folder = place.path("broker") if isinstance(place, Workspace) else place
    state = State.read(folder)
    if state is None or not state.answers():
        raise BrokerNotRunningError(
            f"No broker runs in {folder}.", advice="Start one: labkit broker run", path=folder
        )
    return RunningBroker(folder, state)


def stop_all(folder: Path) -> int:
    """Stop every broker that runs in a folder or below it, and return how many there were.

    Raises:
        BrokerGoneError: One does not stop.
    """
    stopped = 0
    for state_file in sorted(folder.rglob(STATE)):
        try:
            running = attach(state_file.parent)
        except (BrokerNotRunningError, WorkspaceCorruptError):
            continue
        running.stop()
        stopped += 1
    return stopped


def gone(log: LogFile, what: str) -> BrokerGoneError:
    """Return the error of a broker that is not there any more, with the end of its log."""
    tail = log.tail()
    return BrokerGoneError(
        f"The broker {what}." + (f" Its last words: {tail.splitlines()[-1]}" if tail else ""),
        advice=f"Its log is {log.path}. Start it again: run the lesson from its start, or labkit broker run",
        log=tail,
    )


def read_again(state: State, log: LogFile) -> None:
    """Have the broker read its files again, and wait until it has.

    Args:
        state: The running broker.
        log: Its log.

    Raises:
        BrokerGoneError: It does not answer, does not say that it has read them, or says that it could not. Whoever
            asked has to stop it then, because 2.0 goes on without any rules.
    """
    staging.renew(log.path.parent)
    mark = log.mark()
    try:
        state.ask("reload")
    except (OSError, ValueError) as error:
        raise gone(log, "does not answer any more") from error
    if not log.wait_for(
        lambda event: event.kind in {"reload", "running"}, since=mark, give_up=lambda: not state.answers()
    ):
        raise gone(log, "does not say that it has read its files again")
    seen = _seen_by(state, log, mark)
    if any(event.kind == "error" for event in log.since(mark)):  # 2.1 quits by itself, 2.0 goes on
        raise gone(log, "could not read its rules again and was stopped")
    if not seen or not state.answers():
        raise gone(log, "does not take connections any more")


def _seen_by(state: State, log: LogFile, mark: int) -> bool:
    """Return whether the broker logs a connection of ours.

    It says that it reloads *before* it does, in the loop that also accepts connections. One that was begun after it
    said so is therefore logged after it has read everything. The connection stays open until then: one that is
    closed at once is logged without its port.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(state.host, state.host)  # noqa: S104 - where it is, not where we listen
    try:
        with socket.create_connection((host, state.port), timeout=_PATIENCE) as connection:
            port = str(connection.getsockname()[1])
            return bool(
                log.wait_for(
                    lambda event: event.kind == "connection" and event["peer_port"] == port,
                    since=mark,
                    timeout=_PATIENCE,
                    give_up=lambda: not state.answers(),
                )
            )
    except OSError:
        return False


def process_is(pid: int, word: str) -> bool:
    """Return whether a process lives and has a word on its command line, as far as this system tells.

    Does not check: anything on Windows, where it returns False.
    """
    if os.name != "posix":
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - not a file of ours
            return os.fsencode(word) in file.read()
    except OSError:
        pass
    if os.path.exists("/proc/self/cmdline"):  # noqa: PTH110 - not a file of ours
        return False
    try:  # macOS and the BSDs have no such files
        return word in run(["ps", "-ww", "-o", "command=", "-p", str(pid)], check=False, timeout=5).stdout
    except ToolError:
        return False
