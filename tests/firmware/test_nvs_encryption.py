"""Encrypted NVS against Espressif's generator, in both directions and with both key schemes."""

from __future__ import annotations

import secrets
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from labkit.errors import FormatError
from labkit.firmware import NvsEntry, build_image, read_image, render_csv
from labkit.firmware.nvs_encryption import (
    build_key_partition,
    decrypt_image,
    derive_keys,
    encrypt_image,
    parse_key_partition,
)
from labkit.firmware.tools import GENERATOR, encrypt_nvs
from labkit.processes import run

if TYPE_CHECKING:
    from pathlib import Path

VALUES = [
    NvsEntry("identity", "device_id", "string", "sensor-001"),
    NvsEntry("identity", "key", "blob", b"k" * 5000),
    NvsEntry("identity", "slot", "u8", 1),
]


def generator(folder: Path, *words: str) -> None:
    """Run Espressif's generator."""
    run([sys.executable, "-m", GENERATOR, *words], cwd=folder, timeout=60)


@pytest.mark.tool
def test_the_generator_encrypts_the_same() -> None:
    """The same values under the same keys are the generator's bytes, and both read them back."""
    key = secrets.token_bytes(64)
    made = encrypt_nvs(VALUES, key)
    plain = build_image(VALUES)
    assert made == encrypt_image(plain, key)
    assert plain == decrypt_image(made, key)
    assert VALUES == read_image(decrypt_image(made, key))
    assert b"sensor-001" not in made


@pytest.mark.tool
def test_the_generator_decrypts_ours(tmp_path: Path) -> None:
    """What we encrypt, the generator's own decryption reads."""
    key = secrets.token_bytes(64)
    plain = build_image(VALUES)
    (tmp_path / "nvs.bin").write_bytes(encrypt_image(plain, key))
    (tmp_path / "keys.bin").write_bytes(build_key_partition(key))
    generator(tmp_path, "decrypt", "nvs.bin", "keys.bin", "out.bin")
    assert VALUES == read_image((tmp_path / "out.bin").read_bytes())


@pytest.mark.tool
def test_the_hmac_scheme_derives_the_same_keys(tmp_path: Path) -> None:
    """Keys derived from an HMAC key open what the generator encrypted with it."""
    secret = secrets.token_bytes(32)
    (tmp_path / "hmac.bin").write_bytes(secret)
    (tmp_path / "values.csv").write_text(render_csv(VALUES), encoding="utf-8")
    words = [
        "values.csv",
        "nvs.bin",
        "0x6000",
        "--keygen",
        "--key_protect_hmac",
        "--kp_hmac_inputkey",
        "hmac.bin",
    ]
    generator(tmp_path, "encrypt", *words)
    assert VALUES == read_image(decrypt_image((tmp_path / "nvs.bin").read_bytes(), derive_keys(secret)))


def test_another_key_opens_nothing() -> None:
    """With the wrong key the entries' checksums are wrong; with the right one they hold."""
    cipher = encrypt_image(build_image(VALUES), b"k" * 32 + b"l" * 32)
    assert VALUES == read_image(decrypt_image(cipher, b"k" * 32 + b"l" * 32))
    with pytest.raises(FormatError) as caught:
        read_image(decrypt_image(cipher, b"k" * 32 + b"m" * 32))
    assert "nvs" == caught.value.what


@pytest.mark.parametrize("size", [0, 4095])
def test_only_whole_pages(size: int) -> None:
    """A partition that is no whole number of pages is refused."""
    assert b"\xff" * 4096 == encrypt_image(b"\xff" * 4096, bytes(64))
    with pytest.raises(FormatError) as caught:
        encrypt_image(bytes(size), bytes(64))
    assert ("nvs", size) == (caught.value.what, caught.value.offset)


def test_key_partitions() -> None:
    """Keys go round; a blank partition has none; a short or damaged one is refused where it is wrong."""
    key = secrets.token_bytes(64)
    data = build_key_partition(key)
    assert key == parse_key_partition(data)
    assert data[64:68] == struct.pack("<I", int.from_bytes(data[64:68], "little"))
    assert parse_key_partition(b"\xff" * 4096) is None
    for broken, offset in ((data[:67], 67), (data[:10] + b"\0\0" + data[12:], 64)):
        with pytest.raises(FormatError) as caught:
            parse_key_partition(broken)
        assert ("nvs-keys", offset) == (caught.value.what, caught.value.offset)
    with pytest.raises(ValueError, match="64 bytes"):
        build_key_partition(b"short")
