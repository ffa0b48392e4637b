"""One connection attempt, and an honest report of how far it came.

Under TLS 1.3 a client has finished its handshake before the server has looked at its certificate, so `connect()`
says yes and the refusal arrives on the first read. So the probe says `accepted` only after the broker's CONNACK, and
it speaks before it has listened only where the refusal can't get lost by that (see `wire`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.clock import Deadline
from labkit.errors import FormatError
from labkit.mqtt import packets
from labkit.mqtt.contexts import Endpoint, Identity, client_context
from labkit.mqtt.refusals import Refused, tls_refusal
from labkit.mqtt.topics import check_topic
from labkit.mqtt.wire import Wire
from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

PATIENCE = 0.5
"""Seconds that a TLS 1.3 server has to refuse us before we speak, where its refusal could get lost otherwise."""


def probe(
    endpoint: Endpoint,
    *,
    trust: Path,
    identity: Identity | None = None,
    tls: str | None = None,
    ciphers: str = "",
    keylog: Path | None = None,
    publish: str | None = None,
    payload: bytes = b"probe",
    protocol: int = packets.V5,
    client_id: str = "",
    username: str | None = None,
    password: str | None = None,
    patience: float | None = None,
    timeout: float = 5.0,
) -> Outcome:
    """Try one connection and report where the verdict fell, and why.

    Args:
        endpoint: Where to connect.
        trust: Whom we believe.
        identity: Who we are; None shows no certificate.
        tls: `1.2` or `1.3` for exactly that version.
        ciphers: See `client_context`.
        keylog: See `client_context`.
        publish: A topic to publish one message to, to learn whether that is allowed.
        payload: The message.
        protocol: MQTT 5 or 4 (which is 3.1.1).
        client_id: The client id; the broker makes one up where it is empty.
        username: A user name to claim.
        password: A password to show; it is in no outcome.
        patience: Seconds to listen before we speak under TLS 1.3. Without it: none where the system keeps what we
            received (Linux, on loopback), with a second, patient attempt if the peer then hangs up without a word;
            `PATIENCE` everywhere else.
        timeout: Seconds for each step.

    Returns:
        The outcome. Its stage is `tcp`, `tls`, `mqtt`, or `authorised` where a publish was asked for. Reasons that
        begin with `server-` are ours: we refused the server. Its detail has, where they are known, `alert`,
        `client_error`, `tls_version`, `cipher`, `reason_code` and `local_port`.

    Raises:
        IdentityRefusedError: Our own files can't be used; nothing was attempted.
        TopicRefusedError: `publish` is no topic name; nothing was attempted.
        ValueError: A publish with 3.1.1 was asked for: its PUBACK comes for forbidden messages too. Or the protocol
            or the version of TLS is not one of the two.

    Does not check: that a published message is delivered; `delivered` does. Revocation of the server.
    """
    if protocol not in {packets.V311, packets.V5}:
        text = f"protocol is 4 (MQTT 3.1.1) or 5, not {protocol}"
        raise ValueError(text)
    if publish is not None and protocol != packets.V5:
        text = "a PUBACK of MQTT 3.1.1 proves nothing; use protocol 5, or ask an observer (delivered)"
        raise ValueError(text)
    if publish is not None:
        check_topic(publish)
    context = client_context(trust, identity, tls=tls, ciphers=ciphers, keylog=keylog)
    errand = _Errand(protocol, client_id, username, publish, payload, password)
    attempt = _Attempt(endpoint, errand, timeout)
    outcome = attempt.run(context, patience)
    if patience is None and attempt.in_the_dark:
        again = _Attempt(endpoint, errand, timeout).run(context, PATIENCE)
        return again if again.stage == "tls" else outcome
    return outcome


class Returner:
    """A client that comes back, and may show the TLS session of its last visit instead of its certificate.

    A server that resumes a session skips the check of the client's certificate (RFC 5246 §7.3, RFC 8446 §2.2).

    Args:
        endpoint: Where to connect.
        trust: Whom we believe.
        identity: Who we are.
        tls: `1.2` or `1.3` for exactly that version.
        protocol: MQTT 5 or 4 (which is 3.1.1).
        client_id: The client id.

    Raises:
        IdentityRefusedError: Our own files can't be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        trust: Path,
        identity: Identity | None = None,
        tls: str | None = None,
        protocol: int = packets.V5,
        client_id: str = "",
    ) -> None:
        self._endpoint = endpoint
        self._protocol, self._client_id = protocol, client_id
        self._context = client_context(trust, identity, tls=tls)
        self._session: ssl.SSLSession | None = None

    def visit(self, *, publish: str | None = None, resume: bool = True, timeout: float = 5.0) -> Outcome:
        """Connect once, say goodbye properly, and keep what the server gave us.

        Args:
            publish: A topic to publish to.
            resume: Show the session of the last visit that was accepted; False asks for a full handshake.
            timeout: Seconds for each step.

        Returns:
            The outcome, as `probe` reports it. Its detail says whether the session was `resumed`.
        """
        errand = _Errand(self._protocol, self._client_id, None, publish, b"probe")
        attempt = _Attempt(self._endpoint, errand, timeout)
        outcome = attempt.run(self._context, None, self._session if resume else None)
        if outcome.accepted:
            self._session = attempt.wire.session
        return outcome


@dataclass(frozen=True, slots=True)
class _Errand:
    """What to say once we are connected."""

    protocol: int
    client_id: str
    username: str | None
    topic: str | None
    payload: bytes
    password: str | None = field(default=None, repr=False)


class _Attempt:
    """One connection, from the first packet to the verdict."""

    def __init__(self, endpoint: Endpoint, errand: _Errand, timeout: float) -> None:
        self.errand = errand
        self.timeout = timeout
        self.wire = Wire(endpoint, timeout=timeout)
        self.received = b""
        self.in_session = False
        self.in_the_dark = False
        """Whether it ended without a word, after we had spoken first: an alert may have got lost."""

    def run(
        self, context: ssl.SSLContext, patience: float | None, session: ssl.SSLSession | None = None
    ) -> Outcome:
        try:
            self.wire.dial()
            self.wire.shake_hands(context, session)
            spoke_first = self.listen(patience)
            self.in_the_dark = spoke_first
            self.open_session()
            self.in_the_dark = False
            stage = self.publish()
            return Outcome(stage, accepted=True, reason=ACCEPTED, detail=self.wire.seen)
        except Refused as verdict:
            self.in_the_dark &= verdict.reason == "closed-without-reason"
            detail = {**self.wire.seen, **verdict.detail}
            return Outcome(verdict.stage, accepted=False, reason=verdict.reason, detail=detail)
        finally:
            self.wire.close(packets.disconnect() if self.in_session else b"")

    def listen(self, patience: float | None) -> bool:
        """Give a TLS 1.3 server time to refuse us; return whether we go on without having given any."""
        # Under TLS 1.2 the server's Finished came after it had judged us (RFC 5246 §7.3). Under 1.3 the verdict is out.
        if self.wire.seen["tls_version"] != "1.3":
            return False
        if patience is None:
            patience = 0.0 if self.wire.keeps_last_words else PATIENCE
        if not patience:
            return True
        try:
            self.received = self.wire.receive(seconds=patience)
        except TimeoutError:
            return False
        except OSError as error:
            raise tls_refusal(error) from error
        if not self.received:
            raise Refused("tls", "closed-without-reason", client_error="it hung up before we spoke")
        return False

    def open_session(self) -> None:
        errand = self.errand
        hello = packets.connect(
            protocol=errand.protocol,
            client_id=errand.client_id,
            username=errand.username,
            password=errand.password,
        )
        answer = self.exchange(hello, packets.Kind.CONNACK, "mqtt")
        self.wire.seen["reason_code"] = answer.code
        if answer.code != 0:
            raise Refused("mqtt", packets.reason_of(answer.code, errand.protocol))
        self.in_session = True

    def publish(self) -> str:
        """Publish where that is the errand, and return the stage that was reached."""
        if self.errand.topic is None:
            return "mqtt"
        message = packets.publish(self.errand.topic, self.errand.payload, protocol=packets.V5)
        answer = self.exchange(message, packets.Kind.PUBACK, "authorised")
        self.wire.seen["reason_code"] = answer.code
        # 0x10: allowed, and nobody has subscribed (MQTT 5 §3.4.2.1).
        if answer.code >= 0x80:
            raise Refused("authorised", packets.reason_of(answer.code, packets.V5))
        return "authorised"

    def exchange(self, message: bytes, wanted: packets.Kind, stage: str) -> packets.Answer:
        """Send a packet and return its answer, or the verdict that came instead."""
        try:
            self.wire.send(message)
            answer = self.answer(wanted, stage)
        except FormatError as error:
            raise Refused(stage, "not-mqtt", client_error=error.message) from error
        except TimeoutError as error:
            raise Refused(stage, "timeout", client_error="no answer in time") from error
        except OSError as error:
            # The alert of a server that took longer than our patience, or had none of it.
            late = tls_refusal(error)
            raise late if "alert" in late.detail else Refused(stage, late.reason, **late.detail) from error
        if answer.kind != wanted:
            raise Refused(stage, packets.reason_of(answer.code, self.errand.protocol))
        return answer

    def answer(self, wanted: packets.Kind, stage: str) -> packets.Answer:
        deadline = Deadline(self.timeout)
        while True:
            # Before the packet is complete: a peer that speaks something else may never complete it.
            if self.received and self.received[0] >> 4 not in {wanted, packets.Kind.DISCONNECT}:
                raise Refused(stage, "not-mqtt", client_error=f"it answers with {self.received[:8]!r}")
            packet, self.received = packets.split(self.received)
            if packet is not None:
                return packets.parse_answer(packet, protocol=self.errand.protocol)
            piece = self.wire.receive(seconds=deadline.left)
            if not piece:
                raise Refused(stage, "closed-without-reason", client_error="it hung up without an answer")
            self.received += piece
