"""The printed verifier of updates in its museum: written afresh with the same faults, and the attacks on it.

Its file is the image with 256 bytes of signature behind it (RSA-2048, PKCS #1 v1.5, SHA-256), as `openssl dgst -sha256 -sign`
makes them. Its faults are those of the printed C function, line by line:

- it needs the whole file in memory before it can say anything;
- `length < 256` lets a file of 256 bytes pass, which holds an image of no bytes;
- what is signed is the image, so whatever was ever signed for anything is good for ever.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from labkit.errors import UpdateRefusedError
from labkit.firmware.update import (
    HEADER_LENGTH,
    SIGNED_LENGTH,
    KeySigner,
    Signer,
    Target,
    TrustedKeys,
    Version,
    key_id,
    sign_update,
)
from labkit.firmware.update_stream import verify_update
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric import ec, rsa

SIGNATURE = 256
_SIZE_AT = 68
"""Where our header has the image's size."""


def sign_printed(image: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Return an image with the printed signature behind it."""
    return image + key.sign(image, padding.PKCS1v15(), hashes.SHA256())


def printed_verdict(file: bytes, public: rsa.RSAPublicKey) -> Outcome:
    """Return what the printed verifier says of a file.

    Does not check: product, hardware, version, age, length. That is what it is in the museum for.
    """
    if len(file) < SIGNATURE:
        return Outcome("signature", accepted=False, reason="header-short")
    image, signature = file[:-SIGNATURE], file[-SIGNATURE:]
    try:
        public.verify(signature, image, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return Outcome("signature", accepted=False, reason="signature-wrong")
    return Outcome("signature", accepted=True, reason=ACCEPTED, detail={"bytes": len(image)})


def our_verdict(update: bytes, trusted: TrustedKeys, target: Target) -> Outcome:
    """Return what a device says of an update with our header."""
    try:
        image = verify_update(update, trusted, target)
    except UpdateRefusedError as error:
        return Outcome(error.stage, accepted=False, reason=error.rule)
    return Outcome("image", accepted=True, reason=ACCEPTED, detail={"bytes": len(image)})


@dataclass(frozen=True)
class Images:
    """What the house has ever built.

    Attributes:
        running: What the device runs, and its version.
        newer: The update that it should take.
        older: A build with a hole that is known by now.
        foreign: An image of another product of the house.
    """

    running: tuple[bytes, Version]
    newer: tuple[bytes, Version]
    older: tuple[bytes, Version]
    foreign: tuple[bytes, Version]


@dataclass(frozen=True)
class Museum:
    """Both verifiers, with a key each, and everything that was ever signed.

    Attributes:
        images: What there is to sign.
        product: The device's product.
        other: The other product.
    """

    images: Images
    product: str = "course-node"
    other: str = "pump-controller"
    printed_key: Key = field(default_factory=lambda: Key.generate("rsa2048"))
    our_key: Key = field(default_factory=Key.generate)
    stranger: Key = field(default_factory=lambda: Key.generate("rsa2048"))

    @property
    def target(self) -> Target:
        """The device."""
        return Target(self.product, 2, self.images.running[1])

    @property
    def signer(self) -> Signer:
        """Who signs our headers."""
        return KeySigner(_p256(self.our_key))

    def printed(self, image: bytes, key: Key | None = None) -> bytes:
        """Return a file for the printed verifier."""
        return sign_printed(image, _rsa(key or self.printed_key))

    def ours(self, image: bytes, version: Version, product: str = "", signer: Signer | None = None) -> bytes:
        """Return an update for ours."""
        return sign_update(
            image, product=product or self.product, version=version, signer=signer or self.signer
        )

    def verdicts(self, files: tuple[bytes, bytes]) -> tuple[Outcome, Outcome]:
        """Return what each of the two says: of the printed file, and of our update."""
        public = _rsa(self.printed_key).public_key()
        trusted = TrustedKeys.of([_p256(self.our_key).public_key()])
        return printed_verdict(files[0], public), our_verdict(files[1], trusted, self.target)


def honest(museum: Museum) -> tuple[bytes, bytes]:
    """The update that the device should take: the positive control."""
    image, version = museum.images.newer
    return museum.printed(image), museum.ours(image, version)


def flipped_bit(museum: Museum) -> tuple[bytes, bytes]:
    """One bit of the image is another."""
    printed, ours = honest(museum)
    at = len(ours) // 2
    return _flip(printed, at - HEADER_LENGTH), _flip(ours, at)


def cut_short(museum: Museum) -> tuple[bytes, bytes]:
    """The last byte is missing."""
    printed, ours = honest(museum)
    return printed[:-1], ours[:-1]


def one_byte_more(museum: Museum) -> tuple[bytes, bytes]:
    """Somebody put a byte behind it."""
    printed, ours = honest(museum)
    return printed + b"\0", ours + b"\0"


def another_key(museum: Museum) -> tuple[bytes, bytes]:
    """A stranger signed it, and writes the house's key id into the header."""
    image, version = museum.images.newer
    mine = KeySigner(_p256(Key.generate()))
    mine.key_id = key_id(_p256(museum.our_key).public_key())
    return museum.printed(image, museum.stranger), museum.ours(image, version, signer=mine)


def older_build(museum: Museum) -> tuple[bytes, bytes]:
    """Yesterday's build, with its hole; signed then, and nobody can take a signature back."""
    image, version = museum.images.older
    return museum.printed(image), museum.ours(image, version)


def foreign_product(museum: Museum) -> tuple[bytes, bytes]:
    """Another product's image of the same house."""
    image, version = museum.images.foreign
    return museum.printed(image), museum.ours(image, version, museum.other)


def empty_image(museum: Museum) -> tuple[bytes, bytes]:
    """An image of no bytes, properly signed."""
    image, version = museum.images.newer
    signed = bytearray(museum.ours(image, version)[:SIGNED_LENGTH])
    struct.pack_into("<I", signed, _SIZE_AT, 0)  # no tool of ours makes such a header; a careless one would
    return museum.printed(b""), bytes(signed) + museum.signer.sign(bytes(signed))


ATTACKS: dict[str, Callable[[Museum], tuple[bytes, bytes]]] = {
    "one flipped bit": flipped_bit,
    "cut short": cut_short,
    "one byte more": one_byte_more,
    "another key": another_key,
    "yesterday's build": older_build,
    "another product's image": foreign_product,
    "an image of no bytes": empty_image,
}
"""Every attack on both: bytes that are handed to each verifier."""


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _rsa(key: Key) -> rsa.RSAPrivateKey:
    return key.private  # type: ignore[return-value]


def _p256(key: Key) -> ec.EllipticCurvePrivateKey:
    return key.private  # type: ignore[return-value]
