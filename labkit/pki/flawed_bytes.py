"""Flaws that a certificate builder rightly refuses to make: here the bytes are changed, and signed again.

A certificate is three things in a sequence: what is said, how it was signed, the signature (RFC 5280 §4.1). Whoever
changes the first has to make the third anew, with the authority's key.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.pki.keys import Key

SEQUENCE, SET, INTEGER, BIT_STRING, NULL, OID, UTF8 = 0x30, 0x31, 0x02, 0x03, 0x05, 0x06, 0x0C

SERIAL, ALGORITHM, SUBJECT, KEY = 1, 2, 5, 6
"""Places in what is said: version, serial number, algorithm, issuer, validity, subject, key, extensions."""

_COMMON_NAME = bytes.fromhex("550403")
_RSA = bytes.fromhex("2a864886f70d010101")
_ALGORITHMS = {
    ("ec", "sha1"): bytes.fromhex("2a8648ce3d0401"),
    ("ec", "sha256"): bytes.fromhex("2a8648ce3d040302"),
    ("ec", "sha384"): bytes.fromhex("2a8648ce3d040303"),
    ("rsa", "sha1"): bytes.fromhex("2a864886f70d010105"),
    ("rsa", "sha256"): bytes.fromhex("2a864886f70d01010b"),
}
_HASHES: dict[str, type[hashes.SHA1 | hashes.SHA256 | hashes.SHA384]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
}


def element(tag: int, *parts: bytes) -> bytes:
    """Return one DER element (X.690 §8.1): tag, length, content."""
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def elements(data: bytes) -> list[bytes]:
    """Return the elements in some bytes, each with its tag and length.

    Raises:
        FormatError: A length does not fit into what is there; `offset` says where.
    """
    found, at = [], 0
    while at < len(data):
        header, length = _header(data, at)
        if length > len(data) - at - header:
            raise _bad(at, "an element is longer than what is left")
        found.append(data[at : at + header + length])
        at += header + length
    return found


def inside(data: bytes) -> bytes:
    """Return the content of one element.

    Raises:
        FormatError: It is not exactly one.
    """
    header, length = _header(data, 0)
    if length != len(data) - header:
        raise _bad(0, "it is not exactly one element")
    return data[header:]


def _header(data: bytes, at: int) -> tuple[int, int]:
    if len(data) - at < 2:
        raise _bad(at, "an element ends in its header")
    first = data[at + 1]
    if first < 0x80:
        return 2, first
    width = first & 0x7F
    if not 0 < width <= 4 or len(data) - at - 2 < width:
        raise _bad(at + 1, "a length can't be read")
    return 2 + width, int.from_bytes(data[at + 2 : at + 2 + width], "big")


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is not DER: {why}.",
        advice="Look at it: openssl asn1parse -inform DER",
        what="DER",
        offset=offset,
    )


def resign(
    certificate: x509.Certificate,
    signer: Key,
    *,
    replace: dict[int, bytes] | None = None,
    digest: str = "sha256",
) -> x509.Certificate:
    """Return a certificate with parts of what it says replaced, signed again.

    Args:
        certificate: The certificate.
        signer: The issuer's key.
        replace: New elements by their place; see `SUBJECT` and its like.
        digest: `sha1`, `sha256` or `sha384`.
    """
    said = elements(inside(certificate.tbs_certificate_bytes))
    kind = "rsa" if isinstance(signer.public, rsa.RSAPublicKey) else "ec"
    algorithm = element(
        SEQUENCE, element(OID, _ALGORITHMS[kind, digest]), element(NULL) if kind == "rsa" else b""
    )
    for place, part in {**(replace or {}), ALGORITHM: algorithm}.items():
        said[place] = part
    body = element(SEQUENCE, *said)
    signature = element(BIT_STRING, b"\0", _sign(signer, body, _HASHES[digest]()))
    return x509.load_der_x509_certificate(element(SEQUENCE, body, algorithm, signature))


def _sign(signer: Key, data: bytes, digest: hashes.HashAlgorithm) -> bytes:
    private = signer.private
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), digest)
    assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 - policy knows these two
    return private.sign(data, ec.ECDSA(digest))


def subject(common_names: Sequence[str]) -> bytes:
    """Return a subject with these common names, whatever they are."""
    parts = [
        element(SET, element(SEQUENCE, element(OID, _COMMON_NAME), element(UTF8, name.encode())))
        for name in common_names
    ]
    return element(SEQUENCE, *parts)


def rsa_512() -> tuple[bytes, bytes]:
    """Return an RSA key with 512 bits: its SubjectPublicKeyInfo in DER, and the private key in PEM.

    Such a key was factored in public in 1999; no library makes one any more, and no verifier should take one.
    """
    e = 65537
    p = q = 0
    while p == q or ((p - 1) * (q - 1)) % e == 0 or (p * q).bit_length() != 512:
        p, q = _prime(256), _prime(256)
    n, d = p * q, pow(e, -1, (p - 1) * (q - 1))
    public = element(SEQUENCE, _number(n), _number(e))
    info = element(
        SEQUENCE, element(SEQUENCE, element(OID, _RSA), element(NULL)), element(BIT_STRING, b"\0", public)
    )
    numbers = (0, n, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    private = element(SEQUENCE, *(_number(each) for each in numbers))
    return info, _pem("RSA " + "PRIVATE KEY", private)


def _number(value: int) -> bytes:
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _prime(bits: int) -> int:
    while True:
        found = secrets.randbits(bits) | 1 << (bits - 1) | 1 << (bits - 2) | 1
        if all(_passes(found, secrets.randbelow(found - 3) + 2) for _ in range(20)):
            return found


def _passes(number: int, base: int) -> bool:
    """Return whether a number passes one round of the Miller-Rabin test."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    x = pow(base, odd, number)
    if x in {1, number - 1}:
        return True
    for _ in range(twos - 1):
        x = x * x % number
        if x == number - 1:
            return True
    return False


def truncated(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM whose last bytes are missing."""
    return _pem("CERTIFICATE", certificate.public_bytes(serialization.Encoding.DER)[:-20])


def trailing_data(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM with bytes behind its end."""
    return _pem("CERTIFICATE", certificate.public_bytes(serialization.Encoding.DER) + b"and more")


def _pem(label: str, der: bytes) -> bytes:

    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
