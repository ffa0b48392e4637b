"""Updates for the vectors: good ones, and one for each way to be bad.

The keys are published ones, from RFC 6979 and from RFC 7517, so that everybody knows them and nobody trusts them. The
signatures are made as in RFC 6979, without chance, so that the vectors come out the same each time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.errors import UpdateRefusedError
from labkit.firmware import update
from labkit.firmware.update_stream import UpdateStream

if TYPE_CHECKING:
    from collections.abc import Iterator

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (SEC 2 §2.4.2)."""

FIRST = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
"""RFC 6979 §A.2.5."""

SECOND = 0xF3BD0C07A81FB932781ED52752F60CC89A6BE5E51934FE01938DDB55D8F77801
"""RFC 7517 §A.2, "d" of the key with the id 1."""


class PublishedSigner:
    """Signs without chance, with a key that was published."""

    def __init__(self, secret: int) -> None:
        self._secret = secret
        self.public = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
        self.key_id = update.key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return r and s (FIPS 186-4 §6.4, with k from RFC 6979 §3.2)."""
        digest = hashlib.sha256(message).digest()
        z = int.from_bytes(digest) % ORDER
        for k in self._candidates(z):
            r = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers().x % ORDER
            s = pow(k, -1, ORDER) * (z + r * self._secret) % ORDER
            if r and s:
                return r.to_bytes(32) + s.to_bytes(32)
        raise AssertionError

    def _candidates(self, z: int) -> Iterator[int]:
        v, key, seed = b"\x01" * 32, b"\0" * 32, self._secret.to_bytes(32) + z.to_bytes(32)
        for step in (b"\0", b"\x01"):
            key = hmac.digest(key, v + step + seed, "sha256")
            v = hmac.digest(key, v, "sha256")
        while True:
            v = hmac.digest(key, v, "sha256")
            if 0 < int.from_bytes(v) < ORDER:
                yield int.from_bytes(v)
            key = hmac.digest(key, v + b"\0", "sha256")
            v = hmac.digest(key, v, "sha256")


SIGNER, OTHER = PublishedSigner(FIRST), PublishedSigner(SECOND)
TARGET = update.Target(
    "course-node", 2, update.Version(1, 4, 2), secure_version=3, slot_size=4096,
    rolled_back=update.Version(1, 9, 0),
)  # fmt: skip
TRUSTED = update.TrustedKeys.of([SIGNER.public])


def pattern(length: int, seed: int) -> bytes:
    """Return bytes that both sides can make: byte n is 7 n + seed, modulo 251."""
    return bytes((7 * n + seed) % 251 for n in range(length))


IMAGE = pattern(1500, 5)
GOOD = update.Header(
    "course-node", 1, 3, update.Version(1, 5, 0), 3, len(IMAGE), hashlib.sha256(IMAGE).digest(), SIGNER.key_id
)


def manifests() -> Iterator[tuple[bytes, str]]:
    """Yield manifests and the code that each has to give."""
    good = json.loads(update.Manifest("/updates/course-node/1.5.0.bin", GOOD).render())

    def changed(**changes: Any) -> bytes:
        return json.dumps({k: v for k, v in {**good, **changes}.items() if v is not None}).encode()

    yield update.Manifest("/updates/course-node/1.5.0.bin", GOOD).render(), "ok"
    yield changed(notes="what is new", rollout={"cohort": 3}), "ok"
    yield changed(version="65535.0.1"), "ok"
    yield changed(secure_version=4_294_967_295, size=4_294_967_295), "ok"
    for name in good:
        yield changed(**{name: None}), "json-field-missing"
        yield changed(**{name: []}), "json-field-kind"
    bad: list[tuple[dict[str, Any], str]] = [
        ({"format": 2}, "manifest-format"),
        ({"format": -1}, "json-range"),
        ({"format": 1.5}, "json-field-kind"),
        ({"path": "http://evil.example/image"}, "manifest-path"),
        ({"path": "/updates/../secrets"}, "manifest-path"),
        ({"path": "/updates//evil"}, "manifest-path"),
        ({"path": "/updates/"}, "manifest-path"),
        ({"path": "/updates/a?b=c"}, "manifest-path"),
        ({"path": "/updates/a b"}, "manifest-path"),
        ({"path": "/updates/a\r\nHost: evil"}, "manifest-path"),
        ({"path": "/other/a"}, "manifest-path"),
        ({"path": "/updates/" + "a" * 192}, "json-range"),
        ({"product": "Course Node"}, "header-product"),
        ({"product": "x" * 32}, "json-range"),
        ({"product": "-x"}, "header-product"),
        ({"hardware_min": -1}, "json-range"),
        ({"hardware_max": 65_536}, "json-range"),
        ({"version": "1.4"}, "json-range"),
        ({"version": "1.4.2.1"}, "json-range"),
        ({"version": "1.04.2"}, "json-range"),
        ({"version": "1.4.-2"}, "json-range"),
        ({"version": "1.4.65536"}, "json-range"),
        ({"version": "1.4.2 "}, "json-range"),
        ({"version": "v1.4.2"}, "json-range"),
        ({"version": "1..2"}, "json-range"),
        ({"secure_version": 4_294_967_296}, "json-range"),
        ({"size": 0}, "json-range"),
        ({"sha256": "ab"}, "json-range"),
        ({"sha256": "AB" * 32}, "json-range"),
        ({"sha256": "ab" * 31 + "zz"}, "json-range"),
        ({"sha256": "ab" * 33}, "json-range"),
        ({"key_id": "ab" * 7}, "json-range"),
        ({"notes": "x" * 2048}, "json-too-long"),
    ]
    for changes, code in bad:
        yield changed(**changes), code
    yield b'{"size":1,' + changed()[1:], "json-field-twice"
    yield changed()[:-1], "json-syntax"
    yield b"", "json-syntax"


def _signed(header: update.Header = GOOD, signer: PublishedSigner = SIGNER, **changes: Any) -> bytes:
    return update.sign_header(replace(header, **changes), signer)


def _planted(at: int, value: bytes) -> bytes:
    """Return a header with bytes planted in it, and a good signature over them: our own signer gone astray."""
    raw = bytearray(GOOD.encode())
    raw[at : at + len(value)] = value
    return bytes(raw) + SIGNER.sign(bytes(raw))


def _cases() -> Iterator[tuple[str, bytes, bytes, str]]:
    """Yield a name, a header, an image and the code."""
    good = _signed()
    yield "good", good, IMAGE, "ok"
    yield "good, and of the slot's size", *_whole(pattern(4096, 9)), "ok"
    yield "good, and as small as can be", *_whole(pattern(1024, 1)), "ok"
    yield "good, a higher secure version", _signed(secure_version=4), IMAGE, "ok"
    yield "good, the highest version", _signed(version=update.Version(65_535, 65_535, 65_535)), IMAGE, "ok"
    yield "good, for this hardware alone", _signed(hardware_min=2, hardware_max=2), IMAGE, "ok"
    yield from _broken_headers(good)
    yield from _broken_signatures(good)
    yield from _for_others()
    yield from _broken_images(good)


def _broken_headers(good: bytes) -> Iterator[tuple[str, bytes, bytes, str]]:
    yield "nothing", b"", b"", "header-short"
    yield "one byte less than a header", good[:-1], b"", "header-short"
    yield "the lesson's format: an image first", b"\xe9" + bytes(300), IMAGE, "header-magic"
    yield "an HTML page", b"<html><body>502 Bad Gateway</body></html>".ljust(400), b"", "header-magic"
    yield "the magic in small letters", _planted(0, b"labupd1"), IMAGE, "header-magic"
    yield "the next format", _planted(0, b"LABUPD2"), IMAGE, "header-magic"
    yield "a longer header", _planted(8, (300).to_bytes(2, "little")), IMAGE, "header-length"
    yield "a header of no length", _planted(8, bytes(2)), IMAGE, "header-length"
    yield "no algorithm", _planted(10, bytes(2)), IMAGE, "header-algorithm"
    yield "an algorithm to come", _planted(10, b"\x02\0"), IMAGE, "header-algorithm"
    yield "a reserved number that is none", _planted(62, b"\x01\0"), IMAGE, "header-reserved"
    yield "a reserved byte that is set", _planted(127, b"\x01"), IMAGE, "header-reserved"
    yield "no product", _planted(20, bytes(32)), IMAGE, "header-product"
    yield "a product without an end", _planted(20, b"x" * 32), IMAGE, "header-product"
    yield "a product with something behind its end", _planted(20, b"course-node\0x"), IMAGE, "header-product"
    yield "a product in capitals", _planted(20, b"Course-node"), IMAGE, "header-product"
    yield "a product with a format in it", _planted(20, b"%s%s%s%s%n\0"), IMAGE, "header-product"
    yield "hardware from more to less", _planted(52, b"\x03\0\x01\0"), IMAGE, "header-hardware"
    yield "an image of no bytes", _planted(68, bytes(4)), b"", "header-size"
    yield "an image that is no image", _planted(68, (1023).to_bytes(4, "little")), IMAGE[:1023], "header-size"


def _broken_signatures(good: bytes) -> Iterator[tuple[str, bytes, bytes, str]]:
    yield "signed by somebody else", _signed(key_id=OTHER.key_id, signer=OTHER), IMAGE, "key-unknown"
    yield "signed by somebody else in our name", _signed(signer=OTHER), IMAGE, "signature-wrong"
    yield "not signed", good[:128] + bytes(64), IMAGE, "signature-wrong"
    yield "a signature of ones", good[:128] + b"\xff" * 64, IMAGE, "signature-wrong"
    yield "a signature with r alone", good[:160] + bytes(32), IMAGE, "signature-wrong"
    yield (
        "a signature with r beyond the order",
        good[:128] + ORDER.to_bytes(32) + good[160:],
        IMAGE,
        "signature-wrong",
    )
    yield (
        "a signature of another header",
        good[:128] + _signed(secure_version=4)[128:],
        IMAGE,
        "signature-wrong",
    )
    yield "the version raised afterwards", _flip(good, 56), IMAGE, "signature-wrong"
    yield "the secure version raised afterwards", _flip(good, 67), IMAGE, "signature-wrong"
    yield "the digest changed afterwards", _flip(good, 72), IMAGE, "signature-wrong"
    yield "a bit of r flipped", _flip(good, 130), IMAGE, "signature-wrong"
    yield "a bit of s flipped", _flip(good, 191), IMAGE, "signature-wrong"


def _for_others() -> Iterator[tuple[str, bytes, bytes, str]]:
    # Ours, and not for this device, or not now.
    yield "another product's", _signed(product="pump-controller"), IMAGE, "product-wrong"
    yield "a product whose name begins with ours", _signed(product="course-node-2"), IMAGE, "product-wrong"
    yield "a product whose name is a part of ours", _signed(product="course"), IMAGE, "product-wrong"
    yield "for newer hardware", _signed(hardware_min=3), IMAGE, "hardware-unsupported"
    yield "for older hardware", _signed(hardware_max=1), IMAGE, "hardware-unsupported"
    yield "an older secure version", _signed(secure_version=2), IMAGE, "secure-version-older"
    yield "yesterday's build", _signed(version=update.Version(1, 4, 1)), IMAGE, "version-not-newer"
    yield "the build that runs", _signed(version=update.Version(1, 4, 2)), IMAGE, "version-not-newer"
    yield "a lower major version", _signed(version=update.Version(0, 99, 99)), IMAGE, "version-not-newer"
    yield (
        "the build that was rolled back",
        _signed(version=update.Version(1, 9, 0)),
        IMAGE,
        "version-rolled-back",
    )
    yield "one byte too large", *_whole(pattern(4097, 2)), "size-too-large"
    yield "larger than the address space", _signed(size=0xFFFFFFFF), IMAGE, "size-too-large"


def _broken_images(good: bytes) -> Iterator[tuple[str, bytes, bytes, str]]:
    yield "one byte short", good, IMAGE[:-1], "image-short"
    yield "no image", good, b"", "image-short"
    yield "one byte more", good, IMAGE + b"\0", "image-long"
    yield "a second image behind", good, IMAGE + IMAGE, "image-long"
    yield "the first bit flipped", good, _flip(IMAGE, 0), "image-digest"
    yield "the last bit flipped", good, _flip(IMAGE, len(IMAGE) - 1), "image-digest"
    yield "another image of the same size", good, pattern(1500, 6), "image-digest"


def _whole(image: bytes) -> tuple[bytes, bytes]:
    return _signed(size=len(image), digest=hashlib.sha256(image).digest()), image


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def updates() -> dict[str, Any]:
    """Return the keys, the device and every case; each was put to the twin in chunks of several sizes."""
    cases = []
    for name, header, image, expected in _cases():
        for size in (1, 7, 128, 191, 192, 193, 4096, 1 << 20):
            found = verdict(header + image, size)
            assert found == (expected, image if expected == "ok" else None), (name, size, found)
        cases.append({"name": name, "header_hex": header.hex(), **_image(image), "code": expected})
    target = {
        "product": TARGET.product, "hardware": TARGET.hardware, "version": str(TARGET.version),
        "secure_version": TARGET.secure_version, "slot_size": TARGET.slot_size,
        "rolled_back": str(TARGET.rolled_back),
    }  # fmt: skip
    return {
        "target": target,
        "keys": [
            {"name": name, "id_hex": signer.key_id.hex(), "point_hex": _point(signer).hex(),
             "pem": signer.public.public_bytes(serialization.Encoding.PEM,
                                               serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
             "trusted": signer is SIGNER}
            for name, signer in (("RFC 6979 A.2.5", SIGNER), ("RFC 7517 A.2", OTHER))
        ],
        "signed_length": update.SIGNED_LENGTH,
        "header_length": update.HEADER_LENGTH,
        "cases": cases,
    }  # fmt: skip


def verdict(whole: bytes, size: int) -> tuple[str, bytes | None]:
    """Return the code that an update gives in chunks of a size, and the image where it is taken."""
    stream, image = UpdateStream(TRUSTED, TARGET), b""
    try:
        for chunk in _batched(whole, size):
            image += stream.feed(chunk)
        stream.finish()
    except UpdateRefusedError as error:
        return error.rule, None
    return "ok", image


def _batched(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _point(signer: PublishedSigner) -> bytes:
    return signer.public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def _image(image: bytes) -> dict[str, Any]:
    """Return how to make an image: a pattern, and at most one byte of it changed, and what follows."""
    for seed, length in ((s, n) for s in (5, 6, 9, 1, 2) for n in (len(image), 1500)):
        made = pattern(length, seed)
        rest = image[length:]
        wrong = [n for n in range(min(length, len(image))) if made[n] != image[n]]
        if length <= len(image) and len(wrong) <= 1:
            return {"length": length, "seed": seed, "flip": wrong[0] if wrong else -1, "rest_hex": rest.hex()}
    raise AssertionError
