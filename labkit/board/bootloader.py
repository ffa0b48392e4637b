"""The boot chain: ROM, second stage, partition table, otadata, image, signature, anti-rollback, application.

The checks and their order are those of the chips' ROM and of ESP-IDF's bootloader (`components/bootloader_support`),
with rollback and anti-rollback switched on. Where this model differs on purpose:

- The ROM refuses a bootloader whose appended SHA-256 is wrong. A real ESP32 looks at the checksum byte alone, and an
  ESP32-C3 without Secure Boot complains and goes on.
- Flash is encrypted in place by a bootloader whose image says so (`"flash_encryption"` in its behaviour, see
  `first_boot`); of machine code alone that can't be known. Where fuses were burned by hand over plain text, the ROM refuses
  it, as a real one does.
- SECURE_BOOT_AGGRESSIVE_REVOKE does nothing: a real ROM revokes a key whose signature does not hold.
- The eFuses' security version advances after the image was verified; ESP-IDF reads it from the image before.
"""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from labkit.board import first_boot
from labkit.board.boot_console import BootConsole
from labkit.board.flash_view import FlashView, flash_key
from labkit.board.slots import Choice, choose_slot, remember_first
from labkit.board.verification import (
    Refusal,
    advance_secure_version,
    check_app,
    objection,
    verify_chip,
    verify_revision,
    verify_signature,
    wrong,
)
from labkit.errors import FormatError, ImageFormatError, SignatureRefusedError
from labkit.firmware import partitions
from labkit.firmware.description import AppDescription
from labkit.firmware.image import MAGIC, Image, behaviour_of, parse_image, verify_placement
from labkit.firmware.memory_map import MAPPED, MAPS
from labkit.firmware.secure_boot import RULES
from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from labkit.board.efuse import Efuses
    from labkit.board.nor_flash import NorFlash
    from labkit.firmware.partitions import Partition, PartitionTable


_OF_IMAGES = (
    "magic", "segments", "segment-length", "truncated", "checksum", "digest", "chip-id", "load-address",
    "segment-alignment", *RULES,
)  # fmt: skip
REASONS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "rom": (*_OF_IMAGES, "not-encrypted"),
    "bootloader": ("revision", "behaviour"),
    "partitions": ("partition-table",),
    "image": (*_OF_IMAGES, "revision", "description", "secure-version", "no-app", "flash-encryption"),
    "application": ("behaviour",),
})  # fmt: skip
"""Why a boot ends, by stage; docs/formats/boot.md says what each of them means."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What became of a reset.

    Attributes:
        outcome: The verdict; stages are `outcome.BOOT`.
        console: What ROM and bootloader said.
        table: The partition table, as far as it was read.
        slot: The partition that was booted from.
        image: The application.
        behaviour: What the image says that it does; None for machine code, in whose place a twin runs.
        options: What the bootloader's own image says: whether it does `rollback` and `anti_rollback`.
    """

    outcome: Outcome
    console: tuple[str, ...]
    table: PartitionTable | None = None
    slot: Partition | None = None
    image: Image | None = field(default=None, repr=False)
    behaviour: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def booted(self) -> bool:
        """Whether an application runs."""
        return self.outcome.accepted


def boot(flash: NorFlash, efuses: Efuses, *, random: Callable[[int], bytes] = secrets.token_bytes) -> Boot:
    """Reset a board and follow it to its application.

    Writes otadata (each operation is counted by `flash`) and may burn the security version, as the real bootloader does.

    Args:
        flash: The flash chip.
        efuses: The fuses.
        random: Where a key comes from, if the bootloader switches flash encryption on.

    Returns:
        What became of it. Refusals are data, see `REASONS`.

    Raises:
        PowerCut: The power went while otadata was written.

    Does not check: with Secure Boot off, who made anything of all this.
    """
    chain = _Chain(flash, efuses, random)
    found = chain.run()
    if not chain.encrypted:
        return found
    again = _Chain(flash, efuses, random).run()  # reset by software, with flash encryption enabled
    return dataclasses.replace(again, console=(*chain.console.lines, *again.console))


class _Chain:
    """One way from reset to application."""

    def __init__(self, flash: NorFlash, efuses: Efuses, random: Callable[[int], bytes]) -> None:
        self.efuses = efuses
        self.random = random
        self.encrypted = False
        self.view = FlashView(flash, flash_key(efuses))
        self.console = BootConsole()
        self.table: PartitionTable | None = None
        self.options: dict[str, Any] = {}

    def run(self) -> Boot:
        self.console.banner(self.efuses.chip.name)
        try:
            bootloader = self._rom()
            self._second_stage(bootloader)
            self.table = self._partitions()
            return self._application(self.table, bootloader)
        except Refusal as refusal:
            return Boot(refusal.outcome, tuple(self.console.lines), self.table)

    # --- ROM -----------------------------------------------------------------------------------------------------

    def _rom(self) -> Image:
        start = self.efuses.chip.bootloader_offset
        room = partitions.OFFSET - start
        data = self.view.read(start, room)
        try:
            image = parse_image(data)
            verify_chip(image, self.efuses)
            self._all_in_memory(image)
            verify_placement(image, start)
        except ImageFormatError as error:
            raise self._no_bootloader(error, data, start) from error
        self.console.loading(image)
        if self.efuses.secure_boot_enabled:
            try:
                verify_signature(self.view, self.efuses, image, start, room)
            except SignatureRefusedError as error:
                self.console.signature(error.rule, rom=True)
                raise Refusal("rom", error.rule, offset=start) from error
            self.console.rom("secure boot verification succeeded")
        self.console.rom(f"entry {image.entry:#010x}")
        return image

    def _no_bootloader(self, error: ImageFormatError, data: bytes, start: int) -> Refusal:
        reason = error.rule
        if reason == "magic":
            self.console.rom(f"invalid header: 0x{data[:4][::-1].hex()}")
            plain = self.view.read(start, 1, encrypted=False) == bytes([MAGIC])
            reason = "not-encrypted" if plain else reason
        elif reason == "checksum":
            self.console.rom("csum err")
        else:
            self.console.rom(error.message)
        self.console.rom("ets_main.c 371")
        return Refusal("rom", reason, offset=start + error.offset)

    def _all_in_memory(self, image: Image) -> None:
        memory = MAPS[self.efuses.chip.name]
        for one in image.segments:
            if memory.region(one.address, len(one.data)) in MAPPED:
                raise wrong("load-address", one.offset, "the ROM maps no flash for a bootloader")

    # --- second stage ----------------------------------------------------------------------------------------------

    def _second_stage(self, image: Image) -> None:
        self.console.second_stage(self.efuses, image)
        try:
            verify_revision(image, self.efuses, newest=False)
            self.options = behaviour_of(image) or {}
        except FormatError as error:
            self.console.complains("boot", error.message)
            reason = error.rule if isinstance(error, ImageFormatError) else error.what
            raise Refusal("bootloader", reason) from error

    def _partitions(self) -> PartitionTable:
        data = self.view.read(partitions.OFFSET, partitions.LENGTH)
        try:
            table = partitions.parse_table(data, flash_size=self.view.flash.size)
        except FormatError as error:
            self.console.complains("flash_parts", error.message)
            self.console.complains("boot", "Failed to verify partition table")
            raise Refusal("partitions", "partition-table", offset=error.offset) from error
        self.console.table(table)
        return table

    # --- application -----------------------------------------------------------------------------------------------

    def _application(self, table: PartitionTable, bootloader: Image) -> Boot:
        rollback = bool(self.options.get("rollback", True))
        choice = choose_slot(self.view, table, self.console, rollback=rollback, objection=self._objection)
        refused = dict(choice.passed_over)
        for part in choice.order:
            try:
                image = check_app(
                    self.view, self.efuses, part, self.console, anti_rollback=self._anti_rollback
                )
            except Refusal as refusal:
                refused[part.label] = refusal.outcome.reason
                self.console.complains("boot", f"{_title(part)} is not bootable")
                continue
            self.console.says("boot", f"Loaded app from partition at offset {part.offset:#x}")
            started = self._start(table, part, image, choice, refused)
            self._encrypt(table, bootloader)
            return started
        self.console.complains("boot", "No bootable app partitions in the partition table")
        raise Refusal("image", next(iter(refused.values()), "no-app"), refused=refused)

    def _encrypt(self, table: PartitionTable, bootloader: Image) -> None:
        mode = first_boot.wanted(self.options.get("flash_encryption"), self.efuses)
        if mode is not None:
            first_boot.encrypt_in_place(
                self.view.flash, self.efuses, table, bootloader, self.console, mode=mode, random=self.random
            )
            self.encrypted = True

    @property
    def _anti_rollback(self) -> bool:
        return bool(self.options.get("anti_rollback", True))

    def _objection(self, part: Partition) -> str | None:
        return objection(self.view, self.efuses, part) if self._anti_rollback else None

    def _start(
        self, table: PartitionTable, part: Partition, image: Image, choice: Choice, refused: dict[str, str]
    ) -> Boot:
        if choice.unwritten is not None:
            remember_first(self.view, choice.unwritten, table.ota_slots.index(part), self.console)
        trusted = choice.unwritten is not None or choice.trusted == part
        if trusted and self._anti_rollback and advance_secure_version(self.efuses, image):
            self.console.says("boot", f"Secure version in eFuse is now {self.efuses.secure_version}")
        detail = _evidence(part, image, refused)
        try:
            behaviour = behaviour_of(image)
        except FormatError as error:
            self.console.complains("boot", error.message)
            raise Refusal("application", error.what, **detail) from error
        if behaviour is None:
            self.console.says("boot", "machine code alone: labkit's twin of the node runs in its place")
        outcome = Outcome("application", accepted=True, reason=ACCEPTED, detail=detail)
        lines = tuple(self.console.lines)
        return Boot(outcome, lines, table, part, image, behaviour, self.options)


def _evidence(part: Partition, image: Image, refused: Mapping[str, str]) -> dict[str, Any]:
    """Return what an outcome says of the application that was started."""
    description = image.description or AppDescription("", "")
    return {
        "slot": part.label,
        "refused": dict(refused),
        "project": description.project,
        "version": description.version,
        "secure_version": description.secure_version,
    }


def _title(part: Partition) -> str:
    if part.subtype == partitions.FACTORY:
        return "Factory app partition"
    return f"OTA app partition slot {part.subtype - partitions.OTA_FIRST}"
