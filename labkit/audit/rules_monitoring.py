"""Rules about noticing, and about acting on it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault, seen
from labkit.audit.rules_access import judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.audit.facts import Facts, FleetFacts

YEAR = dt.timedelta(days=366)
OUT_OF_SERVICE = {"revoked", "gone", "quarantined"}


def refusals_logged(facts: Facts) -> Iterator[Evidence]:
    """Judge whether our own refusals left a line."""
    yield from judged(facts.logged, "the logs, after we were refused")


def alerts(facts: Facts) -> Iterator[Evidence]:
    """Judge what the alert rules did with a recorded attack, and with a quiet day."""
    found = facts.alerts
    if found is None:
        yield fault("there are no alert rules", "the target")
        return
    if found.problem:
        yield fault(found.problem, found.place)
        return
    for name in found.silent:
        yield fault(f"{name} stays silent in a recorded attack", found.place)
    for name in found.noise:
        yield fault(f"{name} raises an alarm on a quiet day", found.place)
    if found.fired:
        yield seen(f"in a recorded attack {', '.join(found.fired)} raise an alarm", found.place)


def decommissioned(facts: Facts) -> Iterator[Evidence]:
    """Look in the trail for a decommissioning, and hold state, certificates and list against each other."""
    fleet = facts.fleet
    if fleet is None or fleet.problem:
        yield fault(
            fleet.problem if fleet else "there is no registry", fleet.place if fleet else "the target"
        )
        return
    done = [(at, subject) for at, _, action, subject in fleet.events if action == "revoked"]
    if recent := [(at, subject) for at, subject in done if facts.now - at <= YEAR]:
        at, subject = recent[-1]
        yield seen(f"{subject} was taken out of service on {at:%Y-%m-%d}", fleet.place)
    elif done:
        yield fault(f"the last device was taken out of service on {done[-1][0]:%Y-%m-%d}", fleet.place)
    else:
        yield fault("no device was ever taken out of service", fleet.place)
    yield from _stays_out(facts, fleet)


def _stays_out(facts: Facts, fleet: FleetFacts) -> Iterator[Evidence]:
    listed = facts.broker_list
    out = {name for name, state in fleet.states.items() if state in OUT_OF_SERVICE}
    checked = 0
    for each in fleet.certificates:
        if each.name not in out or each.not_after <= facts.now:
            continue
        checked += 1
        if each.status != "ended":
            yield fault(f"{each.name} is out of service, and a certificate of it counts", fleet.place)
        elif listed is None or listed.problem:
            yield fault(
                f"{each.name} is out of service, and the broker goes by no list that counts", fleet.place
            )
        elif each.serial not in listed.serials:
            yield fault(
                f"{each.name} is out of service, and its certificate is not on the list", listed.place
            )
    if checked:
        yield seen(f"{checked} certificates of devices out of service were looked up", fleet.place)
