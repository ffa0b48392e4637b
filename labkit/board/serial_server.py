"""The ends of a virtual board's serial cable: a TCP socket, a pseudo-terminal, or a telnet port with reset lines.

One thread serves them all and does everything that touches the board, so the board itself needs no locks; other
threads hand it work with `call`. As on a real port, one client works at a time.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from labkit.board.rfc2217 import TelnetPort
from labkit.board.terminal import Terminal
from labkit.clock import Deadline
from labkit.errors import BoardGoneError
from labkit.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_CHUNK = 1 << 16
_HIGH_WATER = 1 << 21
"""A client that sends and never reads is not listened to while this much waits for it."""

_MOST_TURNS = 64
_LOOK = 0.2
_IDLE, _LOOK_AT_TERMINAL = 0.25, 0.02


class Device(Protocol):
    """What is at the other end; every method is called in the serving thread."""

    def opened(self, kind: str) -> None:
        """Somebody opened the port: `socket`, `pty` or `rfc2217`."""

    def received(self, data: bytes) -> bytes:
        """Bytes came; return the answer."""

    def closed(self) -> None:
        """The port was closed."""

    def changed(self, what: str, value: int) -> None:
        """The client's `baud`, `dtr` or `rts` changed."""

    def refused(self, kind: str) -> None:
        """A second client was turned away."""

    def tick(self) -> None:
        """Time passes."""


class _Client:
    """Whoever has the port open."""

    def __init__(self, kind: str, end: socket.socket | Terminal) -> None:
        self.kind = kind
        self.end = end
        self.telnet = TelnetPort() if kind == "rfc2217" else None
        self.out = bytearray()

    def read(self) -> bytes | None:
        """Return bytes, nothing yet (b""), or None at the end."""
        try:
            data = self.end.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            return None
        return data or None

    def queue(self, data: bytes) -> None:
        self.out += self.telnet.escape(data) if self.telnet else data

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while self.out:
                sent = self.end.send(bytes(self.out[:_CHUNK]))
                del self.out[:sent]


class SerialServer:
    """Serves a device until it is closed.

    Args:
        device: The board.
        port: Where to listen on 127.0.0.1; 0 takes a free port.
        terminal: Where a link to a pseudo-terminal goes; none without it.
        rfc2217: Whether there is a telnet port too.

    Attributes:
        port: The socket's port.
        telnet_port: The telnet port, if there is one.
        terminal: The pseudo-terminal's link, if there is one.
        failure: The exception that ended the thread, which is a bug of ours.

    Raises:
        OSError: The port is taken, or there are no pseudo-terminals here.
    """

    def __init__(
        self, device: Device, *, port: int = 0, terminal: Path | None = None, rfc2217: bool = False
    ) -> None:
        self._device = device
        self._posted: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._client: _Client | None = None
        self.failure: BaseException | None = None
        self._ends = contextlib.ExitStack()
        try:
            self._open_ends(port, terminal, rfc2217=rfc2217)
        except BaseException:
            self._ends.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="virtual board", daemon=True)

    def _open_ends(self, port: int, terminal: Path | None, *, rfc2217: bool) -> None:
        ends = self._ends
        self._selector = ends.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._wake_in, self._wake_out = map(ends.enter_context, socket.socketpair())
        self._wake_in.setblocking(False)  # noqa: FBT003 - Python's own
        self._selector.register(self._wake_in, selectors.EVENT_READ, "wake")
        self._listeners = {"socket": ends.enter_context(_listener(port))}
        self.telnet_port: int | None = None
        if rfc2217:
            telnet = self._listeners["rfc2217"] = ends.enter_context(_listener(0))
            self.telnet_port = telnet.getsockname()[1]
        self.port: int = self._listeners["socket"].getsockname()[1]
        for kind, listener in self._listeners.items():
            self._selector.register(listener, selectors.EVENT_READ, kind)
        self.terminal = ends.enter_context(contextlib.closing(Terminal(terminal))) if terminal else None

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and close every end."""
        if self._thread.is_alive():
            self._stopping = True
            self._wake()
            self._thread.join()
        self._ends.close()

    def call(self, work: Callable[[], T], *, timeout: float = 30.0) -> T:
        """Have the serving thread do something, and return what it returns.

        Raises:
            BoardGoneError: The thread is gone, or did not get to it in time.
        """
        if threading.current_thread() is self._thread:
            return work()
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                future.set_exception(error)

        self._posted.append(run)
        self._wake()
        deadline = Deadline(timeout)
        while True:
            try:
                return future.result(min(_LOOK, deadline.left))
            except TimeoutError:
                if future.done():
                    raise  # it was the work's own
                if deadline.passed or not self._thread.is_alive():
                    raise gone(self.failure) from None

    def post(self, work: Callable[[], None]) -> None:
        """Have the serving thread do something soon."""
        self._posted.append(work)
        self._wake()

    def send(self, data: bytes) -> None:
        """Send bytes to whoever has the port open. Only in the serving thread."""
        if self._client is not None and len(self._client.out) < _HIGH_WATER:
            self._client.queue(data)
            self._pump(self._client)

    @property
    def baud(self) -> int | None:
        """The client's rate where it can be known: from a terminal."""
        if self._client is not None and self.terminal is not None and self._client.kind == "pty":
            return self.terminal.baud
        return None

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_out.send(b"\0")

    def _serve(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - kept for whoever asks the board next
            self.failure = error
        finally:
            self._drop(tell=False)

    def _turn(self) -> None:
        waiting = _LOOK_AT_TERMINAL if self.terminal and not self.terminal.is_open else _IDLE
        for key, mask in self._selector.select(waiting):
            if key.data == "wake":
                with contextlib.suppress(BlockingIOError):
                    self._wake_in.recv(_CHUNK)
            elif isinstance(key.data, str):
                self._accept(key.data)
            elif self._client is not None and key.data is self._client:
                self._exchange(self._client, mask)
        while self._posted:
            self._posted.popleft()()
        self._look_at_terminal()
        self._device.tick()

    def _accept(self, kind: str) -> None:
        with contextlib.suppress(OSError):  # gone before we looked
            connection, _ = self._listeners[kind].accept()
            self._hear_out()
            if self._client is not None:
                connection.close()
                self._device.refused(kind)
                return
            connection.setblocking(False)  # noqa: FBT003 - Python's own
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open(_Client(kind, connection))

    def _hear_out(self) -> None:
        """Take what the present client sent before somebody else came: it may have said goodbye."""
        client = self._client
        for _ in range(_MOST_TURNS):
            if client is None or client is not self._client or client.kind == "pty":
                return
            data = client.read()
            if data == b"":
                return
            if data is None:
                self._drop()
            else:
                self._take(client, data)

    def _look_at_terminal(self) -> None:
        if self.terminal is None:
            return
        opened = self.terminal.look()
        if opened and self._client is None:
            self._open(_Client("pty", self.terminal))
        elif opened and self._client is not None and self._client.kind != "pty":
            if self.terminal.drain():
                self._device.refused("pty")
        elif not opened and self._client is not None and self._client.kind == "pty":
            self._drop()

    def _open(self, client: _Client) -> None:
        self._client = client
        self._selector.register(client.end, selectors.EVENT_READ, client)
        self._device.opened(client.kind)

    def _exchange(self, client: _Client, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            data = client.read()
            if data is None:
                self._drop()
                return
            if data:
                self._take(client, data)
        self._pump(client)

    def _take(self, client: _Client, data: bytes) -> None:
        if client.telnet is not None:
            data, answers = client.telnet.feed(data)
            client.out += answers
            changes, client.telnet.changes = client.telnet.changes, []
            for change in changes:
                self._device.changed(change.what, change.value)
        if data:
            answer = self._device.received(data)
            if answer:
                client.queue(answer)

    def _pump(self, client: _Client) -> None:
        try:
            client.flush()
        except OSError:
            self._drop()
            return
        if client is not self._client:
            return
        events = selectors.EVENT_READ if len(client.out) < _HIGH_WATER else 0
        events |= selectors.EVENT_WRITE if client.out else 0
        self._selector.modify(client.end, events, client)

    def _drop(self, *, tell: bool = True) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._selector.unregister(client.end)
        if isinstance(client.end, socket.socket):
            client.end.close()
        if tell:
            self._device.closed()


def gone(failure: BaseException | None) -> BoardGoneError:
    """Return the error of a board whose thread ended."""
    why = f": {type(failure).__name__}: {failure}" if failure else ""
    return BoardGoneError(
        f"The virtual board does not run any more{why}.",
        advice="Start it again; its flash and eFuses are as they were last saved: labkit board run",
    )


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(select, "poll"):  # elsewhere the option means that two may have the port at once
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(4)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)  # noqa: FBT003 - Python's own
    return listener
