"""Brokers as they were set up for years: passwords in the open, and TLS that takes whatever it is offered."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from labkit.broker import Broker, BrokerConfig, Listener
from labkit.broker.guarded import OPENSSL_CONF, RESUMABLE_CONF
from labkit.broker.passwords import password_file
from labkit.errors import ForwardSecrecyError
from labkit.mqtt import Endpoint, open_with_server_key, packets
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki import Authority
from labkit.pki.profiles import INTERMEDIATE, ROOT, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from labkit.mqtt import Capture
    from labkit.workspace import Workspace

USER = "sensor-001"
PASSWORD = "blue-door-42"  # noqa: S105 - there to be stolen
"""The password of a device in these experiments. It is there to be stolen."""


@dataclass(frozen=True, slots=True)
class OldBroker:
    """A broker with passwords.

    Attributes:
        broker: The running broker.
        trust: The root that its clients believe; None without TLS.
        key: The broker's key, for whoever breaks in later; None without TLS.
    """

    broker: Broker
    trust: Path
    key: Path | None

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return Endpoint(self.broker.host, self.broker.port)

    def stolen_key(self) -> PrivateKeyTypes:
        """Return the broker's private key, as somebody has it who broke into the machine.

        Raises:
            ValueError: This broker has none.
        """
        if self.key is None:
            text = "a broker without TLS has no key"
            raise ValueError(text)
        return load_pem_private_key(self.key.read_bytes(), None)


@contextmanager
def plain_broker(workspace: Workspace) -> Iterator[OldBroker]:
    """Stage a broker without TLS that asks for a password, on loopback.

    Raises:
        ToolMissingError, BrokerStartError: See `Broker.start`.
    """
    home = _home(workspace, "broker/plain")
    users = home / "passwords"

    def make_config(port: int) -> BrokerConfig:
        return BrokerConfig(listeners=(Listener(port=port),), password_file=users)

    with Broker(home, make_config) as broker:
        yield OldBroker(broker, home, None)


@contextmanager
def old_broker(
    workspace: Workspace,
    *,
    folder: str = "broker/old",
    ciphers: tuple[str, ...] = (),
    lowest: str = "tlsv1.2",
    key_kind: str = "rsa2048",
) -> Iterator[OldBroker]:
    """Stage a broker with TLS and passwords, as guides print it: whatever OpenSSL takes, it takes.

    Args:
        workspace: The lab's.
        folder: The broker's folder in it.
        ciphers: The TLS 1.2 suites that it is limited to; none are named in the guides.
        lowest: The lowest version, in Mosquitto's words.
        key_kind: What kind of key the broker has.

    Raises:
        ToolMissingError, BrokerStartError: See `Broker.start`.
    """
    home = _home(workspace, folder)
    trust = _credentials(workspace, folder, key_kind)

    def make_config(port: int) -> BrokerConfig:
        listener = Listener(
            port=port,
            certfile=home / "chain.crt",
            keyfile=home / "broker.key",
            tls_version=lowest,
            ciphers=ciphers,
        )
        return BrokerConfig(listeners=(listener,), password_file=home / "passwords")

    settings = OPENSSL_CONF if ciphers else RESUMABLE_CONF
    with Broker(home, make_config, openssl_conf=settings) as broker:
        yield OldBroker(broker, trust, home / "broker.key")


def overhear(capture: Capture, words: str) -> Outcome:
    """Try to read words in a recording, as somebody does who sits on the wire.

    Returns:
        Accepted at stage `tcp` if they can be read; refused at `tls` as `encrypted` if not.

    Does not check: that the words were said at all; a control shows that.
    """
    if words.encode() in capture.stream("client") + capture.stream("server"):
        return Outcome("tcp", accepted=True, reason=ACCEPTED, detail={"read": words})
    return Outcome("tls", accepted=False, reason="encrypted", detail={"bytes": len(capture.stream("client"))})


def overhear_with_key(capture: Capture, key: PrivateKeyTypes, words: str) -> Outcome:
    """Try to read words in a recording with the server's key, as somebody does who broke in later.

    Returns:
        Accepted at stage `tls` if the key opens the recording and the words are in it; refused as
        `forward-secrecy` if no key that still exists opens it, as `not-said` if it opens and they are not in it.

    Raises:
        FormatError: It is no recording of a full TLS handshake.
    """
    try:
        opened = open_with_server_key(capture, key)
    except ForwardSecrecyError as error:
        detail = {"suite": error.suite, "group": error.group}
        return Outcome("tls", accepted=False, reason="forward-secrecy", detail=detail)
    if any(words.encode() in message.content for message in opened.messages):
        return Outcome("tls", accepted=True, reason=ACCEPTED, detail={"read": words})
    return Outcome("tls", accepted=False, reason="not-said")


def log_in_openly(
    endpoint: Endpoint,
    *,
    username: str = USER,
    password: str = PASSWORD,
    say: tuple[str, bytes] | None = None,
) -> int:
    """Open an MQTT session without TLS, say goodbye, and return the broker's reason code.

    Args:
        endpoint: Where to.
        username: The user name.
        password: The password.
        say: A topic and a payload to publish on the way.

    Raises:
        OSError: Nobody answers.
        FormatError: What answers is no broker.
    """
    with socket.create_connection((endpoint.host, endpoint.port), timeout=5.0) as line:
        line.sendall(packets.connect(protocol=packets.V5, username=username, password=password))
        received = b""
        while (found := packets.split(received))[0] is None:
            piece = line.recv(4096)
            if not piece:
                raise ConnectionError("the broker hung up")
            received += piece
        packet, _ = found
        assert packet is not None  # noqa: S101 - the loop's condition
        code = packets.parse_answer(packet, protocol=packets.V5).code
        if say and code == 0:
            line.sendall(packets.publish(*say, protocol=packets.V5))
        line.sendall(packets.disconnect())
        return code


def _home(workspace: Workspace, folder: str) -> Path:
    return workspace.write(f"{folder}/passwords", password_file({USER: PASSWORD}), secret=True).parent


def _credentials(workspace: Workspace, folder: str, key_kind: str) -> Path:
    root = Authority.new_root("Old Root CA", profile=ROOT.with_key("p256"))
    middle = root.new_intermediate("Old CA", profile=INTERMEDIATE.with_key("p256"))
    server = middle.issue_server(["localhost"], ["127.0.0.1", "::1"], profile=SERVER.with_key(key_kind))
    workspace.write(f"{folder}/broker.key", server.key_pem, secret=True)
    workspace.write(f"{folder}/chain.crt", server.chain_pem)
    above = root.certificate.public_bytes(Encoding.PEM)
    return workspace.write(f"{folder}/root.crt", above)
