"""An MQTT session for lessons: opened in one line, closed for sure, and judged by delivery."""

from __future__ import annotations

import queue
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from labkit.clock import Deadline
from labkit.errors import NotConnectedError
from labkit.mqtt.contexts import Endpoint, Identity, client_context
from labkit.mqtt.packets import REASONS, V5, reason_of
from labkit.mqtt.probe import probe
from labkit.mqtt.topics import check_filter, check_topic, matches
from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was delivered to us."""

    topic: str
    payload: bytes


class Session:
    """An open MQTT 5 session. Get one from `open_session`.

    Attributes:
        messages: What was delivered and has not been waited for, oldest first.
    """

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._answers: queue.Queue[tuple[str, int, int]] = queue.Queue()
        self._inbox: queue.Queue[Message] = queue.Queue()
        self.messages: list[Message] = []
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: self._answers.put(("connect", 0, -1))
        client.on_disconnect = lambda *_: self._answers.put(("connect", 0, -1))
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = lambda _c, _u, message: self._inbox.put(
            Message(message.topic, bytes(message.payload))
        )

    def _on_connect(self, _client: Any, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answers.put(("connect", 0, reason.value))

    def _on_subscribe(self, _client: Any, _user: Any, mid: int, reasons: Any, _properties: Any) -> None:
        self._answers.put(("subscribe", mid, max(reason.value for reason in reasons)))

    def _on_publish(self, _client: Any, _user: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._answers.put(("publish", mid, reason.value))

    def _answer(self, kind: str, mid: int, timeout: float) -> int:
        deadline = Deadline(timeout)
        while not deadline.passed:
            with suppress(queue.Empty):
                found, found_mid, code = self._answers.get(timeout=deadline.left or 0.001)
                if kind != "connect" and found == "connect":
                    raise _lost("the broker closed the session")
                if (found, found_mid) == (kind, mid):
                    return code
        raise _lost(f"no answer to our {kind} in {timeout:g} s")

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
            raise _lost(f"the subscription was refused: {reason_of(code, V5)}")

    def publish(self, topic: str, payload: str | bytes, *, qos: int = 1, timeout: float = TIMEOUT) -> int:
        """Publish, and wait for the broker's PUBACK.

        Returns:
            The reason code (MQTT 5 §3.4.2.1); 0x80 and above refuse.

        Raises:
            TopicRefusedError: It is not a topic name.
            NotConnectedError: The session is gone.
        """
        sent = self._client.publish(check_topic(topic), payload, qos=qos)
        return self._answer("publish", sent.mid, timeout)

    def wait_for(self, pattern: str, *, timeout: float = TIMEOUT) -> Message | None:
        """Return the next message whose topic matches, or None if none comes in time."""
        deadline = Deadline(timeout)
        while True:
            for message in self.messages:
                if matches(pattern, message.topic):
                    self.messages.remove(message)
                    return message
            if deadline.passed:
                return None
            with suppress(queue.Empty):
                self.messages.append(self._inbox.get(timeout=deadline.left or 0.001))


@contextmanager
def open_session(
    endpoint: Endpoint,
    *,
    trust: Path,
    identity: Identity | None,
    client_id: str = "",
    timeout: float = TIMEOUT,
) -> Iterator[Session]:
    """Open an MQTT 5 session for the length of the block.

    Args:
        endpoint: Where to connect.
        trust: Whom we believe.
        identity: Who we are.
        client_id: The client id; the broker makes one up, or takes it from the certificate.
        timeout: Seconds to wait for CONNACK.

    Raises:
        NotConnectedError: We were refused; its `outcome` says at which stage and why.
        IdentityRefusedError: Our own files can't be used.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.tls_set_context(client_context(trust, identity))
    session = Session(client)
    try:
        code = _connect(client, session, endpoint, timeout)
        if code != 0:
            # paho tells no reason under TLS 1.3, so the probe goes the same way and looks more closely.
            outcome = probe(endpoint, trust=trust, identity=identity, client_id=client_id)
            raise NotConnectedError(
                f"The session was not opened: {outcome}.",
                advice="Look at the outcome's detail, and at the broker's log.",
                outcome=outcome,
            )
        yield session
    finally:
        client.on_disconnect = None
        client.disconnect()
        client.loop_stop()


def _connect(client: paho.Client, session: Session, endpoint: Endpoint, timeout: float) -> int:
    try:
        client.connect(endpoint.host, endpoint.port, keepalive=30)
    except OSError:
        return -1
    client.loop_start()
    try:
        return session._answer("connect", 0, timeout)  # noqa: SLF001 - of this file
    except NotConnectedError:
        return -1


def delivered(
    publisher: Session, observer: Session, topic: str, payload: str, *, fence: str, timeout: float = TIMEOUT
) -> Outcome:
    """Publish, and judge by what the observer receives.

    The observer then publishes to itself on `fence`. The broker handles messages in order, so once the fence has
    come, ours has come before it or never will: nothing waits for a time-out.

    Args:
        publisher: Who publishes.
        observer: Somebody who has subscribed to the topic and to the fence.
        topic: Where to.
        payload: What.
        fence: A topic that the observer may write and read.
        timeout: Seconds to wait for the fence.

    Returns:
        An outcome at stage `authorised`: accepted if the observer received the message. Otherwise the reason is the
        PUBACK's, or `not-delivered` where the PUBACK claimed success.

    Raises:
        NotConnectedError: A session is gone, or the fence never came.
    """
    code = publisher.publish(topic, payload, timeout=timeout)
    nonce = secrets.token_hex(8)
    observer.publish(fence, nonce, timeout=timeout)
    while (message := observer.wait_for("#", timeout=timeout)) is not None:
        if message.topic == fence and message.payload == nonce.encode():
            reason = REASONS.get(code, "not-delivered")
            return Outcome(
                "authorised", accepted=False, reason=reason, detail={"reason_code": code, "topic": topic}
            )
        if message.topic == topic and message.payload == payload.encode():
            seen = {"reason_code": code, "topic": topic, "received": payload}
            observer.wait_for(fence, timeout=timeout)
            return Outcome("authorised", accepted=True, reason=ACCEPTED, detail=seen)
    raise _lost("the observer does not hear even its own messages")


def _lost(why: str) -> NotConnectedError:
    return NotConnectedError(
        f"The session is of no use: {why}.",
        advice="Is the broker still running? lab.status() or labkit status tells.",
        outcome=None,
    )
