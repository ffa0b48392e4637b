"""Rules about who devices are, and where their secrets lie."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault, seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.audit.facts import CertificateFact, Facts, FlashFacts, Secret

CERTIFICATES = "the certificates in service"


def _ended(facts: Facts) -> set[str]:
    """Return the serial numbers that do not count any more."""
    ended = (
        {each.serial for each in facts.fleet.certificates if each.status == "ended"} if facts.fleet else set()
    )
    listed = facts.broker_list
    return ended | (set(listed.serials) if listed else set())


def _in_service(facts: Facts) -> list[CertificateFact]:
    """Return the devices' certificates that count, each once."""
    ended = _ended(facts)
    found = {
        each.serial: each for each in facts.certificates if each.role == "device" and each.serial not in ended
    }
    return list(found.values())


def _flashes(facts: Facts) -> list[FlashFacts]:
    return [*facts.images, *(board.flash for board in facts.boards)]


def _groups(facts: Facts) -> Iterator[tuple[str, list[FlashFacts]]]:
    """Yield what may be compared: the image that was made for a device, and a dump of it, hold the same."""
    yield "images", list(facts.images)
    yield "dumps", [board.flash for board in facts.boards]


def unique(facts: Facts) -> Iterator[Evidence]:
    """Look for a name that two certificates or two boards have."""
    owners: dict[str, list[CertificateFact]] = defaultdict(list)
    for certificate in _in_service(facts):
        owners[certificate.name].append(certificate)
    for name, found in owners.items():
        if len(found) > 1 and not _renewing(facts, name):
            yield fault(
                f"{len(found)} certificates in service are of {name}", ", ".join(c.place for c in found)
            )
    if owners:
        yield seen(f"{len(owners)} names were looked at", CERTIFICATES)
    for what, flashes in _groups(facts):
        yield from _twins(what, flashes)


def _twins(what: str, flashes: Sequence[FlashFacts]) -> Iterator[Evidence]:
    boards: dict[str, list[str]] = defaultdict(list)
    for flash in flashes:
        for name in dict.fromkeys(flash.names):
            boards[name].append(flash.name)
    for name, places in boards.items():
        if len(places) > 1:
            yield fault(f"{len(places)} of the {what} say that they are {name}", ", ".join(places))
    if boards:
        yield seen(f"{len(boards)} names were read", what)


def _renewing(facts: Facts, name: str) -> bool:
    fleet = facts.fleet
    return fleet is not None and any(c.name == name and c.status == "pending" for c in fleet.certificates)


def unshared(facts: Facts) -> Iterator[Evidence]:
    """Look for a key, token or password that two devices have."""
    keys: dict[str, set[str]] = defaultdict(set)
    for certificate in _in_service(facts):
        keys[certificate.key].add(certificate.name)
    for names in keys.values():
        if len(names) > 1:
            yield fault(f"{', '.join(sorted(names))} have one key", CERTIFICATES)
    if keys:
        yield seen(f"{len(keys)} public keys were compared", CERTIFICATES)
    for what, flashes in _groups(facts):
        yield from _sharing(what, flashes)


def _sharing(what: str, flashes: Sequence[FlashFacts]) -> Iterator[Evidence]:
    holders: dict[str, list[Secret]] = defaultdict(list)
    for flash in flashes:
        for secret in {secret.key or secret.digest: secret for secret in flash.secrets}.values():
            # A secret in an application image is the same everywhere anyhow; another rule speaks of it.
            if secret.inside != "image":
                holders[secret.key or secret.digest].append(secret)
    for found in holders.values():
        if len(found) > 1:
            yield fault(f"one {found[0].kind} is in {len(found)} {what}", ", ".join(s.place for s in found))
    if flashes:
        yield seen(f"{len(holders)} secrets in {len(flashes)} {what} were compared", what)


def not_built_in(facts: Facts) -> Iterator[Evidence]:
    """Look for secrets in application images."""
    flashes = _flashes(facts)
    for flash in flashes:
        for secret in flash.secrets:
            if secret.inside == "image":
                yield fault(f"a {secret.kind} is at offset 0x{secret.offset:x}", secret.place)
    if flashes:
        yield seen(
            f"{len(flashes)} images and dumps were searched for keys, tokens and passwords", _names(flashes)
        )


def registered(facts: Facts) -> Iterator[Evidence]:
    """Compare the certificates in service with the registry."""
    fleet = facts.fleet
    if fleet is None or fleet.problem:
        yield fault(
            fleet.problem if fleet else "there is no registry", fleet.place if fleet else "the target"
        )
        return
    known = {each.serial for each in fleet.certificates}
    found = _in_service(facts)
    for certificate in found:
        if certificate.name not in fleet.states:
            yield fault(
                f"{certificate.name} is in service, and the registry does not know it", certificate.place
            )
        elif certificate.serial not in known:
            yield fault(
                f"{certificate.name} has a certificate that the registry does not know", certificate.place
            )
        elif fleet.states[certificate.name] in {"revoked", "gone"}:
            yield fault(
                f"{certificate.name} is {fleet.states[certificate.name]} and still in service",
                certificate.place,
            )
    yield seen(f"{len(fleet.states)} devices are in it, {len(found)} certificates were compared", fleet.place)


def _names(flashes: Sequence[FlashFacts]) -> str:
    names = [flash.name for flash in flashes]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
