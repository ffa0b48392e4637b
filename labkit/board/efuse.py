"""eFuses: bits that are burned once, some of them hidden from everybody but the chip itself.

`Efuses` holds the *true* bits. What a tool may see of them is `Efuses.visible`, what a burn may still change is
decided by `Efuses.program`; both as the chip's own controller does it. What the boot chain asks for (keys, switches)
are the true values, for the hardware may read what no program can.

Does not check: voltages and timing. A real burn can fail half-way; here it never does.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.board.chips import CHIPS, Chip
from labkit.board.efuse_factory import SECURE_VERSION_3, factory_fields, version_text
from labkit.board.efuse_fields import BLOCKS, FIELDS, Block, Field
from labkit.errors import EfuseProtectedError, EfuseUnknownError, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAGIC = b"LABEFUSE"
VERSION = 1

_HEADER = struct.Struct("<8sB15sHH")
_DIGESTS = {code: code - 9 for code in (9, 10, 11)}
_XTS, _HMAC_ALL, _HMAC_UP = 4, 5, 8


@dataclass(frozen=True, slots=True)
class SecureBootDigest:
    """The digest of a public key that Secure Boot trusts.

    Attributes:
        index: Its slot, 0 to 2.
        digest: SHA-256 of the public key, as `espsecure digest-sbv2-public-key` writes it.
        revoked: Whether it is trusted no longer.
    """

    index: int
    digest: bytes
    revoked: bool


class Efuses:
    """The fuses of one chip. Get them from `Efuses.fresh` or `Efuses.from_bytes`.

    Attributes:
        chip: Whose they are.
        damaged: Blocks that were programmed twice though their code only allows one time.
    """

    def __init__(self, chip: Chip, revision: int, blocks: Iterable[int], damaged: Iterable[int] = ()) -> None:
        self.chip = chip
        self.damaged = set(damaged)
        self._silicon = revision
        self._bits = list(blocks)
        self._fields = {name: field for field in FIELDS[chip.name] for name in (field.name, *field.aliases)}
        self._blocks: dict[str, Block] = {}
        for block in BLOCKS[chip.name]:
            self._blocks.update(dict.fromkeys((block.name, *block.aliases), block))

    def __repr__(self) -> str:
        return f"Efuses({self.chip.title}, revision {self.revision}, {self.mac.hex(':')})"  # never a key

    @classmethod
    def fresh(cls, chip: Chip, *, mac: bytes, revision: int | None = None) -> Efuses:
        """Return the fuses of a chip that leaves the factory.

        Args:
            chip: What it is.
            mac: Its six bytes.
            revision: Its revision, major times 100 plus minor; the chip's default without it.

        Raises:
            EfuseUnknownError: There is no such revision of it.
            ValueError: The MAC has not six bytes.
        """
        chosen = chip.revisions[0] if revision is None else revision
        if chosen not in chip.revisions:
            known = ", ".join(version_text(number) for number in chip.revisions)
            raise EfuseUnknownError(
                f"There is no {chip.title} of revision {chosen}.",
                advice=f"Choose one of: {known}.",
                name=str(chosen),
            )
        if len(mac) != 6:
            text = f"a MAC has six bytes, not {len(mac)}"
            raise ValueError(text)
        made = cls(chip, chosen, [0] * len(BLOCKS[chip.name]))
        for name, value in factory_fields(chip, chosen, mac).items():
            made._set(name, value)
        return made

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks, by number."""
        return BLOCKS[self.chip.name]

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, whole blocks among them."""
        return FIELDS[self.chip.name]

    # --- true values -------------------------------------------------------------------------------------------

    def field(self, name: str) -> int:
        """Return a field's true value.

        Raises:
            EfuseUnknownError: This chip has no such field.
        """
        field = self._find(name)
        return (self._bits[field.block] & field.mask) >> field.start

    def block(self, name: str) -> bytes:
        """Return a block's true content.

        Raises:
            EfuseUnknownError: This chip has no such block.
        """
        found = self._blocks.get(name)
        if found is None:
            raise self._unknown(name)
        return self.raw(found.number)

    def raw(self, number: int) -> bytes:
        """Return a block's true bytes by its number."""
        return self._bits[number].to_bytes(4 * BLOCKS[self.chip.name][number].words, "little")

    def _find(self, name: str) -> Field:
        if name not in self._fields:
            raise self._unknown(name)
        return self._fields[name]

    def _unknown(self, name: str) -> EfuseUnknownError:
        return EfuseUnknownError(
            f"{self.chip.title} has no eFuse named {name}.",
            advice="Its names are those of: labkit board efuse-map",
            name=name,
        )

    def _set(self, name: str, value: int) -> None:
        field = self._find(name)
        self._bits[field.block] |= value << field.start

    # --- protection ----------------------------------------------------------------------------------------------

    def writable(self, number: int) -> int:
        """Return which bits of a block may still be burned, as a mask."""
        block = self.blocks[number]
        held = self.field("WR_DIS")
        if _bit(held, block.write_bit):
            return 0
        mask = (1 << (32 * block.words)) - 1
        for field in self.fields:
            if field.block == number and _bit(held, field.write_bit):
                mask &= ~field.mask
        return mask

    def readable(self, number: int) -> int:
        """Return which bits of a block a program may read, as a mask."""
        block = self.blocks[number]
        hidden = self.field("RD_DIS")
        if _bit(hidden, block.read_bit):
            return 0
        mask = (1 << (32 * block.words)) - 1
        for field in self.fields:
            if field.block == number and _bit(hidden, field.read_bit):
                mask &= ~field.mask
        return mask

    def visible(self, number: int) -> bytes:
        """Return what the controller shows of a block: hidden bits read as zero."""
        bits = self._bits[number] & self.readable(number)
        data = bits.to_bytes(4 * self.blocks[number].words, "little")
        return _decoded(data) if self._three_quarters(number) else data

    def _three_quarters(self, number: int) -> bool:
        return self.chip.name == "esp32" and number > 0 and self.field("CODING_SCHEME") == 1

    def program(self, number: int, data: bytes) -> None:
        """Burn bits into a block as the controller does: bits only ever become 1, protected ones stay without a word.

        Args:
            number: The block.
            data: Its bits; what goes beyond the block is left out.
        """
        burned = int.from_bytes(data, "little") & self.writable(number)
        # Blocks of the C3 other than the first are stored with a Reed-Solomon code over the whole block. The code of
        # a second programming is or-ed into that of the first, and fits neither (TRM, *eFuse-Programming Parameters*).
        coded = self.chip.name != "esp32" and number > 0
        if coded and self._bits[number] and burned | self._bits[number] != self._bits[number]:
            self.damaged.add(number)
        self._bits[number] |= burned

    def burn(self, values: Mapping[str, int | bytes]) -> None:
        """Burn fields and blocks, all or none of them.

        Raises:
            EfuseProtectedError: A field is protected, or a bit that is burned already would have to be 0.
            EfuseUnknownError: This chip has no such field, or the value does not fit.
        """
        bits = dict.fromkeys(range(len(self.blocks)), 0)
        for name, value in values.items():
            field = self._find(name)
            number = int.from_bytes(value, "little") if isinstance(value, bytes) else value
            if not 0 <= number < 1 << field.length:
                raise EfuseUnknownError(
                    f"{name} has {field.length} bits; the value does not fit.",
                    advice="Look at its width: labkit board efuse-map",
                    name=name,
                )
            self._refuse_lost_bits(field, number)
            bits[field.block] |= number << field.start
        for block, value in sorted(bits.items(), reverse=True):  # block 0, with the protection, comes last
            if value:
                self.program(block, value.to_bytes(32, "little"))

    def _refuse_lost_bits(self, field: Field, wanted: int) -> None:
        had = self.field(field.name)
        new = (wanted & ~had) << field.start
        if had & ~wanted:
            why, rule = "it has bits that are burned already and can't become 0 again", "burned"
        elif new & ~self.writable(field.block):
            why, rule = "it is write-protected", "write-protected"
        else:
            return
        raise EfuseProtectedError(
            f"{field.name} can't be burned: {why}.",
            advice="eFuses are for ever. On the virtual board there is a new board: labkit board new",
            name=field.name,
            rule=rule,
        )

    # --- what the boot chain asks ----------------------------------------------------------------------------------

    @property
    def mac(self) -> bytes:
        """The six bytes of the factory's MAC."""
        return self.field("MAC").to_bytes(6, "big")

    @property
    def revision(self) -> int:
        """The chip's revision, major times 100 plus minor: what silicon and fuses say together."""
        if self.chip.name != "esp32":
            minor = (self.field("WAFER_VERSION_MINOR_HI") << 3) + self.field("WAFER_VERSION_MINOR_LO")
            return 100 * self.field("WAFER_VERSION_MAJOR") + minor
        third = int(self._silicon >= SECURE_VERSION_3)
        told = (third << 2) | (self.field("CHIP_VER_REV2") << 1) | self.field("CHIP_VER_REV1")
        return 100 * {0: 0, 1: 1, 3: 2, 7: 3}.get(told, 0) + self.field("WAFER_VERSION_MINOR")

    @property
    def apb_date(self) -> int:
        """What the ESP32's silicon says of its age in a register."""
        return (int(self._silicon >= SECURE_VERSION_3) << 31) | 0x16042000

    @property
    def secure_boot_enabled(self) -> bool:
        """Whether the ROM verifies signatures (Secure Boot V2)."""
        if self.chip.name == "esp32":
            return bool(self.field("ABS_DONE_1")) and self.revision >= SECURE_VERSION_3
        return bool(self.field("SECURE_BOOT_EN"))

    @property
    def secure_boot_digests(self) -> tuple[SecureBootDigest, ...]:
        """The digests of the keys that it trusts, or trusted."""
        if self.chip.name == "esp32":
            digest = self.block("BLOCK2")
            return (SecureBootDigest(0, digest, revoked=False),) if any(digest) else ()
        found = [
            SecureBootDigest(
                _DIGESTS[purpose],
                self.block(f"BLOCK_KEY{n}"),
                bool(self.field(f"SECURE_BOOT_KEY_REVOKE{_DIGESTS[purpose]}")),
            )
            for n, purpose in enumerate(self.key_purposes)
            if purpose in _DIGESTS
        ]
        return tuple(sorted(found, key=lambda digest: digest.index))

    @property
    def key_purposes(self) -> tuple[int, ...]:
        """What the key blocks are for, see `KEY_PURPOSES`; the ESP32 has fixed ones and says nothing."""
        if self.chip.name == "esp32":
            return ()
        return tuple(self.field(f"KEY_PURPOSE_{n}") for n in range(6))

    @property
    def flash_crypt_count(self) -> int:
        """The counter whose odd number of bits switches flash encryption on."""
        return self.field("FLASH_CRYPT_CNT" if self.chip.name == "esp32" else "SPI_BOOT_CRYPT_CNT")

    @property
    def flash_encryption_enabled(self) -> bool:
        """Whether flash is read through the decryption."""
        return self.flash_crypt_count.bit_count() % 2 == 1

    @property
    def flash_encryption_key(self) -> bytes | None:
        """The key of flash encryption, in the byte order of `espsecure generate-flash-encryption-key`."""
        if self.chip.name == "esp32":
            key = _decoded(self.block("BLOCK1")) if self._three_quarters(1) else self.block("BLOCK1")
            key = key[:24] if self._three_quarters(1) else key
            return key[::-1] if any(key) else None
        for n, purpose in enumerate(self.key_purposes):
            if purpose == _XTS:
                return self.block(f"BLOCK_KEY{n}")[::-1]
        return None

    @property
    def flash_crypt_config(self) -> int:
        """Which address bits the ESP32 mixes into the key; 0 on chips with XTS."""
        return self.field("FLASH_CRYPT_CONFIG") if self.chip.name == "esp32" else 0

    @property
    def manual_encrypt_disabled(self) -> bool:
        """Whether the serial loader may not encrypt what it writes."""
        esp32 = self.chip.name == "esp32"
        return bool(self.field("DISABLE_DL_ENCRYPT" if esp32 else "DIS_DOWNLOAD_MANUAL_ENCRYPT"))

    @property
    def secure_version(self) -> int:
        """How many versions of the application are burned as too old."""
        return self.field("SECURE_VERSION").bit_count()

    def hmac_key(self, index: int) -> bytes | None:
        """Return the key that the HMAC peripheral computes with for programs, or None if block `index` holds none."""
        if index not in range(len(self.key_purposes)) or self.key_purposes[index] not in {
            _HMAC_ALL,
            _HMAC_UP,
        }:
            return None
        return self.block(f"BLOCK_KEY{index}")

    @property
    def download(self) -> str:
        """What the serial loader does: `open`, `secure` (a few commands, nothing is read) or `disabled`."""
        if self.chip.name == "esp32":
            off = self.field("UART_DOWNLOAD_DIS") and self.revision >= SECURE_VERSION_3
            return "disabled" if off else "open"
        if self.field("DIS_DOWNLOAD_MODE"):
            return "disabled"
        return "secure" if self.field("ENABLE_SECURITY_DOWNLOAD") else "open"

    @property
    def jtag_disabled(self) -> bool:
        """Whether no debugger gets in, over pads or USB, for ever."""
        if self.chip.name == "esp32":
            return bool(self.field("JTAG_DISABLE"))
        return bool(self.field("DIS_PAD_JTAG") and self.field("DIS_USB_JTAG"))

    # --- on disk -------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return all true bits, keys among them, as a file of ours."""
        damaged = sum(1 << number for number in self.damaged)
        head = _HEADER.pack(MAGIC, VERSION, self.chip.name.encode(), self._silicon, damaged)
        body = head + b"".join(self.raw(block.number) for block in self.blocks)
        return body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Efuses:
        """Return the fuses that a file holds.

        Raises:
            FormatError: `what` is `efuse`; the offset says where.
        """
        if len(data) < _HEADER.size + 4:
            raise _bad(len(data), "it is too short")
        magic, version, name, silicon, damaged = _HEADER.unpack_from(data)
        chip = CHIPS.get(name.rstrip(b"\0").decode("latin-1"))
        if magic != MAGIC or version != VERSION:
            raise _bad(0, "it does not begin as one")
        if chip is None:
            raise _bad(9, "no such chip")
        blocks = BLOCKS[chip.name]
        if len(data) != _HEADER.size + 4 * sum(block.words for block in blocks) + 4:
            raise _bad(_HEADER.size, "its length is not that of the chip's fuses")
        if data[-4:] != struct.pack("<I", zlib.crc32(data[:-4])):
            raise _bad(len(data) - 4, "its checksum is wrong")
        bits, at = [], _HEADER.size
        for block in blocks:
            bits.append(int.from_bytes(data[at : at + 4 * block.words], "little"))
            at += 4 * block.words
        return cls(chip, silicon, bits, (n for n in range(16) if damaged >> n & 1))

    def copy(self) -> Efuses:
        """Return the same fuses once more."""
        return Efuses.from_bytes(self.to_bytes())


def _bit(word: int, number: int | None) -> bool:
    return number is not None and bool(word >> number & 1)


def _decoded(data: bytes) -> bytes:
    """Return a block of the ESP32 under the 3/4 code: of every eight bytes, six are data."""
    plain = b"".join(data[start : start + 6] for start in range(0, 32, 8))
    return plain.ljust(len(data), b"\0")


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is no file of eFuses: {why} (offset {offset:#x}).",
        advice="Go back to a snapshot, or make a new board: labkit board new",
        what="efuse",
        offset=offset,
    )
