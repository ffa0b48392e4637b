"""What a certificate says, as plain values for tables and trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.errors import FormatError
from labkit.pki.keys import kind_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
}

_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


@dataclass(frozen=True, slots=True)
class Description:
    """The fields of a certificate that matter, in the names of RFC 5280.

    Attributes:
        name: The common name.
        role: `root`, `intermediate`, `server`, `device` or `unknown`, read from the extensions.
        subject: The whole subject.
        issuer: The whole issuer.
        serial: The serial number, in hexadecimal.
        not_before: First moment of its validity.
        not_after: Last moment of its validity.
        key: What kind of key it certifies.
        signature: The hash that the issuer signed.
        basic_constraints: `CA:TRUE, pathlen:0`, `CA:FALSE` or empty, with `critical` where it is.
        key_usage: The bits that are set.
        purposes: The extended key usages.
        names: The subject alternative names.
        fingerprint: SHA-256 of the certificate, in hexadecimal.
    """

    name: str
    role: str
    subject: str
    issuer: str
    serial: str
    not_before: dt.datetime
    not_after: dt.datetime
    key: str
    signature: str
    basic_constraints: str
    key_usage: tuple[str, ...]
    purposes: tuple[str, ...]
    names: tuple[str, ...]
    fingerprint: str

    def rows(self) -> list[tuple[str, str]]:
        """Return field and value, in the order of a certificate."""
        return [
            ("subject", self.subject),
            ("issuer", self.issuer),
            ("serial number", f"0x{self.serial}"),
            ("not before", f"{self.not_before:%Y-%m-%d %H:%M} UTC"),
            ("not after", f"{self.not_after:%Y-%m-%d %H:%M} UTC"),
            ("public key", self.key),
            ("signature hash", self.signature),
            ("basic constraints", self.basic_constraints or "-"),
            ("key usage", ", ".join(self.key_usage) or "-"),
            ("extended key usage", ", ".join(self.purposes) or "-"),
            ("subject alternative names", ", ".join(self.names) or "-"),
            ("SHA-256 fingerprint", self.fingerprint),
        ]


@dataclass(frozen=True, slots=True)
class Branch:
    """A certificate and those that it vouches for."""

    certificate: Description
    below: tuple[Branch, ...] = ()


def describe(certificate: x509.Certificate) -> Description:
    """Return what a certificate says, whoever made it.

    Raises:
        FormatError: Its names or extensions don't parse.

    Does not check: that any of it is true; `verify_chain` does.
    """
    try:
        return _describe(certificate)
    except (ValueError, x509.DuplicateExtension) as error:
        raise FormatError(
            f"The certificate does not parse: {error}.",
            advice="Look at its raw fields: openssl asn1parse -in CERTIFICATE",
            what="certificate",
            offset=0,
        ) from error


def _describe(certificate: x509.Certificate) -> Description:
    found = _extensions(certificate)
    names = [str(a.value) for a in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return Description(
        name=" / ".join(names),
        role=_role(certificate, found),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key=_key(certificate),
        signature=_hash(certificate),
        basic_constraints=_constraints(found.get(x509.BasicConstraints)),
        key_usage=_usages(found.get(x509.KeyUsage)),
        purposes=_purposes(found.get(x509.ExtendedKeyUsage)),
        names=_alternatives(found.get(x509.SubjectAlternativeName)),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def describe_tree(certificates: Sequence[x509.Certificate]) -> tuple[Branch, ...]:
    """Return who vouches for whom, roots first.

    A certificate hangs below another when that one's key really signed it; names alone hang nothing.
    """
    roots = [c for c in certificates if not any(_signed_by(c, other) for other in certificates if other != c)]

    def branch(certificate: x509.Certificate) -> Branch:
        below = [c for c in certificates if c != certificate and _signed_by(c, certificate)]
        return Branch(describe(certificate), tuple(branch(c) for c in below))

    return tuple(branch(root) for root in roots)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - ValueError, TypeError or InvalidSignature: all mean that it did not sign
        return False
    return True


def _key(certificate: x509.Certificate) -> str:
    try:
        public = certificate.public_key()
    except UnsupportedAlgorithm:
        return "unknown"
    if isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return kind_of(public)
    return type(public).__name__.removesuffix("PublicKey").lower()


def _hash(certificate: x509.Certificate) -> str:
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "unknown"
    return digest.name if digest else "none"


def _extensions(certificate: x509.Certificate) -> dict[type, x509.Extension[x509.ExtensionType]]:
    return {type(extension.value): extension for extension in certificate.extensions}


def _role(certificate: x509.Certificate, found: dict[type, x509.Extension[x509.ExtensionType]]) -> str:
    constraints = found.get(x509.BasicConstraints)
    if constraints and isinstance(constraints.value, x509.BasicConstraints) and constraints.value.ca:
        return "root" if certificate.subject == certificate.issuer else "intermediate"
    purposes = _purposes(found.get(x509.ExtendedKeyUsage))
    roles: dict[tuple[str, ...], str] = {("serverAuth",): "server", ("clientAuth",): "device"}
    return roles.get(purposes, "unknown")


def _constraints(extension: x509.Extension[x509.ExtensionType] | None) -> str:
    if extension is None or not isinstance(extension.value, x509.BasicConstraints):
        return ""
    length = "" if extension.value.path_length is None else f", pathlen:{extension.value.path_length}"
    critical = " (critical)" if extension.critical else ""
    return f"CA:{str(extension.value.ca).upper()}{length}{critical}"


def _usages(extension: x509.Extension[x509.ExtensionType] | None) -> tuple[str, ...]:
    if extension is None:
        return ()
    return tuple(word for field, word in _USAGES.items() if getattr(extension.value, field))


def _purposes(extension: x509.Extension[x509.ExtensionType] | None) -> tuple[str, ...]:
    if extension is None or not isinstance(extension.value, x509.ExtendedKeyUsage):
        return ()
    return tuple(_PURPOSES.get(oid, oid.dotted_string) for oid in extension.value)


def _alternatives(extension: x509.Extension[x509.ExtensionType] | None) -> tuple[str, ...]:
    if extension is None or not isinstance(extension.value, x509.SubjectAlternativeName):
        return ()
    return tuple(
        f"{'DNS' if isinstance(name, x509.DNSName) else 'IP' if isinstance(name, x509.IPAddress) else 'other'}:{name.value}"
        for name in extension.value
    )
