"""Which application boots: otadata read, and moved on, as ESP-IDF's bootloader does it (`bootloader_utility.c`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.firmware.otadata import (
    ABORTED,
    NEW,
    PENDING_VERIFY,
    SECTOR,
    SIZE,
    VALID,
    OtaEntry,
    active,
    build_entry,
    parse_otadata,
)
from labkit.firmware.partitions import APP, DATA, FACTORY, OTADATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.boot_console import BootConsole
    from labkit.board.flash_view import FlashView
    from labkit.firmware.partitions import Partition, PartitionTable


@dataclass(frozen=True, slots=True)
class Choice:
    """In which order applications are tried.

    Attributes:
        order: The chosen one, then all others.
        unwritten: otadata, where it was never written and there is no factory application: what boots is noted in it.
        trusted: The application that was called valid, if the chosen one was.
        passed_over: Applications that otadata names and `objection` ruled out, and why.
    """

    order: tuple[Partition, ...]
    unwritten: Partition | None = None
    trusted: Partition | None = None
    passed_over: dict[str, str] = field(default_factory=dict)


def choose_slot(
    view: FlashView,
    table: PartitionTable,
    console: BootConsole,
    *,
    rollback: bool,
    objection: Callable[[Partition], str | None],
) -> Choice:
    """Return which application boots, and note in otadata that a new one is being tried.

    Args:
        view: The flash.
        table: What lies where.
        console: The console.
        rollback: A new application that nobody called valid is given up at the next boot.
        objection: Why anti-rollback does not let an application be chosen, or None.

    Raises:
        PowerCut: The power went while otadata was written.
    """
    factory = table.of_kind(APP, FACTORY)
    slots = table.ota_slots
    where = find_otadata(table)
    if where is None or not slots:
        return Choice(_order(factory, slots, None))
    entries = list(parse_otadata(view.read(where.offset, SIZE)))
    if rollback:
        _give_up(view, where, entries)
    named = [slots[one.slot(len(slots))] for one in entries]
    objections = [objection(part) if one.bootable else None for one, part in zip(entries, named, strict=True)]
    passed = {part.label: why for part, why in zip(named, objections, strict=True) if why}
    for label, why in passed.items():
        console.complains("boot", f"{label} is passed over: {why}")
    current = active(entries, allowed=[why is None for why in objections])
    if current is None:
        console.says("boot", "Defaulting to factory image" if factory else "No factory image, trying OTA 0")
        fresh = factory is None and not any(one.intact for one in entries)
        return Choice(_order(factory, slots, None), unwritten=where if fresh else None, passed_over=passed)
    chosen = entries[current]
    if rollback and chosen.state == NEW:
        entry = build_entry(chosen.sequence, PENDING_VERIFY)
        view.replace_sector(where.offset + current * SECTOR, entry)
    part = named[current]
    trusted = part if chosen.state == VALID else None
    return Choice(_order(factory, slots, slots.index(part)), trusted=trusted, passed_over=passed)


def find_otadata(table: PartitionTable) -> Partition | None:
    """Return otadata's partition, if there is one that can be erased sector by sector; nobody signs the table."""
    found = table.of_kind(DATA, OTADATA)
    usable = found is not None and found.size >= SIZE and found.offset % SECTOR == 0
    return found if usable else None


def _give_up(view: FlashView, where: Partition, entries: list[OtaEntry]) -> None:
    """Mark what was tried once, and not called valid, as given up."""
    for number, one in enumerate(entries):
        if one.state == PENDING_VERIFY:
            entries[number] = OtaEntry(one.sequence, ABORTED, one.intact)
            view.replace_sector(where.offset + number * SECTOR, build_entry(one.sequence, ABORTED))


def _order(
    factory: Partition | None, slots: tuple[Partition, ...], chosen: int | None
) -> tuple[Partition, ...]:
    """Return the chosen slot, those before it, the factory application, and those behind it."""
    below = tuple(reversed(slots[: chosen + 1])) if chosen is not None else ()
    above = slots[chosen + 1 :] if chosen is not None else slots
    return (*below, *((factory,) if factory else ()), *above)


def remember_first(view: FlashView, where: Partition, number: int, console: BootConsole) -> None:
    """Note in otadata which slot a fresh board booted from, as valid.

    Raises:
        PowerCut: The power went.
    """
    view.replace_sector(where.offset, build_entry(number + 1, VALID))
    console.says("boot", f"Set actual ota_seq={number + 1} in otadata[0]")
