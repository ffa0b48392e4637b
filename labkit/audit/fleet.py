"""Read what is on record: certificates in service, the registry, the revocation list, documents."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from labkit.audit.facts import (
    CertificateFact,
    FleetCertificate,
    FleetFacts,
    FleetToken,
    ListFacts,
    RecordFacts,
)
from labkit.devices import Registry
from labkit.errors import FormatError, LabError, PkiError, RegistryError, RevocationListError
from labkit.pki import describe, read_list, verify_list
from labkit.pki.identities import read_certificate
from labkit.pki.keys import fingerprint
from labkit.pki.lint import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EVENTS = 100_000


def read_certificates(places: Iterable[Path]) -> Iterator[CertificateFact]:
    """Read leaf certificates from files and folders; what is none is left out."""
    for place in places:
        for path in sorted(place.glob("*.crt")) if place.is_dir() else [place]:
            if path.is_file() and (fact := certificate_fact(path.read_bytes(), path.name)):
                yield fact


def certificate_fact(data: bytes, place: str) -> CertificateFact | None:
    """Return what a leaf certificate says, or None where there is none."""
    certificate = load(data)
    if certificate is None:
        return None
    try:
        role = describe(certificate).role
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if role in {"root", "intermediate"} or not names:
            return None
        name = str(names[0].value)
        # Whatever the key is: a certificate with a weak one is in service, too.
        key = fingerprint(certificate.public_key())  # type: ignore[arg-type] # any has SubjectPublicKeyInfo
    except (FormatError, PkiError, ValueError, UnsupportedAlgorithm):
        return None
    kind = {"server": "server"}.get(role, "operator" if name in {"admin", "observer"} else "device")
    return CertificateFact(
        place,
        name,
        kind,
        f"{certificate.serial_number:x}",
        key,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def read_fleet(where: str) -> FleetFacts:
    """Read a registry; one that can't be read is told as a problem."""
    place = where.rpartition("@")[2].rpartition("/")[2] or where
    if "://" not in where and not Path(where).is_file():
        return FleetFacts(place, problem="there is no registry")  # opening one would make one
    try:
        with Registry.open(where) as registry, registry.read() as tx:
            devices = list(_devices(tx))
            return FleetFacts(
                place,
                states=dict(devices),
                certificates=tuple(
                    FleetCertificate(
                        each.entry.serial, each.entry.name, each.status.value,
                        each.reason.value if each.reason else "", each.entry.not_after, each.entry.key,
                    )
                    for device, _ in devices
                    for each in tx.certificates.of(device)
                ),
                tokens=tuple(
                    FleetToken(
                        each.device, each.made_at, each.ends_at,
                        out=each.used_at is None and each.revoked_at is None and each.ends_at > tx.now,
                    )
                    for device, _ in devices
                    for each in tx.tokens.of(device)
                ),
                events=tuple(
                    (each.at, each.actor, each.action, each.subject) for each in tx.trail.events(limit=EVENTS)
                ),
            )  # fmt: skip
    except (RegistryError, LabError) as error:
        return FleetFacts(place, problem=f"the registry can't be read: {error.message}")


def _devices(tx: object) -> Iterator[tuple[str, str]]:
    after = ""
    while found := tx.fleet.list(after=after, limit=1000):  # type: ignore[attr-defined] # a Transaction
        for device in found:
            yield device.device_id, device.state.value
        after = found[-1].device_id


def read_crl(path: Path, issuer: Path | None, now: dt.datetime) -> ListFacts:
    """Read a revocation list, and verify it if its issuer is known."""
    try:
        listed = read_list(path.read_bytes())
        if issuer is not None:
            verify_list(listed, read_certificate(issuer), now=now)
        serials = frozenset(f"{serial:x}" for serial in listed.serials)
    except OSError as error:
        return ListFacts(path.name, problem=f"it can't be read: {error.strerror}")
    except (FormatError, RevocationListError) as error:
        return ListFacts(path.name, problem=error.message)
    return ListFacts(path.name, "", listed.this_update, listed.next_update, serials)


def strange_authorities(data: bytes, root: x509.Certificate) -> list[str]:
    """Return the subjects of the certificates in a bundle that are neither a root nor certified by it.

    Args:
        data: The bundle, in PEM.
        root: The root.

    Raises:
        ValueError: It is no bundle.
    """
    found = []
    for each in x509.load_pem_x509_certificates(data):
        try:
            each.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            found.append(each.subject.rfc4514_string() or "an authority without a name")
    return found


_HEAD = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)


def read_record(path: Path) -> RecordFacts | None:
    """Read a document with a head of `date`, `reviewed-by` and `reviewed-on`; None where there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _HEAD.match(text.replace("\r\n", "\n"))
    if not found:
        return RecordFacts(
            path.name, problem="it has no head with date and reviewer", words=len(text.split())
        )
    head = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in found[1].splitlines())
    }
    try:
        dated, checked = (_day(head.get(name, "")) for name in ("date", "reviewed-on"))
    except ValueError:
        return RecordFacts(path.name, problem="a date in its head is none: write YYYY-MM-DD")
    return RecordFacts(path.name, dated, head.get("reviewed-by", ""), checked, len(found[2].split()))


def _day(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None
