"""The sensor node as a board runs it: from its boot to its readings at the broker, and on.

`application` makes it; `board` starts it with what a running program sees of a board. It logs as the firmware does: the
same tags and codes, and values that are no secret. Where Python knows more of a reason than C does, `why` has it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from labkit.clock import SYSTEM_CLOCK, Clock, Stopwatch
from labkit.errors import LabError, MessageRefusedError, NotConnectedError
from labkit.firmware import NvsEntry
from labkit.firmware.update import Version
from labkit.mqtt import Endpoint, Identity, Will, open_session
from labkit.node import backoff, codes, commands, layout, topics
from labkit.node.credentials import BoardSlots, Values
from labkit.node.enrolment import LATER, Enrolment, reason_of
from labkit.node.faults import CRASH, MUTE, PANIC, fault_of
from labkit.node.sensor import Sensor, SimulatedSensor
from labkit.node.states import Action, Event, State, after, at_boot
from labkit.node.telemetry import render
from labkit.node.updating import OK, Updater, failed, settle
from labkit.outcome import Outcome
from labkit.updates import UpdateClient
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.mqtt import Message, Session
    from labkit.node.machine import Board
    from labkit.node.updating import UpdateSource

LOOK = 0.1
"""Seconds after which a node that waits looks whether it is to stop."""

TRIAL = 10 * 60 * 1000
"""Milliseconds that an image on trial has to reach the broker."""

_LETTERS = {"info": "I", "warning": "W", "error": "E"}


@dataclass(frozen=True)
class Options:
    """How a node is run.

    Attributes:
        speed: Seconds of the node's that pass in one of ours; 60 shows an hour in a minute. Timers only: certificates
            are judged by the clock.
        clock: What time it is.
        sensor: What measures.
        read_interval: Understands the payload of the command `interval`; the firmware's own without it.
        source: Where the jitter of the back-off comes from.
        updates: Where updates come from, in place of the service that NVS names.
    """

    speed: float = 1.0
    clock: Clock = SYSTEM_CLOCK
    sensor: Sensor = field(default_factory=SimulatedSensor)
    read_interval: Callable[[bytes], int] = commands.read_interval
    source: random.Random = field(default_factory=random.SystemRandom)
    updates: UpdateSource | None = None


def application(options: Options | None = None) -> Callable[[Any], None]:
    """Return the sensor node, ready for a board to start it.

    Args:
        options: How it is run.
    """
    chosen = options or Options()

    def run(board: Board) -> None:
        with TemporaryDirectory(prefix="labkit-node-") as memory:
            Node(board, chosen, Path(memory)).run()

    return run


class Node:
    """One run of the node, from its boot to the end of its power.

    Args:
        board: What it runs on.
        options: How.
        memory: A private folder: the board's memory.
    """

    def __init__(self, board: Board, options: Options, memory: Path) -> None:
        self._board, self._options, self._memory = board, options, memory
        self._uptime = Stopwatch(speed=options.speed)
        self._sent = 0
        self._state = State.UPDATING if board.pending else State.UNPROVISIONED
        self._fault = fault_of(board.boot)

    # --- the log -------------------------------------------------------------------------------------------------

    def log(self, tag: str, code: str, **values: object) -> None:
        """Write a line to the console, as ESP-IDF's logger does."""
        letter = _LETTERS[codes.CODES[code].level]
        self._board.say(f"{letter} ({self._uptime.milliseconds}) {tag}: {codes.line(code, **values)}")

    # --- the way -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what the device does until its power goes, or until nothing more can be done."""
        if self._fault == CRASH:
            self._board.say(PANIC)
            self._board.stopping.wait(
                LOOK
            )  # a panic handler takes its time; and nobody's processor should burn
            self._board.restart()
            return
        try:
            self._values = Values(self._board)
            self._device = topics.device_id(self._required(layout.DEVICE_ID))
            self._trust = self._root()
            self._slots = BoardSlots(self._values, self._memory / "slots")
            self._enrolment = Enrolment(
                self._values,
                self._slots,
                self._device,
                trust=self._trust,
                clock=self._options.clock,
                log=self.log,
            )
            self._start()
            if self._ready():
                self._work()
        except MessageRefusedError as error:
            self.log("lab_node", error.code, why=reason_of(error))
            self._give_up()

    def _required(self, key: str) -> str:
        found = self._values.text(layout.IDENTITY, key)
        if found is None:
            raise codes.refused("nvs-missing", key)
        return found

    def _root(self) -> Path:
        root = self._values.text(layout.IDENTITY, layout.ROOT)
        if root is None:
            raise codes.refused("trust-missing", "")
        path = self._memory / "root.crt"
        write_atomic(path, root)
        return path

    def _start(self) -> None:
        stored = self._enrolment.stored
        pending = self._board.pending
        self._state = at_boot(
            pending=pending,
            identity=stored.in_use,
            rolled_back=not pending and settle(self._values, self._board.version),
            renewing=stored.in_use and stored.staged,
        )
        self.log("lab_node", f"boot-{self._state}", device=self._device, version=self._board.version)

    def _ready(self) -> bool:
        """Come by an identity, and return whether there is one."""
        if self._slots.current is None and self._slots.token is None:
            raise codes.refused("boot-no-token", "")
        return self._persist(self._enrolment.enrol)

    def _work(self) -> None:
        """Hold a session with the broker; when it ends, wait a little and begin another one."""
        failures = 0
        self._happens(Event.ENROLLED)
        while not self._board.stopping.is_set():
            self._renew_if_due()
            if self._session():
                failures = 0
            failures += 1
            if self._state is State.UPDATING and self._uptime.milliseconds > TRIAL:
                self._happens(Event.TIMEOUT)
            self._pause(failures)

    def _give_up(self) -> None:
        """Nothing more can be done. An image on trial that comes here has not proved itself."""
        if self._state is State.UPDATING:
            self._happens(Event.TIMEOUT)

    def _happens(self, event: Event) -> None:
        self._state, action = after(self._state, event)
        if action is Action.CONFIRM_IMAGE:
            self._board.mark_valid()
            settle(self._values, self._board.version)
            self.log("lab_actions", "update-confirmed", version=self._board.version)
            self._tell_service(Version.parse(self._board.version), OK)
        elif action is Action.ROLL_BACK:
            self.log("lab_actions", "update-rolling-back", version=self._board.version)
            self._board.mark_invalid_and_reboot()
        elif action is Action.RESTART:
            self._board.restart()
        elif action is Action.REPORT and (version := failed(self._values)):
            self._tell_service(version, "boot-rolled-back")

    def _persist(self, attempt: Callable[[], None]) -> bool:
        """Try until it is done; return False where the power goes first. A refusal for good is raised."""
        failures = 0
        while not self._board.stopping.is_set():
            try:
                attempt()
            except MessageRefusedError as error:
                if error.code not in LATER:
                    raise
                self.log("lab_service", error.code, why=reason_of(error))
                failures += 1
                self._pause(failures)
            else:
                return True
        return False

    def _pause(self, failures: int) -> None:
        span = backoff.wait(failures, self._options.source.getrandbits(32))
        self._board.stopping.wait(span / 1000 / self._options.speed)

    def _renew_if_due(self) -> None:
        verdict = self._enrolment.verdict()
        if verdict != "wait":
            self.log("lab_node", verdict)
        if verdict == "renew-due" or self._renewing():
            self._renew()

    def _renew(self) -> None:
        self._happens(Event.RENEWAL_DUE)
        try:
            self._enrolment.renew()
        except MessageRefusedError as error:
            self.log("lab_service", error.code, why=reason_of(error))
            self._happens(Event.RENEWAL_FAILED)
        else:
            self._happens(Event.RENEWED)

    # --- at the broker -------------------------------------------------------------------------------------------

    def _session(self) -> bool:
        """Hold one session until it ends, and return whether there was one."""
        if self._fault == MUTE:
            return False
        slot = self._slots.current
        assert slot is not None  # noqa: S101 - _ready has seen to it
        broker = self._broker()
        status = topics.status(self._device)
        try:
            with open_session(
                broker,
                trust=self._trust,
                identity=Identity(slot.chain, slot.key),
                client_id=self._device,
                will=Will(status, topics.OFFLINE),
            ) as session:
                self.log("lab_session", "mqtt-connected", broker=broker.host, port=broker.port)
                self._serve(session, status)
        except NotConnectedError as error:
            self._tell(error)
            return False
        except LabError as error:
            self.log("lab_node", "key-failed", why=type(error).__name__)
            return False
        return True

    def _broker(self) -> Endpoint:
        host = self._values.text(layout.SERVICE, layout.BROKER_HOST)
        port = self._values.number(layout.SERVICE, layout.BROKER_PORT)
        if host is None or port is None:
            raise codes.refused("nvs-missing", layout.BROKER_HOST)
        return Endpoint(host, port)

    def _tell(self, error: NotConnectedError) -> None:
        outcome = error.outcome
        assert isinstance(outcome, Outcome)  # noqa: S101 - whoever raises it says so
        others = {"mqtt": "mqtt-refused", "authorised": "mqtt-subscribe-refused"}
        code = others.get(outcome.stage, "tls-refused")
        self.log("lab_session", code, stage=outcome.stage, reason=outcome.reason)

    def _serve(self, session: Session, status: str) -> None:
        session.subscribe(topics.commands(self._device))
        session.publish(status, topics.ONLINE, retain=True)
        self._happens(Event.CONNECTED)
        if self._renewing():
            return
        due = self._uptime.milliseconds
        while not session.ended:
            if self._board.stopping.is_set():
                session.abandon()  # a board whose power goes takes no leave
                return
            if self._uptime.milliseconds >= due:
                self._report(session)
                due += self._interval * 1000
            left = (due - self._uptime.milliseconds) / 1000 / self._options.speed
            message = session.wait_for("#", timeout=min(max(left, 0.0), LOOK))
            if message is not None and (again := self._obey(session, message)) is not None:
                due = self._uptime.milliseconds + again
            if self._renewing():
                return
        self.log("lab_session", "mqtt-disconnected", reason=session.ended)

    def _renewing(self) -> bool:
        return self._state is State.RENEWING

    @property
    def _interval(self) -> int:
        stored = self._values.number(layout.SETTINGS, layout.INTERVAL)
        return commands.USUAL_INTERVAL if stored is None else stored

    def _report(self, session: Session) -> None:
        reading = self._options.sensor.read()
        if reading is None:
            self.log("lab_actions", "reading-failed")
            return
        try:
            text = render(
                self._device, reading, uptime=self._uptime.milliseconds // 1000, sequence=self._sent
            )
        except MessageRefusedError as error:
            self.log("lab_actions", error.code)
            return
        code = session.publish(topics.telemetry(self._device), text)
        if code >= 0x80:
            self.log("lab_session", "mqtt-refused", stage="authorised", reason_code=code)
            return
        self.log("lab_actions", "telemetry-sent", seq=self._sent)
        self._sent += 1

    # --- commands ------------------------------------------------------------------------------------------------

    def _obey(self, session: Session, message: Message) -> int | None:
        """Do what a message says; return in how many milliseconds the next reading is due, where that changes."""
        word = ""
        try:
            if message.retained:  # a retained restart would restart the device for ever
                raise codes.refused("command-retained", "")
            word = topics.command_word(self._device, message.topic)
            if word == "interval":
                command = commands.Command(word, self._options.read_interval(message.payload))
            else:
                command = commands.read_command(self._device, message.topic, message.payload)
        except MessageRefusedError as error:
            known = word if word in commands.WORDS else ""
            self.log("lab_session", error.code, command=known, why=reason_of(error))
            return None
        return self._do(session, command)

    def _do(self, session: Session, command: commands.Command) -> int | None:
        if command.seconds is not None:
            self._values.put(NvsEntry(layout.SETTINGS, layout.INTERVAL, "u32", command.seconds))
            self.log("lab_session", "command-done", command=command.word, seconds=command.seconds)
            return command.seconds * 1000
        self.log(
            "lab_session", "command-done", command=command.word
        )  # before the deed: a restart would swallow it
        if command.word == "report":
            self._report(session)
        elif command.word == "renew":
            self._happens(Event.RENEWAL_DUE)
        elif command.word == "update":
            self._update()
        elif command.word == "restart":
            session.publish(topics.status(self._device), topics.OFFLINE, retain=True)
            self._board.restart()
        return None

    # --- updates -------------------------------------------------------------------------------------------------

    @property
    def _updater(self) -> Updater:
        return Updater(self._board, self._values, log=self.log)

    def _update_source(self) -> UpdateSource | None:
        url = self._values.text(layout.SERVICE, layout.UPDATE_URL)
        slot = self._slots.current
        if self._options.updates is not None or url is None or slot is None:
            return self._options.updates
        try:
            return UpdateClient(url, trust=self._trust, identity=Identity(slot.chain, slot.key))
        except ValueError as error:
            raise codes.refused("nvs-content", layout.UPDATE_URL) from error

    def _update(self) -> None:
        """Look for an update and take it; the session stays open meanwhile."""
        source = self._update_source()
        if source is None:
            self.log("lab_update", "update-none")
        elif self._updater.run(source) == "update-staged":
            self._happens(Event.UPDATE_STAGED)

    def _tell_service(self, version: Version, code: str) -> None:
        source = self._update_source()
        if source is not None:
            self._updater.report(source, version, code)
