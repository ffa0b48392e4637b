"""Secure Boot V2: the signature sector behind an image, and who is trusted to have signed it.

The sector lies at the next multiple of 4,096 behind the image and holds up to three blocks of 1,216 bytes. A block brings
its public key along; the chip knows only the SHA-256 of it, burned into eFuses (ESP-IDF programming guide, "Secure Boot
v2"). What is signed is everything before the sector, padding included.

A signature says who made an image. It does not say for which product, how old it is, or that it should be installed.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from labkit.errors import FormatError, SignatureRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTOR = 0x1000
BLOCK = 1216
MOST_BLOCKS = 3
MAGIC = 0xE7
RSA = "rsa3072"

_CHECKED = 1196  # what the block's checksum covers
_CURVES: dict[int, tuple[str, ec.EllipticCurve]] = {
    1: ("ecdsa192", ec.SECP192R1()),
    2: ("ecdsa256", ec.SECP256R1()),
    3: ("ecdsa384", ec.SECP384R1()),
}

# The more a block got right, the more it says to refuse for that reason.
RULES = (
    "unsigned",
    "signature-block",
    "signature-scheme",
    "no-trusted-key",
    "untrusted-key",
    "revoked-key",
    "image-digest",
    "signature",
)
"""Why a signature sector is refused, in the order in which a block is looked at."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that the chip trusts, or has revoked.

    Attributes:
        digest: SHA-256 of the public key, as `espsecure digest-sbv2-public-key` writes it.
        revoked: It is trusted no longer.
    """

    digest: bytes
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class SignatureBlock:
    """One signature.

    Attributes:
        scheme: `rsa3072`, `ecdsa192`, `ecdsa256` or `ecdsa384`.
        image_digest: The hash that was signed: SHA-256, or SHA-384 for `ecdsa384`.
        key_digest: The name of the key: SHA-256 of what the block says of it.
        numbers: The public key: modulus and exponent, or the two coordinates.
        signature: The signature, least significant byte first as in flash.
    """

    scheme: str
    image_digest: bytes
    key_digest: bytes
    numbers: tuple[int, int] = field(repr=False)
    signature: bytes = field(repr=False)


def signed_length(length: int) -> int:
    """Return how much of a flash is signed: the image, up to the next sector."""
    return -(-length // SECTOR) * SECTOR


def parse_block(data: bytes) -> SignatureBlock | None:
    """Return a signature block, or None where there is none.

    Raises:
        FormatError: It begins as one, and its checksum, version or curve is none.

    Does not check: the signature. espsecure says *valid* at this point too, and means no more.
    """
    if len(data) < BLOCK or data[0] != MAGIC:
        return None
    if struct.unpack_from("<I", data, _CHECKED)[0] != zlib.crc32(data[:_CHECKED]):
        raise _bad(_CHECKED, "its checksum is wrong")
    if data[1] == 2:
        return _rsa(data)
    if data[1] == 3:
        return _ecdsa(data)
    raise _bad(1, f"version {data[1]} is none that we know")


def _rsa(data: bytes) -> SignatureBlock:
    modulus, exponent = int.from_bytes(data[36:420], "little"), int.from_bytes(data[420:424], "little")
    key = hashlib.sha256(data[36:812]).digest()
    return SignatureBlock(RSA, data[4:36], key, (modulus, exponent), data[812:1196])


def _ecdsa(data: bytes) -> SignatureBlock:
    wide = data[2] == 1  # SHA-384 takes 16 bytes more, and moves the rest
    start, digest = (52, data[4:52]) if wide else (36, data[4:36])
    if data[2] > 1 or data[start] not in _CURVES or (data[start] == 3) != wide:
        raise _bad(start, f"curve {data[start]} with hash {data[2]} is none that we know")
    name, curve = _CURVES[data[start]]
    size, room = curve.key_size // 8, 96 if wide else 64
    begin = start + 1
    x, y = (int.from_bytes(data[begin + n * size : begin + (n + 1) * size], "little") for n in range(2))
    key = hashlib.sha256(data[start : begin + room]).digest()
    return SignatureBlock(name, digest, key, (x, y), data[begin + room : begin + room + 2 * size])


def verify_signatures(
    signed: bytes,
    sector: bytes,
    trusted: Sequence[TrustedKey],
    *,
    schemes: Sequence[str] = (RSA,),
    blocks: int = MOST_BLOCKS,
) -> SignatureBlock:
    """Verify that a trusted key signed an image, and return the block that proves it.

    Args:
        signed: Everything before the sector.
        sector: The signature sector.
        trusted: Whom the chip trusts, and whom no longer.
        schemes: What the chip can verify.
        blocks: How many blocks it looks at; the ESP32 looks at one.

    Raises:
        SignatureRefusedError: `rule` is one of `RULES`; of several blocks, the one that came furthest gives the reason.

    Does not check: what the image is, for whom, and how old. An older image of the same maker passes.
    """
    worst = 0
    for number in range(blocks):
        data = sector[number * BLOCK : (number + 1) * BLOCK]
        try:
            block = parse_block(data)
        except FormatError:
            worst = max(worst, RULES.index("signature-block"))
            continue
        if block is None:
            continue
        rule = _judge(block, signed, trusted, schemes)
        if rule is None:
            return block
        worst = max(worst, RULES.index(rule))
    raise refused(RULES[worst])


def _judge(
    block: SignatureBlock, signed: bytes, trusted: Sequence[TrustedKey], schemes: Sequence[str]
) -> str | None:
    if block.scheme not in schemes:
        return "signature-scheme"
    if not trusted:
        return "no-trusted-key"
    known = [key for key in trusted if key.digest == block.key_digest]
    if not known:
        return "untrusted-key"
    if all(key.revoked for key in known):
        return "revoked-key"
    digest = (hashlib.sha384 if block.scheme == "ecdsa384" else hashlib.sha256)(signed).digest()
    if digest != block.image_digest:
        return "image-digest"
    return None if _signature_holds(block) else "signature"


def _signature_holds(block: SignatureBlock) -> bool:
    try:
        if block.scheme == RSA:
            _verify_rsa(block)
        else:
            _verify_ecdsa(block)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):  # ValueError: the numbers are no key
        return False
    return True


def _verify_rsa(block: SignatureBlock) -> None:
    modulus, exponent = block.numbers
    if modulus.bit_length() != 3072:
        text = f"a modulus of {modulus.bit_length()} bits"
        raise ValueError(text)
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    key.verify(block.signature[::-1], block.image_digest, scheme, Prehashed(hashes.SHA256()))


def _verify_ecdsa(block: SignatureBlock) -> None:
    curve = next(curve for name, curve in _CURVES.values() if name == block.scheme)
    algorithm = hashes.SHA384() if block.scheme == "ecdsa384" else hashes.SHA256()
    half = len(block.signature) // 2
    r, s = (int.from_bytes(part, "little") for part in (block.signature[:half], block.signature[half:]))
    key = ec.EllipticCurvePublicNumbers(*block.numbers, curve).public_key()
    key.verify(encode_dss_signature(r, s), block.image_digest, ec.ECDSA(Prehashed(algorithm)))


_WHY = {
    "unsigned": "it is not signed",
    "signature-block": "the signature block is damaged",
    "signature-scheme": "the chip can't verify signatures of this kind",
    "no-trusted-key": "the chip trusts no key",
    "untrusted-key": "a key signed it that the chip does not trust",
    "revoked-key": "the key that signed it was revoked",
    "image-digest": "it is not the image that was signed",
    "signature": "the signature is false",
}


def refused(rule: str) -> SignatureRefusedError:
    """Return the error of a rule."""
    return SignatureRefusedError(
        f"The image's signature does not hold: {_WHY[rule]}.",
        advice="Sign it with a key that the chip trusts: espsecure sign-data --version 2 --keyfile KEY.pem IMAGE",
        rule=rule,
    )


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is no Secure Boot V2 signature block: {why} (offset {offset:#x}).",
        advice="Sign the image again: espsecure sign-data --version 2 --keyfile KEY.pem IMAGE",
        what="signature",
        offset=offset,
    )
