"""Talk to a broker's guard over its control socket, from any process of the same user."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.broker import acl as rules
from labkit.broker import config as configuration
from labkit.broker.log_file import LogFile
from labkit.broker.mosquitto import find_mosquitto
from labkit.broker.trial import try_rules
from labkit.clock import Deadline
from labkit.errors import BrokerGoneError, BrokerNotRunningError, WorkspaceCorruptError
from labkit.workspace import Workspace

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
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise WorkspaceCorruptError(
                f"{path} is damaged.",
                advice=f"No broker is lost by it: delete {path} and start the broker again.",
                path=path,
            ) from error

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
            BrokerGoneError: It has gone, or says nothing.

        Does not check: that the rules forbid what they should.
        """
        text = (self.folder / "acl.conf").read_text(encoding="utf-8")
        rules.parse(text)
        config = configuration.parse((self.folder / "mosquitto.conf").read_text(encoding="utf-8"))
        try_rules(self.folder, config, text, find_mosquitto())
        mark = self.log.mark()
        self._ask("reload")
        if not self.log.wait_for(lambda event: event.kind in {"reload", "running"}, since=mark):
            raise gone(self.log, "does not say that it has read its files again")

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


def process_is(pid: int, word: str) -> bool:
    """Return whether a process lives and has a word on its command line, as far as this system tells."""
    if os.name != "posix":
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - not a file of ours
            return word.encode() in file.read()
    except OSError:
        return False
