"""Flash encryption switched on by the bootloader itself, at the first boot that finds it off.

As ESP-IDF's bootloader does it when it was built for it (`flash_encryption/flash_encrypt.c`): draw a key, burn it where
nobody reads it, encrypt bootloader, table, applications and whatever is covered, in place, and burn the counter last. Power
that fails in between leaves flash that neither way of reading makes sense of: the board has to be written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.board.flash_view import FlashView, flash_key
from labkit.board.nor_flash import SECTOR
from labkit.board.verification import Refusal, parse_app
from labkit.errors import EfuseProtectedError, ImageFormatError
from labkit.firmware import partitions
from labkit.firmware.flash_encryption import FlashKey
from labkit.firmware.secure_boot import signed_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.boot_console import BootConsole
    from labkit.board.efuse import Efuses
    from labkit.board.nor_flash import NorFlash
    from labkit.firmware.image import Image
    from labkit.firmware.partitions import Partition, PartitionTable

MODES = ("development", "release")
"""In development a few plain images may follow, and the loader encrypts; in release neither."""

_XTS = 4
_COUNTERS = {"esp32": ("FLASH_CRYPT_CNT", 7), "esp32c3": ("SPI_BOOT_CRYPT_CNT", 3)}
_FUSES: dict[str, dict[str, int]] = {
    "esp32": {"DISABLE_DL_DECRYPT": 1, "DISABLE_DL_CACHE": 1, "JTAG_DISABLE": 1, "FLASH_CRYPT_CONFIG": 0xF},
    "esp32c3": {"DIS_DOWNLOAD_ICACHE": 1, "DIS_PAD_JTAG": 1, "DIS_USB_JTAG": 1, "DIS_DIRECT_BOOT": 1},
}
_RELEASE = {"esp32": {"DISABLE_DL_ENCRYPT": 1}, "esp32c3": {"DIS_DOWNLOAD_MANUAL_ENCRYPT": 1}}


def encrypt_in_place(
    flash: NorFlash,
    efuses: Efuses,
    table: PartitionTable,
    bootloader: Image,
    console: BootConsole,
    *,
    mode: str,
    random: Callable[[int], bytes],
) -> None:
    """Switch flash encryption on.

    Args:
        flash: The flash, in the clear.
        efuses: The fuses.
        table: What lies where.
        bootloader: The bootloader that runs.
        console: Where it says what it does.
        mode: One of `MODES`.
        random: Where keys come from.

    Raises:
        Refusal: The fuses have no room for a key, or for the counter (`flash-encryption`).
        PowerCut: The power went: the board does not boot any more until its flash is written anew.
    """
    console.says("flash_encrypt", "Checking flash encryption...")
    try:
        _burn_key(efuses, console, random)
        key = FlashKey(efuses.flash_encryption_key or bytes(32), xts=efuses.chip.name != "esp32", config=0xF)
        _convert(flash, key, efuses, table, bootloader, console)
        _count(efuses, mode)
    except EfuseProtectedError as error:
        console.complains("flash_encrypt", error.message)
        raise Refusal("image", "flash-encryption") from error
    console.says("flash_encrypt", "Flash encryption completed")
    console.says("boot", "Resetting with flash encryption enabled...")


def _burn_key(efuses: Efuses, console: BootConsole, random: Callable[[int], bytes]) -> None:
    if efuses.flash_encryption_key is not None:
        console.says("flash_encrypt", "Using pre-loaded flash encryption key in efuse")
        return
    console.says("flash_encrypt", "Generating new flash encryption key...")
    held, hidden = efuses.field("WR_DIS"), efuses.field("RD_DIS")
    if efuses.chip.name == "esp32":
        # Nobody reads it, nobody burns more of it.
        efuses.burn({"BLOCK1": random(32), "WR_DIS": held | 1 << 7, "RD_DIS": hidden | 1})
        return
    free = [n for n in range(6) if not efuses.key_purposes[n] and not any(efuses.block(f"BLOCK_KEY{n}"))]
    if not free:
        console.complains("flash_encrypt", "Not enough free efuse key blocks (need 1) to continue")
        raise Refusal("image", "flash-encryption")
    number = free[0]
    protect = held | 1 << (23 + number) | 1 << (8 + number)
    efuses.burn({
        f"BLOCK_KEY{number}": random(32), f"KEY_PURPOSE_{number}": _XTS,
        "WR_DIS": protect, "RD_DIS": hidden | 1 << number,
    })  # fmt: skip


def _convert(  # noqa: PLR0917
    flash: NorFlash,
    key: FlashKey,
    efuses: Efuses,
    table: PartitionTable,
    bootloader: Image,
    console: BootConsole,
) -> None:
    start = efuses.chip.bootloader_offset
    length = signed_length(bootloader.length) + (SECTOR if efuses.secure_boot_enabled else 0)
    _sectors(flash, key, start, min(length, partitions.OFFSET - start))
    console.says("flash_encrypt", "bootloader encrypted successfully")
    _sectors(flash, key, partitions.OFFSET, SECTOR)
    console.says("flash_encrypt", "partition table encrypted and loaded successfully")
    plain = FlashView(flash, None)
    for number, part in enumerate(table):
        size = _size(plain, efuses, part)
        if size:
            console.says(
                "flash_encrypt",
                f"Encrypting partition {number} at offset {part.offset:#x} (length {size:#x})...",
            )
            _sectors(flash, key, part.offset, size)


def _size(plain: FlashView, efuses: Efuses, part: Partition) -> int:
    """Return how much of a partition is encrypted: of an application its image, and of what holds none, nothing."""
    if not part.encrypted or part.offset % SECTOR:
        return 0
    if part.type != partitions.APP:
        return part.size
    try:
        length = signed_length(parse_app(plain, part).length)
    except ImageFormatError:
        return 0
    return min(length + (SECTOR if efuses.secure_boot_enabled else 0), part.size)


def _sectors(flash: NorFlash, key: FlashKey, start: int, length: int) -> None:
    for offset in range(start, start + length, SECTOR):
        data = flash.read(offset, SECTOR)
        flash.erase(offset, SECTOR)
        flash.program(offset, key.encrypt(offset, data))


def _count(efuses: Efuses, mode: str) -> None:
    """Burn the counter, after which flash is read through the decryption, and what goes with it."""
    name, bits = _COUNTERS[efuses.chip.name]
    counted = efuses.field(name) << 1 | 1
    chosen: dict[str, int | bytes] = {**_FUSES[efuses.chip.name]}
    if mode == "release":
        chosen |= _RELEASE[efuses.chip.name]
        counted = (1 << bits) - 1
    efuses.burn({**chosen, name: counted & (1 << bits) - 1})


def wanted(options: object, efuses: Efuses) -> str | None:
    """Return the mode in which this bootloader switches encryption on now, or None.

    Args:
        options: What the bootloader's image says of `flash_encryption`.
        efuses: The fuses: on already, or switched off for ever.
    """
    name, bits = _COUNTERS[efuses.chip.name]
    if options not in MODES or flash_key(efuses) is not None or efuses.field(name) == (1 << bits) - 1:
        return None
    return str(options)
