"""Where decisions fall: who gets a certificate, and who does not. No HTTP here, and no clock but the registry's.

Each decision is one transaction. What it refuses is a `RefusedError` with a stable code, raised after the transaction
has ended, because some refusals leave something behind: a clone alarm locks the device out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.hazmat.primitives import serialization

from labkit.devices import IN_LIFE, State, Status, is_token, standing
from labkit.errors import (
    IssuanceRefusedError,
    KeyRefusedError,
    RefusedError,
    RequestRefusedError,
)
from labkit.pki import Reason, Request, read_request
from labkit.pki.keys import fingerprint
from labkit.provisioning.messages import PROBLEMS
from labkit.provisioning.policy import Policy, for_devices, renewal_opens, subject_differs

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from cryptography import x509

    from labkit.devices import Certificate, Device, Registry, Transaction
    from labkit.pki import Authority, Entry

_T = TypeVar("_T")

_TRIES = 3
"""How often a decision is made anew when another one got in between."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A certificate that was granted.

    Attributes:
        device_id: To whom.
        certificate: The certificate.
        chain: The authorities to present with it, the root left out.
        ignored: What the request asked for in vain.
        renew_after: From when on it may be renewed.
        repeated: Whether it had been granted before, and the reply was lost.
    """

    device_id: str
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    ignored: tuple[str, ...]
    renew_after: dt.datetime
    repeated: bool

    @property
    def certificate_pem(self) -> str:
        """The certificate alone."""
        return _pem(self.certificate)

    @property
    def chain_pem(self) -> str:
        """The certificate and the authorities above it, leaf first."""
        return "".join(_pem(each) for each in (self.certificate, *self.chain))


class _RacedError(Exception):
    """Another transaction got in between; look again."""


class Desk:
    """Decides on requests.

    Args:
        registry: The fleet.
        issuer: Who signs.
        policy: What to go by.
        revoked: Returns the serial numbers that the authority's own register has as revoked.
    """

    def __init__(
        self,
        registry: Registry,
        issuer: Authority,
        *,
        policy: Policy | None = None,
        revoked: Callable[[], set[str]] = set,
    ) -> None:
        self.registry = registry
        self.issuer = issuer
        self.policy = policy or Policy()
        self._revoked = revoked

    def provision(self, token: str, csr: bytes, *, device_id: str | None = None, address: str = "") -> Grant:
        """Grant a device its first certificate, for a token.

        The subject is the token's device. The request gives a key and the proof of having it; whatever else it asks for
        plays no part.

        Args:
            token: The token.
            csr: One PKCS #10 request, in PEM.
            device_id: Who the sender says they are, where the protocol wants that said (EST).
            address: Where it came from, for the trail.

        Returns:
            The grant. Asked again with the same token and the same key, it is the same one.

        Raises:
            RefusedError: `code` is one of `token-unknown`, `token-expired`, `token-revoked`, `token-spent`,
                `device-quarantined`, `device-revoked`, `key-reused`, or begins with `csr-` or `key-`.

        Does not check: that the chip is the one that it says it is. Who has the token, has the device's name.
        """
        request = _read(csr)
        if not is_token(token):
            raise refused("token-unknown")
        return self._decide(lambda tx: self._provision(tx, token, request, device_id, address))

    def _provision(
        self, tx: Transaction, text: str, request: Request, claimed: str | None, address: str
    ) -> Grant | RefusedError:
        token = tx.tokens.find(text)
        if token is None or claimed not in {None, token.device}:
            return refused("token-unknown")
        if token.revoked_at is not None:
            return refused("token-revoked")
        device = tx.fleet.get(token.device, lock=True)
        if device.state not in IN_LIFE:
            return _out_of_life(device)
        if token.used_at is not None:
            return self._again(tx, device, token.certificate or "", request, "token-spent")
        if token.ends_at <= tx.now:
            return refused("token-expired", f"It ran out at {token.ends_at:%Y-%m-%d %H:%M} UTC.")
        issued = self.issuer.recording(tx.certificates).issue_device(
            device.device_id, request=request, renew=True
        )
        serial = f"{issued.certificate.serial_number:x}"
        if not tx.tokens.spend(token, serial):
            raise _RacedError
        ended = tx.certificates.end_all(device.device_id, Reason.SUPERSEDED, but=serial)
        told: dict[str, Any] = {
            "serial": serial,
            "token": token.digest[:16],
            "address": address,
            "ended": ended,
        }
        if device.state is State.ENROLLED:
            tx.trail.note("token", "reenrolled", device.device_id, **told)
        tx.fleet.move(device, State.ENROLLED, actor="token", **told)
        return self._grant(device.device_id, issued.certificate, request)

    def renew(self, der: bytes, csr: bytes, *, strict: bool = False) -> Grant:
        """Grant a device its next certificate; the present one goes on counting until the new one is confirmed.

        Args:
            der: The certificate that was presented in the TLS handshake.
            csr: A request for a new key, in PEM.
            strict: Compare the subject as EST does; see `subject_differs`.

        Returns:
            The grant. Asked again with the same key, it is the same one.

        Raises:
            RefusedError: See `present`; or `code` is `subject-differs`, `key-not-new`, `key-reused`, `renewal-not-due`,
                `renewal-unconfirmed`, `clone-alarm`, or begins with `csr-` or `key-`.
        """
        request = _read(csr)
        return self._decide(lambda tx: self._renew(tx, der, request, strict=strict))

    def _renew(self, tx: Transaction, der: bytes, request: Request, *, strict: bool) -> Grant | RefusedError:
        found = self._find(tx, der)
        if isinstance(found, RefusedError):
            return found
        certificate, device = found
        if certificate.entry.not_after <= tx.now:
            return refused("certificate-expired")
        present = certificate.x509
        if subject_differs(request, present, strict=strict):
            return refused("subject-differs")
        if strict and certificate.status is Status.PENDING and not self._counts(tx, certificate, device):
            # EST knows no confirmation: who presents the new certificate has shown its key, and that is one.
            certificate = self._confirm(tx, certificate, device)
        key = fingerprint(request.public_key)
        successor = tx.certificates.successor_of(certificate.entry.serial)
        if successor is not None and device.state in IN_LIFE:
            if successor.entry.key != key:
                return self._clone_alarm(tx, device, certificate, successor)
            if successor.status is not Status.ENDED:
                return self._grant(device.device_id, successor.x509, request, repeated=True)
        refusal = self._counts(tx, certificate, device) or self._not_now(tx, certificate, device, key)
        if refusal:
            return refusal
        ledger = _Successor(tx, certificate.entry.serial)
        issued = self.issuer.recording(ledger).issue_device(device.device_id, request=request, renew=True)
        if device.renew_now:
            tx.fleet.allow_renewal(device.device_id, actor="service", allowed=False)
        tx.trail.note(
            f"device:{device.device_id}", "renewal", device.device_id,
            serial=f"{issued.certificate.serial_number:x}", replaces=certificate.entry.serial,
        )  # fmt: skip
        return self._grant(device.device_id, issued.certificate, request)

    def _not_now(
        self, tx: Transaction, certificate: Certificate, device: Device, key: str
    ) -> RefusedError | None:
        if certificate.status is Status.PENDING:
            return refused("renewal-unconfirmed")
        entry = certificate.entry
        if entry.key == key:
            return refused("key-not-new")
        opens = renewal_opens(entry.name, entry.not_before, entry.not_after, self.policy)
        if tx.now < opens and not device.renew_now:
            return refused("renewal-not-due", f"From {opens:%Y-%m-%d %H:%M} UTC on.")
        return None

    def confirm(self, der: bytes) -> str:
        """Let a renewed certificate count for good, and the one before no more; return the device's id.

        Args:
            der: The new certificate, as it was presented in the TLS handshake: who presents it, has its key.

        Raises:
            RefusedError: See `present`; or `code` is `nothing-to-confirm`.
        """

        def decide(tx: Transaction) -> str | RefusedError:
            found = self._present(tx, der)
            if isinstance(found, RefusedError):
                return found
            certificate, device = found
            if certificate.replaces is None:
                return refused("nothing-to-confirm")
            if certificate.status is Status.PENDING:
                self._confirm(tx, certificate, device)
            return device.device_id

        return self._decide(decide)

    @staticmethod
    def _confirm(tx: Transaction, certificate: Certificate, device: Device) -> Certificate:
        before = certificate.replaces or ""
        tx.certificates.activate(certificate.entry.serial)
        tx.certificates.end(before, Reason.SUPERSEDED)
        tx.trail.note(
            f"device:{device.device_id}", "renewed", device.device_id,
            serial=certificate.entry.serial, ended=[before],
        )  # fmt: skip
        return replace(certificate, status=Status.ACTIVE)

    def present(self, der: bytes) -> tuple[Certificate, Device]:
        """Return the device that presented a certificate; it has reported for duty by that.

        Raises:
            RefusedError: `code` is `certificate-unknown`, `certificate-expired`, `certificate-revoked`,
                `certificate-superseded`, `device-quarantined` or `device-revoked`.

        Does not check: that the certificate's chain leads anywhere; TLS did. Dates and revocation it does check,
            because a session that was resumed presents a certificate that TLS has not looked at again.
        """

        def decide(tx: Transaction) -> tuple[Certificate, Device] | RefusedError:
            found = self._present(tx, der)
            if not isinstance(found, RefusedError):
                certificate, device = found
                tx.fleet.move(
                    device,
                    State.ENROLLED,
                    actor=f"device:{device.device_id}",
                    serial=certificate.entry.serial,
                )
            return found

        return self._decide(decide)

    def _present(self, tx: Transaction, der: bytes) -> tuple[Certificate, Device] | RefusedError:
        found = standing.present(tx, der, self._revoked())
        return refused(found) if isinstance(found, str) else found

    def _find(self, tx: Transaction, der: bytes) -> tuple[Certificate, Device] | RefusedError:
        found = standing.find(tx, der)
        return refused(found) if isinstance(found, str) else found

    def _counts(self, tx: Transaction, certificate: Certificate, device: Device) -> RefusedError | None:
        code = standing.objection(tx, certificate, device, self._revoked())
        return None if code is None else refused(code)

    def _clone_alarm(
        self, tx: Transaction, device: Device, certificate: Certificate, successor: Certificate
    ) -> RefusedError:
        # One of the two who renew with the same old certificate is a copy, and nobody can tell which from here.
        serials = tx.certificates.end_all(device.device_id, Reason.CERTIFICATE_HOLD)
        tx.trail.note(
            "service", "clone-alarm", device.device_id,
            renewed=certificate.entry.serial, successor=successor.entry.serial, held=serials,
        )  # fmt: skip
        tx.fleet.move(device, State.QUARANTINED, actor="service", why="clone-alarm")
        tx.tokens.revoke(device.device_id)
        return refused("clone-alarm")

    def _again(
        self, tx: Transaction, device: Device, serial: str, request: Request, otherwise: str
    ) -> Grant | RefusedError:
        before = tx.certificates.by_serial(serial)
        if before is None or before.entry.key != fingerprint(request.public_key):
            tx.trail.note("token", "token-reused", device.device_id, serial=serial)
            return refused(otherwise)
        if refusal := self._counts(tx, before, device):
            return refusal
        return self._grant(device.device_id, before.x509, request, repeated=True)

    def _grant(
        self, device_id: str, certificate: x509.Certificate, request: Request, *, repeated: bool = False
    ) -> Grant:
        opens = renewal_opens(
            device_id, certificate.not_valid_before_utc, certificate.not_valid_after_utc, self.policy
        )
        return Grant(device_id, certificate, self.issuer.presented, request.ignored, opens, repeated)

    def _decide(self, decide: Callable[[Transaction], _T | RefusedError]) -> _T:
        for _ in range(_TRIES):
            try:
                with self.registry.begin() as transaction:
                    decision = decide(transaction)
            except _RacedError:
                continue
            except IssuanceRefusedError as error:
                if error.rule == "renewed-already":
                    continue
                raise refused("key-reused" if error.rule == "key-reused" else "issuance-refused") from error
            if isinstance(decision, RefusedError):
                raise decision
            return decision
        raise refused("token-spent")


class _Successor:
    """A ledger for the one certificate that another is renewed into."""

    def __init__(self, tx: Transaction, replaces: str) -> None:
        self._tx = tx
        self._replaces = replaces

    def record(self, entries: Sequence[Entry], *, now: dt.datetime, renew: bool = False) -> None:
        """Record it as pending."""
        self._tx.certificates.record(
            entries, now=now, renew=renew, status=Status.PENDING, replaces=self._replaces
        )

    def entries(self) -> list[Entry]:
        """Return everything that was issued."""
        return self._tx.certificates.entries()


def refused(code: str, detail: str = "") -> RefusedError:
    """Return the refusal of a code."""
    kind = PROBLEMS[code]
    return RefusedError(f"{kind.title}. {detail}".strip(), advice=kind.advice, code=code)


def _read(csr: bytes) -> Request:
    try:
        request = read_request(csr)
    except RequestRefusedError as error:
        raise refused(f"csr-{error.rule}") from error
    except KeyRefusedError as error:
        raise refused(
            error.rule if error.rule.startswith("key-") else f"key-{error.rule}", error.message
        ) from error
    if not for_devices(request.public_key):
        raise refused("key-curve")
    return request


def _out_of_life(device: Device) -> RefusedError:
    return refused("device-quarantined" if device.state is State.QUARANTINED else "device-revoked")


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
