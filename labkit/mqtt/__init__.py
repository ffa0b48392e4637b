"""MQTT over TLS as a client sees it: topics, contexts, a probe that reports reasons, and sessions."""

from labkit.mqtt.client import Message, Session, Will, delivered, open_session
from labkit.mqtt.contexts import Endpoint, Identity, client_context
from labkit.mqtt.handshake import Handshake, read_handshake
from labkit.mqtt.key_schedule import Secrets
from labkit.mqtt.probe import Returner, probe
from labkit.mqtt.records import Capture
from labkit.mqtt.relay import Relay, flip_bit, key_log
from labkit.mqtt.static_rsa import open_with_server_key
from labkit.mqtt.topics import check_filter, check_topic, matches

__all__ = [
    "Capture",
    "Endpoint",
    "Handshake",
    "Identity",
    "Message",
    "Relay",
    "Returner",
    "Secrets",
    "Session",
    "Will",
    "check_filter",
    "check_topic",
    "client_context",
    "delivered",
    "flip_bit",
    "key_log",
    "matches",
    "open_session",
    "open_with_server_key",
    "probe",
    "read_handshake",
]
