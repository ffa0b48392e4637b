"""A relay on loopback that passes everything on and remembers it, and may be told to change one thing."""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from labkit.clock import Deadline
from labkit.errors import FormatError, NotConnectedError
from labkit.mqtt.contexts import Endpoint
from labkit.mqtt.key_schedule import Secrets
from labkit.mqtt.records import APPLICATION_DATA, HEADER, Capture, Chunk, Direction, split_record
from labkit.outcome import Outcome
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Alter = Callable[[Direction, bytes], bytes]

_PIECE = 64 * 1024


class Relay:
    """A relay in front of a listener, for as long as the `with` block lasts. It listens on 127.0.0.1.

    Args:
        target: The listener.
        alter: Is given who speaks and what, and returns what is passed on; see `flip_bit`. Called from a thread.

    Raises:
        ValueError: The listener is not on this machine: what others say is not ours to record.

    Attributes:
        captures: The recorded connections, the oldest first; the last one may still be open.
    """

    def __init__(self, target: Endpoint, *, alter: Alter | None = None) -> None:
        if not _is_loopback(target.host):
            text = f"a relay is for listeners on this machine, not for {target.host}"
            raise ValueError(text)
        self._target = target
        self._alter = alter
        self._lines: list[_Line] = []
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
        if self._thread:
            self._thread.join()
        for line in self._lines:
            line.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect instead; the certified name is the target's."""
        if self._listener is None:
            text = "the relay is closed; use it inside `with`"
            raise RuntimeError(text)
        host, port = self._listener.getsockname()
        return Endpoint(host, port, self._target.certified_name)

    @property
    def captures(self) -> list[Capture]:
        """What was recorded, one capture a connection."""
        return [line.capture for line in self._lines]

    def last(self, *, timeout: float = 5.0) -> Capture:
        """Return the newest connection when it has ended.

        Raises:
            NotConnectedError: There was none, or it is still open when the time is up.
        """
        deadline = Deadline(timeout)
        while not (self._lines and self._lines[-1].ended):
            if deadline.passed:
                raise NotConnectedError(
                    "Nothing that has ended was recorded.",
                    advice="Connect to relay.endpoint, and close the connection, before you ask for it.",
                    outcome=Outcome("tcp", accepted=False, reason="timeout"),
                )
            deadline.pause()
        return self._lines[-1].capture

    def _accept(self) -> None:
        while (listener := self._listener) is not None:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closed
            try:
                server = socket.create_connection((self._target.host, self._target.port), timeout=5.0)
            except OSError:
                client.close()
                continue
            self._lines.append(_Line(client, server, self._alter))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # any other name may lead anywhere


class _Line:
    """One connection through the relay."""

    def __init__(self, client: socket.socket, server: socket.socket, alter: Alter | None) -> None:
        self._sockets: dict[Direction, socket.socket] = {"client": client, "server": server}
        self._alter = alter
        self._chunks: list[Chunk] = []
        self._began = time.monotonic()
        self._wake, self._bell = socket.socketpair()
        self.ended = False
        for each in (client, server):
            # What one side says is passed on at once: Nagle's algorithm would join what belongs apart.
            with suppress(OSError):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.settimeout(5.0)
        self._thread = threading.Thread(target=self._run, name="relay line", daemon=True)
        self._thread.start()

    @property
    def capture(self) -> Capture:
        return Capture(tuple(self._chunks))

    def close(self) -> None:
        with suppress(OSError):
            self._bell.send(b"!")
        self._thread.join()
        for each in (*self._sockets.values(), self._wake, self._bell):
            each.close()

    def _run(self) -> None:
        # One thread for both directions: what is recorded is in the order in which it was passed on.
        open_sides: set[Direction] = {"client", "server"}
        try:
            while open_sides:
                ready, _, _ = select.select(
                    [self._wake, *(self._sockets[side] for side in open_sides)], [], []
                )
                if self._wake in ready:
                    return
                for side in sorted(open_sides):
                    if self._sockets[side] in ready and not self._pass_on(side):
                        open_sides.discard(side)
        finally:
            self.ended = True
            for each in self._sockets.values():
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, side: Direction) -> bool:
        """Pass on what one side says; return whether it may say more."""
        other = self._sockets["server" if side == "client" else "client"]
        try:
            data = self._sockets[side].recv(_PIECE)
        except OSError:
            data = b""  # a reset: what was said before it has been passed on
        if not data:
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)
            return False
        self._chunks.append(Chunk(side, time.monotonic() - self._began, data))
        with suppress(OSError):  # the other side has gone; what this one says is still recorded
            other.sendall(self._alter(side, data) if self._alter else data)
        return True


def flip_bit(*, direction: Direction = "client", number: int = 1) -> Alter:
    """Return an alteration for a relay: one bit of one TLS record of application data, and nothing else.

    Args:
        direction: Whose record.
        number: Which of that side's records of application data, counted from 1. Under TLS 1.3 the first ones of the
            client are the end of its handshake.
    """
    rest, seen = b"", 0

    def alter(side: Direction, data: bytes) -> bytes:
        nonlocal rest, seen
        if side != direction:
            return data
        passed, rest = b"", rest + data
        while True:
            try:
                record, rest = split_record(rest)
            except FormatError:
                passed, rest = passed + rest, b""  # no TLS: nothing to alter
                return passed
            if record is None:
                return passed
            if record[0] == APPLICATION_DATA:
                seen += 1
                if seen == number and len(record) > HEADER:
                    record = record[:-1] + bytes([record[-1] ^ 1])
            passed += record

    return alter


@dataclass(frozen=True, slots=True)
class KeyLog:
    """A key log that a client of ours writes.

    Attributes:
        path: The file, for its owner alone.
    """

    path: Path

    def secrets(self) -> Secrets:
        """Return what was written so far.

        Raises:
            FormatError: It is no key log.
        """
        return Secrets.parse(self.path.read_text(encoding="ascii", errors="replace"))


@contextmanager
def key_log(folder: Path) -> Iterator[KeyLog]:
    """Keep a key log for the length of the block; the file is for its owner alone, and is deleted afterwards.

    Args:
        folder: Where.
    """
    path = write_atomic(folder / "keylog", b"", secret=True)  # made by us: OpenSSL would let the umask decide
    try:
        yield KeyLog(path)
    finally:
        path.unlink(missing_ok=True)
