"""An incident in a plant, against the clock: from the first line in the log to a plant that is clean again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.audit import Report, audit
from labkit.audit.monitor import Watch
from labkit.clock import Deadline
from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    from labkit.audit.monitor import Alert
    from labkit.pki.identities import IdentityFiles
    from labkit.scenarios.audited_plant import Plant

CLEAN = ("communication-4", "identity-4", "access-1", "monitoring-3")
"""The items that must pass for a plant to be called clean after a device was cut off."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        what: What was done, or seen.
        seconds: How long after the first line in the log.
    """

    what: str
    seconds: float


class Incident:
    """A device turns against its plant, and is cut off.

    Args:
        plant: The plant; its broker must go by a list, and log denied messages.
        name: The device.
        victim: The device that it reaches for.
    """

    def __init__(self, plant: Plant, name: str, *, victim: str) -> None:
        self.plant, self.name, self.victim = plant, name, victim
        self.watch = Watch(
            broker=plant.store.workspace.path("broker"),
            decisions=plant.office.decisions,
            registry=plant.registry,
            crl=plant.store.revocations.path,
        )
        self.alerts: list[Alert] = []
        self._began: float | None = None
        self._steps: list[Step] = []

    def _note(self, what: str) -> None:
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        self._steps.append(Step(what, now - self._began))

    @property
    def stolen(self) -> IdentityFiles:
        """What the thief has: a copy of the device's identity."""
        return self.plant.identity(self.name)

    def attack(self, *, times: int = 4) -> Outcome:
        """Publish commands in another device's name, and return what became of the last one."""
        topic = f"devices/{self.victim}/commands/open"
        outcome = self.plant.site.attempt(self.stolen, publish=topic)
        self._note("the first line in the log")
        for _ in range(times - 1):
            outcome = self.plant.site.attempt(self.stolen, publish=topic)
        return outcome

    def notice(self, *, patience: float = 5.0) -> Outcome:
        """Wait for an alert that names the device, and return it as an outcome at stage `monitor`."""
        deadline = Deadline(patience)
        while not deadline.passed:
            self.alerts += self.watch.look().alerts
            for alert in self.alerts:
                if alert.subject == self.name:
                    self._note(f"the alert: {alert.message}")
                    told = f"{alert.severity}: {alert.subject}: {alert.message}"
                    detail = {"detector": alert.detector, "how": told, "action": alert.action}
                    return Outcome("monitor", accepted=True, reason=ACCEPTED, detail=detail)
            deadline.pause(0.02)
        return Outcome("monitor", accepted=False, reason="silent")

    def cut_off(self, reason: str = "key-compromise") -> list[str]:
        """Take the device out of service as an operator would, and return what the service did."""
        done: Any = self.plant.office.act(self.name, "decommission", {"reason": reason})
        self._note("out of service: " + ", ".join(done["done"]))
        return list(done["done"])

    def try_again(self) -> Outcome:
        """Try what the thief has once more."""
        outcome = self.plant.site.attempt(self.stolen)
        self._note(f"the old certificate: {outcome}")
        return outcome

    def neighbour(self) -> Outcome:
        """Try whether the victim, who has done nothing, still gets in."""
        outcome = self.plant.site.attempt(self.plant.identity(self.victim))
        self._note(f"its neighbour: {outcome}")
        return outcome

    def clean(self) -> Report:
        """Put the device's certificate away, and audit what must hold now."""
        self.plant.put_away(self.stolen)
        report = audit(self.plant.target, items=CLEAN)
        self._note(f"clean: {report.summary()}" if not report.failed() else f"not clean: {report.failed()}")
        return report

    def timeline(self) -> list[tuple[str, str]]:
        """Return the steps and when they were, in seconds after the first line."""
        return [(f"{step.seconds:.2f}", step.what) for step in self._steps]
