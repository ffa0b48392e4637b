"""Encrypted NVS: each entry by itself, with XTS-AES-256 (ESP-IDF programming guide, "NVS Encryption").

Page headers and bitmaps stay in the clear, so a dump still shows how many entries there are. The two keys lie in a
partition of the type `nvs_keys`, which flash encryption must cover, or they are derived from an HMAC key that the chip's
hardware keeps to itself.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from labkit.errors import FormatError
from labkit.firmware.flash_encryption import xts
from labkit.firmware.nvs import ENTRIES, ENTRY, PAGE, checksum

KEY_LENGTH = 64
_BLANK = b"\xff" * ENTRY
_KEYS_BLANK = b"\xff" * (KEY_LENGTH + 4)


def build_key_partition(key: bytes) -> bytes:
    """Return a partition of the type `nvs_keys`.

    Args:
        key: 64 bytes from `secrets.token_bytes`: the two keys of XTS-AES-256. The generator could draw them too, but
            takes them from a random number generator that was not made for keys.
    """
    if len(key) != KEY_LENGTH:
        text = "the keys of an encrypted NVS partition have 64 bytes"
        raise ValueError(text)
    return (key + struct.pack("<I", checksum(key))).ljust(PAGE, b"\xff")


def parse_key_partition(data: bytes) -> bytes | None:
    """Return the keys of an `nvs_keys` partition, or None if it is blank.

    Raises:
        FormatError: It is too short, or its checksum is wrong, as it is when it was read through the flash encryption.
    """
    if len(data) < KEY_LENGTH + 4:
        raise _bad(len(data), "it is too short")
    if data.startswith(_KEYS_BLANK):
        return None
    key = data[:KEY_LENGTH]
    if data[KEY_LENGTH : KEY_LENGTH + 4] != struct.pack("<I", checksum(key)):
        raise _bad(KEY_LENGTH, "its checksum is wrong")
    return key


def derive_keys(secret: bytes) -> bytes:
    """Return the keys that the HMAC scheme derives: what the chip's hardware computes with a key that nobody reads."""
    parts = (struct.pack("<I", word) * 8 for word in (0xAEBE5A5A, 0xCEDEA5A5))
    return b"".join(hmac.new(secret, part, hashlib.sha256).digest() for part in parts)


def encrypt_image(image: bytes, key: bytes) -> bytes:
    """Return a partition with every entry that was ever written encrypted.

    Raises:
        FormatError: Its size is no multiple of 4,096.
    """
    return _convert(image, key, encrypting=True)


def decrypt_image(image: bytes, key: bytes) -> bytes:
    """Return a partition with every entry that was ever written decrypted.

    Raises:
        FormatError: Its size is no multiple of 4,096.

    Does not check: whether the key is the right one. With another, the entries' checksums are wrong.
    """
    return _convert(image, key, encrypting=False)


def convert_entry(data: bytes, key: bytes, offset: int, *, encrypting: bool) -> bytes:
    """Return one entry, encrypted or decrypted; the offset in the partition is the tweak."""
    return xts(key, struct.pack("<QQ", offset, 0), data, encrypting=encrypting)


def _convert(image: bytes, key: bytes, *, encrypting: bool) -> bytes:
    if not image or len(image) % PAGE:
        raise FormatError(
            "This is no NVS partition: its size is no multiple of 4,096.",
            advice="Read all of it from the board: labkit image table shows where it begins and how long it is.",
            what="nvs",
            offset=len(image),
        )
    data = bytearray(image)
    for page in range(0, len(image), PAGE):
        for number in range(ENTRIES):
            start = page + 64 + number * ENTRY
            entry = image[start : start + ENTRY]
            if entry != _BLANK:
                data[start : start + ENTRY] = convert_entry(entry, key, start, encrypting=encrypting)
    return bytes(data)


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"These are no NVS keys: {why} (offset {offset:#x}).",
        advice="Write the partition again; where flash encryption is on, it must be written encrypted.",
        what="nvs-keys",
        offset=offset,
    )
