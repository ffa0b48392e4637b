"""A TLS connection on which nothing that the peer has said is lost.

A server that refuses our certificate under TLS 1.3 sends an alert and closes. If it finds bytes of ours that it never
read, its system answers with a reset, and the TLS socket of the standard library then gives up before it has read the
alert. Here TLS works on memory and the TCP socket is ours, so that a failed write does not end the reading.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.clock import Deadline
from labkit.mqtt.refusals import Refused, tls_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.mqtt.contexts import Endpoint

PIECE = 16 * 1024
"""How much is read at once."""

T = TypeVar("T")


class Wire:
    """One connection: TCP, and TLS over it.

    Args:
        endpoint: Where to.
        timeout: Seconds for each step.

    Attributes:
        seen: The evidence so far: `local_port`, `tls_version`, `cipher`, `resumed`.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float) -> None:
        self.seen: dict[str, Any] = {}
        self._endpoint = endpoint
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._heard = False
        self._own_address = "0.0.0.0"  # noqa: S104 - nothing is bound to it

    @property
    def keeps_last_words(self) -> bool:
        """Whether what was received stays readable after a reset, so that we may speak before we have listened.

        Linux keeps it; RFC 9293 §3.10.7.4 lets a system throw it away. On loopback nothing overtakes it either.
        """
        return sys.platform == "linux" and ipaddress.ip_address(self._own_address).is_loopback

    def dial(self) -> None:
        """Open the TCP connection.

        Raises:
            Refused: At stage `tcp`.
        """
        address = (self._endpoint.host, self._endpoint.port)
        try:
            dial = self._endpoint.dial or socket.create_connection
            self._socket = dial(address, self._timeout)
        except (OSError, UnicodeError) as error:
            raise Refused("tcp", _tcp_reason(error), client_error=str(error)) from error
        with suppress(OSError):  # a peer that has hung up already is met in the handshake
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Our own address tells loopback too, and unlike the peer's it can be asked for after a reset.
        own, port = self._socket.getsockname()[:2]
        self._own_address, self.seen["local_port"] = own.partition("%")[0], port

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the peer gave us to come back with; under TLS 1.3 it arrives some time after the handshake."""
        return self._tls.session if self._tls else None

    def shake_hands(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        """Do the TLS handshake as far as we can see it; under TLS 1.3 the server's verdict is still out then.

        Args:
            context: Who we are, and whom we believe.
            session: A session of the same context to resume; the server may prefer a full handshake.

        Raises:
            Refused: At stage `tls`.
        """
        name = self._endpoint.certified_name
        self._tls = tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name, session=session
        )
        try:
            self._run(tls.do_handshake, Deadline(self._timeout))
        except OSError as error:
            verdict = tls_refusal(error)
            if verdict.reason == "closed-without-reason" and not self._heard:
                # A listener without TLS does this too: our hello is no MQTT to it.
                verdict.detail["client_error"] = "it hung up before it had said a word of TLS"
            raise verdict from error
        self.seen["tls_version"] = (tls.version() or "").removeprefix("TLSv")
        self.seen["cipher"] = (tls.cipher() or ("",))[0]
        self.seen["resumed"] = bool(tls.session_reused)

    def send(self, data: bytes) -> None:
        """Send, without minding whether the peer still listens: what it said before is what counts.

        Raises:
            TimeoutError: It takes nothing more.
        """
        assert self._tls  # noqa: S101 - hands were shaken before
        self._tls.write(data)
        self._flush(Deadline(self._timeout))

    def receive(self, *, seconds: float) -> bytes:
        """Return what comes next, or nothing if the peer has hung up.

        Raises:
            ssl.SSLError: An alert came, or something that is no TLS.
            TimeoutError: Nothing came in time.
        """
        tls = self._tls
        assert tls  # noqa: S101 - hands were shaken before
        try:
            return self._run(lambda: tls.read(PIECE), Deadline(seconds))
        except ssl.SSLEOFError:
            return b""

    def close(self, farewell: bytes = b"") -> None:
        """Say goodbye if there is anything to say, and close."""
        if self._socket is None:
            return
        try:
            if farewell:
                with suppress(OSError):
                    self.send(farewell)
        finally:
            self._socket.close()

    def _run(self, step: Callable[[], T], deadline: Deadline) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush(deadline)
                self._fill(deadline)
            except ssl.SSLError:
                with suppress(TimeoutError):
                    self._flush(deadline)  # our alert tells the peer why we leave
                raise
            else:
                self._flush(deadline)
                return result

    def _flush(self, deadline: Deadline) -> None:
        if data := self._outgoing.read():
            with suppress(ConnectionError):
                self._ready(deadline).sendall(data)

    def _fill(self, deadline: Deadline) -> None:
        data = b""
        with suppress(ConnectionError):
            data = self._ready(deadline).recv(PIECE)
        if data:
            self._heard = True
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _ready(self, deadline: Deadline) -> socket.socket:
        # One deadline for a whole step: a peer that drips a byte at a time does not hold us longer than one that is silent.
        assert self._socket  # noqa: S101 - dialled before
        if deadline.passed:
            raise TimeoutError
        self._socket.settimeout(max(deadline.left, 0.001))
        return self._socket


def _tcp_reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection-refused"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "unknown-host"
    return "unreachable"
