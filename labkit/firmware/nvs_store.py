"""Changing values of an NVS partition in place, so that power may go at any moment.

As ESP-IDF does it: a new value is written behind all others and becomes visible with one last operation, then the old one
is marked as erased. A full page is moved to the free one before it is erased. What a power cut left half done is finished
or taken back before the next change. A change of one value is whole or did not happen; changes of several values come one
after the other.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from labkit.errors import NvsRefusedError
from labkit.firmware.nvs import (
    ACTIVE,
    BLOB_DATA,
    BLOB_INDEX,
    ENTRIES,
    ENTRY,
    FREEING,
    FULL,
    INTEGERS,
    NEVER,
    PAGE,
    STRING,
    WRITTEN,
    NvsEntry,
    checksum,
    entries_of,
    pack_entry,
    page_header,
    sized,
    verify_entries,
)
from labkit.firmware.nvs_encryption import convert_entry, decrypt_image
from labkit.firmware.nvs_reader import (
    Item,
    items_of_page,
    live_items,
    pages_in_order,
    read_image,
    replaced,
    written_run,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANK = b"\xff" * ENTRY
_SECOND = 0x80
"""Chunks of a blob are numbered from 0 or from here, in turn, so that a new one can be written beside the old one."""

_NAMESPACES = 0
_U8 = INTEGERS["u8"][0]


class Medium(Protocol):
    """The flash of one partition, addressed from its beginning."""

    @property
    def size(self) -> int:
        """How long it is."""

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes."""

    def program(self, offset: int, data: bytes) -> None:
        """Clear bits."""

    def erase(self, offset: int, length: int) -> None:
        """Set all bits of whole sectors."""


class NvsStore:
    """An NVS partition that changes.

    Args:
        medium: Where it lies.
        key: The keys of its encryption; none for plain values.
    """

    def __init__(self, medium: Medium, key: bytes | None = None) -> None:
        self._medium = medium
        self._key = key

    def entries(self) -> list[NvsEntry]:
        """Return its values.

        Raises:
            FormatError: It is no NVS partition, or the key is another.
        """
        return read_image(self._image())

    def replace(self, entries: Sequence[NvsEntry]) -> None:
        """Make these the values: what differs is written, what is not among them is erased.

        Raises:
            FormatError: It is no NVS partition, or the key is another.
            NvsRefusedError: See `nvs.verify_entries`; or they do not fit (`rule` is `partition-too-small`).
        """
        verify_entries(entries)
        self.entries()  # what can't be read is not touched
        self._recover()
        held = {(one.namespace, one.key): one for one in self.entries()}
        for one in entries:
            if held.pop((one.namespace, one.key), None) != one:
                self._put(one)
        for one in held.values():
            self._erase_value(self._number(one.namespace), one.key)

    # --- values ---------------------------------------------------------------------------------------------------

    def _put(self, value: NvsEntry) -> None:
        space = self._number(value.namespace) or self._new_namespace(value.namespace)
        if isinstance(value.value, int):
            code, packing = INTEGERS[value.kind]
            self._append(space, code, 0xFF, value.key, struct.pack(packing, value.value).ljust(8, b"\xff"))
        elif isinstance(value.value, str):
            data = value.value.encode() + b"\0"
            self._append(space, STRING, 0xFF, value.key, sized(data), data)
        else:
            self._blob(space, value.key, value.value)
        self._erase_older()

    def _blob(self, space: int, key: str, data: bytes) -> None:
        old = [item.chunk for item in self._items(space, key) if item.code == BLOB_DATA]
        first = _SECOND if old and old[0] < _SECOND else 0
        offset = count = 0
        while offset < len(data) or not count:
            _, used = self._room(2 if data else 1)
            part = data[offset : offset + (ENTRIES - used - 1) * ENTRY]
            self._append(space, BLOB_DATA, first + count, key, sized(part), part)
            offset += len(part)
            count += 1
        # The index comes last: with it, and not before, the new chunks count.
        self._append(space, BLOB_INDEX, 0xFF, key, struct.pack("<IBBH", len(data), count, first, 0xFFFF))

    def _erase_older(self) -> None:
        """Erase what the last item has replaced: everything else of its key, and of a blob the chunks that it counts not."""
        for item in sorted(replaced(self._all_items()), key=lambda item: item.code == BLOB_DATA):
            self._mark(item)

    def _erase_value(self, space: int, key: str) -> None:
        for item in sorted(self._items(space, key), key=lambda item: item.code == BLOB_DATA):
            self._mark(item)

    def _number(self, namespace: str) -> int:
        found = (item for item in live_items(self._image()) if item.namespace == _NAMESPACES)
        return next((item.data[0] for item in found if item.key == namespace), 0)

    def _new_namespace(self, namespace: str) -> int:
        taken = {item.data[0] for item in live_items(self._image()) if item.namespace == _NAMESPACES}
        number = next((free for free in range(1, 255) if free not in taken), 0)
        if not number:
            raise _full(namespace, "there are 254 namespaces already")
        self._append(_NAMESPACES, _U8, 0xFF, namespace, bytes([number]).ljust(8, b"\xff"))
        return number

    def _items(self, space: int, key: str) -> list[Item]:
        return [item for item in live_items(self._image()) if (item.namespace, item.key) == (space, key)]

    def _all_items(self) -> list[Item]:
        image = self._image()
        return [item for start in pages_in_order(image) for item in items_of_page(image, start)]

    # --- entries --------------------------------------------------------------------------------------------------

    def _append(  # noqa: PLR0917
        self, space: int, code: int, chunk: int, key: str, data: bytes, content: bytes = b""
    ) -> None:
        span = 1 + entries_of(len(content))
        page, used = self._room(span)
        head = pack_entry(space, code, span, chunk, key, data)
        self._write(page, used, head + content.ljust((span - 1) * ENTRY, b"\xff"))

    def _write(self, page: int, used: int, raw: bytes) -> None:
        """Program entries, and then say with one operation that they are there."""
        start = page + 64 + used * ENTRY
        parts = [raw[at : at + ENTRY] for at in range(0, len(raw), ENTRY)]
        if self._key is not None:
            key = self._key
            parts = [
                convert_entry(part, key, start + n * ENTRY, encrypting=True) for n, part in enumerate(parts)
            ]
        self._medium.program(start, b"".join(parts))
        self._bits(page, used, len(parts), 0b01)

    def _mark(self, item: Item) -> None:
        """Mark an item as erased, with one operation."""
        page = item.offset - item.offset % PAGE
        self._bits(page, (item.offset - page - 64) // ENTRY, item.span, 0b11)

    def _bits(self, page: int, first: int, span: int, cleared: int) -> None:
        bits = (1 << 256) - 1
        for number in range(first, first + span):
            bits &= ~(cleared << (2 * number))
        self._medium.program(page + 32, bits.to_bytes(32, "little"))

    # --- pages ----------------------------------------------------------------------------------------------------

    def _image(self) -> bytes:
        raw = self._medium.read(0, self._medium.size)
        return decrypt_image(raw, self._key) if self._key is not None else raw

    def _state(self, page: int) -> int:
        return int.from_bytes(self._medium.read(page, 4), "little")

    def _set_state(self, page: int, state: int) -> None:
        self._medium.program(page, struct.pack("<I", state))

    def _room(self, span: int) -> tuple[int, int]:
        """Return a page and where in it there is room, making some if need be."""
        for _ in range(self._medium.size // PAGE + 1):
            order = pages_in_order(self._medium.read(0, self._medium.size))
            page = order[-1] if order else None
            if page is not None and self._state(page) == ACTIVE:
                used = self._used(page)
                if used + span <= ENTRIES:
                    return page, used
                self._set_state(page, FULL)
            self._next_page()
        raise _full("", f"{span} entries have no room")

    def _used(self, page: int) -> int:
        """Return the first entry behind everything that was ever written into a page."""
        raw = self._medium.read(page, PAGE)
        bits = int.from_bytes(raw[32:64], "little")
        for number in range(ENTRIES - 1, -1, -1):
            start = 64 + number * ENTRY
            if (bits >> (2 * number)) & 3 != 0b11 or raw[start : start + ENTRY] != _BLANK:
                return number + 1
        return 0

    def _next_page(self) -> None:
        free = [page for page in range(0, self._medium.size, PAGE) if self._state(page) == NEVER]
        if not free:
            raise _full("", "no page is free")
        if len(free) > 1:
            self._begin(free[0])
            return
        # The last free page takes what is still alive of the page with the most room to win.
        image = self._image()
        alive = {page: sum(i.span for i in items_of_page(image, page)) for page in pages_in_order(image)}
        page = min(alive, key=lambda page: alive[page])
        if alive[page] == ENTRIES:
            raise _full("", "every page is full")
        self._set_state(page, FREEING)
        self._move(page, free[0])

    def _begin(self, page: int) -> None:
        heads = self._medium.read(0, self._medium.size)
        numbers = [struct.unpack_from("<I", heads, start + 4)[0] for start in pages_in_order(heads)]
        self._medium.erase(page, PAGE)  # a cut may have left bytes in it
        self._medium.program(page, page_header(ACTIVE, max(numbers, default=-1) + 1))

    def _move(self, page: int, to: int) -> None:
        """Copy what is alive of a page that is being freed, and erase it."""
        self._begin(to)
        image = self._image()
        for item in items_of_page(image, page):
            raw = image[item.offset : item.offset + item.span * ENTRY]
            self._write(to, self._used(to), raw)
        self._medium.erase(page, PAGE)

    # --- after a power cut ------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Finish or take back what a power cut left half done."""
        for page in range(0, self._medium.size, PAGE):
            if self._state(page) == FREEING:
                self._move_again(page)
        for page in pages_in_order(self._medium.read(0, self._medium.size)):
            self._erase_halves(page)
        self._erase_older()
        self._erase_orphans()

    def _move_again(self, page: int) -> None:
        heads = [(*self._head(one), one) for one in range(0, self._medium.size, PAGE)]
        _, state, last = max((number, state, one) for state, number, one in heads if state != NEVER)
        if state == ACTIVE:
            self._medium.erase(last, PAGE)
        free = [one for one in range(0, self._medium.size, PAGE) if self._state(one) == NEVER]
        if not free:
            raise _full("", "no page is free")
        self._move(page, free[0])

    def _head(self, page: int) -> tuple[int, int]:
        state, number = struct.unpack("<II", self._medium.read(page, 8))
        return state, number

    def _erase_halves(self, page: int) -> None:
        """Mark entries as erased that were programmed and never announced, and items that are not whole.

        All the entries that such an item would have had are marked, as ESP-IDF does, so that nothing new is written
        where its header says that its data is.
        """
        raw = self._image()[page : page + PAGE]
        bits = int.from_bytes(raw[32:64], "little")
        number = 0
        while number < ENTRIES:
            state = (bits >> (2 * number)) & 3
            entry = raw[64 + number * ENTRY :][:ENTRY]
            span = _span(entry)
            step = 1
            if state == WRITTEN:
                whole = written_run(bits, number)
                step = min(span, whole)
                if span > whole:
                    step += _untouched(bits, number + whole, span - whole)
                    self._bits(page, number, step, 0b11)
            elif state == 0b11 and entry != _BLANK:
                step = _untouched(bits, number, span)
                self._bits(page, number, step, 0b11)
            number += step

    def _erase_orphans(self) -> None:
        """Erase chunks that no index counts: of a blob whose writing or erasing was cut off."""
        items = live_items(self._image())
        counted = set()
        for item in items:
            if item.code == BLOB_INDEX:
                _, count, first = struct.unpack_from("<IBB", item.data)
                counted |= {(item.namespace, item.key, first + n) for n in range(count)}
        for item in items:
            if item.code == BLOB_DATA and (item.namespace, item.key, item.chunk) not in counted:
                self._mark(item)


def _span(entry: bytes) -> int:
    """Return how many entries an item has; 1 for what is no item's first entry."""
    whole = entry[4:8] == struct.pack("<I", checksum(entry[:4] + entry[8:]))
    return max(entry[2], 1) if whole else 1


def _untouched(bits: int, number: int, most: int) -> int:
    """Return how many entries were never announced, from one on."""
    end = number
    while end < min(number + most, ENTRIES) and (bits >> (2 * end)) & 3 == 0b11:
        end += 1
    return end - number


def _full(key: str, why: str) -> NvsRefusedError:
    return NvsRefusedError(
        f"NVS can't hold this: {why}.",
        advice="Store less, or make the partition longer: labkit image table --csv",
        key=key,
        rule="partition-too-small",
    )
