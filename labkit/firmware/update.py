"""Updates: a signed header before the image, and the manifest of the update server; see docs/formats/update.md.

The header says what the signature of an image alone does not say: for which product and hardware it is, which version
it has, how long it is. It comes first, so that a device can refuse before a byte of its flash is touched, and it has the
image's SHA-256 in it, so that the rest can be verified while it streams by.

`firmware/components/lab_core/src/lab_update.c` takes and refuses the same bytes with the same codes.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from labkit.errors import UpdateRefusedError
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAGIC = b"LABUPD1\0"
FORMAT = 1
SIGNED_LENGTH = 128
"""Bytes of the header that are signed."""

HEADER_LENGTH = SIGNED_LENGTH + 64
ECDSA_P256 = 1
"""The one algorithm so far: ECDSA over P-256 with SHA-256; the signature is r and s, 32 bytes each, big-endian."""

SMALLEST_IMAGE = 1024
"""No image that boots is smaller. The printed verifier takes one of no bytes at all."""

KEY_ID_LENGTH = 8

_LAYOUT = struct.Struct("<8sHH8s32sHHHHHHII32s24s")
"""Magic, header's length, algorithm, key id, product, hardware from and to, version (major, minor, patch), zero,
secure version, size, SHA-256, zeroes."""

_PRODUCT = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_VERSION = re.compile(r"(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})", flags=re.ASCII)

STAGES = {
    "header": ("header-short", "header-magic", "header-length", "header-algorithm", "header-reserved", "header-product",
               "header-hardware", "header-size"),
    "signature": ("key-revoked", "key-unknown", "signature-wrong"),
    "policy": ("product-wrong", "hardware-unsupported", "secure-version-older", "version-not-newer",
               "version-rolled-back", "size-too-large", "manifest-differs"),
    "image": ("image-long", "image-short", "image-digest"),
}  # fmt: skip
"""Every reason to refuse an update, by the stage in which it falls, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version; the later one is the greater."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that a text like `1.4.2` says.

        Raises:
            ValueError: It is not three numbers of at most 65,535.
        """
        found = _VERSION.fullmatch(text)
        parts = [int(part) for part in found.groups()] if found else []
        if not parts or max(parts) > 65_535:
            why = f"a version is three numbers like 1.4.2, not {text[:20]!r}"
            raise ValueError(why)
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Header:
    """What an update says of itself.

    Attributes:
        product: For which product it is: 1 to 31 of a-z, 0-9 and `-`.
        hardware_min: From which hardware revision on.
        hardware_max: Up to which.
        version: The image's version.
        secure_version: What rolls back no further; as in ESP-IDF's application description.
        size: Bytes of the image.
        digest: The image's SHA-256.
        key_id: Which key signed it.
    """

    product: str
    hardware_min: int
    hardware_max: int
    version: Version
    secure_version: int
    size: int
    digest: bytes
    key_id: bytes

    @staticmethod
    def product_is_one(text: str) -> bool:
        """Return whether a text can be a product's name."""
        return _PRODUCT.fullmatch(text) is not None

    def encode(self) -> bytes:
        """Return the part that is signed.

        Raises:
            ValueError: A value does not fit; `parse_header` would refuse what came out.
        """
        _verify_values(self)
        version = self.version
        return _LAYOUT.pack(
            MAGIC, HEADER_LENGTH, ECDSA_P256, self.key_id, self.product.encode("ascii"),
            self.hardware_min, self.hardware_max, version.major, version.minor, version.patch, 0,
            self.secure_version, self.size, self.digest, b"",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header with its signature.

    Attributes:
        header: What it says.
        signed: The bytes that are signed.
        signature: r and s.
    """

    header: Header
    signed: bytes
    signature: bytes


class Signer(Protocol):
    """Whoever can sign: a key in memory, or one in a hardware module."""

    @property
    def key_id(self) -> bytes:
        """The first 8 bytes of the SHA-256 of the public key (SubjectPublicKeyInfo)."""

    def sign(self, message: bytes) -> bytes:
        """Return r and s of a signature with ECDSA over P-256 and SHA-256."""


class KeySigner:
    """Signs with a key in memory.

    Args:
        private: A key on P-256.
    """

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self.key_id = key_id(private.public_key())

    def __repr__(self) -> str:
        return f"<KeySigner {self.key_id.hex()}>"

    def sign(self, message: bytes) -> bytes:
        """Return r and s."""
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Whose signatures a device takes.

    Attributes:
        keys: Public keys by key id; two of them while one follows the other.
        revoked: Key ids that count no more, whatever `keys` says.
    """

    keys: Mapping[bytes, ec.EllipticCurvePublicKey]
    revoked: frozenset[bytes] = frozenset()

    @classmethod
    def of(
        cls, publics: Iterable[ec.EllipticCurvePublicKey], *, revoked: Iterable[bytes] = ()
    ) -> TrustedKeys:
        """Return trust in some keys.

        Raises:
            ValueError: One of them is not on P-256.
        """
        return cls({key_id(public): public for public in publics}, frozenset(revoked))


@dataclass(frozen=True, slots=True)
class Target:
    """The device that an update is for.

    Attributes:
        product: Its product.
        hardware: Its hardware revision.
        version: The version that runs.
        secure_version: The lowest secure version that it still takes.
        slot_size: Bytes of an OTA slot.
        rolled_back: The version that did not prove itself on this device, if there was one.
    """

    product: str
    hardware: int
    version: Version
    secure_version: int = 0
    slot_size: int = 0x180000
    rolled_back: Version | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the update server says: where the update is, and what its header will say.

    Attributes:
        path: Where it is, on the same server.
        header: What is to be expected there.
    """

    path: str
    header: Header

    def render(self) -> bytes:
        """Return the manifest as JSON."""
        header = self.header
        value = {
            "format": FORMAT,
            "product": header.product,
            "hardware_min": header.hardware_min,
            "hardware_max": header.hardware_max,
            "version": str(header.version),
            "secure_version": header.secure_version,
            "size": header.size,
            "sha256": header.digest.hex(),
            "key_id": header.key_id.hex(),
            "path": self.path,
        }
        return json.dumps(value, indent=1).encode() + b"\n"


def key_id(public: ec.EllipticCurvePublicKey) -> bytes:
    """Return a key's id.

    Raises:
        ValueError: The key is not on P-256.
    """
    if not isinstance(public.curve, ec.SECP256R1):
        text = "updates are signed with keys on P-256"
        raise ValueError(text)  # noqa: TRY004 - the type is right, the curve is not
    return bytes.fromhex(fingerprint(public))[:KEY_ID_LENGTH]


def sign_update(image: bytes, *, product: str, version: Version, signer: Signer, hardware: tuple[int, int] = (0, 65_535),
                secure_version: int = 0) -> bytes:  # fmt: skip
    """Return an update: the signed header, then the image.

    Args:
        image: What goes into the slot.
        product: For which product it is.
        version: Its version.
        signer: Who signs.
        hardware: The first and the last hardware revision that it is for.
        secure_version: The same number as in the image's own description.

    Raises:
        ValueError: A value does not fit.
    """
    digest = hashlib.sha256(image).digest()
    header = Header(product, *hardware, version, secure_version, len(image), digest, signer.key_id)
    return sign_header(header, signer) + image


def sign_header(header: Header, signer: Signer) -> bytes:
    """Return a header with its signature; see `Header.encode`."""
    signed = header.encode()
    return signed + signer.sign(signed)


def parse_header(data: bytes) -> SignedHeader:
    """Return the header at the beginning of some bytes.

    Every byte of the signed part has one meaning: there are no two headers that say the same.

    Raises:
        UpdateRefusedError: `rule` is one of `STAGES["header"]`.

    Does not check: the signature.
    """
    if len(data) < HEADER_LENGTH:
        raise refused("header-short")
    (magic, length, algorithm, key, product, low, high, major, minor, patch, zero, secure, size, digest, zeroes) = (
        _LAYOUT.unpack_from(data)
    )  # fmt: skip
    if magic != MAGIC:
        raise refused("header-magic")
    if length != HEADER_LENGTH:
        raise refused("header-length")
    if algorithm != ECDSA_P256:
        raise refused("header-algorithm")
    if zero or any(zeroes):
        raise refused("header-reserved")
    name, padding = product.rstrip(b"\0"), len(product) - len(product.rstrip(b"\0"))
    if not padding or not Header.product_is_one(name.decode("latin-1")):
        raise refused("header-product")
    if low > high:
        raise refused("header-hardware")
    if size < SMALLEST_IMAGE:
        raise refused("header-size")
    header = Header(name.decode(), low, high, Version(major, minor, patch), secure, size, digest, key)
    return SignedHeader(header, data[:SIGNED_LENGTH], data[SIGNED_LENGTH:HEADER_LENGTH])


def verify_signature(signed: SignedHeader, trusted: TrustedKeys) -> None:
    """Verify that a key that we trust signed a header.

    Raises:
        UpdateRefusedError: `rule` is one of `STAGES["signature"]`.

    Does not check: what the header says. Yesterday's build and another product's carry good signatures too; see
        `decide`.
    """
    key = signed.header.key_id
    if key in trusted.revoked:
        raise refused("key-revoked")
    public = trusted.keys.get(key)
    if public is None:
        raise refused("key-unknown")
    r, s = (int.from_bytes(signed.signature[at : at + 32]) for at in (0, 32))
    try:
        public.verify(encode_dss_signature(r, s), signed.signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise refused("signature-wrong") from None


def decide(header: Header, target: Target) -> Outcome:
    """Return whether a device should take an update, at the stage `policy`.

    Does not check: the signature, and the image itself.
    """
    rules = (
        ("product-wrong", header.product != target.product),
        ("hardware-unsupported", not header.hardware_min <= target.hardware <= header.hardware_max),
        ("secure-version-older", header.secure_version < target.secure_version),
        ("version-not-newer", header.version <= target.version),
        ("version-rolled-back", header.version == target.rolled_back),
        ("size-too-large", header.size > target.slot_size),
    )
    reason = next((rule for rule, broken in rules if broken), ACCEPTED)
    detail = {"product": header.product, "version": str(header.version)}
    return Outcome("policy", reason == ACCEPTED, reason, detail)


def _verify_values(header: Header) -> None:
    fits = (
        Header.product_is_one(header.product),
        0 <= header.hardware_min <= header.hardware_max <= 65_535,
        all(
            0 <= part <= 65_535 for part in (header.version.major, header.version.minor, header.version.patch)
        ),
        0 <= header.secure_version <= 0xFFFFFFFF,
        SMALLEST_IMAGE <= header.size <= 0xFFFFFFFF,
        len(header.digest) == 32,
        len(header.key_id) == KEY_ID_LENGTH,
    )
    if not all(fits):
        text = f"this can't stand in a header: {header}"
        raise ValueError(text)


def refused(rule: str) -> UpdateRefusedError:
    """Return the error for a reason out of `STAGES`."""
    stage = next(stage for stage, rules in STAGES.items() if rule in rules)
    return UpdateRefusedError(
        f"The update is refused at the {stage}: {rule.replace('-', ' ')}.",
        advice="docs/formats/update.md says what each reason means; nothing on the device has changed.",
        rule=rule,
        stage=stage,
    )
