"""Flash encryption: what lies in the flash chip when the key lies in the eFuses.

Two schemes (technical reference manuals, chapter *External Memory Encryption and Decryption*). The ESP32 runs AES the
wrong way round with a key that address bits are mixed into; the chips after it use XTS-AES. Both encrypt by address alone:
the same bytes at the same place always look the same, nothing detects a change, and an old sector that is copied back
decrypts as it did. That the content is the maker's is the business of Secure Boot.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
"""Everything that is encrypted begins and ends at a multiple of this."""

_UNIT = 128
_TWEAKED = 32

# Which bit of the address is mixed into which bit of the key: bits 23 down to 5, again and again, in four runs that the
# four bits of FLASH_CRYPT_CONFIG switch.
_RUNS = tuple([*range(23, 4, -1)] * 3 + [*range(first, 4, -1)] for first in (14, 12, 10, 8))


@dataclass(frozen=True, slots=True)
class FlashKey:
    """A key of flash encryption and how the chip uses it.

    Attributes:
        key: 32 bytes as `espsecure generate-flash-encryption-key` writes them; 24 on an ESP32 with 3/4 coding, and 64 on
            chips with XTS-AES-256.
        xts: XTS-AES, as all chips but the first have it.
        config: The ESP32's FLASH_CRYPT_CONFIG: which runs of key bits the address is mixed into.
    """

    key: bytes = field(repr=False)
    xts: bool
    config: int = 0xF

    def encrypt(self, offset: int, data: bytes) -> bytes:
        """Return what lies in flash at `offset` for what the program sees.

        Raises:
            ValueError: Offset or length is no multiple of 16.
        """
        return self._convert(offset, data, encrypting=True)

    def decrypt(self, offset: int, data: bytes) -> bytes:
        """Return what the program sees for what lies in flash at `offset`.

        Raises:
            ValueError: Offset or length is no multiple of 16.

        Does not check: whether it was ever encrypted, or by whom it was changed. What was not decrypts to noise.
        """
        return self._convert(offset, data, encrypting=False)

    def _convert(self, offset: int, data: bytes, *, encrypting: bool) -> bytes:
        if offset % BLOCK or len(data) % BLOCK:
            text = f"{len(data):#x} bytes at {offset:#x} are no whole blocks of 16"
            raise ValueError(text)
        unit = _UNIT if self.xts else _TWEAKED
        convert = self._xts if self.xts else self._esp32
        parts = []
        done = 0
        while done < len(data):
            start = offset + done
            part = data[done : done + unit - start % unit]
            parts.append(convert(start, part, encrypting))
            done += len(part)
        return b"".join(parts)

    def _xts(self, start: int, part: bytes, encrypting: bool) -> bytes:  # noqa: FBT001
        """Convert what lies within one unit of 128 bytes; the hardware has its bytes the other way round."""
        before = start % _UNIT
        whole = bytes(before) + part + bytes(_UNIT - before - len(part))
        tweak = struct.pack("<QQ", start - before, 0)
        return xts(self.key, tweak, whole[::-1], encrypting=encrypting)[::-1][before : before + len(part)]

    def _esp32(self, start: int, part: bytes, encrypting: bool) -> bytes:  # noqa: FBT001
        key = self.key if len(self.key) == 32 else self.key + self.key[8:16]
        mixed = int.from_bytes(key, "big") ^ _tweak(start, self.config)
        cipher = Cipher(algorithms.AES(mixed.to_bytes(32, "big")), modes.ECB())  # noqa: S305 - the hardware's scheme
        # To read is to *encrypt* with AES: the chip has the fast direction where it is needed often.
        context = cipher.decryptor() if encrypting else cipher.encryptor()
        turned = b"".join(part[at : at + BLOCK][::-1] for at in range(0, len(part), BLOCK))
        result = context.update(turned)
        return b"".join(result[at : at + BLOCK][::-1] for at in range(0, len(result), BLOCK))


def _masks(config: int) -> tuple[int, ...]:
    """Return, for each bit of the address, which bits of the key it flips."""
    masks = [0] * 24
    place = 255
    for number, run in enumerate(_RUNS):
        for bit in run:
            if config >> number & 1:
                masks[bit] |= 1 << place
            place -= 1
    return tuple(masks)


_MASKS = tuple(_masks(config) for config in range(16))


def _tweak(offset: int, config: int) -> int:
    flipped = 0
    for bit, mask in enumerate(_MASKS[config & 0xF]):
        if offset >> bit & 1:
            flipped ^= mask
    return flipped


def xts(key: bytes, tweak: bytes, data: bytes, *, encrypting: bool) -> bytes:
    """Return data after XTS-AES (IEEE 1619); also with two equal halves of a key, which OpenSSL refuses and chips don't."""
    half = len(key) // 2
    if key[:half] != key[half:]:
        cipher = Cipher(algorithms.AES(key), modes.XTS(tweak))
        return (cipher.encryptor() if encrypting else cipher.decryptor()).update(data)
    block = Cipher(algorithms.AES(key[:half]), modes.ECB())  # noqa: S305 - XTS is built of it
    convert = (block.encryptor() if encrypting else block.decryptor()).update
    mask = int.from_bytes(block.encryptor().update(tweak), "little")
    parts = []
    for at in range(0, len(data), BLOCK):
        white = mask.to_bytes(BLOCK, "little")
        parts.append(_xor(convert(_xor(data[at : at + BLOCK], white)), white))
        mask = (mask << 1 & (1 << 128) - 1) ^ (0x87 if mask >> 127 else 0)
    return b"".join(parts)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")
