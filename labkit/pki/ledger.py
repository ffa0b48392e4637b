"""The ledger: everything that an authority issued, and the rules that only a complete list can enforce."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.hazmat.primitives import serialization

from labkit.errors import AlreadyIssuedError, IssuanceRefusedError
from labkit.pki.keys import PublicKey, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate that was issued.

    Attributes:
        serial: Its serial number, in hexadecimal.
        fingerprint: SHA-256 of the certificate (DER), in hexadecimal.
        name: The common name of its subject.
        profile: What kind it is.
        issuer: The common name of its issuer.
        key: SHA-256 of its public key (SubjectPublicKeyInfo), in hexadecimal.
        not_before: First moment of its validity.
        not_after: Last moment of its validity.
        der: The certificate itself, for ledgers that keep it; the lists in memory and on file don't.
    """

    serial: str
    fingerprint: str
    name: str
    profile: str
    issuer: str
    key: str
    not_before: dt.datetime
    not_after: dt.datetime
    der: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def of(
        cls, certificate: x509.Certificate, public: PublicKey, *, name: str, profile: str, issuer: str
    ) -> Entry:
        """Return the entry of a certificate."""
        der = certificate.public_bytes(serialization.Encoding.DER)
        return cls(
            serial=f"{certificate.serial_number:x}",
            fingerprint=hashlib.sha256(der).hexdigest(),
            name=name,
            profile=profile,
            issuer=issuer,
            key=fingerprint(public),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            der=der,
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Entry:
        """Return an entry from plain values.

        Raises:
            KeyError, TypeError, ValueError: The values are not an entry.
        """
        if not all(isinstance(text, str) for text in value.values()):
            text = "every value of an entry is a text"
            raise TypeError(text)
        dates = {name: dt.datetime.fromisoformat(value[name]) for name in ("not_before", "not_after")}
        if any(date.tzinfo is None for date in dates.values()):
            text = "dates must carry a zone"
            raise ValueError(text)
        return cls(**{**value, **dates})

    def without_der(self) -> Entry:
        """Return the same entry without the certificate itself."""
        return Entry(
            self.serial, self.fingerprint, self.name, self.profile, self.issuer, self.key,
            self.not_before, self.not_after,
        )  # fmt: skip

    def to_json(self) -> dict[str, str]:
        """Return plain values, ready for `json.dumps`."""
        # Spelled out: asdict() copies deeply, and took a fifth of the time of a large fleet.
        return {
            "serial": self.serial,
            "fingerprint": self.fingerprint,
            "name": self.name,
            "profile": self.profile,
            "issuer": self.issuer,
            "key": self.key,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
        }


class Ledger(Protocol):
    """What an authority needs from its ledger."""

    def record(self, entries: Sequence[Entry], *, now: dt.datetime, renew: bool = False) -> None:
        """Record entries, all or none, in one transaction with the checks of `Index.check`."""

    def entries(self) -> list[Entry]:
        """Return everything that was issued, oldest first."""


class Index:
    """The checks over a list of entries, in constant time an entry."""

    def __init__(self) -> None:
        self.all: list[Entry] = []
        self._serials: set[str] = set()
        self._keys: dict[str, str] = {}
        self._longest: dict[tuple[str, str], Entry] = {}

    def add(self, entry: Entry) -> None:
        """Take in an entry that is on record."""
        entry = entry.without_der() if entry.der else entry
        self.all.append(entry)
        self._serials.add(entry.serial)
        self._keys[entry.key] = entry.name
        place = (entry.profile, entry.name)
        before = self._longest.get(place)
        if before is None or before.not_after <= entry.not_after:
            self._longest[place] = entry

    def check(self, entries: Iterable[Entry], *, now: dt.datetime, renew: bool) -> None:
        """Refuse entries that the list rules out, among themselves too.

        Raises:
            AlreadyIssuedError: The name has a valid certificate and `renew` is not set.
            IssuanceRefusedError: `rule` is `serial-reused` or `key-reused` (another name has the key).
        """
        fresh: dict[tuple[str, str], Entry] = {}
        keys: dict[str, str] = {}
        for entry in entries:
            place = (entry.profile, entry.name)
            if entry.serial in self._serials:
                raise _refused("serial-reused", f"serial {entry.serial} was given out before")
            owner = keys.get(entry.key) or self._keys.get(entry.key, entry.name)
            if owner != entry.name:
                raise _refused(
                    "key-reused", f"{owner} has this public key, so {entry.name} can't have it too"
                )
            before = fresh.get(place) or self._longest.get(place)
            if before and before.not_after > now and not renew:
                raise _already_issued(before)
            fresh[place] = entry
            keys[entry.key] = entry.name


class MemoryLedger:
    """A ledger that lives as long as the process, for tests and for authorities that leave no trace."""

    def __init__(self) -> None:
        self._index = Index()

    def record(self, entries: Sequence[Entry], *, now: dt.datetime, renew: bool = False) -> None:
        """Record entries, all or none."""
        self._index.check(entries, now=now, renew=renew)
        for entry in entries:
            self._index.add(entry)

    def entries(self) -> list[Entry]:
        """Return everything that was issued, oldest first."""
        return list(self._index.all)


def _already_issued(before: Entry) -> AlreadyIssuedError:
    return AlreadyIssuedError(
        f"{before.name} has a valid certificate already (until {before.not_after:%Y-%m-%d}).",
        advice=f"Renew it on purpose: labkit ca issue {before.name} --renew",
        name=before.name,
        serial=before.serial,
        not_after=before.not_after,
    )


def _refused(rule: str, why: str) -> IssuanceRefusedError:
    return IssuanceRefusedError(f"Not issued: {why}.", advice="Make a fresh key and ask again.", rule=rule)
