"""One connection attempt, and an honest report of how far it came.

Under TLS 1.3 a client has finished its handshake before the server has looked at its certificate, so `connect()`
says yes and the refusal arrives on the first read. A client that writes first loses the alert to a reset. So the
probe reads before it writes, and says `accepted` only after the broker's CONNACK.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from labkit.clock import Deadline
from labkit.errors import FormatError
from labkit.mqtt import packets
from labkit.mqtt.contexts import Endpoint, Identity, client_context
from labkit.mqtt.topics import check_topic
from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 0.5
"""Seconds that a TLS 1.3 server has to refuse us before we speak."""

_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(.+)")

# X509_V_ERR_* of OpenSSL's x509_vfy.h, as `SSLCertVerificationError.verify_code` has them.
_SERVER_FAULTS = {
    9: "server-not-yet-valid",
    10: "server-expired",
    18: "server-untrusted",
    19: "server-untrusted",
    20: "server-untrusted",
    21: "server-untrusted",
    26: "server-wrong-purpose",
    62: "server-wrong-name",
    64: "server-wrong-name",
}

_NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}
_NO_VERSION = {"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"}


class _Refused(Exception):  # noqa: N818 - a verdict on its way up, not an error
    def __init__(self, stage: str, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.stage, self.reason, self.detail = stage, reason, detail


def probe(
    endpoint: Endpoint,
    *,
    trust: Path,
    identity: Identity | None = None,
    tls: str | None = None,
    publish: str | None = None,
    payload: bytes = b"probe",
    protocol: int = packets.V5,
    client_id: str = "",
    username: str | None = None,
    patience: float = PATIENCE,
    timeout: float = 5.0,
) -> Outcome:
    """Try one connection and report where the verdict fell, and why.

    Args:
        endpoint: Where to connect.
        trust: Whom we believe.
        identity: Who we are; None shows no certificate.
        tls: `1.2` or `1.3` for exactly that version.
        publish: A topic to publish one message to, to learn whether that is allowed.
        payload: The message.
        protocol: MQTT 5 or 4 (which is 3.1.1).
        client_id: The client id; the broker makes one up where it is empty.
        username: A user name to claim.
        patience: Seconds to listen before we speak.
        timeout: Seconds for each step.

    Returns:
        The outcome. Its stage is `tcp`, `tls`, `mqtt`, or `authorised` where a publish was asked for. Reasons that
        begin with `server-` are ours: we refused the server. Its detail has, where they are known, `alert`,
        `client_error`, `tls_version`, `cipher`, `reason_code` and `local_port`.

    Raises:
        IdentityRefusedError: Our own files can't be used; nothing was attempted.
        ValueError: A publish with 3.1.1 was asked for: its PUBACK comes for forbidden messages too.

    Does not check: that a published message is delivered; `delivered` does. Revocation of the server.
    """
    if publish is not None and protocol != packets.V5:
        text = "a PUBACK of MQTT 3.1.1 proves nothing; use protocol 5, or ask an observer (delivered)"
        raise ValueError(text)
    if publish is not None:
        check_topic(publish)
    attempt = _Attempt(endpoint, timeout)
    context = client_context(trust, identity, tls=tls)
    try:
        attempt.dial()
        attempt.shake_hands(context, patience)
        attempt.open_session(protocol, client_id, username)
        if publish is None:
            return attempt.accepted("mqtt")
        attempt.publish(publish, payload)
        return attempt.accepted("authorised")
    except _Refused as verdict:
        return Outcome(
            verdict.stage, accepted=False, reason=verdict.reason, detail={**attempt.seen, **verdict.detail}
        )
    finally:
        attempt.close()


class _Attempt:
    """The socket of one attempt, and what was seen on it so far."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.seen: dict[str, Any] = {}
        self.socket: socket.socket | None = None
        self.protocol = packets.V5
        self.received = b""
        self.in_session = False

    def accepted(self, stage: str) -> Outcome:
        return Outcome(stage, accepted=True, reason=ACCEPTED, detail=self.seen)

    def close(self) -> None:
        if self.socket is None:
            return
        with suppress(OSError):
            if self.in_session:
                self.socket.sendall(packets.disconnect())
        self.socket.close()

    def dial(self) -> None:
        address = (self.endpoint.host, self.endpoint.port)
        try:
            self.socket = socket.create_connection(address, timeout=self.timeout)
        except ConnectionRefusedError as error:
            raise _Refused("tcp", "connection-refused", client_error=str(error)) from error
        except TimeoutError as error:
            raise _Refused("tcp", "timeout", client_error=str(error)) from error
        except socket.gaierror as error:
            raise _Refused("tcp", "unknown-host", client_error=str(error)) from error
        except OSError as error:
            raise _Refused("tcp", "unreachable", client_error=str(error)) from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen["local_port"] = self.socket.getsockname()[1]

    def shake_hands(self, context: ssl.SSLContext, patience: float) -> None:
        assert self.socket is not None  # noqa: S101 - dialled before
        try:
            wrapped = context.wrap_socket(self.socket, server_hostname=self.endpoint.certified_name)
        except (OSError, ValueError) as error:
            raise _tls_refusal(error) from error
        self.socket = wrapped
        self.seen["tls_version"] = (wrapped.version() or "").removeprefix("TLSv")
        self.seen["cipher"] = (wrapped.cipher() or ("",))[0]
        if self.seen["tls_version"] == "1.3":
            self.listen(wrapped, patience)

    def listen(self, wrapped: ssl.SSLSocket, patience: float) -> None:
        # Under TLS 1.2 the server's Finished came after it had judged us. Under 1.3 the verdict is still out.
        wrapped.settimeout(patience)
        try:
            self.received = wrapped.recv(packets.MAX_PACKET)
        except TimeoutError:
            wrapped.settimeout(self.timeout)
            return
        except OSError as error:
            raise _tls_refusal(error) from error
        wrapped.settimeout(self.timeout)
        if not self.received:
            raise _Refused("tls", "closed-without-reason", client_error="closed before we spoke")

    def open_session(self, protocol: int, client_id: str, username: str | None) -> None:
        self.protocol = protocol
        hello = packets.connect(protocol=protocol, client_id=client_id, username=username)
        answer = self.exchange(hello, packets.Kind.CONNACK, "mqtt")
        self.seen["reason_code"] = answer.code
        if answer.code != 0:
            raise _Refused("mqtt", packets.reason_of(answer.code, protocol))
        self.in_session = True

    def publish(self, topic: str, payload: bytes) -> None:
        message = packets.publish(topic, payload, protocol=self.protocol)
        answer = self.exchange(message, packets.Kind.PUBACK, "authorised")
        self.seen["reason_code"] = answer.code
        # 0x10: allowed, and nobody has subscribed (MQTT 5 §3.4.2.1).
        if answer.code >= 0x80:
            raise _Refused("authorised", packets.reason_of(answer.code, self.protocol))

    def exchange(self, message: bytes, wanted: packets.Kind, stage: str) -> packets.Answer:
        assert self.socket is not None  # noqa: S101 - dialled before
        deadline = Deadline(self.timeout)
        try:
            self.socket.sendall(message)
            while True:
                self.look_at_kind(wanted, stage)
                packet, self.received = packets.split(self.received)
                if packet is not None:
                    return self.judge(packets.parse_answer(packet, protocol=self.protocol), wanted, stage)
                self.socket.settimeout(max(deadline.left, 0.001))
                piece = self.socket.recv(packets.MAX_PACKET)
                if not piece:
                    raise _Refused(stage, "closed-without-reason", client_error="closed without an answer")
                self.received += piece
        except FormatError as error:
            raise _Refused(stage, "not-mqtt", client_error=error.message) from error
        except TimeoutError as error:
            raise _Refused(stage, "timeout", client_error="no answer in time") from error
        except OSError as error:
            # An alert may still come now, from a server that took longer than our patience.
            late = _tls_refusal(error)
            raise late if "alert" in late.detail else _Refused(stage, late.reason, **late.detail) from error

    def look_at_kind(self, wanted: packets.Kind, stage: str) -> None:
        # Before the packet is complete: a peer that speaks something else may never complete it.
        if self.received and self.received[0] >> 4 not in {wanted, packets.Kind.DISCONNECT}:
            raise _Refused(stage, "not-mqtt", client_error=f"it answers with {self.received[:8]!r}")

    def judge(self, answer: packets.Answer, wanted: packets.Kind, stage: str) -> packets.Answer:
        if answer.kind != wanted:
            raise _Refused(stage, packets.reason_of(answer.code, self.protocol))
        return answer


def _tls_refusal(error: OSError | ValueError) -> _Refused:
    """Return what an error during or after the handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _SERVER_FAULTS.get(error.verify_code, "server-refused")
        return _Refused(
            "tls", reason, client_error=f"{error.verify_message} (verify code {error.verify_code})"
        )
    if isinstance(error, TimeoutError):
        return _Refused("tls", "timeout", client_error="no answer in time")
    word = getattr(error, "reason", None) or ""
    if found := _ALERT.fullmatch(str(word)):
        alert = found[1].lower().replace("_", "-")
        return _Refused("tls", alert, alert=alert.replace("-", "_"), client_error=str(word))
    if word in _NOT_TLS:
        return _Refused("tls", "not-tls", client_error=str(word))
    if word in _NO_VERSION:
        return _Refused("tls", "protocol-version", client_error=str(word))
    if isinstance(error, ssl.SSLEOFError | ConnectionError) or "EOF" in str(word):
        return _Refused("tls", "closed-without-reason", client_error=str(error))
    return _Refused("tls", "handshake-error", client_error=str(error))
