"""The certificates within a transaction: a ledger that keeps them, and knows which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography import x509
from sqlalchemy import exc

from labkit.devices.schema import certificates, insert_if_new
from labkit.errors import AlreadyIssuedError, IssuanceRefusedError
from labkit.pki import Entry, Reason

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from typing import Any


class Status(StrEnum):
    """Whether a certificate counts."""

    ACTIVE = "active"
    PENDING = "pending"
    """Issued at a renewal, and not yet seen in use; the one that it replaces counts too."""
    ENDED = "ended"
    """Superseded or revoked, for the reason beside it; it belongs on the revocation list."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as the registry has it.

    Attributes:
        entry: What the ledger says of it, with the certificate itself in `der`.
        status: Whether it counts.
        reason: Why it ended.
        ended_at: When.
        replaces: The serial number of the one that it was renewed from.
    """

    entry: Entry
    status: Status
    reason: Reason | None
    ended_at: dt.datetime | None
    replaces: str | None

    @property
    def x509(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_der_x509_certificate(self.entry.der)


_BY_FINGERPRINT = sa.select(certificates).where(certificates.c.fingerprint == sa.bindparam("wanted"))
_BY_SERIAL = sa.select(certificates).where(certificates.c.serial == sa.bindparam("wanted"))
_BY_REPLACED = sa.select(certificates).where(certificates.c.replaces == sa.bindparam("wanted"))
_BY_NAME = (
    sa.select(certificates)
    .where(certificates.c.name == sa.bindparam("wanted"))
    .order_by(certificates.c.recorded_at, certificates.c.serial)
)
_VALID_OF = sa.select(certificates.c.serial, certificates.c.not_after).where(
    certificates.c.name == sa.bindparam("wanted"),
    certificates.c.profile == sa.bindparam("kind"),
    certificates.c.status != Status.ENDED.value,
    certificates.c.not_after > sa.bindparam("moment"),
)
_COUNTING = sa.select(certificates.c.serial).where(
    certificates.c.name == sa.bindparam("wanted"),
    certificates.c.status != Status.ENDED.value,
    certificates.c.serial != sa.bindparam("spared"),
)
_INSERT_ONE = insert_if_new(certificates)
_INSERT_MANY = sa.insert(certificates)


class Certificates:
    """The certificates within a transaction; a `pki.Ledger`."""

    def __init__(self, connection: sa.Connection, now: dt.datetime) -> None:
        self._connection = connection
        self._now = now

    def record(
        self,
        entries: Sequence[Entry],
        *,
        now: dt.datetime,
        renew: bool = False,
        status: Status = Status.ACTIVE,
        replaces: str | None = None,
    ) -> None:
        """Record certificates, all or none.

        Args:
            entries: What the ledger should know of them, each with its `der`.
            now: The time.
            renew: Record although a valid one exists.
            status: Whether they count from now on.
            replaces: The serial number of the one that they are renewed from; then there is one entry.

        Raises:
            AlreadyIssuedError: The name has one that counts, and `renew` is not set.
            IssuanceRefusedError: `rule` is `key-reused` (another certificate has the key), `serial-reused`, or
                `renewed-already`.
        """
        if not renew:
            for entry in entries:
                self._refuse_second(entry, now)
        rows = [
            {
                "serial": e.serial, "fingerprint": e.fingerprint, "name": e.name, "profile": e.profile,
                "issuer": e.issuer, "key": e.key, "not_before": e.not_before, "not_after": e.not_after,
                "der": e.der, "status": status.value, "replaces": replaces,
                "recorded_at": self._now,
            }
            for e in entries
        ]  # fmt: skip
        if not self._inserted(rows):
            raise self._clash(entries, replaces)

    def entries(self) -> list[Entry]:
        """Return everything that was issued, oldest first."""
        rows = self._connection.execute(sa.select(certificates).order_by(certificates.c.recorded_at))
        return [_entry(row) for row in rows]

    def by_fingerprint(self, fingerprint: str) -> Certificate | None:
        """Return the certificate with this fingerprint (SHA-256 of the DER, hexadecimal)."""
        return self._one(_BY_FINGERPRINT, fingerprint)

    def by_serial(self, serial: str) -> Certificate | None:
        """Return the certificate with this serial number (hexadecimal)."""
        return self._one(_BY_SERIAL, serial)

    def successor_of(self, serial: str) -> Certificate | None:
        """Return the certificate that was renewed from this one."""
        return self._one(_BY_REPLACED, serial)

    def of(self, name: str) -> list[Certificate]:
        """Return every certificate of a name, oldest first."""
        return [_certificate(row) for row in self._connection.execute(_BY_NAME, {"wanted": name})]

    def activate(self, serial: str) -> None:
        """Let a pending certificate count for good."""
        self._change(serial, status=Status.ACTIVE.value)

    def end(self, serial: str, reason: Reason) -> None:
        """Let a certificate count no more; the next revocation list has it."""
        self._change(serial, status=Status.ENDED.value, reason=reason.value, ended_at=self._now)

    def end_all(self, name: str, reason: Reason, *, but: str = "") -> list[str]:
        """Let no certificate of a name count any more, and return the serial numbers of those that did.

        Args:
            name: Whose.
            reason: Why.
            but: The serial number of one to leave alone.
        """
        found = list(self._connection.execute(_COUNTING, {"wanted": name, "spared": but}).scalars())
        for serial in found:
            self.end(serial, reason)
        return found

    def ended(self) -> list[Certificate]:
        """Return every certificate that does not count any more and has not run out, in the order of their ends."""
        chosen = sa.select(certificates).where(
            certificates.c.status == Status.ENDED.value, certificates.c.not_after > self._now
        )
        return [
            _certificate(row) for row in self._connection.execute(chosen.order_by(certificates.c.ended_at))
        ]

    def _change(self, serial: str, **values: Any) -> None:
        self._connection.execute(
            sa.update(certificates).where(certificates.c.serial == serial).values(**values)
        )

    def _inserted(self, rows: list[dict[str, Any]]) -> bool:
        """Insert all rows or none; the transaction outlives a clash, and can tell why."""
        if len(rows) == 1:
            return self._connection.execute(_INSERT_ONE[self._connection.dialect.name], rows[0]).rowcount == 1
        try:
            with self._connection.begin_nested():
                self._connection.execute(_INSERT_MANY, rows)
        except exc.IntegrityError:
            return False
        return True

    def _one(self, chosen: sa.Select[Any], wanted: str) -> Certificate | None:
        row = self._connection.execute(chosen, {"wanted": wanted}).first()
        return None if row is None else _certificate(row)

    def _refuse_second(self, entry: Entry, now: dt.datetime) -> None:
        wanted = {"wanted": entry.name, "kind": entry.profile, "moment": now}
        row = self._connection.execute(_VALID_OF, wanted).first()
        if row is not None:
            raise AlreadyIssuedError(
                f"{entry.name} has a valid certificate already (until {row.not_after:%Y-%m-%d}).",
                advice=f"See it: labkit provision show {entry.name}",
                name=entry.name,
                serial=row.serial,
                not_after=row.not_after,
            )

    def _clash(self, entries: Sequence[Entry], replaces: str | None) -> IssuanceRefusedError:
        if replaces is not None and self.successor_of(replaces):
            return _refused("renewed-already", f"{entries[0].name} has renewed this certificate already")
        if self._known("key", {e.key for e in entries}) or len({e.key for e in entries}) < len(entries):
            return _refused("key-reused", "another certificate has this public key")
        return _refused("serial-reused", "a serial number was given out before")

    def _known(self, column: str, wanted: set[str]) -> bool:
        found = self._connection.execute(
            sa.select(certificates.c[column]).where(certificates.c[column].in_(wanted))
        )
        return found.first() is not None


def _entry(row: Any) -> Entry:
    return Entry(
        row.serial,
        row.fingerprint,
        row.name,
        row.profile,
        row.issuer,
        row.key,
        row.not_before,
        row.not_after,
        row.der,
    )


def _certificate(row: Any) -> Certificate:
    reason = Reason(row.reason) if row.reason else None
    return Certificate(_entry(row), Status(row.status), reason, row.ended_at, row.replaces)


def _refused(rule: str, why: str) -> IssuanceRefusedError:
    return IssuanceRefusedError(f"Not issued: {why}.", advice="Make a fresh key and ask again.", rule=rule)
