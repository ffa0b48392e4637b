"""Search bytes for what should not be readable in them: private keys, tokens, passwords. What a thief does first.

Nothing that is found is ever returned: a finding has a kind, a place, and a digest that tells whether two places hold
the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from labkit.audit.facts import Secret
from labkit.pki.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

MOST = 200
"""More findings than this in one place say nothing new."""

_PEM = re.compile(
    rb"-----BEGIN (?P<kind>[A-Z0-9 ]{0,20})PRIVATE KEY-----[\s\S]{16,8000}?-----END (?P=kind)PRIVATE KEY-----"
)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{64,8000}?-----END CERTIFICATE-----")
_TOKEN = re.compile(rb"labtok_[A-Za-z0-9_-]{43}")
_ADDRESS = re.compile(rb"mqtts?://[^\s:@/\0]{1,64}:(?P<secret>[^\s@/\0]{1,64})@")
_PASSWORD = re.compile(
    rb"(?i)\b(?:mqtt|wifi|api|admin)?[_-]?(?:password|passwd|api[_-]?key|secret)"
    rb"[\"']?\s{0,2}[=:]\s{0,2}[\"']?(?P<secret>[^\s\"'%\0<>{}()]{4,64})"
)
# How the DER encoding of a private key begins, by how long its length field is.
_DER = re.compile(
    rb"\x30(?:[\x20-\x7f]|\x81[\x80-\xff]|\x82[\x01-\x09][\x00-\xff])"
    rb"(?:\x02\x01\x01\x04[\x1c-\x42]"  # SEC 1: version 1, then the scalar
    rb"|\x02\x01\x00\x30[\x0b-\x20]\x06"  # PKCS #8: version 0, then an algorithm
    rb"|\x02\x01\x00\x02\x82)"  # PKCS #1: version 0, then a long modulus
)


def secrets_in(data: bytes, place: str, *, start: int = 0, inside: str = "flash") -> list[Secret]:
    """Return what should not be readable in some bytes, in the order in which it stands there.

    Args:
        data: The bytes; hostile ones find nothing and cost linear time.
        place: What to call them.
        start: Where they begin in the file that offsets are told of.
        inside: `image`, `nvs` or `flash`.
    """
    found: dict[int, Secret] = {}
    for offset, kind, what, key in _matches(data):
        digest = hashlib.sha256(what).hexdigest()
        found.setdefault(offset, Secret(place, start + offset, kind, digest, key, inside))
        if len(found) >= MOST:
            break
    return [found[offset] for offset in sorted(found)]


def _matches(data: bytes) -> Iterator[tuple[int, str, bytes, str]]:
    for match in _PEM.finditer(data):
        yield match.start(), "private key (PEM)", match[0], _public(_loaded_pem(match[0]))
    end = 0
    for match in _DER.finditer(data):
        if match.start() < end:
            continue  # PKCS #8 has another key's encoding inside, which is the same key
        whole = data[match.start() : match.start() + _der_length(data, match.start())]
        key = _loaded_der(whole)
        if key is not None:  # these bytes can stand there by accident
            end = match.start() + len(whole)
            yield match.start(), "private key (DER)", whole, _public(key)
    for match in _TOKEN.finditer(data):
        yield match.start(), "provisioning token", match[0], ""
    for pattern in (_ADDRESS, _PASSWORD):
        for match in pattern.finditer(data):
            yield match.start("secret"), "password", match["secret"], ""


def certificates_in(data: bytes) -> list[bytes]:
    """Return the certificates in PEM in some bytes."""
    return list(dict.fromkeys(match[0] for match in _CERTIFICATE.finditer(data)))


def _der_length(data: bytes, start: int) -> int:
    first = data[start + 1]
    if first < 0x80:
        return 2 + first
    size = first & 0x7F
    return 2 + size + int.from_bytes(data[start + 2 : start + 2 + size], "big")


def _loaded_pem(data: bytes) -> PrivateKeyTypes | None:
    try:
        return load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # encrypted or damaged, and no better to find


def _loaded_der(data: bytes) -> PrivateKeyTypes | None:
    try:
        return load_der_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _public(key: PrivateKeyTypes | None) -> str:
    if key is None:
        return ""
    return fingerprint(key.public_key())  # type: ignore[arg-type] # any public key has SubjectPublicKeyInfo
