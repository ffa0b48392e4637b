"""Notice: from the lines of logs to events, from events to alerts, and both to people and to Prometheus."""

from labkit.audit.monitor.alerts import Alert, AlertRules, Rule, read_rules
from labkit.audit.monitor.detectors import DETECTORS, Detectors, Standing
from labkit.audit.monitor.events import Event, broker_events, service_event
from labkit.audit.monitor.watch import Watch

__all__ = [
    "DETECTORS",
    "Alert",
    "AlertRules",
    "Detectors",
    "Event",
    "Rule",
    "Standing",
    "Watch",
    "broker_events",
    "read_rules",
    "service_event",
]
