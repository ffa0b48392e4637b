"""Certificate signing requests: a key and the proof that the sender has it. Nothing else in one counts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from labkit.errors import RequestRefusedError
from labkit.pki.keys import PublicKey, check_policy

if TYPE_CHECKING:
    from labkit.pki.keys import Key

MAX_BYTES = 16 * 1024
"""Longest request that is looked at; a P-256 request has about 400 bytes, RSA-4096 about 1,700."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclass(frozen=True, slots=True)
class Request:
    """What a request contributes, and what it asked for in vain.

    Attributes:
        public_key: The key, proven to be the sender's and allowed by policy.
        ignored: Everything else that it asked for: subject and extensions, in words.
        subject: The subject that it asked for. At a renewal it must be the one of before; it is never copied.
        alternatives: The alternative names that it asked for; likewise.
    """

    public_key: PublicKey
    ignored: tuple[str, ...]
    subject: x509.Name = field(default_factory=lambda: x509.Name([]))
    alternatives: x509.SubjectAlternativeName | None = None


def make_request(key: Key, common_name: str) -> bytes:
    """Return a PKCS #10 request (RFC 2986) in PEM, signed with the key.

    Args:
        key: The key that a certificate is wanted for.
        common_name: The name that is wished for; the authority decides.
    """
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder(subject_name=subject).sign(key.private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def read_request(pem: bytes) -> Request:
    """Read a request that somebody sent us.

    Args:
        pem: Exactly one PEM block `CERTIFICATE REQUEST`.

    Raises:
        RequestRefusedError: `rule` is `too-long`, `not-one-request` (none, several, or another kind of block such
            as a private key), `unreadable`, or `no-proof` (the signature does not fit the key, RFC 2986 §4.2).
        KeyRefusedError: The key is not allowed; see `check_policy`.

    Does not check: who sent it, and whether they may have the name; that is decided elsewhere, and the name in the
        request plays no part in it.
    """
    if len(pem) > MAX_BYTES:
        raise _refused("too-long", f"it has {len(pem)} bytes and {MAX_BYTES} are allowed")
    labels = _BLOCK.findall(pem)
    if labels not in ([b"CERTIFICATE REQUEST"], [b"NEW CERTIFICATE REQUEST"]):
        kinds = ", ".join(label.decode() for label in labels) or "nothing in PEM"
        raise _refused("not-one-request", f"it must be one PEM block CERTIFICATE REQUEST and holds {kinds}")
    try:
        request = x509.load_pem_x509_csr(pem)
        proven = request.is_signature_valid
        public = request.public_key()
        ignored, alternatives = _ignored(request), _alternatives(request)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise _refused("unreadable", "its content does not parse") from error
    if not proven:
        raise _refused("no-proof", "its signature does not fit its key, so the sender may not have the key")
    return Request(check_policy(public), ignored, request.subject, alternatives)


def _ignored(request: x509.CertificateSigningRequest) -> tuple[str, ...]:
    try:
        asked = [extension.oid._name for extension in request.extensions]  # noqa: SLF001 - the only name there is
    except (ValueError, x509.DuplicateExtension):
        asked = ["extensions that do not parse"]
    return (f"subject {request.subject.rfc4514_string() or '(empty)'}", *asked)


def _alternatives(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _refused(rule: str, why: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"The certificate request is refused: {why}.",
        advice="Make one with: openssl req -new -key device.key -subj /CN=sensor-001",
        rule=rule,
    )
