"""What people send to a service that stands on a network: each gets a 4xx or a cut connection, and the next is served."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from labkit.clock import Deadline
from labkit.pki import Key, Store, make_request
from labkit.scenarios.provisioning import ProvisioningSite, attempt, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024


@contextmanager
def connection(office: ProvisioningSite) -> Iterator[ssl.SSLSocket]:
    """Open a TLS connection without a certificate."""
    context = ssl.create_default_context(cafile=str(office.store.trust_anchor))
    with (
        socket.create_connection(("127.0.0.1", office.service.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        yield secure


def answer(office: ProvisioningSite, *parts: bytes) -> bytes:
    """Send bytes and return what comes back until the other side closes."""
    with connection(office) as secure:
        found = b""
        try:
            for part in parts:
                secure.sendall(part)
            while chunk := secure.recv(65536):
                found += chunk
        except OSError:
            pass  # cut off, which is one of the two right answers
        return found


def memory(office: ProvisioningSite) -> float:
    """Return the service's memory, in MiB."""
    return sum(psutil.Process(pid).memory_info().rss for pid in office.service.pids) / MIB


def assert_served(office: ProvisioningSite) -> None:
    """An honest request is answered, quickly, and no traceback was written meanwhile."""
    assert {"status": "ok"} == office.anyone.call("GET", "/healthz")
    assert "Traceback" not in office.store.workspace.path("registry/service.log").read_text()


def post(body: bytes, *, length: int | None = None, kind: str = "application/json") -> bytes:
    """Return a request as bytes."""
    size = len(body) if length is None else length
    head = f"POST /provision HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"null", 400, "malformed"),
        (b"[1, 2]", 400, "malformed"),
        (b'"text"', 400, "malformed"),
        (b"\xff\xfe", 400, "malformed"),
        (b'{"token": ["a"], "csr": "b"}', 400, "malformed"),
        (b'{"token": "a", "csr": 7}', 400, "malformed"),
        (b'{"token": "a", "csr": "b", "admin": true}', 400, "malformed"),
        (b'{"token": "a", "csr": "' + b"x" * 16300 + b'"}', 400, "csr-not-one-request"),
        (b'{"token": "\\u0000", "csr": "b"}', 400, "csr-not-one-request"),
        (b'{"token": "\\ud800", "csr": "b"}', 400, "malformed"),
        (b"[" * 16000, 400, "malformed"),
        (b"1" * 16000, 400, "malformed"),
        (b'{"token": "a", "csr": NaN}', 400, "malformed"),
    ],
)
def test_bodies_that_are_none(office: ProvisioningSite, body: bytes, status: int, code: str) -> None:
    """Whatever is not a request of ours is told so, with the code for it, and nobody is the worse for it."""
    head, _, told = answer(office, post(body)).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert code == json.loads(told)["code"]
    assert_served(office)


def test_a_huge_body_is_not_kept(office: ProvisioningSite) -> None:
    """300 MiB are announced and sent: refused with 413, or cut off, and the memory stays as it was."""
    before = memory(office)
    found = answer(office, post(b"", length=300 * MIB), *([b"x" * MIB] * 300))
    assert not found or b"413" in found.partition(b"\r\n")[0]
    assert memory(office) < before + 20
    assert_served(office)


def test_a_body_a_little_too_long_is_told_so(office: ProvisioningSite) -> None:
    """Up to a megabyte too much is read and thrown away, so that the sender sees the 413 and not a reset."""
    for size in (16 * 1024 + 1, 500_000):
        head, _, told = answer(office, post(b"x" * size)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert "body-too-large" == json.loads(told)["code"]


def test_a_body_without_a_length(office: ProvisioningSite) -> None:
    """Chunks without end are refused like a length that is too long."""
    head = b"POST /provision HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    before = memory(office)
    found = answer(office, head, *([b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 400))
    assert not found or b"413" in found.partition(b"\r\n")[0]
    assert memory(office) < before + 20
    assert_served(office)


def test_a_head_without_end(office: ProvisioningSite) -> None:
    """Headers that don't end are cut off before they fill the memory."""
    before = memory(office)
    assert b"" == answer(office, b"GET /healthz HTTP/1.1\r\n", *([b"X-A: " + b"a" * 4096 + b"\r\n"] * 2000))
    found = answer(office, b"GET /" + b"a" * MIB)
    assert not found or found.startswith(b"HTTP/1.1 400 ")  # read before the reset, or lost to it
    assert memory(office) < before + 20
    assert_served(office)


def test_idle_connections_stop_nobody(office: ProvisioningSite) -> None:
    """Connections that never begin TLS, and some that do and then say nothing, leave the service to others."""
    with ExitStack() as held:
        for _ in range(50):
            held.enter_context(socket.create_connection(("127.0.0.1", office.service.port)))
        for _ in range(10):
            held.enter_context(connection(office))
        assert_served(office)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has 127.0.0.1 alone")
def test_one_address_does_not_take_every_connection(office: ProvisioningSite) -> None:
    """Of 400 connections from one address half are cut off at once, and another address is served as ever."""
    with ExitStack() as held:
        sockets = []
        for _ in range(400):
            one = socket.create_connection(
                ("127.0.0.1", office.service.port), source_address=("127.0.0.2", 0), timeout=10
            )
            sockets.append(held.enter_context(one))
        assert_served(office)
        cut = sum(is_cut(one) for one in sockets)
        assert 150 <= cut <= 250
    assert_served(office)


def is_cut(one: socket.socket) -> bool:
    """Return whether the other side has hung up; it has sent nothing."""
    one.settimeout(0.001)
    try:
        return not one.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def lasts(office: ProvisioningSite, begin: bytes, drip: bytes) -> bool:
    """Send a beginning and then a little now and then; return whether the connection outlives its time by far."""
    with connection(office) as secure:
        secure.sendall(begin)
        secure.settimeout(0.5)
        deadline = Deadline(15)
        while not deadline.passed:
            try:
                secure.sendall(drip)
                if not secure.recv(1000):
                    return False
            except TimeoutError:
                continue
            except OSError:
                return False
    return True


@pytest.mark.slow
def test_who_is_slow_is_cut_off(office: ProvisioningSite) -> None:
    """A byte of a header now and then, a body that never ends, empty lines, silence: each is over within its time."""
    ways = [(b"GET /healthz HTTP/1.1\r\n", b"X"), (post(b"{", length=100), b" "), (b"", b"\r\n"), (b"", b"")]
    with ThreadPoolExecutor(len(ways)) as pool:
        assert [False] * len(ways) == list(pool.map(lambda way: lasts(office, *way), ways))
    assert_served(office)


@pytest.mark.slow
def test_a_handshake_that_does_not_end_is_cut_off(office: ProvisioningSite) -> None:
    """Who connects and never begins TLS is disconnected after some seconds."""
    with socket.create_connection(("127.0.0.1", office.service.port), timeout=15) as plain:
        plain.sendall(b"\x16\x03\x01")
        assert b"" == plain.recv(1)


@pytest.mark.parametrize(
    "text", [b"GET / HTTP/9.9\r\n\r\n", b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"]
)
def test_what_is_no_http(office: ProvisioningSite, text: bytes) -> None:
    """Garbage after the handshake is answered with 400, or with nothing."""
    found = answer(office, text)
    assert not found or found.startswith(b"HTTP/1.1 4")
    assert_served(office)


@pytest.mark.parametrize(
    "path", ["/devices/..%2f..%2fetc", "/devices/%00", "/devices/a%2fcommands", "/../provision", "/%ff"]
)
def test_paths_lead_nowhere_else(office: ProvisioningSite, path: str) -> None:
    """A path with tricks in it is not found, or malformed, for an operator too."""
    reply = office.operator.send("GET", path)
    assert reply.status in {400, 404}
    assert_served(office)


def test_plain_http_is_not_spoken(office: ProvisioningSite) -> None:
    """Who forgets TLS gets nothing that could be mistaken for an answer."""
    with socket.create_connection(("127.0.0.1", office.service.port), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(1000)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_not_spoken(office: ProvisioningSite, version: ssl.TLSVersion) -> None:
    """TLS 1.0 and 1.1 are refused with the alert for that; 1.2 goes through."""
    for wanted, works in ((version, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = ssl.create_default_context(cafile=str(office.store.trust_anchor))
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = wanted
        with socket.create_connection(("127.0.0.1", office.service.port), timeout=10) as plain:
            if works:
                context.wrap_socket(plain, server_hostname="localhost").close()
                continue
            with pytest.raises(ssl.SSLError) as caught:
                context.wrap_socket(plain, server_hostname="localhost")
            assert "PROTOCOL_VERSION" in str(caught.value)


# --- how often ----------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ProvisioningSite]:
    """Return a service with narrow limits."""
    store = Store(Workspace.open(tmp_path / "workspace"))
    limits = {"requests_per_minute": 40, "failures_per_minute": 3}
    with provisioning_site(store, limits=limits) as running:
        yield running


def test_guessing_tokens_ends_soon(guarded: ProvisioningSite) -> None:
    """After three wrong tokens the address has to wait, also with a right one; the reply says how long."""
    good = guarded.token("sensor-001")
    csr = make_request(Key.generate(), "x")
    wrong = [attempt(lambda: guarded.anyone.provision("labtok_" + "A" * 43, csr)).reason for _ in range(4)]
    assert ["token-unknown"] * 3 + ["rate-limited"] == wrong
    assert "rate-limited" == guarded.ask(good).reason
    reply = guarded.anyone.send("GET", "/healthz")
    assert 429 == reply.status
    assert 0 < reply.retry_after <= 60


def test_too_many_requests_are_told_so(guarded: ProvisioningSite) -> None:
    """Forty requests go through, the next is refused with 429."""
    found = [guarded.anyone.send("GET", "/crl").status for _ in range(42)]
    assert 200 == found[0]
    assert 429 == found[-1]
    assert found == sorted(found)
