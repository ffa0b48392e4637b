"""labkit.mqtt.wire: a peer's last words are heard, whatever becomes of ours."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.mqtt import Endpoint, client_context, probe
from labkit.mqtt.refusals import Refused
from labkit.mqtt.wire import Wire
from labkit.scenarios import mutual_tls
from tests.simulators.mqtt_peer import hang_up_hard, self_made_server, tcp_peer, tls_peer

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.pki import Store


def connected(endpoint: Endpoint, trust: Path) -> Wire:
    """Return a wire after its handshake."""
    wire = Wire(Endpoint(endpoint.host, endpoint.port, "localhost"), timeout=2)
    wire.dial()
    wire.shake_hands(client_context(trust))
    return wire


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may drop what was received before a reset")
def test_words_before_a_reset_are_heard(tmp_path: Path) -> None:
    """After a reset, with a write that fails, what the peer said before is still read."""
    certificate, key = self_made_server(tmp_path)
    gone = threading.Event()

    def serve(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"last words")
        hang_up_hard(tls)
        tls.close()
        gone.set()

    with tls_peer(certificate, key, serve) as peer:
        wire = connected(peer.endpoint, certificate)
        assert gone.wait(3)
        for _ in range(3):
            wire.send(b"does anybody hear me?")
        assert wire.receive(seconds=1) == b"last words"
        assert wire.receive(seconds=1) == b""
        wire.close()


def test_one_deadline_for_a_step(tmp_path: Path) -> None:
    """A peer that drips a byte at a time is given up after the time of one step, and not per byte."""
    enough = threading.Event()

    def drip(connection: socket.socket) -> None:
        for byte in b"\x16\x03\x03\x40\x00" + bytes(1000):
            if enough.is_set():
                return
            connection.sendall(bytes([byte]))
            Deadline(0.02).pause(0.02)

    certificate, _ = self_made_server(tmp_path)
    with tcp_peer(drip) as peer:
        outcome = probe(peer.endpoint, trust=certificate, timeout=0.4)
        enough.set()
    assert ("tls", "timeout") == (outcome.stage, outcome.reason)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
def test_ctrl_c_closes_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt in the middle of an attempt closes the connection at once; the peer sees its end."""
    certificate, _ = self_made_server(tmp_path)
    seen: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        while piece := connection.recv(4096):
            seen.append(piece)
        seen.append(b"end")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with tcp_peer(listen) as peer:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                probe(peer.endpoint, trust=certificate, timeout=10)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen[-1] == b"end"


@pytest.mark.broker
def test_a_broker_that_dies_between_tcp_and_tls(mosquitto: Mosquitto, store: Store) -> None:
    """A broker that is killed after TCP and before TLS refuses at tls, and no reason is made up for it."""
    with mutual_tls(store) as site:
        wire = Wire(site.endpoint, timeout=3)
        os.kill(site.broker.pid, signal.SIGSTOP)  # so that it takes no notice of us
        wire.dial()
        os.kill(site.broker.pid, signal.SIGKILL)
        with pytest.raises(Refused) as caught:
            wire.shake_hands(client_context(site.trust))
        wire.close()
        assert ("tls", "closed-without-reason") == (caught.value.stage, caught.value.reason)


@pytest.mark.parametrize(
    ("host", "reason"), [("nowhere.invalid", "unknown-host"), ("x" * 64 + ".local", "unknown-host")]
)
def test_names_that_lead_nowhere(host: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that can't be resolved, or can't be a name, is refused at tcp."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    if host.endswith(".invalid"):
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Refused) as caught:
        Wire(Endpoint(host, 1883), timeout=1).dial()
    assert ("tcp", reason) == (caught.value.stage, caught.value.reason)
