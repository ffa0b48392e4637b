"""Flash encryption, byte for byte against espsecure."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.firmware.flash_encryption import FlashKey, xts
from labkit.firmware.tools import run_tool

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 3


def by_espsecure(folder: Path, key: FlashKey, offset: int, data: bytes, verb: str) -> bytes:
    """Return what espsecure makes of data."""
    files = {name: folder / name for name in ("key", "in", "out")}
    files["key"].write_bytes(key.key)
    files["in"].write_bytes(data)
    scheme = ["--aes-xts"] if key.xts else ["--flash-crypt-conf", hex(key.config)]
    words = ["--keyfile", files["key"], "--address", hex(offset), "--output", files["out"], files["in"]]
    run_tool("espsecure", f"{verb}-flash-data", *scheme, *words)
    return files["out"].read_bytes()


@pytest.mark.tool
@pytest.mark.parametrize(
    ("length", "xts_", "config", "offset"),
    [
        (32, False, 0xF, 0x10000),
        (32, False, 0x5, 0x3FFFE0),
        (32, False, 0x0, 0x1000),
        (24, False, 0xF, 0x8010),
        (32, True, 0, 0x0),
        (32, True, 0, 0x10030),
        (64, True, 0, 0x3FFF80),
    ],
)
def test_espsecure_encrypts_the_same(
    tmp_path: Path,
    length: int,
    xts_: bool,  # noqa: FBT001
    config: int,
    offset: int,
) -> None:
    """Whatever the scheme, the key's length, the configuration and the place: the bytes are espsecure's, both ways."""
    key = FlashKey(secrets.token_bytes(length), xts_, config)
    cipher = key.encrypt(offset, DATA)
    assert by_espsecure(tmp_path, key, offset, DATA, "encrypt") == cipher
    assert DATA == by_espsecure(tmp_path, key, offset, cipher, "decrypt") == key.decrypt(offset, cipher)


@given(st.binary(min_size=32, max_size=32), st.booleans(), st.integers(0, 15), st.integers(0, 0x3FFF))
def test_what_was_encrypted_is_decrypted(secret: bytes, xts_: bool, config: int, block: int) -> None:  # noqa: FBT001
    """Any key at any place goes round, and pieces are what the whole is."""
    key = FlashKey(secret, xts_, config)
    cipher = key.encrypt(block * 16, DATA)
    assert DATA == key.decrypt(block * 16, cipher)
    assert cipher[48:64] == key.encrypt(block * 16 + 48, DATA[48:64])


def test_the_address_counts() -> None:
    """The same bytes look different elsewhere, and no key shows in the key's own words."""
    key = FlashKey(b"k" * 16 + b"l" * 16, xts=True)
    assert key.encrypt(0, bytes(128)) != key.encrypt(128, bytes(128))
    assert "kkkk" not in repr(key)


def test_two_equal_halves_are_a_key_too(tmp_path: Path) -> None:
    """OpenSSL refuses to encrypt with two equal halves, a chip does not; ours agrees with OpenSSL's decryption."""
    key = b"k" * 32
    cipher = xts(key, bytes(16), DATA, encrypting=True)
    assert DATA == xts(key, bytes(16), cipher, encrypting=False)
    assert DATA == by_espsecure(
        tmp_path, FlashKey(key, xts=True), 0, FlashKey(key, xts=True).encrypt(0, DATA), "decrypt"
    )


@pytest.mark.parametrize(("offset", "length"), [(8, 16), (16, 8)])
def test_only_whole_blocks(offset: int, length: int) -> None:
    """Anything but whole blocks is the programmer's mistake."""
    with pytest.raises(ValueError, match="whole blocks"):
        FlashKey(bytes(32), xts=True).encrypt(offset, bytes(length))
