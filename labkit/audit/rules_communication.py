"""Rules about connections: TLS, suites, certificates, their lives and their renewal."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.audit.facts import Door, Facts

YEAR = dt.timedelta(days=366)
"""The longest life of a leaf, and how old a drill may be."""

LAST_WEEKS = dt.timedelta(days=14)
"""A certificate that has less than this to live should have been renewed."""

LIST_MARGIN = dt.timedelta(hours=24)
"""A revocation list that has less than this to live is late: its successor should be there."""


def no_doors(facts: Facts) -> Iterator[Evidence]:
    """Say that there is nothing to knock at, where a broker was promised."""
    if "door" in facts.parts and not facts.doors:
        yield fault("no port of the broker was found: does it run?", "the target")


def _dark(door: Door) -> str:
    return "nobody listens there" if door.silent else "it speaks neither MQTT nor TLS"


def encrypted(facts: Facts) -> Iterator[Evidence]:
    """Look for MQTT in the clear, at every door and in every client's settings."""
    yield from no_doors(facts)
    for door in facts.doors:
        if door.plain is not None:
            yield fault(f"answers a CONNECT without TLS ({door.plain})", door.place)
        elif door.tls:
            yield seen("speaks TLS, and gives no MQTT answer without it", door.place)
        else:
            yield fault(_dark(door), door.place)
    for client in facts.clients:
        told = f"connects to {client.host}:{client.port}"
        if client.tls:
            yield seen(f"{told} with TLS", client.place)
        else:
            yield fault(f"{told} without TLS", client.place)


def suites(facts: Facts) -> Iterator[Evidence]:
    """Judge what each TLS door agreed to."""
    yield from no_doors(facts)
    for door in facts.doors:
        if not door.tls:
            continue
        offers = facts.offers.get(door.place, ())
        accepted = [offer for offer in offers if offer[2] == "accepted"]
        old = sorted({version for version, *_ in accepted if version in {"1.0", "1.1"}})
        weak = [(name, why) for _, name, _, why in accepted if why]
        refused = sum(1 for *_, verdict, why in offers if why and verdict not in {"accepted", "not-offered"})
        if old:
            yield fault(f"agrees to TLS {' and '.join(old)}", door.place)
        for name, why in weak:
            yield fault(f"agrees to {name}: {why}", door.place)
        if not accepted:
            yield fault("agreed to none of the offers, so nothing is known", door.place)
        elif not old and not weak:
            yield seen(
                f"refused {refused} weak suites, and {len(accepted)} offers were good ones", door.place
            )


def broker_verified(facts: Facts) -> Iterator[Evidence]:
    """See whether the broker can be verified, and whether all that connect do it."""
    yield from no_doors(facts)
    for door in facts.doors:
        if door.tls:
            yield from _verified(door)
    for client in facts.clients:
        if client.tls and not client.verifies:
            yield fault("does not verify the broker's certificate", client.place)
        elif client.tls:
            yield seen("verifies the broker's certificate", client.place)
    for flash in [*facts.images, *(board.flash for board in facts.boards)]:
        if flash.verifies_broker is None:
            continue
        if flash.verifies_broker:
            yield seen("holds the root that the broker's certificate leads to", flash.name)
        else:
            yield fault("holds an identity, and no root to verify the broker with", flash.name)


def _verified(door: Door) -> Iterator[Evidence]:
    outcome = door.device or door.nobody
    if outcome is None:
        yield fault("could not be tried: no root and no identity was given", door.place)
    elif outcome.reason.startswith("server-"):
        told = outcome.detail.get("client_error", "")
        yield fault(f"can't be verified: {outcome.reason}" + (f" ({told})" if told else ""), door.place)
    elif outcome.stage == "tcp" or outcome.reason in {"timeout", "not-tls", "handshake-error"}:
        yield fault(f"could not be tried ({outcome})", door.place)
    else:
        yield seen("has a certificate that its clients can verify: chain, dates, purpose, name", door.place)


def mutual(facts: Facts) -> Iterator[Evidence]:
    """Try everybody who must stay outside, with a device as the control; look at the list, and at who is believed."""
    yield from no_doors(facts)
    for door in facts.doors:
        if not door.tls:
            asks = (
                f"asks for no certificate: {_dark(door)}" if door.plain is None else "asks for no certificate"
            )
            yield fault(asks, door.place)
            continue
        yield from _shut(door)
    if "broker" in facts.parts:
        yield from _list(facts)
        yield from _believed(facts)


def _shut(door: Door) -> Iterator[Evidence]:
    if door.device is None or door.nobody is None:
        yield fault("could not be tried: no identity of a device was given", door.place)
        return
    tried = {"a client without a certificate": door.nobody, **door.strangers}
    if door.revoked is not None:
        tried["a device that was revoked"] = door.revoked
    for who, outcome in tried.items():
        if outcome.stage == "tls" and not outcome.accepted and outcome.detail.get("alert"):
            yield seen(f"refuses {who}: {outcome.reason}", door.place)
        elif outcome.accepted:
            yield fault(f"lets {who} in", door.place)
        elif outcome.stage in {"mqtt", "authorised"}:
            yield fault(f"lets {who} past TLS, as far as MQTT ({outcome})", door.place)
        else:
            yield fault(f"does not refuse {who} for the certificate ({outcome})", door.place)
    if door.device.accepted:
        yield seen("lets a device of ours in (the control)", door.place)
    else:
        yield fault(f"refuses a device of ours, so refusals prove nothing ({door.device})", door.place)


def _believed(facts: Facts) -> Iterator[Evidence]:
    place = "the broker's configuration"
    strange = facts.strange_authorities
    for name in strange or ():
        yield fault(f"believes {name}, which our root has not certified", place)
    if strange is not None and not strange:
        yield seen("believes our root and its authorities, and nobody else", place)


def _list(facts: Facts) -> Iterator[Evidence]:
    listed = facts.broker_list
    if listed is None:
        yield fault("goes by no revocation list", "the broker's configuration")
    elif listed.problem:
        yield fault(f"must not be used: {listed.problem}", listed.place)
    elif listed.next_update is not None and listed.next_update - facts.now < LIST_MARGIN:
        yield fault(f"ends at {listed.next_update:%Y-%m-%d %H:%M} UTC and was not renewed", listed.place)
    else:
        yield seen(
            f"is fresh until {listed.next_update:%Y-%m-%d %H:%M} UTC, with {len(listed.serials)} entries",
            listed.place,
        )


def lifetimes(facts: Facts) -> Iterator[Evidence]:
    """Judge how long certificates in service are valid."""
    good: dict[str, int] = {}
    for certificate in facts.certificates:
        if certificate.not_after - certificate.not_before > YEAR:
            yield fault(f"{certificate.name} is valid for {certificate.days} days", certificate.place)
        else:
            good[certificate.role] = good.get(certificate.role, 0) + 1
    for role, number in good.items():
        yield seen(f"{number} of the role {role} are valid for a year at most", "the certificates in service")


def renewal(facts: Facts) -> Iterator[Evidence]:
    """Look in the trail for a renewal that was completed, and for certificates that are late."""
    fleet = facts.fleet
    if fleet is None or fleet.problem:
        yield fault(
            fleet.problem if fleet else "there is no registry", fleet.place if fleet else "the target"
        )
        return
    done = [(at, subject) for at, _, action, subject in fleet.events if action == "renewed"]
    recent = [(at, subject) for at, subject in done if facts.now - at <= YEAR]
    if recent:
        at, subject = recent[-1]
        yield seen(f"{subject} renewed and confirmed on {at:%Y-%m-%d}", fleet.place)
    elif done:
        yield fault(f"the last completed renewal was on {done[-1][0]:%Y-%m-%d}", fleet.place)
    else:
        yield fault("no renewal was ever completed", fleet.place)
    for each in fleet.certificates:
        if each.status != "ended" and each.not_after - facts.now < LAST_WEEKS:
            yield fault(f"the certificate of {each.name} ends on {each.not_after:%Y-%m-%d}", fleet.place)
