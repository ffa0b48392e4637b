"""The device's side: asks what there is for it, and takes it in pieces, going on where the last connection ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.mqtt.contexts import client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.firmware.update import Header, Version
    from labkit.firmware.update_stream import UpdateStream
    from labkit.mqtt import Identity

TIMEOUT = 10.0
ANSWER_SECONDS = 30.0
"""For the head of an answer, or a short answer as a whole: a service that drips bytes would hold a device for ever."""

CHUNK = 4096
"""Bytes that are read at a time: a sector of flash."""

LONGEST_MANIFEST = 2048
LONGEST_PROBLEM = 16 * 1024
TRIES = 5
"""Connections that may end without a byte of progress before a download is given up."""


class UpdateClient:
    """Talks to the update service with the device's certificate; one TLS connection a request.

    Args:
        url: Where it is, `https://host:port`.
        trust: The root that the service's certificate must come from.
        identity: Who we are.
        name: The name that its certificate must have, where that is not the host's.
    """

    def __init__(self, url: str, *, trust: Path, identity: Identity | None, name: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            text = f"the service is reached by https only, not {url!r}"
            raise ValueError(text)
        self.url = url
        self._host, self._port = parts.hostname, parts.port or 443
        self._trust = trust
        self._identity = identity
        self._name = name or self._host

    def manifest(
        self, product: str, *, hardware: int | None = None, version: Version | None = None
    ) -> bytes | None:
        """Return the manifest of what we are offered, as it came; None where that is nothing.

        Args:
            product: Our product.
            hardware: Our hardware revision.
            version: The version that we run.

        Raises:
            RefusedError: The service said no; see `Desk.manifest` for the codes.
            ServiceUnreachableError: It did not answer, or it is not the one that we trust.

        Does not check: what is in it; `labkit.node.manifest` reads it, and the signed header decides.
        """
        told = {"hardware": hardware, "version": version}
        query = urlencode({name: str(value) for name, value in told.items() if value is not None})
        status, body = self.ask(
            "GET", f"/updates/{product}{'?' * bool(query)}{query}", longest=LONGEST_MANIFEST
        )
        return body if status == http.client.OK else None

    def report(self, product: str, version: Version, code: str) -> str:
        """Tell what became of an update: `ok` once it was confirmed; return how the roll-out stands.

        Raises:
            RefusedError, ServiceUnreachableError: See `manifest`.
        """
        value = json.dumps({"version": str(version), "code": code}).encode()
        _, body = self.ask("POST", f"/updates/{product}/report", value)
        try:
            return str(json.loads(body)["rollout"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._unreachable("its reply makes no sense") from error

    def stream(self, path: str, *, start: int = 0, tag: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield an update in chunks, each with the validator of the whole; it ends where the connection does.

        Args:
            path: Where the manifest says that it is.
            start: How many bytes we have already.
            tag: The validator of those; where the service has another one now, nothing is yielded.

        Raises:
            RefusedError, ServiceUnreachableError: See `manifest`. What came before counts.
        """
        headers = {"Range": f"bytes={start}-", "If-Range": tag} if start else {}
        with self._connect() as connection:
            with _within(connection, ANSWER_SECONDS):
                answer = self._exchange(connection, "GET", path, None, headers)
            if answer.status >= http.client.BAD_REQUEST:
                raise _refusal(answer.status, answer.read(LONGEST_PROBLEM))
            if start and answer.status != http.client.PARTIAL_CONTENT:
                return  # the bytes are others now: begin anew
            found = answer.headers.get("ETag", "")
            try:
                while chunk := answer.read(CHUNK):
                    yield found, chunk
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(f"the connection ended: {error}") from error
            if answer.length:  # http.client takes an early end for the end
                raise self._unreachable(f"the connection ended {answer.length} bytes too early")

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, longest: int = LONGEST_PROBLEM
    ) -> tuple[int, bytes]:
        """Send a request and return status and body.

        Raises:
            RefusedError, ServiceUnreachableError: See `manifest`.
        """
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._connect() as connection, _within(connection, ANSWER_SECONDS):
            answer = self._exchange(connection, method, path, body, headers)
            try:
                content = answer.read(longest + 1)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(str(error) or type(error).__name__) from error
        if answer.status >= http.client.BAD_REQUEST:
            raise _refusal(answer.status, content)
        if len(content) > longest:
            raise self._unreachable(f"its reply has more than {longest} bytes")
        return answer.status, content

    def _connect(self) -> _Closing:
        context = client_context(self._trust, self._identity, name=self._name)
        return _Closing(http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=context))

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise self._unreachable(f"its certificate does not verify: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        if (
            answer.chunked
        ):  # our service sends none, and http.client reads a chunk of negative length to the end
            raise self._unreachable("its reply comes in pieces of unknown length")
        return answer

    def _unreachable(self, why: str) -> ServiceUnreachableError:
        return ServiceUnreachableError(
            f"No answer from {self.url}: {why}.",
            advice="Is it running? labkit firmware serve-updates",
            url=self.url,
        )


@contextlib.contextmanager
def _within(connection: http.client.HTTPSConnection, seconds: float) -> Iterator[None]:
    """Hang up when it takes longer; whoever reads then finds the end of the connection."""
    timer = threading.Timer(seconds, _hang_up, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(connection: http.client.HTTPSConnection) -> None:
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


class _Closing:
    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection

    def __enter__(self) -> http.client.HTTPSConnection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def take(
    client: UpdateClient,
    path: str,
    stream: UpdateStream,
    write: Callable[[bytes], None],
    *,
    pause: Callable[[], None] = lambda: None,
) -> Header:
    """Take an update into a slot, over as many connections as it needs; return its header once it is whole.

    Args:
        client: Who to ask.
        path: Where the manifest says that the update is.
        stream: What verifies it as it goes by.
        write: Puts the next bytes of the image into the slot.
        pause: What to do before the next connection, such as waiting longer each time.

    Raises:
        UpdateRefusedError: See `UpdateStream`; the slot must not be booted.
        RefusedError: The service said no, or `code` is `changed`: the bytes at `path` are others than those that we
            began with.
        ServiceUnreachableError: Several connections in a row brought nothing.
    """
    taken, tag, fruitless = 0, "", 0
    while True:
        before = taken
        try:
            for found, chunk in client.stream(path, start=taken, tag=tag):
                tag, taken = found, taken + len(chunk)
                image = stream.feed(chunk)
                if image:
                    write(image)
            if taken == before and taken:
                raise _refusal(
                    http.client.CONFLICT,
                    b'{"code": "changed", "title": "Other bytes", "advice": "Begin anew."}',
                )
            return stream.finish()
        except ServiceUnreachableError:
            fruitless = 0 if taken > before else fruitless + 1
            if fruitless >= TRIES:
                raise
            pause()


def _refusal(status: int, body: bytes) -> RefusedError:
    try:
        told: Any = json.loads(body)
        code, title, advice = told["code"], told.get("detail") or told["title"], told["advice"]
    except (ValueError, KeyError, TypeError, RecursionError):
        code, title, advice = "internal", f"The service answered {status}", "Look at the service's log."
    return RefusedError(str(title), advice=str(advice), code=str(code))
