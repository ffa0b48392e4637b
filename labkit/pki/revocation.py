"""Certificate revocation lists (RFC 5280 §5): who is on them, how long they count, and what changed.

A list is a promise about time. Between `this_update` and `next_update` it is the truth; after that OpenSSL refuses
*everybody* whose issuer it is of, and not only those on it. So a list comes with a `Schedule`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.errors import FormatError, IssuanceRefusedError, RevocationListError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from labkit.pki.authority import Authority


class Reason(StrEnum):
    """Why a certificate was revoked (RFC 5280 §5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key-compromise"
    CA_COMPROMISE = "ca-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation-of-operation"
    CERTIFICATE_HOLD = "certificate-hold"
    PRIVILEGE_WITHDRAWN = "privilege-withdrawn"


_FLAGS = {
    Reason.UNSPECIFIED: x509.ReasonFlags.unspecified,
    Reason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    Reason.CA_COMPROMISE: x509.ReasonFlags.ca_compromise,
    Reason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    Reason.SUPERSEDED: x509.ReasonFlags.superseded,
    Reason.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
    Reason.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
    Reason.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
}
_REASONS = {flag: reason for reason, flag in _FLAGS.items()}


@dataclass(frozen=True, slots=True)
class Revocation:
    """One certificate that counts no more.

    Attributes:
        serial: Its serial number, in hexadecimal.
        name: The common name of its subject.
        at: When it was revoked.
        reason: Why.
        not_after: When it would have run out by itself.
    """

    serial: str
    name: str
    at: dt.datetime
    reason: Reason
    not_after: dt.datetime

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Revocation:
        """Return a revocation from plain values.

        Raises:
            KeyError, TypeError, ValueError: The values are not a revocation.
        """
        at, not_after = (dt.datetime.fromisoformat(value[name]) for name in ("at", "not_after"))
        if at.tzinfo is None or not_after.tzinfo is None:
            text = "dates must carry a zone"
            raise ValueError(text)
        int(value["serial"], 16)
        return cls(value["serial"], str(value["name"]), at, Reason(value["reason"]), not_after)

    def to_json(self) -> dict[str, str]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "serial": self.serial,
            "name": self.name,
            "at": self.at.isoformat(),
            "reason": self.reason.value,
            "not_after": self.not_after.isoformat(),
        }


class State(StrEnum):
    """Where a list stands in its life."""

    FUTURE = "not yet valid"
    FRESH = "fresh"
    DUE = "due for renewal"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a list counts, and when the next one is made.

    Attributes:
        valid_for: From `this_update` to `next_update`.
        renew_after: From `this_update` until the next list is due. The rest is the time that you have to notice that
            the renewal has failed, before the whole fleet is locked out.
    """

    valid_for: dt.timedelta = dt.timedelta(days=7)
    renew_after: dt.timedelta = dt.timedelta(days=1)

    def __post_init__(self) -> None:
        if not dt.timedelta(0) < self.renew_after < self.valid_for:
            text = "a list must be renewed before it runs out: 0 < renew_after < valid_for"
            raise ValueError(text)

    def state(self, listed: RevocationList, now: dt.datetime) -> State:
        """Return where a list stands."""
        if now < listed.this_update:
            return State.FUTURE
        if now > listed.next_update:
            return State.STALE
        return State.DUE if now >= listed.this_update + self.renew_after else State.FRESH


class RevocationList:
    """A revocation list as it was signed. Get one from `issue_list` or `read_list`.

    Args:
        crl: The list.

    Attributes:
        number: Greater on each list than on the one before (§5.2.3).
        this_update: When it began to count.
        next_update: When it ceases to.
        issuer: Whose list it is.

    Raises:
        FormatError: It has no number or no end, or does not parse.
    """

    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        self.crl = crl
        try:
            self.number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            self.this_update = crl.last_update_utc
            self.issuer = crl.issuer.rfc4514_string()
            end = crl.next_update_utc
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as error:
            raise _unreadable(str(error)) from error
        if end is None:  # RFC 5280 §5.1.2.5 wants one; without it OpenSSL would believe the list for ever
            raise _unreadable("it does not say when the next one comes")
        self.next_update = end

    def __repr__(self) -> str:
        return f"<RevocationList {self.number}: {len(self)} revoked, until {self.next_update:%Y-%m-%d %H:%M}>"

    def __len__(self) -> int:
        return len(self.crl)

    def __contains__(self, serial: int) -> bool:
        return serial in self.serials

    def __iter__(self) -> Iterator[tuple[int, dt.datetime, Reason]]:
        try:
            for entry in self.crl:
                yield entry.serial_number, entry.revocation_date_utc, _reason(entry)
        except ValueError as error:  # entries are parsed as they are looked at
            raise _unreadable(str(error)) from error

    @cached_property
    def serials(self) -> frozenset[int]:
        """The serial numbers on it; looking one up in the list itself takes time for each that stands before it."""
        return frozenset(entry.serial_number for entry in self.crl)

    @property
    def pem(self) -> bytes:
        """The list, for Mosquitto's `crlfile`."""
        return self.crl.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The list, in the bytes that were signed."""
        return self.crl.public_bytes(Encoding.DER)

    def rows(self) -> list[tuple[str, str]]:
        """Return field and value, in the order of RFC 5280 §5.1."""
        algorithm = self.crl.signature_hash_algorithm
        return [
            ("issuer", self.issuer),
            ("number", str(self.number)),
            ("this update", f"{self.this_update:%Y-%m-%d %H:%M:%S} UTC"),
            ("next update", f"{self.next_update:%Y-%m-%d %H:%M:%S} UTC"),
            ("revoked certificates", str(len(self))),
            ("bytes", str(len(self.der))),
            ("signature hash", algorithm.name if algorithm else "-"),
        ]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened between two lists; serial numbers in hexadecimal.

    Attributes:
        added: On the later one only.
        removed: On the earlier one only: they ran out, or were released from a hold.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]


def changes(before: RevocationList | None, after: RevocationList) -> Changes:
    """Return what changed from one list to the next."""
    old = before.serials if before is not None else frozenset()
    added, removed = sorted(after.serials - old), sorted(old - after.serials)
    return Changes(tuple(f"{each:x}" for each in added), tuple(f"{each:x}" for each in removed))


def issue_list(
    authority: Authority,
    revocations: Iterable[Revocation],
    *,
    number: int,
    now: dt.datetime,
    schedule: Schedule | None = None,
) -> RevocationList:
    """Sign a revocation list, complete with everything that RFC 5280 §5.2 demands.

    Args:
        authority: Whose certificates they are.
        revocations: All that are to be on it.
        number: Greater than that of every list before (§5.2.3).
        now: The time; the list begins to count at this second.
        schedule: How long it counts.

    Raises:
        IssuanceRefusedError: The authority may not sign lists (`rule` is `no-crl-sign`).

    Does not check: that the serial numbers are of the authority's certificates.
    """
    certificate, key = authority.certificate, authority.key
    if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
        raise IssuanceRefusedError(
            f"{authority.name} may not sign revocation lists: cRLSign is not in its key usage.",
            advice="Let the authority sign that issued the certificates.",
            rule="no-crl-sign",
        )
    start = now.replace(microsecond=0)
    end = start + (schedule or Schedule()).valid_for
    extensions: list[x509.Extension[x509.ExtensionType]] = [
        x509.Extension(value.oid, False, value)  # noqa: FBT003
        for value in (
            x509.CRLNumber(number),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public),
        )
    ]
    # All entries at once: the builder's own method copies the list for each.
    builder = x509.CertificateRevocationListBuilder(
        certificate.subject, start, end, extensions, [_entry(each) for each in revocations]
    )
    wide = isinstance(key.public, ec.EllipticCurvePublicKey) and key.public.key_size > 256
    return RevocationList(builder.sign(key.private, hashes.SHA384() if wide else hashes.SHA256()))


def prune(revocations: Iterable[Revocation], last: RevocationList | None) -> list[Revocation]:
    """Return those that must still be on the next list.

    An entry may go when its certificate has run out, but not before it has been on one list that was issued after that
    (RFC 5280 §3.3). Lists stay as small as the lives of certificates are short.

    Args:
        revocations: All that were ever revoked.
        last: The list that was issued last.
    """
    if last is None:
        return list(revocations)
    return [each for each in revocations if each.not_after >= last.this_update or each.at > last.this_update]


def read_list(data: bytes) -> RevocationList:
    """Read a list in PEM or DER.

    Raises:
        FormatError: It is none.

    Does not check: who signed it, and whether it still counts; `verify_list` does.
    """
    load = x509.load_pem_x509_crl if data.lstrip().startswith(b"-----") else x509.load_der_x509_crl
    try:
        return RevocationList(load(data))
    except ValueError as error:
        raise _unreadable(str(error).splitlines()[0]) from error


def verify_list(listed: RevocationList, issuer: x509.Certificate, *, now: dt.datetime) -> None:
    """Verify that a list is its issuer's, and that it counts now; raise if not.

    A broker that loads a list which fails here refuses every client.

    Raises:
        RevocationListError: `rule` is `issuer`, `signature`, `not-yet-valid` or `stale`.

    Does not check: that it is the newest; compare the numbers.
    """
    if listed.crl.issuer != issuer.subject:
        raise _refused("issuer", f"it is the list of {listed.issuer}")
    if not _signed_by(listed.crl, issuer):
        raise _refused("signature", "its issuer's key did not make its signature")
    if now < listed.this_update:
        raise _refused("not-yet-valid", f"it begins at {listed.this_update:%Y-%m-%d %H:%M:%S} UTC")
    if now > listed.next_update:
        raise _refused("stale", f"the next one was promised for {listed.next_update:%Y-%m-%d %H:%M:%S} UTC")


def look_up(data: bytes, *, issuer: x509.Certificate, serial: int, now: dt.datetime) -> str:
    """Return what a list says of a serial number, once it has shown that it may be believed.

    Args:
        data: The list, in PEM or DER.
        issuer: Whose certificate is in question.
        serial: Its serial number.
        now: The time.

    Returns:
        `revoked` or `good`; or why the list says nothing: `unreadable`, or a rule of `verify_list`.

    Does not check: that it is the newest list.
    """
    try:
        listed = read_list(data)
        verify_list(listed, issuer, now=now)
    except FormatError:
        return "unreadable"
    except RevocationListError as error:
        return error.rule
    return "revoked" if serial in listed else "good"


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type] # any other kind is a TypeError
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _entry(revocation: Revocation) -> x509.RevokedCertificate:
    # unspecified is said by saying nothing (RFC 5280 §5.3.1).
    said: Sequence[x509.Extension[x509.ExtensionType]] = ()
    if revocation.reason is not Reason.UNSPECIFIED:
        value = x509.CRLReason(_FLAGS[revocation.reason])
        said = [x509.Extension(value.oid, False, value)]  # noqa: FBT003
    builder = x509.RevokedCertificateBuilder(
        int(revocation.serial, 16), revocation.at.replace(microsecond=0), list(said)
    )
    return builder.build()


def _reason(entry: x509.RevokedCertificate) -> Reason:
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return Reason.UNSPECIFIED
    return _REASONS.get(flag, Reason.UNSPECIFIED)


def _unreadable(why: str) -> FormatError:
    return FormatError(
        f"This is no revocation list that we can use: {why}.",
        advice="Make a new one: labkit ca crl",
        what="revocation list",
        offset=0,
    )


def _refused(rule: str, why: str) -> RevocationListError:
    return RevocationListError(
        f"The revocation list must not be used: {why}.",
        advice="Make a new one: labkit ca crl   With this one the broker would refuse every client.",
        rule=rule,
    )
