"""Rehearse alert rules: play a recorded attack and a quiet day to them, and see what they say."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.audit.facts import AlertFacts
from labkit.audit.monitor.alerts import DETECTORS, AlertRules, read_rules
from labkit.audit.monitor.detectors import Detectors, Standing
from labkit.audit.monitor.events import broker_events, service_event
from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDED = ("failed-tls", "unknown-id", "rate", "clone", "denied", "certificate-ending", "list-ending")
"""Detectors without which an attack goes unnoticed."""

BEGIN = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
END = BEGIN + dt.timedelta(hours=1)
_KNOWN = frozenset({"sensor-001", "sensor-002", "admin"})


def rehearse(path: Path) -> AlertFacts:
    """Rehearse the rules in a file."""
    try:
        rules = read_rules(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        return AlertFacts(path.name, problem=f"the alert rules can't be read: {error.strerror}")
    except FormatError as error:
        return AlertFacts(path.name, problem=error.message)
    fired, noise = played(rules, attack=True), played(rules, attack=False)
    return AlertFacts(
        path.name,
        fired=tuple(name for name in NEEDED if name in fired),
        silent=tuple(name for name in NEEDED if name not in fired),
        noise=tuple(sorted(noise)),
    )


def played(rules: AlertRules, *, attack: bool) -> set[str]:
    """Play a recording to rules, and return which detectors raised an alert.

    Args:
        rules: The rules.
        attack: The recorded attack; otherwise the quiet day.
    """
    detectors = Detectors(rules)
    near, far = dt.timedelta(hours=12), dt.timedelta(days=90)
    ends = BEGIN + (near if attack else far)
    detectors.standing = Standing(_KNOWN, {"sensor-001": ends}, ends)
    lines = [*quiet_day(), *(recorded_attack() if attack else ())]
    events = [*broker_events(lines, seen_at=END)]
    if attack:
        line = (
            '{"at": "2026-03-01T12:12:00+00:00", "code": "clone-alarm", "status": 403, "method": "POST", '
            '"path": "/renew", "address": "127.0.0.1", "actor": "", "subject": "sensor-001"}'
        )
        found = service_event(line, seen_at=END)
        events += [found] if found else []
    alerts = [*detectors.see(events), *detectors.tick(BEGIN)]
    return {alert.detector for alert in alerts} & set(DETECTORS)


def _at(seconds: int) -> str:
    return str(int((BEGIN + dt.timedelta(seconds=seconds)).timestamp()))


def quiet_day() -> Iterator[str]:
    """Yield ten minutes of two devices that send once in ten seconds, and one handshake that failed by accident."""
    for number, name in enumerate(("sensor-001", "sensor-002")):
        yield f"{_at(number)}: New client connected from 127.0.0.1:4000{number} as {name} (p5, c1, k30, u'{name}')."
    yield f"{_at(3)}: OpenSSL Error[0]: error:1417C0C7:SSL routines:tls_process_client_certificate:peer did not return a certificate"
    for seconds in range(10, 600, 10):
        for name in ("sensor-001", "sensor-002"):
            yield (
                f"{_at(seconds)}: Received PUBLISH from {name} "
                f"(d0, q1, r0, m{seconds}, 'devices/{name}/telemetry/environment', ... (40 bytes))"
            )


def recorded_attack() -> Iterator[str]:
    """Yield what the log says when somebody tries the door, gets in with a strange name, and goes to work."""
    for second in range(8):
        yield f"{_at(600 + second)}: New connection from 127.0.0.1:5000{second} on port 8883."
        yield f"{_at(600 + second)}: OpenSSL Error[0]: error:1417C086:SSL routines:tls_process_client_certificate:certificate verify failed"
    yield f"{_at(620)}: New client connected from 127.0.0.1:50100 as backdoor (p5, c1, k30, u'backdoor')."
    for second in range(6):
        yield (
            f"{_at(630 + second)}: Denied PUBLISH from backdoor "
            f"(d0, q1, r0, m{second}, 'devices/sensor-001/commands/open', ... (4 bytes))"
        )
    for number in range(300):
        yield (
            f"{_at(660 + number // 10)}: Received PUBLISH from sensor-002 "
            f"(d0, q0, r0, m0, 'devices/sensor-002/telemetry/x{number}', ... (900 bytes))"
        )
    for second in range(4):
        yield f"{_at(700 + second)}: Client sensor-001 already connected, closing old connection."
