"""From profile to signed certificate: what is the same for all is filled in once, what differs at the signature."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.pki import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.pki.keys import Key, PublicKey
    from labkit.pki.profiles import Profile

ORGANISATION = "IoT Device Security Labs"

BACKDATE = dt.timedelta(minutes=5)
"""How far notBefore lies in the past, for devices whose clocks are slow."""


def random_serial() -> int:
    """Return a serial number: positive, 128 random bits, far below the 20 octets of RFC 5280 §4.1.2.2."""
    return secrets.randbits(128) or 1


class Template:
    """A certificate with everything filled in that does not change from one to the next.

    Args:
        profile: What kind it is.
        issuer: Who signs.
        signer: The issuer's key.
        now: The time.
        limit: The issuer's notAfter, which nothing below it outlives.
    """

    def __init__(
        self, profile: Profile, *, issuer: x509.Name, signer: Key, now: dt.datetime, limit: dt.datetime | None
    ) -> None:
        self._issuer = issuer
        self._signer = signer.private
        self._organisation = issuer.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        # SHA-384 with P-384, so that neither is the weaker half (RFC 5480 §4).
        wide = isinstance(signer.public, ec.EllipticCurvePublicKey) and signer.public.key_size > 256
        self._hash: hashes.SHA256 | hashes.SHA384 = hashes.SHA384() if wide else hashes.SHA256()
        start = (now - BACKDATE).replace(microsecond=0)
        end = start + dt.timedelta(days=profile.days)
        self._dates = (start, min(end, limit) if limit else end)
        self._fixed = self._extensions(profile, signer.public)

    @staticmethod
    def _extensions(profile: Profile, signer: PublicKey) -> list[x509.Extension[x509.ExtensionType]]:
        fixed: list[tuple[x509.ExtensionType, bool]] = [
            # Both critical: a verifier that does not understand them must refuse (RFC 5280 §4.2.1.9, §4.2.1.3).
            (x509.BasicConstraints(ca=profile.ca, path_length=profile.path_length), True),
            (profile.key_usage, True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), False),
        ]
        if profile.purposes:
            fixed.append((x509.ExtendedKeyUsage(profile.purposes), False))
        # Encoded here once, instead of at each signature: the bytes are the same.
        return [
            x509.Extension(value.oid, critical, x509.UnrecognizedExtension(value.oid, value.public_bytes()))
            for value, critical in fixed
        ]

    def subject(self, common: str) -> x509.Name:
        """Return a subject in the issuer's organisation."""
        return x509.Name([*self._organisation, _common(common)])

    def sign(
        self,
        subject: x509.Name,
        public: PublicKey,
        serial: int,
        san: x509.SubjectAlternativeName | None = None,
        *,
        without: Sequence[x509.ObjectIdentifier] = (),
        lenient: Sequence[x509.ObjectIdentifier] = (),
    ) -> x509.Certificate:
        """Return a signed certificate.

        Args:
            subject: Whom it is about.
            public: Its key.
            serial: Its serial number.
            san: Its alternative names.
            without: Extensions to leave out; for `flawed` alone.
            lenient: Extensions that are not critical though they should be; for `flawed` alone.
        """
        own: list[x509.ExtensionType] = [x509.SubjectKeyIdentifier.from_public_key(public)]
        if san is not None:
            own.append(san)
        extensions = [*self._fixed, *(x509.Extension(value.oid, False, value) for value in own)]  # noqa: FBT003
        if without or lenient:
            extensions = [
                x509.Extension(e.oid, e.critical and e.oid not in lenient, e.value)
                for e in extensions
                if e.oid not in without
            ]
        # Chained add_extension() copies the list each time and costs more than the signature; the constructor doesn't.
        builder = x509.CertificateBuilder(
            self._issuer, subject, public, serial, self._dates[0], self._dates[1], extensions
        )
        return builder.sign(self._signer, self._hash)


def subject_of(name: str, organisation: str = ORGANISATION) -> x509.Name:
    """Return the distinguished name of an authority; without an organisation where that is empty."""
    above = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*above, _common(name)])


def common_name(subject: x509.Name) -> str:
    """Return the one common name of a subject; see `names.common_name`."""
    found = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return names.common_name([str(attribute.value) for attribute in found])


def organisation(subject: x509.Name) -> str:
    """Return the organisation of a subject; empty where it names none."""
    found = subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else ""


def device_names(common: str) -> x509.SubjectAlternativeName:
    """Return the alternative names of a device."""
    # A device id is a DNS label. Verifiers that follow the CA/Browser profile want a SAN on clients too.
    return x509.SubjectAlternativeName([x509.DNSName(common)])


def _common(name: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(x509.NameOID.COMMON_NAME, names.bounded(name))
