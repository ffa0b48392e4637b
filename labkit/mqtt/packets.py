"""The few MQTT packets that a probe needs, for 3.1.1 and 5. Bytes in, values out.

Every length comes from the peer, so each is compared with what is really there before it is used, by subtraction from
a length that we counted ourselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from labkit.errors import FormatError

V311 = 4
V5 = 5

MAX_PACKET = 64 * 1024
"""Longest packet that we take from a peer; an answer to a probe has a few bytes."""


class Kind(IntEnum):
    """Packet types (MQTT 5 §2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    DISCONNECT = 14


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it came: its type, its flags, and what follows the length."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a CONNACK, PUBACK or DISCONNECT says.

    Attributes:
        kind: Which of them.
        code: The reason code (MQTT 5 §2.4) or the return code of 3.1.1 (§3.2.2.3).
        packet_id: Which packet it answers; 0 where it answers none.
    """

    kind: Kind
    code: int
    packet_id: int = 0


REASONS = {
    0x80: "unspecified-error",
    0x81: "malformed-packet",
    0x82: "protocol-error",
    0x83: "implementation-specific-error",
    0x84: "unsupported-protocol-version",
    0x85: "client-identifier-not-valid",
    0x86: "bad-user-name-or-password",
    0x87: "not-authorised",
    0x88: "server-unavailable",
    0x89: "server-busy",
    0x8A: "banned",
    0x8B: "server-shutting-down",
    0x8C: "bad-authentication-method",
    0x8D: "keep-alive-timeout",
    0x8E: "session-taken-over",
    0x8F: "topic-filter-invalid",
    0x90: "topic-name-invalid",
    0x91: "packet-identifier-in-use",
    0x92: "packet-identifier-not-found",
    0x93: "receive-maximum-exceeded",
    0x94: "topic-alias-invalid",
    0x95: "packet-too-large",
    0x96: "message-rate-too-high",
    0x97: "quota-exceeded",
    0x98: "administrative-action",
    0x99: "payload-format-invalid",
    0x9A: "retain-not-supported",
    0x9B: "qos-not-supported",
    0x9C: "use-another-server",
    0x9D: "server-moved",
    0x9E: "shared-subscriptions-not-supported",
    0x9F: "connection-rate-exceeded",
    0xA0: "maximum-connect-time",
    0xA1: "subscription-identifiers-not-supported",
    0xA2: "wildcard-subscriptions-not-supported",
}
"""Reason codes of MQTT 5 (§2.4) that refuse something."""

RETURN_CODES = {
    1: "unsupported-protocol-version",
    2: "client-identifier-not-valid",
    3: "server-unavailable",
    4: "bad-user-name-or-password",
    5: "not-authorised",
}
"""Return codes of CONNACK in 3.1.1 (§3.2.2.3)."""


def reason_of(code: int, protocol: int) -> str:
    """Return the word for a code that refuses, or with which a broker hangs up."""
    if code == 0:
        return "disconnected"
    # A broker that speaks only 3.1.1 answers a CONNECT of 5 with its own code 1 (MQTT 3.1.1 §3.1.2.2).
    table = {**RETURN_CODES, **REASONS} if protocol == V5 else RETURN_CODES
    return table.get(code, f"code-{code}")


def connect(
    *,
    protocol: int,
    client_id: str = "",
    username: str | None = None,
    password: str | None = None,
    keep_alive: int = 30,
) -> bytes:
    """Return a CONNECT that begins a clean session (MQTT 5 §3.1)."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    header = _text("MQTT") + bytes([protocol, flags]) + keep_alive.to_bytes(2, "big")
    properties = b"\0" if protocol == V5 else b""
    payload = _text(client_id) + b"".join(_text(text) for text in (username, password) if text is not None)
    return _packet(Kind.CONNECT, 0, header + properties + payload)


def publish(topic: str, payload: bytes, *, protocol: int, packet_id: int = 1) -> bytes:
    """Return a PUBLISH with QoS 1 (MQTT 5 §3.3)."""
    properties = b"\0" if protocol == V5 else b""
    return _packet(Kind.PUBLISH, 0x02, _text(topic) + packet_id.to_bytes(2, "big") + properties + payload)


def disconnect() -> bytes:
    """Return a DISCONNECT that says goodbye (MQTT 5 §3.14); the same bytes in both versions."""
    return _packet(Kind.DISCONNECT, 0, b"")


def split(data: bytes) -> tuple[Packet | None, bytes]:
    """Cut the first packet off what was received.

    Args:
        data: What was received so far.

    Returns:
        The packet and the rest; None and everything while the packet is not complete.

    Raises:
        FormatError: The length is malformed or longer than `MAX_PACKET`.
    """
    if not data:
        return None, data
    size, begin = _remaining_length(data)
    if size is None:
        return None, data
    if size > MAX_PACKET:
        raise _malformed("a packet length", 1, f"it announces {size} bytes")
    if len(data) - begin < size:
        return None, data
    return Packet(data[0] >> 4, data[0] & 0x0F, data[begin : begin + size]), data[begin + size :]


def parse_answer(packet: Packet, *, protocol: int) -> Answer:
    """Return what a CONNACK, PUBACK or DISCONNECT says.

    Raises:
        FormatError: It is another packet, or too short.
    """
    body = packet.body
    if packet.kind == Kind.CONNACK:
        _need(body, 2, "CONNACK")
        return Answer(Kind.CONNACK, body[1])
    if packet.kind == Kind.PUBACK:
        _need(body, 2, "PUBACK")
        # MQTT 5 §3.4.2.1: a missing reason code means success; in 3.1.1 there is none, and it means nothing.
        code = body[2] if protocol == V5 and len(body) > 2 else 0
        return Answer(Kind.PUBACK, code, int.from_bytes(body[:2], "big"))
    if packet.kind == Kind.DISCONNECT:
        return Answer(Kind.DISCONNECT, body[0] if body else 0)
    raise _malformed("an answer", 0, f"packet type {packet.kind} is none")


def _remaining_length(data: bytes) -> tuple[int | None, int]:
    # Variable byte integer, at most four bytes (MQTT 5 §1.5.5).
    value = 0
    for position in range(4):
        if position + 1 >= len(data):
            return None, 0
        byte = data[position + 1]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, position + 2
    raise _malformed("a packet length", 4, "it has more than four bytes")


def _need(body: bytes, size: int, what: str) -> None:
    if len(body) < size:
        raise _malformed(what, len(body), f"it has {len(body)} bytes and needs {size}")


def _packet(kind: Kind, flags: int, body: bytes) -> bytes:
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([kind << 4 | flags]) + bytes(length) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _malformed(what: str, offset: int, why: str) -> FormatError:
    return FormatError(
        f"The peer sent {what} that is malformed: {why}.",
        advice="Is there really an MQTT broker at that port?",
        what=what,
        offset=offset,
    )
