"""What kinds of certificate there are: each a value that says what goes into it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

YEAR = 365


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of certificate.

    Attributes:
        name: What the ledger calls it.
        ca: Whether it may sign certificates (basicConstraints, RFC 5280 §4.2.1.9).
        path_length: How many CA certificates may follow below it; None sets no limit.
        days: How long it is valid.
        key_kind: What kind of key is made for it where none is given.
        purposes: The extended key usages; none for a CA, exactly one for a leaf.
    """

    name: str
    ca: bool
    path_length: int | None
    days: int
    key_kind: str
    purposes: tuple[ObjectIdentifier, ...] = ()

    @property
    def key_usage(self) -> x509.KeyUsage:
        """The key usage bits (RFC 5280 §4.2.1.3).

        A CA signs certificates and CRLs. A leaf signs handshakes; keyEncipherment would allow the static RSA
        key exchange, which has no forward secrecy, so nobody gets it.
        """
        return x509.KeyUsage(
            digital_signature=not self.ca,
            key_cert_sign=self.ca,
            crl_sign=self.ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )

    def with_key(self, kind: str) -> Profile:
        """Return the same profile with another kind of key."""
        return replace(self, key_kind=kind)


ROOT = Profile("root", ca=True, path_length=None, days=10 * YEAR, key_kind="p384")
INTERMEDIATE = Profile("intermediate", ca=True, path_length=0, days=5 * YEAR, key_kind="p256")
SERVER = Profile(
    "server",
    ca=False,
    path_length=None,
    days=YEAR,
    key_kind="p256",
    purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
)
DEVICE = Profile(
    "device",
    ca=False,
    path_length=None,
    days=YEAR,
    key_kind="p256",
    purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,),
)
OPERATOR = replace(DEVICE, name="operator")

RSA_KINDS = {"root": "rsa4096", "intermediate": "rsa2048", "server": "rsa2048"}
"""The key kinds of the syllabus, for `--rsa`: they cost more on a small device and protect no better."""


def choose(profile: Profile, *, rsa: bool) -> Profile:
    """Return the profile, with the RSA key of the syllabus where that is asked for."""
    return profile.with_key(RSA_KINDS[profile.name]) if rsa and profile.name in RSA_KINDS else profile
