"""Peers that are no broker, or a broker that misbehaves: each connection is served by a function of the test."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labkit.mqtt import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 3.0
"""Seconds until a peer gives up on a client that says nothing, so that no test hangs."""


@dataclass
class Peer:
    """A listening peer.

    Attributes:
        endpoint: Where it listens.
        connections: How many clients came so far.
    """

    endpoint: Endpoint
    connections: int = 0


@contextmanager
def tcp_peer(serve: Callable[[socket.socket], object]) -> Iterator[Peer]:
    """Serve each connection with a function, one after the other, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        peer = Peer(Endpoint("127.0.0.1", server.getsockname()[1]))
        done = threading.Event()

        def loop() -> None:
            while not done.is_set():
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    peer.connections += 1
                    connection.settimeout(PATIENCE)
                    with connection, suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield peer
        finally:
            done.set()
            thread.join()


@contextmanager
def tls_peer(
    certificate: Path,
    key: Path,
    serve: Callable[[ssl.SSLSocket], object],
    *,
    version: ssl.TLSVersion | None = None,
) -> Iterator[Peer]:
    """Serve TLS; the function gets each connection after its handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    if version:
        context.minimum_version = context.maximum_version = version

    def shake_hands(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            serve(tls)

    with tcp_peer(shake_hands) as peer:
        yield peer


def answering(data: bytes) -> Callable[[ssl.SSLSocket], object]:
    """Return a peer that hears one packet, answers with some bytes, and waits for us to leave."""

    def serve(tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(data)
        tls.recv(1)

    return serve


def hang_up_hard(connection: socket.socket) -> None:
    """Close with a reset, as a system does that still holds bytes which nobody has read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def self_made_server(
    folder: Path, *, common_name: str = "localhost", names: tuple[str, ...] = ("localhost",), ends: int = 30
) -> tuple[Path, Path]:
    """Write a server certificate that its own key signed, and the key.

    Args:
        folder: Where to.
        common_name: Its common name.
        names: Its DNS names.
        ends: In how many days it ends; it begins four days ago.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=4))
        .not_valid_after(now + dt.timedelta(days=ends))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    pem = serialization.Encoding.PEM
    certificate_file, key_file = folder / "server.crt", folder / "server.key"
    certificate_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
