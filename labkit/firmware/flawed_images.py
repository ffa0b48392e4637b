"""Applications that are broken on purpose, each in one way and in its bytes, and what a board says of them.

`plain` is the verdict of a board without Secure Boot, `secured` that of one with it. Where a board without it says
*accepted*, the defect is of a kind that checksum and SHA-256 don't find, because whoever makes it computes them anew.
Where even Secure Boot says so, the maker signed it: a signature says nothing of age or product.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.firmware.description import APP_MAGIC, BEHAVIOUR_MAGIC
from labkit.firmware.image import HEADER, build_image, parse_image, repair
from labkit.firmware.memory_map import MAPS
from labkit.firmware.secure_boot import BLOCK, SECTOR, signed_length
from labkit.outcome import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Material:
    """What flawed applications are made of: good ones.

    Attributes:
        chip_name: The board's chip.
        signed: An application, signed by the key that the board trusts.
        older: The same with the security version before.
        stranger: The same, signed by a key that the board does not know.
        ecdsa: The same, signed with ECDSA.
        foreign: An application for another chip, signed by the trusted key.
        other_product: Another product's application, signed by the trusted key.
    """

    chip_name: str
    signed: bytes
    older: bytes
    stranger: bytes
    ecdsa: bytes
    foreign: bytes
    other_product: bytes


@dataclass(frozen=True, slots=True)
class FlawedImage:
    """A defect.

    Attributes:
        name: What is wrong.
        story: How it comes about, in a sentence.
        plain: What a board without Secure Boot says.
        secured: What a board with Secure Boot says.
        make: Makes it of good material.
    """

    name: str
    story: str
    plain: str
    secured: str
    make: Callable[[Material], bytes]


def _image(data: bytes) -> bytes:
    """Return a signed application without its signature and the padding before it."""
    return data[: parse_image(data, verify=False).length]


def _signature(data: bytes) -> bytes:
    return data[signed_length(len(_image(data))) :]


def _resigned(image: bytes, old: bytes) -> bytes:
    """Return a changed image with the old signature where a signature belongs."""
    return image.ljust(signed_length(len(image)), b"\xff") + _signature(old)


def _patched(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def _at(offset: int, new: bytes, *, mend: bool = False) -> Callable[[Material], bytes]:
    """Return a maker that puts bytes into the image, and makes checksum and SHA-256 right again on request."""

    def make(good: Material) -> bytes:
        changed = _patched(good.signed, offset, new)
        return repair(changed) if mend else changed

    return make


def _flip(offset: int, *, mend: bool = False) -> Callable[[Material], bytes]:
    def make(good: Material) -> bytes:
        return _at(offset, bytes([good.signed[offset] ^ 1]), mend=mend)(good)

    return make


def _only_checksum(good: Material) -> bytes:
    """Return a changed image whose checksum was mended and whose SHA-256 was not."""
    changed = _patched(good.signed, _CODE, bytes([good.signed[_CODE] ^ 1]))
    image = parse_image(changed, verify=False)
    return _patched(changed, image.length - 33, bytes([image.checksum[1]]))


def _segment(address: int) -> Callable[[Material], bytes]:
    """Return a maker that sends the second segment to another place."""

    def make(good: Material) -> bytes:
        second = parse_image(good.signed).segments[1].offset - 8
        return repair(_patched(good.signed, second, struct.pack("<I", address)))

    return make


def _over_the_end(good: Material) -> bytes:
    """Return an application whose second part has its last word behind the end of memory."""
    behind = MAPS[good.chip_name].regions["DRAM"][1]
    return _segment(behind - len(parse_image(good.signed).segments[1].data) + 4)(good)


def _unmapped(good: Material) -> bytes:
    """Return an application whose data in flash is said to show four bytes further."""
    first = MAPS[good.chip_name].regions["DROM"][0]
    return repair(_patched(good.signed, HEADER, struct.pack("<I", first + 0x24)))


def _renamed_chip(good: Material) -> bytes:
    """Return an application for another chip that says it is for this one."""
    number = MAPS[good.chip_name].chip_id
    return repair(_patched(good.foreign, 12, struct.pack("<H", number)))


def _replaced(old: bytes, new: bytes) -> Callable[[Material], bytes]:
    def make(good: Material) -> bytes:
        return repair(good.signed.replace(old, new.ljust(len(old), b"\0"), 1))

    return make


def _cut_off(good: Material) -> bytes:
    return good.signed[: parse_image(good.signed).segments[0].offset + 0x80]


def _longer(good: Material) -> bytes:
    """Return an application with something of its own behind its digest, where a signature still covers it."""
    length = len(_image(good.signed))
    return _patched(good.signed, length, b"stowaway")


def _block(good: Material, change: Callable[[bytearray], None], *, sealed: bool = True) -> bytes:
    """Return an application whose signature block was changed, with the block's checksum made right again."""
    start = signed_length(len(_image(good.signed)))
    block = bytearray(good.signed[start : start + BLOCK])
    change(block)
    if sealed:
        struct.pack_into("<I", block, BLOCK - 20, zlib.crc32(block[: BLOCK - 20]))
    return _patched(good.signed, start, bytes(block))


def _flipped_block(offset: int, *, sealed: bool = True) -> Callable[[Material], bytes]:
    def change(block: bytearray) -> None:
        block[offset] ^= 1

    return lambda good: _block(good, change, sealed=sealed)


def _new_digest(good: Material) -> bytes:
    """Return a changed application with its own digest written into the signature block."""
    changed = repair(_patched(good.signed, _CODE, bytes([good.signed[_CODE] ^ 1])))
    length = signed_length(len(_image(changed)))
    digest = hashlib.sha256(changed[:length]).digest()

    def change(block: bytearray) -> None:
        block[4:36] = digest

    sector = _block(good, change)[length:]
    return changed[:length] + sector


def _moved_signature(good: Material) -> bytes:
    image = _image(good.signed)
    start = signed_length(len(image))
    return image.ljust(start + SECTOR, b"\xff") + _signature(good.signed)


def _nameless(good: Material) -> bytes:
    """Return an image of one segment that says nothing of itself."""
    memory = MAPS[good.chip_name]
    return build_image([(memory.regions["DRAM"][0] + 0x10000, b"nameless")], chip_id=memory.chip_id, entry=0)


_CODE = 0x40
"""A byte of the description's version: it changes what runs, and no length."""

_SECURE = 0x24
"""Where in an image's file the security version stands."""

_TRUNCATED = struct.pack("<I", 0xFFFFFC)
_REFUSED_BY_DIGEST = "image-digest"

FLAWED_IMAGES: tuple[FlawedImage, ...] = (
    FlawedImage("nothing", "the slot was erased and never written", "magic", "magic", lambda _: b"\xff" * 64),
    FlawedImage("another-magic", "the first byte is wrong", "magic", "magic", _at(0, b"\xe8")),
    FlawedImage("no-segments", "it says that it has no parts", "segments", "segments", _at(1, b"\0")),
    FlawedImage("17-segments", "it says that it has more parts than can be", "segments", "segments", _at(1, b"\x11")),
    FlawedImage(
        "odd-segment", "a part is no whole number of words long", "segment-length", "segment-length", _at(28, b"\x01")
    ),
    FlawedImage(
        "endless-segment", "a part is longer than any flash", "segment-length", "segment-length", _at(28, b"\xfc" * 4)
    ),
    FlawedImage(
        "segment-beyond-the-slot", "a part reaches behind its partition", "truncated", "truncated", _at(28, _TRUNCATED)
    ),
    FlawedImage("cut-off", "the writing stopped in the middle", "segment-length", "segment-length", _cut_off),
    FlawedImage("flipped-bit", "one bit changed in flash", "checksum", "checksum", _flip(_CODE)),
    FlawedImage("mended-checksum", "somebody changed it and mended the checksum byte", "digest", "digest", _only_checksum),
    FlawedImage("wrong-digest", "the SHA-256 behind it is another", "digest", "digest", _flip(4)),
    FlawedImage(
        "mended", "somebody changed it and mended checksum and SHA-256", ACCEPTED, _REFUSED_BY_DIGEST,
        _flip(_CODE, mend=True),
    ),
    FlawedImage(
        "raised-secure-version", "somebody raised its security version and mended it", ACCEPTED, _REFUSED_BY_DIGEST,
        _at(_SECURE, b"\x1e", mend=True),
    ),
    FlawedImage(
        "older-secure-version", "the maker's own image of before, with known holes", "secure-version", "secure-version",
        lambda good: good.older,
    ),
    FlawedImage("another-chip", "it was built for another chip", "chip-id", "chip-id", lambda good: good.foreign),
    FlawedImage(
        "renamed-chip", "built for another chip, it says it is for this one", "load-address", "load-address",
        _renamed_chip,
    ),
    FlawedImage(
        "newer-silicon", "it asks for a revision that is newer than the chip", "revision", "revision",
        _at(15, struct.pack("<H", 999), mend=True),
    ),
    FlawedImage(
        "older-silicon", "it runs on no chip as new as this one", "revision", "revision",
        _at(17, struct.pack("<H", 1), mend=True),
    ),
    FlawedImage(
        "into-registers", "a part goes where the chip has no memory", "load-address", "load-address",
        _segment(0x60000000),
    ),
    FlawedImage(
        "over-the-end-of-memory", "a part begins in memory and ends behind it", "load-address", "load-address",
        _over_the_end,
    ),
    FlawedImage(
        "cannot-be-mapped", "flash can't show where it wants to be", "segment-alignment", "segment-alignment", _unmapped
    ),
    FlawedImage("nameless", "it has no description, so no security version", "description", "unsigned", _nameless),
    FlawedImage(
        "no-description", "the description's magic number was wiped and the image mended", "description",
        _REFUSED_BY_DIGEST, _replaced(struct.pack("<I", APP_MAGIC), b""),
    ),
    FlawedImage(
        "senseless-behaviour", "what it is to do is no JSON", "behaviour", _REFUSED_BY_DIGEST,
        _replaced(BEHAVIOUR_MAGIC + b"{", BEHAVIOUR_MAGIC + b"["),
    ),
    FlawedImage(
        "stowaway", "something was put behind the image, before the signature", ACCEPTED, _REFUSED_BY_DIGEST, _longer
    ),
    FlawedImage(
        "unsigned", "the signature was cut off", ACCEPTED, "unsigned", lambda good: _image(good.signed)
    ),
    FlawedImage(
        "signed-by-a-stranger", "it was signed with a key of one's own", ACCEPTED, "untrusted-key",
        lambda good: good.stranger,
    ),
    FlawedImage(
        "signed-with-ecdsa", "it was signed in a way that this chip can't verify", ACCEPTED, "signature-scheme",
        lambda good: good.ecdsa,
    ),
    FlawedImage(
        "signature-of-another", "the signature belongs to the image of before", ACCEPTED, _REFUSED_BY_DIGEST,
        lambda good: _resigned(_image(good.signed), good.older),
    ),
    FlawedImage(
        "moved-signature", "the signature lies one sector too far", ACCEPTED, "unsigned", _moved_signature
    ),
    FlawedImage(
        "damaged-block", "a bit changed in the signature block", ACCEPTED, "signature-block",
        _flipped_block(900, sealed=False),
    ),
    FlawedImage(
        "unknown-version-of-block", "the block says that it is of another kind", ACCEPTED, "signature-block",
        lambda good: _block(good, lambda block: block.__setitem__(1, 9)),
    ),
    FlawedImage(
        "false-signature", "a bit of the signature changed, and the block was mended", ACCEPTED, "signature",
        _flipped_block(820),
    ),
    FlawedImage(
        "another-modulus", "a bit of the public key changed, and the block was mended", ACCEPTED, "untrusted-key",
        _flipped_block(40),
    ),
    FlawedImage(
        "digest-written-anew", "the changed image's own digest was put into the block", ACCEPTED, "signature",
        _new_digest,
    ),
    FlawedImage(
        "another-product", "the maker signed it, for another product", ACCEPTED, ACCEPTED,
        lambda good: good.other_product,
    ),
)  # fmt: skip
"""The defects, by the check that finds them."""
