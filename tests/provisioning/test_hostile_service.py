"""A device before a provisioning service that has been taken over: whatever it says, the device goes on."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.provisioning.client import Client
from tests.simulators.mqtt_peer import tls_peer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from labkit.pki import Store

DEEP = b"[" * 16_000


@contextmanager
def service(store: Store, reply: bytes, more: bytes = b"") -> Iterator[Client]:
    """Return a client of a service that sends a reply, and then more for as long as somebody listens."""

    def serve(tls: ssl.SSLSocket) -> None:
        with suppress(OSError):
            tls.settimeout(0.5)
            tls.recv(65_536)
            tls.sendall(reply)
            while more:
                tls.sendall(more)
            tls.recv(1)

    with tls_peer(store.server_chain, store.server().key, serve) as peer:
        yield Client(f"https://127.0.0.1:{peer.endpoint.port}", trust=store.trust_anchor, name="localhost")


def answer(body: bytes, status: str = "200 OK") -> bytes:
    """Return a reply with a length."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def test_a_reply_is_heard(store: Store) -> None:
    """The control: a reply that makes sense is understood."""
    with service(store, answer(b'{"a": 1}')) as client:
        assert {"a": 1} == client.call("GET", "/config")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", DEEP], ids=["empty", "cut", "binary", "deep"])
def test_a_reply_that_makes_no_sense(store: Store, body: bytes) -> None:
    """It is no answer, and no error that a device does not expect."""
    with service(store, answer(body)) as client, pytest.raises(ServiceUnreachableError) as caught:
        client.call("GET", "/config")
    assert "is not JSON" in caught.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", DEEP], ids=["empty", "list", "object", "deep"])
def test_a_refusal_that_makes_no_sense(store: Store, body: bytes) -> None:
    """The status is what counts then."""
    with service(store, answer(body, "403 No")) as client, pytest.raises(RefusedError) as caught:
        client.call("GET", "/config")
    assert "internal" == caught.value.code


@pytest.mark.parametrize("size", [b"-1", b"5"], ids=["negative", "honest"])
def test_a_reply_in_pieces_is_not_read(store: Store, size: bytes) -> None:
    """A piece of negative length would be read to an end that never comes."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
    with service(store, head, b"x" * 65_536) as client, pytest.raises(ServiceUnreachableError) as caught:
        client.call("GET", "/config")
    assert "pieces of unknown length" in caught.value.message
