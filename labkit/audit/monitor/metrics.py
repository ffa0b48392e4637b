"""What was counted, as text for Prometheus (text exposition format 0.0.4), and alert rules for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from labkit.audit.monitor.alerts import DETECTORS, AlertRules

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from labkit.audit.monitor.alerts import Alert
    from labkit.audit.monitor.detectors import Standing
    from labkit.audit.monitor.events import Event

_HELP = {
    "labkit_events_total": "Events in the logs, by kind.",
    "labkit_tls_refused_total": "Refused handshakes, by cause.",
    "labkit_messages_total": "Messages received, by client; clients that the registry does not know count as unknown.",
    "labkit_denied_total": "Messages denied, by client.",
    "labkit_unknown_sessions_total": "Sessions of clients that the registry does not know.",
    "labkit_takeovers_total": "Sessions taken over by another with the same name, and clone alarms, by client.",
    "labkit_service_refused_total": "Callers that the provisioning service turned away, by code.",
    "labkit_alerts_total": "Alerts raised, by detector.",
    "labkit_certificate_seconds_left": "Seconds until a device's certificate ends.",
    "labkit_revocation_list_seconds_left": "Seconds until the revocation list ends.",
}

_MOST_CODES = 100


class Counted:
    """Counters since the watch began."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, events: Iterable[Event], alerts: Iterable[Alert], *, known: frozenset[str] | None) -> None:
        """Count events and alerts."""
        for event in events:
            self._counts["labkit_events_total", "kind", event.kind] += 1
            # A label's values must be few: whoever connects chooses client ids, and would fill Prometheus with them.
            who = event.who if known is not None and event.who in known else "unknown"
            if event.kind == "tls-refused":
                self._counts["labkit_tls_refused_total", "cause", event.cause] += 1
            elif event.kind == "message":
                self._counts["labkit_messages_total", "client", who] += 1
            elif event.kind == "denied":
                self._counts["labkit_denied_total", "client", who] += 1
            elif event.kind in {"takeover", "clone-alarm"}:
                self._counts["labkit_takeovers_total", "client", who] += 1
            elif event.kind == "service-refused" and len(self._counts) < _MOST_CODES * len(_HELP):
                self._counts["labkit_service_refused_total", "code", event.cause] += 1
            elif event.kind == "connected" and known is not None and event.who not in known:
                self._counts["labkit_unknown_sessions_total", "", ""] += 1
        for alert in alerts:
            self._counts["labkit_alerts_total", "detector", alert.detector] += 1

    def kinds(self) -> Counter[str]:
        """Return how many events there were of each kind."""
        return Counter(
            {
                value: number
                for (name, _, value), number in self._counts.items()
                if name == "labkit_events_total"
            }
        )

    def text(self, standing: Standing, now: dt.datetime) -> str:
        """Return the counters, and how long certificates and list have to live."""
        values: dict[str, list[tuple[str, str, float]]] = {name: [] for name in _HELP}
        for (name, label, value), number in sorted(self._counts.items()):
            values[name].append((label, value, number))
        for detector in DETECTORS:  # so that a counter is there before it first counts
            if ("labkit_alerts_total", "detector", detector) not in self._counts:
                values["labkit_alerts_total"].append(("detector", detector, 0))
        for device, end in sorted(standing.ends.items()):
            left = (end - now).total_seconds()
            values["labkit_certificate_seconds_left"].append(("device", device, left))
        if standing.list_ends:
            left = (standing.list_ends - now).total_seconds()
            values["labkit_revocation_list_seconds_left"].append(("", "", left))
        return "".join(_family(name, rows) for name, rows in values.items() if rows)


def _family(name: str, rows: list[tuple[str, str, float]]) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    lines = [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]
    for label, value, number in rows:
        labels = f'{{{label}="{_escaped(value)}"}}' if label else ""
        lines.append(
            f"{name}{labels} {number:g}" if number != int(number) else f"{name}{labels} {int(number)}"
        )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_EXPRESSIONS = {
    "failed-tls": "sum by (cause) (increase(labkit_tls_refused_total[{span}])) >= {least}",
    "unknown-id": "increase(labkit_unknown_sessions_total[{span}]) >= {least}",
    "rate": (
        "rate(labkit_messages_total[{span}]) > {least} * rate(labkit_messages_total[1h] offset {span}) "
        "and increase(labkit_messages_total[{span}]) > 20"
    ),
    "clone": "increase(labkit_takeovers_total[{span}]) >= {least}",
    "denied": "increase(labkit_denied_total[{span}]) >= {least}",
    "service-refused": "sum by (code) (increase(labkit_service_refused_total[{span}])) >= {least}",
    "certificate-ending": "labkit_certificate_seconds_left < {least} * 3600",
    "list-ending": "labkit_revocation_list_seconds_left < {least} * 3600",
}


def prometheus_rules(rules: AlertRules) -> str:
    """Return a rule file for Prometheus that alerts as our own detectors do.

    Args:
        rules: The rules.
    """
    lines = [
        "# Scrape every 15 seconds: a range of a minute needs several samples.",
        "groups:",
        "  - name: labkit",
    ]
    lines.append("    rules:")
    for rule in rules:
        span = f"{max(60, int(rule.within))}s"
        expression = _EXPRESSIONS[rule.detector].format(span=span, least=f"{rule.at_least:g}")
        name = "".join(word.capitalize() for word in rule.detector.split("-"))
        lines += [
            f"      - alert: Labkit{name}",
            f"        expr: {expression}",
            "        labels:",
            f"          severity: {rule.severity}",
            "        annotations:",
            f"          summary: {DETECTORS[rule.detector]}",
        ]
    return "\n".join(lines) + "\n"
