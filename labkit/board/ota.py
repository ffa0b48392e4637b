"""Updates in place: the other slot is written while the application runs, and becomes bootable only when it is whole.

As ESP-IDF does it (`esp_ota_begin`, `_write`, `_end`, `_set_boot_partition`): nothing that boots now is touched, the last
step is one entry of otadata in the sector that does not count, and the new application has one boot to prove itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.board.boot_console import BootConsole
from labkit.board.nor_flash import SECTOR
from labkit.board.slots import find_otadata
from labkit.board.verification import Refusal, check_app
from labkit.errors import OtaRefusedError
from labkit.firmware.otadata import NEW, SIZE, OtaEntry, active, build_entry, next_entry, parse_otadata
from labkit.firmware.partitions import APP, FACTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.board.efuse import Efuses
    from labkit.board.flash_view import FlashView
    from labkit.firmware.image import Image
    from labkit.firmware.partitions import Partition, PartitionTable

_PIECE = 0x100


class Otadata:
    """otadata of a board that runs.

    Args:
        view: The flash.
        table: What lies where.
    """

    def __init__(self, view: FlashView, table: PartitionTable) -> None:
        self._view, self._table = view, table

    def state_of(self, slot: Partition) -> int | None:
        """Return the state of the entry that counts, if it names this slot."""
        found = self._current()
        return found[1].state if found is not None and self._slot(found[1]) == slot else None

    def set_state(self, slot: Partition, state: int) -> None:
        """Change the state of the entry that counts, if it names this slot and has another state.

        Raises:
            PowerCut: The power went; between two operations the entry is empty, and the other one counts.
        """
        found = self._current()
        where = self._where
        if found is None or where is None or self._slot(found[1]) != slot or found[1].state == state:
            return
        self._view.replace_sector(where.offset + found[0] * SECTOR, build_entry(found[1].sequence, state))

    def has_other(self, slot: Partition) -> bool:
        """Return whether another application is noted as bootable, or there is one of the factory."""
        others = (one for one in self._entries() if one.bootable and self._slot(one) != slot)
        return any(True for _ in others) or self._table.of_kind(APP, FACTORY) is not None

    def choose(self, slot: Partition) -> None:
        """Let a slot boot next, as a new application.

        Raises:
            OtaRefusedError: There is no otadata (`no-otadata`), or see `otadata.next_entry`.
            PowerCut: The power went; the application that ran boots again.
        """
        where = self._where
        if where is None:
            raise _refused("no-otadata", "the partition table has no otadata")
        slots = self._table.ota_slots
        sector, sequence = next_entry(self._entries(), slots.index(slot), len(slots))
        self._view.replace_sector(where.offset + sector * SECTOR, build_entry(sequence, NEW))

    @property
    def _where(self) -> Partition | None:
        return find_otadata(self._table)

    def _entries(self) -> tuple[OtaEntry, ...]:
        where = self._where
        return parse_otadata(self._view.read(where.offset, SIZE)) if where is not None else ()

    def _current(self) -> tuple[int, OtaEntry] | None:
        entries = self._entries()
        number = active(entries) if entries else None
        return None if number is None else (number, entries[number])

    def _slot(self, entry: OtaEntry) -> Partition:
        slots = self._table.ota_slots
        return slots[entry.slot(len(slots))]


class OtaUpdate:
    """One update, from its first byte to the choice. Get it from `Machine.begin_update`.

    Args:
        view: The flash.
        efuses: The fuses: what the new application must satisfy.
        slot: Where it goes.
        otadata: Where it is chosen.
        size: How long it will be, if that is known.
        options: What the bootloader does, see `Boot.options`.

    Attributes:
        slot: See above.
        written: How many bytes have come.

    Raises:
        OtaRefusedError: It will not fit (`size`), or the slot begins within a sector (`alignment`).
    """

    def __init__(
        self,
        view: FlashView,
        efuses: Efuses,
        slot: Partition,
        otadata: Otadata,
        *,
        size: int | None = None,
        options: Mapping[str, Any],
    ) -> None:
        if slot.offset % SECTOR:
            raise _refused("alignment", f"{slot.label} begins within a sector")
        if size is not None and size > slot.size:
            raise _refused("size", f"{size:#x} bytes do not fit into {slot.label}")
        self.slot, self.written = slot, 0
        self._view, self._efuses, self._otadata, self._options = view, efuses, otadata, options
        self._waiting = b""
        self._image: Image | None = None

    def write(self, data: bytes) -> None:
        """Write the next bytes, any number of them; sectors are erased as they are reached.

        Raises:
            OtaRefusedError: It does not fit (`size`), or it was finished already (`finished`).
            PowerCut: The power went; nothing that boots was touched.
        """
        if self._image is not None:
            raise _refused("finished", "it was finished already")
        if len(data) > self.slot.size - self.written:
            raise _refused("size", f"it does not fit into {self.slot.label}")
        self.written += len(data)
        self._waiting += data
        self._program(len(self._waiting) // _PIECE * _PIECE)

    def _program(self, length: int) -> None:
        """Program so many of the bytes that wait."""
        for _ in range(0, length, _PIECE):
            piece, self._waiting = self._waiting[:_PIECE], self._waiting[_PIECE:]
            place = self.slot.offset + self.written - len(self._waiting) - len(piece)
            if place % SECTOR == 0:
                self._view.erase(place, SECTOR)
            self._view.program(place, piece)

    def finish(self) -> Image:
        """Write what is left, and verify the application as the bootloader will.

        Raises:
            OtaRefusedError: `rule` is what the bootloader would refuse it for; it can't be chosen.
            PowerCut: The power went.

        Does not check: with Secure Boot off, who made it; and whether this board should have it.
        """
        self._program(len(self._waiting))
        try:
            self._image = check_app(
                self._view,
                self._efuses,
                self.slot,
                BootConsole(),
                anti_rollback=bool(self._options.get("anti_rollback", True)),
            )
        except Refusal as refusal:
            rule = refusal.outcome.reason
            raise _refused(rule, f"the bootloader would refuse it for {rule}") from refusal
        return self._image

    def set_boot(self) -> None:
        """Let it boot next: once, on trial.

        Raises:
            OtaRefusedError: It was not finished (`unfinished`), or see `Otadata.choose`.
            PowerCut: The power went; the application that runs boots again, or the new one does.
        """
        if self._image is None:
            raise _refused("unfinished", "it was not finished and verified")
        self._otadata.choose(self.slot)


def _refused(rule: str, why: str) -> OtaRefusedError:
    return OtaRefusedError(
        f"The update can't be: {why}.",
        advice="Fetch the image again, or ask its maker; the application that runs is untouched.",
        rule=rule,
    )
