"""Watch logs as they grow: new lines become events, events become alerts, and both are counted."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.audit.fleet import read_fleet
from labkit.audit.monitor.alerts import READY, AlertRules
from labkit.audit.monitor.detectors import Detectors, Standing
from labkit.audit.monitor.events import Event, broker_events, service_event
from labkit.audit.monitor.metrics import Counted
from labkit.broker import LogFile
from labkit.broker.control import LOG
from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import FormatError
from labkit.pki import read_list

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable
    from pathlib import Path

    from labkit.audit.monitor.alerts import Alert

KEPT = 500
"""So many events and alerts are kept for people to look at."""

OPERATORS = frozenset({"admin", "observer"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look brought.

    Attributes:
        events: New events.
        alerts: New alerts.
    """

    events: tuple[Event, ...]
    alerts: tuple[Alert, ...]


class Watch:
    """Watches a plant.

    Args:
        broker: The broker's folder.
        decisions: The service's log of decisions.
        registry: The registry, for who is known and what ends.
        crl: The revocation list.
        rules: When to raise an alert.
        from_start: Read what the logs hold already; otherwise only what comes.
        clock: What time it is.

    Does not check: that the logs are whole. Who can write to them can hide.
    """

    def __init__(
        self,
        *,
        broker: Path | None = None,
        decisions: Path | None = None,
        registry: str | None = None,
        crl: Path | None = None,
        rules: AlertRules = READY,
        from_start: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.detectors = Detectors(rules)
        self.events: deque[Event] = deque(maxlen=KEPT)
        self.alerts: deque[Alert] = deque(maxlen=KEPT)
        self.counted = Counted()
        self._clock = clock
        self._logs = {
            name: LogFile(path)
            for name, path in (("broker", broker and broker / LOG), ("service", decisions))
            if path
        }
        self._marks = {name: 0 if from_start else log.mark() for name, log in self._logs.items()}
        self._registry, self._crl = registry, crl
        self.look_up()

    def look_up(self) -> Standing:
        """Look at registry and list again, and return what they say."""
        known: frozenset[str] | None = None
        ends: dict[str, dt.datetime] = {}
        if self._registry:
            fleet = read_fleet(self._registry)
            if not fleet.problem:
                in_life = {
                    name for name, state in fleet.states.items() if state in {"made", "shipped", "enrolled"}
                }
                known = frozenset(in_life) | OPERATORS
                for each in fleet.certificates:
                    if each.status != "ended" and each.name in in_life:
                        ends[each.name] = max(each.not_after, ends.get(each.name, each.not_after))
        self.detectors.standing = Standing(known, ends, self._list_ends())
        return self.detectors.standing

    def _list_ends(self) -> dt.datetime | None:
        if self._crl is None:
            return None
        try:
            return read_list(self._crl.read_bytes()).next_update
        except (OSError, FormatError):
            return None

    def look(self) -> Seen:
        """Read what is new in the logs, and return what it tells."""
        now = self._clock.now()
        events = [event for name in self._logs for event in self._read(name, now)]
        alerts = [*self.detectors.see(events), *self.detectors.tick(now)]
        self.events.extend(events)
        self.alerts.extend(alerts)
        self.counted.add(events, alerts, known=self.detectors.standing.known)
        return Seen(tuple(events), tuple(alerts))

    def _read(self, name: str, now: dt.datetime) -> Iterable[Event]:
        log, mark = self._logs[name], self._marks[name]
        if log.mark() < mark:
            mark = 0  # the file was rotated
        lines, self._marks[name] = log.read_on(mark)
        if name == "broker":
            return broker_events(lines, seen_at=now)
        return [event for line in lines if (event := service_event(line, seen_at=now))]

    def metrics(self) -> str:
        """Return everything that was counted as Prometheus reads it."""
        return self.counted.text(self.detectors.standing, self._clock.now())

    def tally(self) -> Counter[str]:
        """Return how many events there were of each kind."""
        return self.counted.kinds()
