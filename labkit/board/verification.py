"""What makes an image one that this board starts: whole, for this chip, signed where it must be, and new enough.

The bootloader asks before it starts an application, and a running application asks before it makes an update bootable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.errors import ImageFormatError, SignatureRefusedError
from labkit.firmware.description import APP_LENGTH
from labkit.firmware.description import parse_app as parse_description
from labkit.firmware.image import HEADER, SEGMENT_HEADER, measure, parse_image, verify_placement
from labkit.firmware.memory_map import MAPPED, MAPS
from labkit.firmware.secure_boot import MOST_BLOCKS, SECTOR, TrustedKey, signed_length, verify_signatures
from labkit.outcome import Outcome

if TYPE_CHECKING:
    from labkit.board.boot_console import BootConsole
    from labkit.board.efuse import Efuses
    from labkit.board.flash_view import FlashView
    from labkit.firmware.image import Image
    from labkit.firmware.partitions import Partition


class Refusal(Exception):  # noqa: N818 - it is a verdict on its way up, and is returned as data
    """The boot chain ends here.

    Attributes:
        outcome: Where, and for what reason.
    """

    def __init__(self, stage: str, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.outcome = Outcome(stage, accepted=False, reason=reason, detail=detail)


def trusted_keys(efuses: Efuses) -> list[TrustedKey]:
    """Return whom Secure Boot trusts: only digests that can be read count, for the ROM reads them like anybody."""
    keys = []
    for digest in efuses.secure_boot_digests:
        number = next(block.number for block in efuses.blocks if efuses.raw(block.number) == digest.digest)
        if efuses.visible(number) == digest.digest:
            keys.append(TrustedKey(digest.digest, digest.revoked))
    return keys


def verify_chip(image: Image, efuses: Efuses) -> None:
    """Verify that an image is for this kind of chip.

    Raises:
        ImageFormatError: `rule` is `chip-id`.
    """
    chip = efuses.chip
    if image.chip_id != chip.chip_id:
        raise wrong("chip-id", 12, f"mismatch chip ID, expected {chip.chip_id}, found {image.chip_id}")


def verify_revision(image: Image, efuses: Efuses, *, newest: bool = True) -> None:
    """Verify that an image is for this chip's revision.

    Args:
        image: The image.
        efuses: The chip's fuses.
        newest: Ask whether the chip is too new as well, which a bootloader is not asked.

    Raises:
        ImageFormatError: `rule` is `revision`.
    """
    found, least, most = efuses.revision, image.min_revision, image.max_revision
    over = newest and most not in {0, 0xFFFF} and found > most
    if found < least or over:
        wanted = f"<= v{most // 100}.{most % 100}" if over else f">= v{least // 100}.{least % 100}"
        told = f"Required {wanted}, found v{found // 100}.{found % 100}."
        raise wrong("revision", 15, f"chip revision check failed. {told}")


def verify_signature(view: FlashView, efuses: Efuses, image: Image, start: int, room: int) -> None:
    """Verify the Secure Boot V2 signature behind an image in flash.

    Args:
        view: The flash.
        efuses: Whom the chip trusts.
        image: The image at `start`.
        start: Where it begins.
        room: How long the partition is.

    Raises:
        SignatureRefusedError: See `secure_boot.verify_signatures`.

    Does not check: whether Secure Boot is on.
    """
    length = signed_length(image.length)
    sector = view.read(start + length, SECTOR) if length + SECTOR <= room else b""
    # The ESP32 looks at one block, and trusts one key.
    blocks = 1 if efuses.chip.name == "esp32" else MOST_BLOCKS
    verify_signatures(view.read(start, length), sector, trusted_keys(efuses), blocks=blocks)


def parse_app(view: FlashView, part: Partition) -> Image:
    """Read the image of a partition, and no more of the partition than the image has: decrypting takes time.

    Raises:
        ImageFormatError: See `image.parse_image`.
    """
    return parse_image(view.read(part.offset, _measure(view, part)))


def _measure(view: FlashView, part: Partition) -> int:
    def read(offset: int, length: int) -> bytes:
        return view.read(part.offset + offset, min(length, part.size - offset))

    return measure(read, part.size)


def check_app(
    view: FlashView, efuses: Efuses, part: Partition, console: BootConsole, *, anti_rollback: bool = True
) -> Image:
    """Return the application of a partition after every check.

    Args:
        view: The flash.
        efuses: The chip's fuses.
        part: Where the application is.
        console: Where the bootloader says what it found.
        anti_rollback: Compare the security version with the fuses.

    Raises:
        Refusal: The stage is `image`.

    Does not check: with Secure Boot off, who made it.
    """
    try:
        image = parse_app(view, part)
        verify_chip(image, efuses)
        verify_revision(image, efuses)
        verify_placement(image, part.offset)
    except ImageFormatError as error:
        nothing = f"image at {part.offset:#x} has invalid magic byte (nothing flashed here?)"
        console.complains("esp_image", nothing if error.rule == "magic" else error.message)
        raise Refusal("image", error.rule) from error
    memory = MAPS[efuses.chip.name]
    verbs = {n: _verb(memory.region(one.address)) for n, one in enumerate(image.segments)}
    console.segments(image, part.offset, verbs)
    if efuses.secure_boot_enabled:
        _check_signature(view, efuses, image, part, console)
    description = image.description
    if description is None:
        console.complains("boot", "Failed to get partition description")
        raise Refusal("image", "description")
    if anti_rollback and description.secure_version < efuses.secure_version:
        told = f"secure version {description.secure_version} < {efuses.secure_version} in eFuse"
        console.complains("boot", f"the application is too old: {told}")
        raise Refusal("image", "secure-version")
    return image


def _check_signature(
    view: FlashView, efuses: Efuses, image: Image, part: Partition, console: BootConsole
) -> None:
    console.says("esp_image", "Verifying image signature...")
    try:
        verify_signature(view, efuses, image, part.offset, part.size)
    except SignatureRefusedError as error:
        console.signature(error.rule, rom=False)
        raise Refusal("image", error.rule) from error
    console.says("secure_boot_v2", "Signature verified successfully!")


def _verb(region: str | None) -> str:
    if region in MAPPED:
        return "map"
    return "" if region in {None, "PADDING"} else "load"


def objection(view: FlashView, efuses: Efuses, part: Partition) -> str | None:
    """Return why anti-rollback rules an application out before anything of it is verified, or None.

    It needs the description, so what can't be taken apart is ruled out too.
    """
    try:
        _measure(view, part)
    except ImageFormatError as error:
        return error.rule
    description = parse_description(view.read(part.offset + HEADER + SEGMENT_HEADER, APP_LENGTH))
    if description is None:
        return "description"
    return "secure-version" if description.secure_version < efuses.secure_version else None


def advance_secure_version(efuses: Efuses, image: Image) -> bool:
    """Burn the security version of an application that was called valid, so that older ones end here.

    Returns:
        Whether a fuse was burned. A version beyond the fuses' room burns nothing.
    """
    description = image.description
    wanted = description.secure_version if description else 0
    room = next(one.length for one in efuses.fields if one.name == "SECURE_VERSION")
    if not efuses.secure_version < wanted <= room:
        return False
    efuses.burn({"SECURE_VERSION": (1 << wanted) - 1})
    return True


def wrong(rule: str, offset: int, why: str) -> ImageFormatError:
    """Return the error for an image that is whole, and not for this chip."""
    return ImageFormatError(
        why,
        advice="Build the image for this chip: labkit image build --chip",
        what="image",
        offset=offset,
        rule=rule,
    )
