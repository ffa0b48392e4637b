"""An authority: a CA certificate, its key, and the only code that signs certificates."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import IssuanceRefusedError
from labkit.pki import names
from labkit.pki.keys import Key, PublicKey, check_policy, fingerprint
from labkit.pki.ledger import Entry, Ledger, MemoryLedger
from labkit.pki.profiles import DEVICE, INTERMEDIATE, OPERATOR, ROOT, SERVER, Profile
from labkit.pki.template import (
    ORGANISATION,
    Template,
    common_name,
    device_names,
    random_serial,
    subject_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from labkit.pki.csr import Request

BATCH = 500
"""How many certificates `issue_many` puts on record in one transaction."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that is on record.

    Attributes:
        certificate: The certificate.
        key: Its private key, where we made it.
        chain: The authorities to present with it, the root left out because the other side has it.
    """

    certificate: x509.Certificate
    key: Key | None
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The certificate and the authorities above it, leaf first (RFC 8446 §4.4.2)."""
        encoded = (c.public_bytes(serialization.Encoding.PEM) for c in (self.certificate, *self.chain))
        return b"".join(encoded)

    @property
    def key_pem(self) -> bytes:
        """The private key, unencrypted.

        Raises:
            ValueError: We did not make the key and do not have it.
        """
        if self.key is None:
            text = "the private key of this certificate was never here"
            raise ValueError(text)
        return self.key.pem()

    @property
    def name(self) -> str:
        """The common name."""
        return common_name(self.certificate.subject)


class Authority:
    """A certificate authority.

    What it may do is read from its certificate, never remembered: an authority that was loaded from disk has the
    path length, the validity and the names that its certificate says.

    Args:
        certificate: Its certificate.
        key: Its key: a `Key`, which takes anything with `cryptography`'s private-key interface.
        above: The authorities above it without the root, nearest first.
        ledger: Where everything that it issues is put on record first.
        clock: What time it is.
        serials: Where serial numbers come from.

    Raises:
        IssuanceRefusedError: The certificate is not a CA's (`rule` is `not-a-ca`), or the key is not its key
            (`rule` is `key-mismatch`).
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        key: Key,
        *,
        above: Sequence[x509.Certificate] = (),
        ledger: Ledger | None = None,
        clock: Clock = SYSTEM_CLOCK,
        serials: Callable[[], int] = random_serial,
    ) -> None:
        self.certificate = certificate
        self.path_length = _path_length(certificate)
        self.above = tuple(above)
        self.ledger: Ledger = MemoryLedger() if ledger is None else ledger
        self._key = key
        self._clock = clock
        self._serials = serials
        if fingerprint(check_policy(certificate.public_key())) != key.fingerprint:
            raise _refused("key-mismatch", f"this key is not the key of {self.name}")

    def __repr__(self) -> str:
        return f"<Authority {self.name!r} {self._key.kind}>"

    @classmethod
    def new_root(
        cls,
        name: str,
        *,
        profile: Profile = ROOT,
        organisation: str = ORGANISATION,
        ledger: Ledger | None = None,
        clock: Clock = SYSTEM_CLOCK,
        serials: Callable[[], int] = random_serial,
        key: Key | None = None,
    ) -> Authority:
        """Make a root: a key (or the one that is given, from a hardware module), and a certificate that it signs itself."""
        key = key or Key.generate(profile.key_kind)
        subject = subject_of(name, organisation)
        template = Template(profile, issuer=subject, signer=key, now=clock.now(), limit=None)
        certificate = template.sign(subject, key.public, serials())
        root = cls(certificate, key, ledger=ledger, clock=clock, serials=serials)
        root._record([(certificate, key.public, name)], profile)
        return root

    def new_intermediate(self, name: str, *, profile: Profile = INTERMEDIATE) -> Authority:
        """Make an authority below this one, of the same organisation.

        Raises:
            IssuanceRefusedError: The path length leaves no room (`rule` is `path-length`), or see `issue_device`.
        """
        if self.path_length == 0:
            # The key would sign it and every verifier would refuse it (RFC 5280 §4.2.1.9).
            raise _refused("path-length", f"{self.name} may not sign authorities (pathlen:0)")
        key = Key.generate(profile.key_kind)
        template = self._template(profile)
        certificate = template.sign(template.subject(name), key.public, self._serials())
        self._record([(certificate, key.public, name)], profile)
        return Authority(
            certificate,
            key,
            above=self.presented[1:] if self.is_root else self.presented,
            ledger=self.ledger,
            clock=self._clock,
            serials=self._serials,
        )

    def recording(self, ledger: Ledger) -> Authority:
        """Return the same authority with another ledger, a transaction's for example."""
        twin = copy.copy(self)
        twin.ledger = ledger
        return twin

    @property
    def name(self) -> str:
        """The common name."""
        return common_name(self.certificate.subject)

    @property
    def is_root(self) -> bool:
        """Whether it signed itself."""
        return self.certificate.subject == self.certificate.issuer

    @property
    def key(self) -> Key:
        """The key, for writing it to the store."""
        return self._key

    @property
    def presented(self) -> tuple[x509.Certificate, ...]:
        """The authorities that a leaf of ours presents; empty below a root, which the other side has."""
        return () if self.is_root else (self.certificate, *self.above)

    def issue_server(
        self,
        dns_names: Sequence[str],
        ip_addresses: Sequence[str] = (),
        *,
        profile: Profile = SERVER,
        renew: bool = False,
    ) -> Issued:
        """Issue a server certificate; its common name is the first DNS name.

        Args:
            dns_names: The host names that clients may use.
            ip_addresses: The addresses that clients may use.
            profile: What kind it is.
            renew: Issue although a valid one exists.

        Raises:
            NameRefusedError: A name is not a host name, an address not an address.
            AlreadyIssuedError, IssuanceRefusedError: See `issue_device`.
        """
        alternatives: list[x509.GeneralName] = [x509.DNSName(names.host_name(name)) for name in dns_names]
        alternatives += [x509.IPAddress(names.ip_address(address)) for address in ip_addresses]
        common = names.common_name(list(dns_names[:1]))
        return self._issue_one(profile, common, x509.SubjectAlternativeName(alternatives), renew=renew)

    def issue_device(
        self,
        device_id: str,
        *,
        request: Request | None = None,
        profile: Profile = DEVICE,
        renew: bool = False,
    ) -> Issued:
        """Issue a device certificate.

        Args:
            device_id: The device's id; it becomes the common name and the DNS name.
            request: A request with the device's own key. Subject and extensions in it play no part. Without one
                a key is made here.
            profile: What kind it is.
            renew: Issue although a valid one exists.

        Raises:
            NameRefusedError: It is not a device id.
            AlreadyIssuedError: It has a valid certificate and `renew` is not set.
            IssuanceRefusedError: `rule` is `authority-expired`, `key-reused` or `serial-reused`.

        Does not check: that the one who asks may have the id; that is up to the caller.
        """
        common = names.device_id(device_id)
        return self._issue_one(profile, common, device_names(common), request=request, renew=renew)

    def issue_operator(self, name: str, *, request: Request | None = None, renew: bool = False) -> Issued:
        """Issue a client certificate to a person, under a name that no device can have.

        Args:
            name: One of the operators' names.
            request: A request with the person's own key; see `issue_device`.
            renew: Issue although a valid one exists.

        Raises:
            NameRefusedError: It is not an operator's name.
            AlreadyIssuedError, IssuanceRefusedError: See `issue_device`.
        """
        common = names.operator_name(name)
        return self._issue_one(OPERATOR, common, device_names(common), request=request, renew=renew)

    def issue_broker(self) -> Issued:
        """Issue a client certificate to the broker, which asks other services what clients may do."""
        return self._issue_one(OPERATOR, names.BROKER, device_names(names.BROKER), request=None, renew=False)

    def issue_many(
        self, device_ids: Iterable[str], *, profile: Profile = DEVICE, renew: bool = False, batch: int = BATCH
    ) -> Iterator[Issued]:
        """Issue keys and certificates to many devices; the one path for batches and factories.

        What does not change is computed once, and the ledger is written once a batch, before any certificate
        of the batch is handed out. A refusal leaves the batches before it issued and nothing of its own.

        Args:
            device_ids: The ids, lazily if you like.
            profile: What kind they are.
            renew: Issue although valid ones exist.
            batch: How many are put on record together.

        Yields:
            The identities, in order.

        Raises:
            NameRefusedError, AlreadyIssuedError, IssuanceRefusedError: See `issue_device`.
        """
        template = self._template(profile)
        remaining = iter(device_ids)
        while chosen := [names.device_id(text) for text in islice(remaining, batch)]:
            made = [(common, Key.generate(profile.key_kind)) for common in chosen]
            signed = [
                (
                    template.sign(
                        template.subject(common), key.public, self._serials(), device_names(common)
                    ),
                    key,
                )
                for common, key in made
            ]
            self._record(
                [(cert, key.public, common) for (cert, key), common in zip(signed, chosen, strict=True)],
                profile,
                renew=renew,
            )
            for certificate, key in signed:
                yield Issued(certificate, key, self.presented)

    def _issue_one(
        self,
        profile: Profile,
        common: str,
        san: x509.SubjectAlternativeName,
        *,
        request: Request | None = None,
        renew: bool,
    ) -> Issued:
        key = None if request else Key.generate(profile.key_kind)
        public = key.public if key else request.public_key  # type: ignore[union-attr] # one of the two is there
        template = self._template(profile)
        certificate = template.sign(template.subject(common), public, self._serials(), san)
        self._record([(certificate, public, common)], profile, renew=renew)
        return Issued(certificate, key, self.presented)

    def _template(self, profile: Profile) -> Template:
        now = self._clock.now()
        if not self.certificate.not_valid_before_utc <= now <= self.certificate.not_valid_after_utc:
            raise _refused("authority-expired", f"the certificate of {self.name} is not valid now")
        limit = self.certificate.not_valid_after_utc
        return Template(profile, issuer=self.certificate.subject, signer=self._key, now=now, limit=limit)

    def _record(
        self,
        signed: Sequence[tuple[x509.Certificate, PublicKey, str]],
        profile: Profile,
        *,
        renew: bool = False,
    ) -> None:
        # On record first, handed out afterwards: nobody ever holds a certificate that the ledger doesn't know.
        entries = [
            Entry.of(certificate, public, name=name, profile=profile.name, issuer=self.name)
            for certificate, public, name in signed
        ]
        self.ledger.record(entries, now=self._clock.now(), renew=renew)


def _path_length(certificate: x509.Certificate) -> int | None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        constraints, usage = None, None
    if not (constraints and constraints.ca and usage and usage.key_cert_sign):
        raise _refused("not-a-ca", "this certificate may not sign certificates")
    return constraints.path_length


def _refused(rule: str, why: str) -> IssuanceRefusedError:
    return IssuanceRefusedError(f"Not issued: {why}.", advice="Look at it with: labkit ca show", rule=rule)
