"""What an image says of itself: project, version, security version; and what the course's images do.

ESP-IDF puts `esp_app_desc_t` first into the first segment of an application, and `esp_bootloader_desc_t` into that of a
bootloader. Both lie inside what is hashed and signed.

No machine code runs on the virtual board. What an application of the course *does* stands in the image as a block of
JSON behind its description, so that who changes the behaviour changes signed bytes.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.errors import FormatError, ImageRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

APP_MAGIC = 0xABCD5432
APP_LENGTH = 256
ELF_DIGEST_OFFSET = 0xB0
"""Where in an image's file the digest of its ELF file belongs (`--elf-sha256-offset`)."""

BOOTLOADER_MAGIC = 0x50
BOOTLOADER_LENGTH = 80

BEHAVIOUR_MAGIC = b"VESP1\0"
LONGEST_BEHAVIOUR = 4096

_APP = struct.Struct("<II8x32s32s16s16s32s32sHHBB2x72x")
_BOOTLOADER = struct.Struct("<B2xBI32s24s16x")


@dataclass(frozen=True, slots=True)
class AppDescription:
    """What an application says of itself.

    Attributes:
        project: The product's name, up to 31 bytes; the bootloader does not compare it with anything.
        version: A text for people, up to 31 bytes; the bootloader does not compare it with anything either.
        secure_version: What anti-rollback compares with the eFuses.
        idf_version: With which ESP-IDF it was built.
        date: When.
        time: When.
        elf_digest: SHA-256 of the ELF file.
    """

    project: str
    version: str
    secure_version: int = 0
    idf_version: str = "none (labkit)"
    date: str = ""
    time: str = ""
    elf_digest: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class BootloaderDescription:
    """What a bootloader says of itself; attributes as in `AppDescription`."""

    version: int
    idf_version: str = "none (labkit)"
    date_time: str = ""
    secure_version: int = 0


def build_app(description: AppDescription) -> bytes:
    """Return an `esp_app_desc_t`.

    Raises:
        ImageRefusedError: A text is too long (`rule` is `text-too-long`) or not ASCII (`text-characters`), or the
            security version is none (`secure-version`).
    """
    return _APP.pack(
        APP_MAGIC,
        _secure_version(description.secure_version, 0xFFFFFFFF),
        _text(description.version, 32),
        _text(description.project, 32),
        _text(description.time, 16),
        _text(description.date, 16),
        _text(description.idf_version, 32),
        description.elf_digest,
        0, 0xFFFF,  # eFuse block revisions: any
        16,  # log2 of the size of a page of flash in memory
        0,
    )  # fmt: skip


def build_bootloader(description: BootloaderDescription) -> bytes:
    """Return an `esp_bootloader_desc_t`.

    Raises:
        ImageRefusedError: See `build_app`.
    """
    return _BOOTLOADER.pack(
        BOOTLOADER_MAGIC,
        _secure_version(description.secure_version, 0xFF),
        description.version,
        _text(description.idf_version, 32),
        _text(description.date_time, 24),
    )


def _secure_version(number: int, largest: int) -> int:
    if not 0 <= number <= largest:
        raise _refused("secure-version", f"a security version of {number} does not fit")
    return number


def _text(text: str, room: int) -> bytes:
    if not (text.isascii() and (text.isprintable() or not text)):
        raise _refused("text-characters", f"{text!r} is not printable ASCII")
    if len(text) >= room:
        raise _refused("text-too-long", f"{text!r} has {len(text)} bytes and {room - 1} are allowed")
    return text.encode()


def parse_app(data: bytes) -> AppDescription | None:
    """Return the description at the beginning of an application's first segment, or None if there is none."""
    if len(data) < APP_LENGTH:
        return None
    magic, secure, version, project, time, date, idf, digest, *_ = _APP.unpack_from(data)
    if magic != APP_MAGIC:
        return None
    texts = [_read(one) for one in (project, version, idf, date, time)]
    return AppDescription(texts[0], texts[1], secure, texts[2], texts[3], texts[4], digest)


def parse_bootloader(data: bytes) -> BootloaderDescription | None:
    """Return the description at the beginning of a bootloader's first segment, or None if there is none."""
    if len(data) < BOOTLOADER_LENGTH or data[0] != BOOTLOADER_MAGIC:
        return None
    _, secure, version, idf, date_time = _BOOTLOADER.unpack_from(data)
    return BootloaderDescription(version, _read(idf), _read(date_time), secure)


def _read(raw: bytes) -> str:
    """Return a text of a stranger: up to its NUL, and nothing that a terminal would take for a command."""
    text = raw.split(b"\0")[0].decode("ascii", "replace")
    return "".join(sign if sign.isprintable() else "�" for sign in text)


# --- behaviour ----------------------------------------------------------------------------------------------------


def build_behaviour(behaviour: Mapping[str, Any]) -> bytes:
    """Return the block that tells the virtual board what an image does.

    Raises:
        ImageRefusedError: It is longer than 4,096 bytes (`rule` is `behaviour-too-long`).
    """
    text = json.dumps(dict(behaviour), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > LONGEST_BEHAVIOUR:
        raise _refused("behaviour-too-long", f"the behaviour has {len(text)} bytes")
    return BEHAVIOUR_MAGIC + text + b"\0"


def find_behaviour(data: bytes, start: int = 0) -> dict[str, Any] | None:
    """Return the behaviour that a segment holds, or None if it holds none.

    Args:
        data: The segment.
        start: Where its description ends: a product that is called like the block is none.

    Raises:
        FormatError: There is a block, and what is in it is no JSON object, has no end or is too long.
    """
    found_at = data.find(BEHAVIOUR_MAGIC, start)
    if found_at < 0:
        return None
    begin = found_at + len(BEHAVIOUR_MAGIC)
    end = data.find(b"\0", begin, begin + LONGEST_BEHAVIOUR + 1)
    if end < 0:
        raise _bad(begin, "it has no end")
    try:
        # RecursionError: brackets in brackets, 4,096 deep.
        found = json.loads(data[begin:end])
    except (ValueError, RecursionError) as error:
        raise _bad(begin, "it is no JSON") from error
    if not isinstance(found, dict):
        raise _bad(begin, "it is no JSON object")
    return found


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"The image has no behaviour that the virtual board can follow: {why} (offset {offset:#x}).",
        advice="Build the image again: labkit image build --help",
        what="behaviour",
        offset=offset,
    )


def _refused(rule: str, why: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"This image can't be built: {why}.",
        advice="Project and version are ASCII of at most 31 characters; see labkit image build --help",
        rule=rule,
    )
