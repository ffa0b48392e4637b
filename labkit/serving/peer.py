"""The verified client certificate, from the connection into the request: uvicorn, with six things added.

uvicorn tells an application nothing of the other side's certificate. The ASGI specification has a place for it, the
TLS extension, and `Connection` fills that in. It can go when uvicorn does it. Never is it taken from a header: anybody
can send one.

The other additions are limits that uvicorn lacks: an end to the TLS handshake, to the arrival of a request, to the
length of its head, to waiting for a reader who does not read, and to the connections of one address.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from asyncio.sslproto import SSLProtocol
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HANDSHAKE_SECONDS = 5.0
"""Until when a TLS handshake must be done; a small device on a slow link needs about two."""

REQUEST_SECONDS = 10.0
"""Until when a request must have come in whole, counted from the handshake or from its first byte."""

STALL_SECONDS = 15.0
"""For how long a piece of a reply (see `gate.PIECE_BYTES`) may wait to be read: a slow link takes 4 KiB a second."""

CONNECTIONS_PER_ADDRESS = 200
"""Open connections of one address, in one worker; a whole plant may stand behind one."""

HEAD_BYTES = 16 * 1024
"""Longest request line and headers."""


class Loop(asyncio.SelectorEventLoop):
    """The event loop, with an end to TLS handshakes that don't."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """Listen; see `asyncio.loop.create_server`."""
        if options.get("ssl"):
            options.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
        return await super().create_server(*arguments, **options)


class _DoorProtocol(SSLProtocol):
    """asyncio's TLS, which says why before it hangs up, and lets no address take every connection.

    asyncio drops the alert that OpenSSL has written for a handshake that failed, and the other side sees nothing but
    the end of the connection.

    Connections are counted from the moment at which they are accepted: those that never begin TLS cost a file too, and
    without files nobody is let in.
    """

    unlimited: ClassVar[tuple[Callable[[bytes], bool], ...]] = ()
    """Each says whether who presents a certificate may have as many connections as it likes."""

    _open: ClassVar[Counter[str]] = Counter()
    _address = ""
    _counted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, before the TLS handshake."""
        self._address = (transport.get_extra_info("peername") or ("",))[0]
        self._open[self._address] += 1
        self._counted = True
        super().connection_made(transport)
        if self._open[self._address] > CONNECTIONS_PER_ADDRESS:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._uncount()
        super().connection_lost(exc)

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._open[self._address] -= 1
            if not self._open[self._address]:
                del self._open[self._address]

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if handshake_exc is not None:
            self._process_outgoing()  # type: ignore[attr-defined]
        else:
            der = self._sslobj.getpeercert(binary_form=True)  # type: ignore[attr-defined]
            if der is not None and any(judge(der) for judge in self.unlimited):
                self._uncount()
        super()._on_handshake_complete(handshake_exc)


def keep_the_door(unlimited: Callable[[bytes], bool] = lambda _: False) -> None:
    """Let asyncio send TLS alerts, and count connections, in this process.

    Args:
        unlimited: Returns whether who presents a certificate may have as many connections as it likes.
    """
    _DoorProtocol.unlimited = (unlimited,)
    sslproto.SSLProtocol = _DoorProtocol  # type: ignore[misc]


class Connection(HttpToolsProtocol):
    """One connection of uvicorn's: knows who is at the other end, and does not wait for them for ever."""

    _timer: asyncio.TimerHandle | None = None
    _arriving = True
    _head = 0
    _fields = 0
    _tls: dict[object, object] | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, after the TLS handshake."""
        super().connection_made(transport)
        self._tls = tls_extension(transport.get_extra_info("ssl_object"))
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._disarm()
        self._unstall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._arm()  # of the next request, on the same connection
        if self._arriving:
            self._head += len(data)
        super().data_received(data)
        if self._arriving and self._head > HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._arriving, self._fields = True, 0
        # ASGI has no word for hanging up in the middle of a reply, either.
        extensions: dict[str, Any] = {"labkit.cut": self.transport.abort}
        self.scope["extensions"] = extensions if self._tls is None else {**extensions, "tls": self._tls}

    def on_url(self, url: bytes) -> None:
        """Take in the request line."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header field."""
        self._measure(len(name) + len(value))
        super().on_header(name, value)

    def _measure(self, more: int) -> None:
        # A head may come in one piece with all that follows it, so that counting what arrives is not enough.
        self._fields += more
        if self._fields > HEAD_BYTES:
            text = f"the request's head has more than {HEAD_BYTES} bytes"
            raise ValueError(text)  # the parser makes a 400 of it, and ends the connection

    def on_headers_complete(self) -> None:
        """Hand the request to the application; its body may still be on its way."""
        self._arriving, self._head = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See the end of a request."""
        self._disarm()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """See that the other side takes our reply slower than we write it."""
        super().pause_writing()
        # Slow is allowed (the gate writes in small pieces); nothing at all is not.
        self._stall = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See that it has caught up."""
        self._unstall()
        super().resume_writing()

    def _unstall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def tls_extension(connection: ssl.SSLObject | None) -> dict[object, object] | None:
    """Return what the ASGI TLS extension (version 0.2) tells of a connection; None without TLS.

    Its `client_cert_chain` holds the certificate that the other side presented and that OpenSSL verified, in PEM, or
    nothing.

    Does not check: that the certificate is valid now. A session that was resumed presents the certificate of its first
    handshake, which may have run out or been revoked since.
    """
    if connection is None:
        return None
    der = connection.getpeercert(binary_form=True)
    return {
        "server_cert": None,  # the application has its own
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(connection.version() or ""),
        "cipher_suite": None,
    }


def peer_certificate(scope: Mapping[str, Any]) -> bytes | None:
    """Return the DER of the certificate that the other side of a request presented, or None."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain")
    return ssl.PEM_cert_to_DER_cert(chain[0]) if chain else None


def loop_factory() -> asyncio.AbstractEventLoop:
    """Return the loop to serve with; uvicorn finds it by its name."""
    return Loop()


LOOP: str = f"{__name__}:{loop_factory.__name__}"
PROTOCOL: Callable[..., asyncio.Protocol] = Connection
