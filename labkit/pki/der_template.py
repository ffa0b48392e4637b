"""Certificates for a whole fleet: one certificate is built, and for the others its bytes are changed in four places.

Building a certificate costs more than signing it. Within a batch all certificates are alike but for serial number, name,
public key and key identifier, so those are replaced in the encoded to-be-signed part, which is signed anew. Tests hold
every byte of the result against what the builder makes.
"""

from __future__ import annotations

import binascii
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.errors import IssuanceRefusedError
from labkit.pki.keys import Key
from labkit.pki.profiles import DEVICE, Profile
from labkit.pki.template import Template, device_names

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from labkit.pki.authority import Authority

_SIGN = ec.ECDSA(hashes.SHA256())
_ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")
"""ecdsa-with-SHA256 (RFC 5758 §3.2), which stands behind the part that is signed."""

_SERIAL_BYTES = 16
_POINT = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
_KEY = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass(frozen=True, slots=True)
class Made:
    """A key and its certificate, encoded.

    Attributes:
        device_id: Whose.
        certificate: The certificate, in DER.
        key_pem: The private key, in PEM, unencrypted.
    """

    device_id: str
    certificate: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return f"<Made {self.device_id}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, in PEM."""
        return pem_of(self.certificate)


def pem_of(der: bytes) -> bytes:
    """Return a certificate in PEM (RFC 7468): base64 in lines of 64."""
    text = binascii.b2a_base64(der, newline=False)
    lines = b"\n".join([text[start : start + 64] for start in range(0, len(text), 64)])
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


class FleetTemplate:
    """Makes keys and certificates for devices whose ids have one length.

    Args:
        authority: Who signs; its key must be P-256.
        length: The length of the ids.
        now: The time.
        profile: What kind they are.
        serials: Where the bytes of serial numbers come from.

    Raises:
        IssuanceRefusedError: The authority's key is of another kind (`rule` is `signer-kind`), it is a root (`root-key`),
            or it is not valid now (`authority-expired`).
    """

    def __init__(
        self,
        authority: Authority,
        length: int,
        *,
        now: dt.datetime,
        profile: Profile = DEVICE,
        serials: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if authority.key.kind != "p256":
            raise _refused("signer-kind", "the fast path signs with P-256 only")
        if authority.is_root:
            raise _refused("root-key", "a factory never gets the root's key")
        certificate = authority.certificate
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise _refused("authority-expired", f"the certificate of {authority.name} is not valid now")
        self.length = length
        self._signer = authority.key.private
        self._serials = serials
        self._cut(authority, profile, now)

    def _cut(self, authority: Authority, profile: Profile, now: dt.datetime) -> None:
        # A specimen whose variable parts are random, so that each is found in one place, or in as many as it should be.
        name = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz") for _ in range(self.length))
        serial = _positive(secrets.token_bytes(_SERIAL_BYTES))
        key = Key.generate("p256")
        template = Template(
            profile,
            issuer=authority.certificate.subject,
            signer=authority.key,
            now=now,
            limit=authority.certificate.not_valid_after_utc,
        )
        specimen = template.sign(
            template.subject(name), key.public, int.from_bytes(serial), device_names(name)
        )
        body = specimen.tbs_certificate_bytes
        point = key.public.public_bytes(*_POINT)
        places = sorted(
            [
                *_places(body, serial, 1, "serial"),
                # The name with its tag and length before it: UTF8String in the subject, dNSName in the SAN.
                *_places(body, bytes([0x0C, self.length]) + name.encode(), 1, "subject"),
                *_places(body, bytes([0x82, self.length]) + name.encode(), 1, "dns"),
                *_places(body, point, 1, "point"),
                *_places(body, hashlib.sha1(point, usedforsecurity=False).digest(), 1, "identifier"),
            ]
        )
        self._parts: list[bytes] = []
        self._kinds: list[str] = []
        end = 0
        for start, size, kind in places:
            self._parts.append(body[end:start])
            self._kinds.append(kind)
            end = start + size
        self._rest = body[end:]

    def make(self, device_id: str) -> Made:
        """Make a key and a certificate.

        Args:
            device_id: The id, which somebody has looked at already (`names.device_id`).

        Raises:
            ValueError: It has another length than the template's.
        """
        if len(device_id) != self.length:
            text = f"{device_id} has {len(device_id)} characters and this template {self.length}"
            raise ValueError(text)
        private = ec.generate_private_key(ec.SECP256R1())
        point = private.public_key().public_bytes(*_POINT)
        name = bytes([self.length]) + device_id.encode()
        values = {
            "serial": _positive(self._serials(_SERIAL_BYTES)),
            "subject": b"\x0c" + name,
            "dns": b"\x82" + name,
            "point": point,
            # RFC 5280 §4.2.1.2 (1): SHA-1 of the public key's bits. It names a key and protects nothing.
            "identifier": hashlib.sha1(point, usedforsecurity=False).digest(),
        }
        pieces = [
            piece
            for part, kind in zip(self._parts, self._kinds, strict=True)
            for piece in (part, values[kind])
        ]
        body = b"".join([*pieces, self._rest])
        signature = self._signer.sign(body, _SIGN)  # type: ignore[call-arg,arg-type] # P-256, see above
        bits = b"\x03" + _length(len(signature) + 1) + b"\x00" + signature
        content = body + _ALGORITHM + bits
        return Made(device_id, b"\x30" + _length(len(content)) + content, private.private_bytes(*_KEY))


def _positive(raw: bytes) -> bytes:
    # Always 16 octets, positive, and encoded as short as DER wants it: the first octet lies in 0x40…0x7f. That leaves
    # 126 random bits, far more than the 64 that are asked for (CA/Browser baseline requirements §7.1).
    return bytes([raw[0] & 0x3F | 0x40]) + raw[1:]


def _places(body: bytes, wanted: bytes, count: int, kind: str) -> list[tuple[int, int, str]]:
    found, start = [], body.find(wanted)
    while start >= 0:
        found.append((start, len(wanted), kind))
        start = body.find(wanted, start + 1)
    if len(found) != count:
        text = f"the {kind} of the specimen is in {len(found)} places and should be in {count}"
        raise RuntimeError(text)
    return found


def _length(size: int) -> bytes:
    """Encode a length (X.690 §8.1.3)."""
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets


def _refused(rule: str, why: str) -> IssuanceRefusedError:
    return IssuanceRefusedError(f"Not issued: {why}.", advice="Look at it with: labkit ca show", rule=rule)
