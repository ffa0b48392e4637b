"""Secure Boot V2: signatures by the real espsecure, judged by us and by espsecure; and forged ones."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError, SignatureRefusedError
from labkit.firmware.image import build_image
from labkit.firmware.secure_boot import (
    BLOCK,
    SECTOR,
    TrustedKey,
    parse_block,
    signed_length,
    verify_signatures,
)
from labkit.firmware.tools import run_tool, sign_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE = build_image([(0x3FFB0000, b"firmware" * 700)], chip_id=0, entry=0x40080400)
SCHEMES = ("rsa3072", "ecdsa192", "ecdsa256", "ecdsa384")


@pytest.fixture(scope="session")
def signed(signing_keys: dict[str, Path]) -> bytes:
    """Return the image, signed with one RSA key."""
    return sign_image(IMAGE, signing_keys["rsa"])


@pytest.fixture(scope="session")
def digests(signing_keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the keys' digests as espsecure computes them."""
    found = {}
    for name, key in signing_keys.items():
        target = tmp_path_factory.mktemp("digest") / "digest.bin"
        run_tool("espsecure", "digest-sbv2-public-key", "--keyfile", key, "--output", target)
        found[name] = target.read_bytes()
    return found


def verify(data: bytes, *trusted: TrustedKey, schemes: tuple[str, ...] = SCHEMES[:1], blocks: int = 3) -> str:
    """Verify a signed file and return the digest of the key that holds."""
    block = verify_signatures(data[:-SECTOR], data[-SECTOR:], trusted, schemes=schemes, blocks=blocks)
    return block.key_digest.hex()


def rule_of(data: bytes, *trusted: TrustedKey, **options: int) -> str:
    """Return for what a signed file is refused."""
    with pytest.raises(SignatureRefusedError) as caught:
        verify(data, *trusted, **options)
    return caught.value.rule


@pytest.mark.tool
@pytest.mark.parametrize("name", ["rsa", "p192", "p256", "p384"])
def test_espsecures_signatures_hold(
    name: str, signing_keys: dict[str, Path], digests: dict[str, bytes], tmp_path: Path
) -> None:
    """Each scheme's signature holds for us under the digest that espsecure prints, and not for a changed image."""
    data = sign_image(IMAGE, signing_keys[name])
    trusted = TrustedKey(digests[name])
    assert digests[name].hex() == verify(data, trusted, schemes=SCHEMES)
    changed = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(SignatureRefusedError) as caught:
        verify(changed, trusted, schemes=SCHEMES)
    assert "image-digest" == caught.value.rule
    for number, (content, status) in enumerate(((data, 0), (changed, 2))):
        file = tmp_path / f"{number}.bin"
        file.write_bytes(content)
        words = ["--version", "2", "--keyfile", signing_keys[name], file]
        assert status == run_tool("espsecure", "verify-signature", *words, check=False).returncode
    if name != "rsa":
        assert "signature-scheme" == rule_of(data, trusted)


@pytest.mark.tool
def test_three_signatures(signing_keys: dict[str, Path], digests: dict[str, bytes]) -> None:
    """Any of three blocks may be the trusted one, unless the chip looks at one only, or the key was revoked."""
    data = sign_image(IMAGE, *(signing_keys[name] for name in ("rsa", "other", "third")))
    keys = [TrustedKey(digests[name]) for name in ("rsa", "other", "third")]
    for key in keys:
        assert key.digest.hex() == verify(data, key)
    assert "untrusted-key" == rule_of(data, keys[1], blocks=1)
    gone = [TrustedKey(key.digest, revoked=True) for key in keys]
    assert keys[1].digest.hex() == verify(data, gone[0], keys[1], gone[2])
    assert "revoked-key" == rule_of(data, *gone)


def test_the_length_of_what_is_signed() -> None:
    """Padding up to the sector is signed too."""
    assert [0, 4096, 4096, 8192] == [signed_length(length) for length in (0, 1, 4096, 4097)]


# --- forgeries ----------------------------------------------------------------------------------------------------


def resealed(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    """Return a signed file whose first block was changed, with the block's checksum made right again."""
    block = bytearray(data[-SECTOR : -SECTOR + BLOCK])
    change(block)
    struct.pack_into("<I", block, 1196, zlib.crc32(block[:1196]))
    return data[:-SECTOR] + bytes(block) + data[-SECTOR + BLOCK :]


def set_at(offset: int, new: bytes) -> Callable[[bytearray], None]:
    """Return a change of some bytes."""

    def change(block: bytearray) -> None:
        block[offset : offset + len(new)] = new

    return change


def flip(offset: int) -> Callable[[bytearray], None]:
    """Return a change of one bit."""

    def change(block: bytearray) -> None:
        block[offset] ^= 1

    return change


def test_forged_sectors_are_refused_for_their_defect(signed: bytes, digests: dict[str, bytes]) -> None:
    """Each forgery has its reason; the file that they were made of is accepted beside them."""
    trusted = TrustedKey(digests["rsa"])
    assert digests["rsa"].hex() == verify(signed, trusted)
    other = signed[:-SECTOR] + b"\xff" * SECTOR
    assert "unsigned" == rule_of(other, trusted)
    assert "unsigned" == rule_of(resealed(signed, set_at(0, b"\xe6")), trusted)
    broken = bytearray(signed)
    broken[-SECTOR + 900] ^= 1
    assert "signature-block" == rule_of(bytes(broken), trusted)
    assert "signature-block" == rule_of(resealed(signed, set_at(1, b"\4")), trusted)
    assert "signature-block" == rule_of(resealed(signed, set_at(1, b"\3\2")), trusted)
    assert "no-trusted-key" == rule_of(signed)
    assert "untrusted-key" == rule_of(signed, TrustedKey(digests["other"]))
    for offset in (36, 420, 424, 808):  # modulus, exponent, and the two helpers of the multiplication
        assert "untrusted-key" == rule_of(resealed(signed, flip(offset)), trusted)
    assert "revoked-key" == rule_of(signed, TrustedKey(trusted.digest, revoked=True))
    assert "image-digest" == rule_of(b"\0" + signed[1:], trusted)
    assert "signature" == rule_of(resealed(signed, flip(812)), trusted)


def test_a_digest_of_another_image_does_not_help(signed: bytes, digests: dict[str, bytes]) -> None:
    """Who changes the image and the digest in the block still has no signature over it."""
    image = b"\0" + signed[1:-SECTOR]
    forged = resealed(image + signed[-SECTOR:], set_at(4, hashlib.sha256(image).digest()))
    assert "signature" == rule_of(forged, TrustedKey(digests["rsa"]))


@pytest.mark.parametrize("modulus", [0, 1, 2, 1 << 3071, (1 << 2048) + 1])
def test_numbers_that_are_no_key(signed: bytes, modulus: int) -> None:
    """Even where the digest of such a key were trusted, it verifies nothing."""
    forged = resealed(signed, set_at(36, modulus.to_bytes(384, "little")))
    key = hashlib.sha256(forged[-SECTOR + 36 : -SECTOR + 812]).digest()
    assert "signature" == rule_of(forged, TrustedKey(key))


@pytest.mark.tool
def test_points_that_are_on_no_curve(signing_keys: dict[str, Path]) -> None:
    """The same for a point beside the curve."""
    forged = resealed(sign_image(IMAGE, signing_keys["p256"]), set_at(37, b"\1" * 64))
    key = hashlib.sha256(forged[-SECTOR + 36 : -SECTOR + 101]).digest()
    with pytest.raises(SignatureRefusedError) as caught:
        verify(forged, TrustedKey(key), schemes=SCHEMES)
    assert "signature" == caught.value.rule


@given(st.binary(max_size=64), st.integers(0, BLOCK - 1), st.booleans())
def test_any_sector_is_refused_or_holds(noise: bytes, where: int, sealed: bool) -> None:  # noqa: FBT001
    """Whatever is in a signature sector, it ends in a refusal, and the parser in a block or a reason."""
    block = bytearray(BLOCK)
    block[0:2] = b"\xe7\x02"
    block[where : where + len(noise)] = noise
    del block[BLOCK:]
    if sealed:
        struct.pack_into("<I", block, 1196, zlib.crc32(block[:1196]))
    key = hashlib.sha256(block[36:812]).digest()
    with pytest.raises(SignatureRefusedError):
        verify_signatures(b"", bytes(block), [TrustedKey(key)], schemes=SCHEMES)
    try:
        parse_block(bytes(block))
    except FormatError as error:
        assert "signature" == error.what
    assert parse_block(b"") is None
