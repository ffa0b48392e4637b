"""The handshake microscope: what a recorded TLS connection says, message by message.

Everything is read from the bytes on the wire. Behind TLS 1.3's encryption only the secrets of one of the two ends help;
without them the same recording shows what an eavesdropper gets::

    with Relay(endpoint) as relay, key_log(folder) as log:
        probe(relay.endpoint, trust=trust, identity=identity, keylog=log.path)
        seen = read_handshake(relay.last())                        # the eavesdropper's view
        opened = read_handshake(relay.last(), secrets=log.secrets())
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from labkit.mqtt.key_schedule import Opener, Secrets, openers_of_master
from labkit.mqtt.messages import read_message, split_message
from labkit.mqtt.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Capture,
    Direction,
    Record,
    split_records,
)
from labkit.mqtt.suites import ALERTS, SUITES, named

if TYPE_CHECKING:
    from collections.abc import Mapping

_HIDDEN = {"random", "session", "suite_code"}
"""Values that are for us and not for the reader."""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that one side said.

    Attributes:
        direction: Who said it.
        name: What it is called in the RFCs; `Encrypted` where nobody but the two ends can tell.
        size: Its length in bytes: of a handshake message with its header, of anything else with its record.
        flight: The number of its flight, counted from 1: what one side says before it waits for the other.
        at: When it was complete, in seconds since the recording began.
        encrypted: Whether it was encrypted on the wire.
        opened: Whether we could look inside.
        detail: What stands in it.
        content: Its plaintext, for application data that were opened.
    """

    direction: Direction
    name: str
    size: int
    flight: int
    at: float
    encrypted: bool
    opened: bool
    detail: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = b""

    @property
    def shown(self) -> dict[str, Any]:
        """What stands in it, for people."""
        return {name: value for name, value in self.detail.items() if name not in _HIDDEN}


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a recording says.

    Attributes:
        messages: Everything in the order in which it was complete.
        bytes_sent: Bytes on the wire, by direction.
    """

    messages: tuple[Message, ...]
    bytes_sent: Mapping[str, int]

    def find(self, name: str, direction: Direction | None = None) -> Message | None:
        """Return the first message of a name, or None."""
        return next((m for m in self.messages if m.name == name and direction in {None, m.direction}), None)

    def _of(self, name: str, key: str, default: Any = "") -> Any:
        found = self.find(name)
        return found.detail.get(key, default) if found else default

    @property
    def version(self) -> str:
        """The version that the server chose; empty where it chose none."""
        return str(self._of("ServerHello", "version"))

    @property
    def suite(self) -> str:
        """The suite that the server chose."""
        return str(self._of("ServerHello", "suite"))

    @property
    def group(self) -> str:
        """The group of the key exchange; empty where there was none."""
        return str(self._of("ServerHello", "group") or self._of("ServerKeyExchange", "group"))

    @property
    def offered_versions(self) -> tuple[str, ...]:
        """The versions that the client offered."""
        return tuple(self._of("ClientHello", "versions", ()))

    @property
    def offered_suites(self) -> tuple[str, ...]:
        """The suites that the client offered, its favourite first."""
        return tuple(self._of("ClientHello", "suites", ()))

    @property
    def server_name(self) -> str:
        """The name that the client asked for, in the open."""
        return str(self._of("ClientHello", "server_name"))

    @property
    def resumed(self) -> bool:
        """Whether an earlier session was continued."""
        hello, answer = self.find("ClientHello"), self.find("ServerHello")
        if not hello or not answer:
            return False
        if self.version == "1.3":
            return bool(answer.detail["psk"])
        # TLS 1.2: the server repeats the session id that it was shown (RFC 5246 §7.4.1.3); a ticket goes with a made-up one.
        return bool(hello.detail["session"]) and hello.detail["session"] == answer.detail["session"]

    @property
    def alerts(self) -> tuple[tuple[Direction, str], ...]:
        """Who gave up or said goodbye, and with which word; only those that can be read."""
        return tuple((m.direction, str(m.detail["alert"])) for m in self.messages if "alert" in m.detail)

    def certificates(self, direction: Direction) -> tuple[str, ...]:
        """Return the subjects of the certificates that one side showed, where we can see them; leaf first."""
        found = self.find("Certificate", direction)
        return tuple(found.detail["subjects"]) if found else ()

    @property
    def flights(self) -> int:
        """How often the word went from one side to the other, plus one."""
        return max((m.flight for m in self.messages), default=0)

    @property
    def round_trips(self) -> int | None:
        """How often the client waited for the server before it could send data of its own; None if it never did."""
        return self._waits(self._first_data())

    @property
    def round_trips_to_verdict(self) -> int | None:
        """How often the client waited until the server had judged its certificate; None if that was never seen.

        Under TLS 1.2 the server's Finished says so. Under 1.3 it is the first thing that comes after the client's
        last flight: data, a ticket, or an alert.
        """
        if self.version != "1.3":
            found = next((m for m in self.messages if m.direction == "server" and _ends(m)), None)
            return None if found is None else self._waits(found, including=True)
        ours = self._first_data()
        if ours is None:
            return None
        found = next((m for m in self.messages if m.direction == "server" and m.flight > ours.flight), None)
        return None if found is None else self._waits(found, including=True)

    def _first_data(self) -> Message | None:
        """Return the first message that the client sent under keys that the server's words gave it."""
        new = self.version == "1.3"
        wanted = {"Encrypted", "Finished"} if new else {"Application data"}
        return next(
            (m for m in self.messages if m.direction == "client" and m.encrypted and m.name in wanted), None
        )

    def _waits(self, message: Message | None, *, including: bool = False) -> int | None:
        if message is None:
            return None
        last = message.flight if including else message.flight - 1
        return len({m.flight for m in self.messages if m.direction == "server" and m.flight <= last})

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return flight, direction, name and size of each message."""
        arrows = {"client": "client → server", "server": "client ← server"}
        return [(str(m.flight), arrows[m.direction], _label(m), f"{m.size} bytes") for m in self.messages]


def read_handshake(capture: Capture, *, secrets: Secrets | None = None) -> Handshake:
    """Read a recorded connection.

    Args:
        capture: The recording. It may end anywhere; what is not complete is left out.
        secrets: The key log of one of the two ends, to look behind the encryption.

    Raises:
        FormatError: It is not TLS, or a length in it is a lie.

    Does not check: signatures, Finished hashes, or anything else that the two ends check.
    """
    reading = _Reading(secrets)
    for record in split_records(capture):
        reading.take(record)
    sent = {side: len(capture.stream(side)) for side in ("client", "server")}
    return Handshake(_numbered(reading.messages), sent)


def with_openers(capture: Capture, openers: dict[Direction, Opener]) -> Handshake:
    """Read a recorded TLS 1.2 connection with keys that were found in another way than through a key log."""
    reading = _Reading(None)
    reading.found = openers
    for record in split_records(capture):
        reading.take(record)
    sent = {side: len(capture.stream(side)) for side in ("client", "server")}
    return Handshake(_numbered(reading.messages), sent)


class _Reading:
    """One connection on its way through the microscope."""

    def __init__(self, secrets: Secrets | None) -> None:
        self.secrets = secrets
        self.messages: list[Message] = []
        self.found: dict[Direction, Opener] = {}
        self.openers: dict[Direction, Opener | None] = {}
        self.sealed: set[Direction] = set()
        self.hello: dict[Direction, Mapping[str, Any]] = {}
        self.version = ""
        self._waiting: dict[Direction, bytes] = {"client": b"", "server": b""}

    def take(self, record: Record) -> None:
        """Read one record."""
        if record.content_type == CHANGE_CIPHER_SPEC:
            self._say(record, "ChangeCipherSpec")
            if self.version != "1.3":
                self._seal(record.direction, self.found.get(record.direction))
            return
        if self.version == "1.3" and record.content_type == APPLICATION_DATA:
            self.sealed.add(record.direction)
        if record.direction not in self.sealed:
            self._content(record, record.content_type, record.body, encrypted=False)
            return
        opener = self.openers.get(record.direction)
        opened = opener.open(record) if opener else None
        if opened is None:
            self._say(record, self._outside(record), encrypted=True, opened=False)
        else:
            self._content(record, *opened, encrypted=True)

    def _outside(self, record: Record) -> str:
        """Return what an eavesdropper can say of a record that stays closed."""
        if self.version == "1.3":
            return "Encrypted"
        words = {HANDSHAKE: "Finished", ALERT: "Alert", APPLICATION_DATA: "Application data"}
        return words.get(record.content_type, "Encrypted")

    def _content(self, record: Record, kind: int, body: bytes, *, encrypted: bool) -> None:
        if kind == ALERT and len(body) == 2:
            detail = {
                "alert": named(ALERTS, body[1]),
                "level": {1: "warning", 2: "fatal"}.get(body[0], str(body[0])),
            }
            self._say(record, "Alert", detail, encrypted=encrypted)
        elif kind == APPLICATION_DATA:
            self._say(record, "Application data", encrypted=encrypted, content=body)
        elif kind == HANDSHAKE:
            self._handshake(record, body, encrypted=encrypted)
        else:
            self._say(record, f"content of type {kind}", encrypted=encrypted)

    def _handshake(self, record: Record, body: bytes, *, encrypted: bool) -> None:
        rest = self._waiting[record.direction] + body
        while True:
            found, rest = split_message(rest)
            if found is None:
                break
            kind, inside = found
            name, detail = read_message(kind, inside, self.version)
            self._say(record, name, detail, size=4 + len(inside), encrypted=encrypted)
            self._learn(record.direction, name, detail)
        self._waiting[record.direction] = rest

    def _learn(self, direction: Direction, name: str, detail: Mapping[str, Any]) -> None:
        if name in {"ClientHello", "ServerHello"}:
            self.hello[direction] = detail
        if name in {"ServerHello", "HelloRetryRequest"}:
            self.version = str(detail["version"])
        if name == "ServerHello":
            self._find_keys(detail)
        elif name == "Finished" and self.version == "1.3":
            self._next_keys(direction)
        elif name == "KeyUpdate" and (opener := self.openers.get(direction)):
            self.openers[direction] = opener.updated()

    def _find_keys(self, answer: Mapping[str, Any]) -> None:
        suite, hello = SUITES.get(answer["suite_code"]), self.hello.get("client")
        if suite is None or hello is None or self.secrets is None:
            return
        random = hello["random"]
        if self.version == "1.3":
            for side in ("client", "server"):
                secret = self.secrets.handshake(side, random)
                self.openers[side] = Opener.of_secret(secret, suite) if secret else None
        elif master := self.secrets.master(random):
            self.found = (
                openers_of_master(master, bytes.fromhex(random), bytes.fromhex(answer["random"]), suite) or {}
            )

    def _next_keys(self, direction: Direction) -> None:
        suite, hello = SUITES.get(self.hello["server"]["suite_code"]), self.hello.get("client")
        secret = self.secrets.traffic(direction, hello["random"]) if self.secrets and hello else None
        self.openers[direction] = Opener.of_secret(secret, suite) if secret and suite else None

    def _seal(self, direction: Direction, opener: Opener | None) -> None:
        self.sealed.add(direction)
        self.openers[direction] = opener

    def _say(
        self,
        record: Record,
        name: str,
        detail: Mapping[str, Any] | None = None,
        *,
        size: int | None = None,
        encrypted: bool = False,
        opened: bool = True,
        content: bytes = b"",
    ) -> None:
        self.messages.append(
            Message(
                record.direction, name, record.size if size is None else size, 0, record.at,
                encrypted, opened, detail or {}, content,
            )
        )  # fmt: skip


def _numbered(messages: list[Message]) -> tuple[Message, ...]:
    numbered = []
    for flight, (_, group) in enumerate(groupby(messages, key=lambda m: m.direction), start=1):
        numbered += [
            Message(m.direction, m.name, m.size, flight, m.at, m.encrypted, m.opened, m.detail, m.content)
            for m in group
        ]
    return tuple(numbered)


def _ends(message: Message) -> bool:
    return message.name in {"Finished", "Alert"}


def _label(message: Message) -> str:
    extra = message.detail.get("alert", "")
    name = f"{message.name}: {extra}" if extra else message.name
    if not message.encrypted:
        return name
    return (
        f"{name} (encrypted, opened)"
        if message.opened
        else f"{name} (encrypted)"
        if name != "Encrypted"
        else name
    )
