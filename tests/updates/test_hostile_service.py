"""A device before an update service that has been taken over: whatever it says, the device goes on."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.firmware.update import Version
from labkit.pki import Store
from labkit.updates import UpdateClient, client
from labkit.workspace import Workspace
from tests.simulators.mqtt_peer import tls_peer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

VERSION = Version(1, 0, 0)
DEEP = b"[" * 16_000


def answer(body: bytes, status: str = "200 OK") -> bytes:
    """Return a reply with a length."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return an authority; the hostile service has a certificate of it, too."""
    found = Store(Workspace.open(tmp_path_factory.mktemp("hostile")))
    found.ensure_authority()
    return found


@contextmanager
def service(store: Store, first: bytes, again: bytes = b"") -> Iterator[UpdateClient]:
    """Return a client of a service that sends some bytes, and then others for as long as somebody listens."""

    def serve(tls: ssl.SSLSocket) -> None:
        with suppress(OSError):
            tls.settimeout(0.5)
            tls.recv(65_536)
            tls.sendall(first)
            while again:
                tls.sendall(again)
            tls.recv(1)

    with tls_peer(store.server_chain, store.server().key, serve) as peer:
        url = f"https://127.0.0.1:{peer.endpoint.port}"
        yield UpdateClient(url, trust=store.trust_anchor, identity=None, name="localhost")


def test_a_report_is_heard(store: Store) -> None:
    """The control: a reply that makes sense is understood."""
    with service(store, answer(b'{"rollout": "running"}')) as device:
        assert "running" == device.report("course-node", VERSION, "ok")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"7", b"\xff", DEEP], ids=repr)
def test_a_reply_that_makes_no_sense(store: Store, body: bytes) -> None:
    """It is no answer, and no error that a device does not expect."""
    with service(store, answer(body)) as device, pytest.raises(ServiceUnreachableError) as caught:
        device.report("course-node", VERSION, "ok")
    assert "makes no sense" in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"code": 1}', DEEP], ids=repr)
def test_a_refusal_that_makes_no_sense(store: Store, body: bytes) -> None:
    """The status is what counts then."""
    with service(store, answer(body, "403 No")) as device, pytest.raises(RefusedError) as caught:
        device.manifest("course-node")
    assert "internal" == caught.value.code


@pytest.mark.parametrize("size", [b"-1", b"0", b"5"])
def test_an_answer_in_pieces_is_not_read(store: Store, size: bytes) -> None:
    """A piece of negative length would be read to an end that never comes."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
    with service(store, head, b"x" * 65_536) as device:
        with pytest.raises(ServiceUnreachableError) as caught:
            device.manifest("course-node")
        assert "pieces of unknown length" in str(caught.value)


def test_a_service_that_never_begins_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on, go on, says the service, without an end; after a while the device hangs up, for an image too."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.3)
    for ask in (lambda it: it.manifest("course-node"), lambda it: next(it.stream("/updates/x/1.bin"))):
        with (
            service(store, b"", b"HTTP/1.1 100 Continue\r\n\r\n") as device,
            pytest.raises(ServiceUnreachableError),
        ):
            ask(device)
