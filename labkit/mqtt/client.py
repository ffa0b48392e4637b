"""An MQTT session for lessons: opened in one line, closed for sure, and judged by delivery."""

from __future__ import annotations

import queue
import secrets
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from labkit.clock import Deadline
from labkit.errors import NotConnectedError
from labkit.mqtt.contexts import Endpoint, Identity, client_context
from labkit.mqtt.packets import REASONS, V5, V311, reason_of
from labkit.mqtt.probe import probe
from labkit.mqtt.topics import SHARED, check_filter, check_topic, matches
from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT = 5.0
"""Seconds to wait for an answer of the broker."""

KEEP_ALIVE = 30
"""Seconds after which a silent session sends a sign of life (MQTT 5 §3.1.2.10)."""

_MARK = "labkit-mark"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was delivered to us.

    Attributes:
        topic: Where to it was published.
        payload: What it says.
        mark: What its publisher marked it with, where that is one of our sessions; no part of its identity.
        retained: Whether the broker had kept it: it is from before we subscribed. No part of its identity either.
    """

    topic: str
    payload: bytes
    mark: str = field(default="", compare=False, repr=False)
    retained: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we are gone without a word (MQTT 5 §3.1.2.5).

    Attributes:
        topic: Where to.
        payload: What.
        retain: Whether the broker keeps it for those who subscribe later.
    """

    topic: str
    payload: str
    retain: bool = True


class Session:
    """An open session. Get one from `open_session`.

    Attributes:
        protocol: 5, or 4 for MQTT 3.1.1.
    """

    def __init__(self, client: paho.Client, protocol: int) -> None:
        self.protocol = protocol
        self._client = client
        self._answers: queue.Queue[tuple[str, int, int]] = queue.Queue()
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._waiting: list[Message] = []
        self._filters: list[str] = []
        self._ended = ""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message

    def _on_connect(self, _client: Any, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answers.put(("connect", 0, reason.value))

    def _on_disconnect(self, _client: Any, _user: Any, flags: Any, reason: Any, _properties: Any) -> None:
        told = flags.is_disconnect_packet_from_server
        word = reason_of(reason.value, V5) if told else "connection-lost"
        self._ended = self._ended or word  # after the broker's word, paho calls again for the closed socket
        self._answers.put(("end", 0, 0))  # wakes whoever waits

    def _on_subscribe(self, _client: Any, _user: Any, mid: int, reasons: Any, _properties: Any) -> None:
        self._answers.put(("subscribe", mid, max(reason.value for reason in reasons)))

    def _on_publish(self, _client: Any, _user: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._answers.put(("publish", mid, reason.value))

    def _on_message(self, _client: Any, _user: Any, message: Any) -> None:
        marks = dict(getattr(message.properties, "UserProperty", ()))
        mark, payload = marks.get(_MARK, ""), bytes(message.payload)
        self._inbox.put(Message(message.topic, payload, mark, retained=bool(message.retain)))

    def _answer(self, kind: str, mid: int, timeout: float) -> int:
        deadline = Deadline(timeout)
        while not deadline.passed:
            if self._ended and self._answers.empty():
                raise _lost("mqtt", self._ended)
            with suppress(queue.Empty):
                found, found_mid, code = self._answers.get(timeout=deadline.left or 0.001)
                if (found, found_mid) == (kind, mid):
                    return code
        raise _lost("mqtt", "timeout")

    @property
    def ended(self) -> str:
        """Why the session is over, in one word; empty while it lives."""
        return self._ended

    def abandon(self) -> None:
        """Be gone without a word, as after a power cut: the broker finds the connection broken and sends the will."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was delivered and has not been waited for, oldest first."""
        with suppress(queue.Empty):
            while True:
                self._waiting.append(self._inbox.get_nowait())
        return tuple(self._waiting)

    def subscribe(self, pattern: str, *, qos: int = 1, timeout: float = TIMEOUT) -> None:
        """Subscribe, and wait for the broker's SUBACK.

        A granted SUBACK does not mean that anything will be delivered: Mosquitto checks at delivery.

        Raises:
            TopicRefusedError: It is not a topic filter.
            NotConnectedError: The session is gone, or the broker refused the subscription.
        """
        _, mid = self._client.subscribe(check_filter(pattern), qos=qos)
        code = self._answer("subscribe", mid or 0, timeout)
        if code >= 0x80:
            raise _lost("authorised", reason_of(code, V5))
        self._filters.append(pattern)

    def hears(self, topic: str) -> bool:
        """Return whether we have subscribed to a topic; whether we may read it is the broker's secret."""
        # A shared subscription does not count: its messages may go to another member of the group.
        ours = (pattern for pattern in self._filters if not pattern.startswith(SHARED))
        return any(matches(pattern, topic) for pattern in ours)

    def publish(
        self,
        topic: str,
        payload: str | bytes,
        *,
        qos: int = 1,
        mark: str = "",
        retain: bool = False,
        timeout: float = TIMEOUT,
    ) -> int:
        """Publish, and wait for the broker's PUBACK.

        Args:
            topic: Where to.
            payload: What.
            qos: How surely; with 0 nothing comes back and success means nothing.
            mark: A word that travels beside the payload (MQTT 5 only) and tells this message from one like it.
            retain: Whether the broker keeps it for those who subscribe later.
            timeout: Seconds to wait.

        Returns:
            The reason code (MQTT 5 §3.4.2.1); 0x80 and above refuse. 0 from MQTT 3.1.1 means nothing.

        Raises:
            TopicRefusedError: It is not a topic name.
            NotConnectedError: The session is gone.
        """
        properties = None
        if mark and self.protocol == V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.UserProperty = (_MARK, mark)
        sent = self._client.publish(
            check_topic(topic), payload, qos=qos, retain=retain, properties=properties
        )
        return self._answer("publish", sent.mid, timeout)

    def wait_for(self, pattern: str, *, timeout: float = TIMEOUT) -> Message | None:
        """Return the next message whose topic matches, or None if none comes in time or the session ends."""
        deadline = Deadline(timeout)
        while True:
            ended = self._ended  # looked at first: what came before the end is in the inbox by then
            for message in self.messages:
                if matches(pattern, message.topic):
                    self._waiting.remove(message)
                    return message
            if deadline.passed or ended:
                return None
            with suppress(queue.Empty):
                # In short steps, because the end of a session puts nothing here.
                self._waiting.append(self._inbox.get(timeout=min(deadline.left, 0.2) or 0.001))


@contextmanager
def open_session(
    endpoint: Endpoint,
    *,
    trust: Path,
    identity: Identity | None,
    client_id: str = "",
    protocol: int = V5,
    keep: int = 0,
    will: Will | None = None,
    login: tuple[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Iterator[Session]:
    """Open a session for the length of the block. It never reconnects: what ends it is worth knowing.

    Args:
        endpoint: Where to connect.
        trust: Whom we believe.
        identity: Who we are; None shows no certificate.
        client_id: The client id; the broker makes one up, or takes it from the certificate.
        protocol: MQTT 5 or 4 (which is 3.1.1, and never says that a message was refused).
        keep: Seconds for which the broker keeps subscriptions and messages after the end, and gives them back to who
            comes with the same client id (MQTT 5 §3.1.2.11.2); 0 begins afresh. With 3.1.1 the broker decides how long.
        will: What the broker says for us when the connection breaks; not when we take our leave.
        login: A user name and a password to claim.
        timeout: Seconds to wait for each step until CONNACK.

    Raises:
        NotConnectedError: We were refused; its `outcome` says at which stage and why.
        IdentityRefusedError: Our own files can't be used.
        ValueError: There is no such protocol.
    """
    client = _client(client_id, protocol, keep)
    if login is not None:
        client.username_pw_set(*login)
    client.tls_set_context(client_context(trust, identity, name=endpoint.certified_name))
    client.connect_timeout = timeout
    if will is not None:
        client.will_set(check_topic(will.topic), will.payload, qos=1, retain=will.retain)
    session = Session(client, protocol)
    thread = None
    try:
        code = -1
        with suppress(OSError):  # the probe finds out which
            kept = _kept(keep) if protocol == V5 else {}
            client.connect(endpoint.host, endpoint.port, keepalive=KEEP_ALIVE, **kept)
            client.loop_start()
            thread = client._thread  # noqa: SLF001 - paho forgets it before it has ended
            with suppress(NotConnectedError):
                code = session._answer("connect", 0, timeout)  # noqa: SLF001 - of this file
        if code != 0:
            outcome = _refusal(
                code,
                # paho tells no reason under TLS 1.3, so a probe goes the same way and looks more closely.
                lambda: probe(
                    endpoint,
                    trust=trust,
                    identity=identity,
                    client_id=client_id,
                    protocol=protocol,
                    timeout=timeout,
                ),
            )
            raise NotConnectedError(
                f"The session was not opened: {outcome}.",
                advice="Look at the outcome's detail, and at the broker's log.",
                outcome=outcome,
            )
        yield session
    finally:
        _close(client, thread, timeout)


def _close(client: paho.Client, thread: threading.Thread | None, timeout: float) -> None:
    client.on_disconnect = None
    client.disconnect()
    with suppress(AttributeError):  # the thread ended while paho looked at it
        client.loop_stop()
    if thread is not None:
        thread.join(timeout)
    # An error that is kept keeps the client with it, so its sockets are not left to the garbage collector.
    client._reset_sockets()  # noqa: SLF001 - nothing public closes the pair that wakes the thread
    client.on_connect = client.on_subscribe = client.on_publish = client.on_message = None


def _kept(seconds: int) -> dict[str, Any]:
    if not seconds:
        return {}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = seconds
    return {"clean_start": False, "properties": properties}


def _client(client_id: str, protocol: int, keep: int) -> paho.Client:
    versions = {V5: paho.MQTTv5, V311: paho.MQTTv311}
    if protocol not in versions:
        text = f"protocol is 4 (MQTT 3.1.1) or 5, not {protocol}"
        raise ValueError(text)
    return paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=versions[protocol],
        clean_session=not keep if protocol == V311 else None,
        reconnect_on_failure=False,
    )


def _refusal(code: int, look_closely: Callable[[], Outcome]) -> Outcome:
    """Return why a session was not opened."""
    if code > 0:  # paho words the return codes of 3.1.1 as those of 5
        return Outcome("mqtt", accepted=False, reason=reason_of(code, V5), detail={"reason_code": code})
    outcome = look_closely()
    if outcome.accepted:  # then it was a passing trouble, and no verdict on us
        return Outcome("mqtt", accepted=False, reason="connection-lost", detail=outcome.detail)
    return outcome


def delivered(
    publisher: Session, observer: Session, topic: str, payload: str, *, fence: str, timeout: float = TIMEOUT
) -> Outcome:
    """Publish, and judge by what the observer receives.

    The observer then publishes to itself on `fence`. The broker handles messages in order, so once the fence has
    come, ours has come before it or never will: nothing waits for a time-out. Both messages carry a mark of their
    own, so that a message of somebody else, however alike, is not taken for ours.

    Args:
        publisher: Who publishes.
        observer: Somebody who has subscribed to the topic and to the fence. Other messages that it has are dropped.
        topic: Where to.
        payload: What.
        fence: A topic that the observer may write and read.
        timeout: Seconds to wait for the fence.

    Returns:
        An outcome at stage `authorised`: accepted if the observer received the message. Otherwise the reason is the
        PUBACK's, or `not-delivered` where the PUBACK claimed success.

    Raises:
        NotConnectedError: A session is gone, or the fence never came.
        TopicRefusedError: The topic is not one.
        ValueError: The observer has not subscribed to the topic, so that its silence would prove nothing.

    Does not check: that the rules let the observer read the topic; show that with a message that is delivered.
    """
    if not observer.hears(check_topic(topic)):
        text = f"the observer has not subscribed to {topic!r} and can't tell whether it is delivered"
        raise ValueError(text)
    # Marks are MQTT 5's user properties (§3.3.2.3.7), which 3.1.1 does not have.
    mark = secrets.token_hex(8) if V311 not in {publisher.protocol, observer.protocol} else ""
    code = publisher.publish(topic, payload, mark=mark, timeout=timeout)
    nonce = secrets.token_hex(8)
    observer.publish(fence, nonce, timeout=timeout)
    ours, end = Message(topic, payload.encode()), Message(fence, nonce.encode())
    received = False
    while (message := observer.wait_for("#", timeout=timeout)) != end:
        if message is None:
            raise _lost("mqtt", "timeout")
        received = received or (message == ours and message.mark == mark)
    detail: dict[str, Any] = {"reason_code": code, "topic": topic}
    if received:
        detail["received"] = payload
        return Outcome("authorised", accepted=True, reason=ACCEPTED, detail=detail)
    reason = REASONS.get(code, "not-delivered")
    return Outcome("authorised", accepted=False, reason=reason, detail=detail)


def _lost(stage: str, reason: str) -> NotConnectedError:
    outcome = Outcome(stage, accepted=False, reason=reason)
    return NotConnectedError(
        f"The session is of no use: {outcome}.",
        advice="Is the broker still running? lab.status() or labkit status tells.",
        outcome=outcome,
    )
