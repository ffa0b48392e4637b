"""MQTT over TLS as a client sees it: topics, contexts, a probe that reports reasons, and sessions."""

from labkit.mqtt.client import Message, Session, delivered, open_session
from labkit.mqtt.contexts import Endpoint, Identity, client_context
from labkit.mqtt.probe import Returner, probe
from labkit.mqtt.topics import check_filter, check_topic, matches

__all__ = [
    "Endpoint",
    "Identity",
    "Message",
    "Returner",
    "Session",
    "check_filter",
    "check_topic",
    "client_context",
    "delivered",
    "matches",
    "open_session",
    "probe",
]
