"""Reading NVS partitions, as the device does and as a thief does.

See `nvs` for the layout. ESP-IDF appends: a new value comes behind all others, then the old one is marked as erased, and
a full page is moved to a free one. So what was erased is skipped, and what a power cut left half done is read as ESP-IDF
reads it after the cut.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError
from labkit.firmware.nvs import (
    ACTIVE,
    BLOB,
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
    VERSION,
    WRITTEN,
    NvsEntry,
    checksum,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_BY_TYPE = {code: (name, packing) for name, (code, packing) in INTEGERS.items()}


@dataclass(frozen=True, slots=True)
class Item:
    """One entry that was found, with the entries that belong to it: `span` of them, from `offset` on."""

    offset: int
    span: int
    namespace: int
    code: int
    chunk: int
    key: str
    data: bytes
    content: bytes

    @property
    def name(self) -> tuple[int, int, str, int]:
        """What must not be there twice."""
        return self.namespace, self.code, self.key, self.chunk


def read_image(image: bytes) -> list[NvsEntry]:
    """Return the values of a partition, in the order in which they were written.

    Args:
        image: The partition; every length and checksum in it is taken for an attacker's.

    Raises:
        FormatError: It does not follow the format; `offset` says where.

    Does not check: who wrote it. A checksum is no signature.
    """
    if not image or len(image) % PAGE:
        raise _bad(len(image), "its size is no multiple of 4,096")
    items = live_items(image)
    namespaces = {item.data[0]: item.key for item in items if item.namespace == 0}
    chunks = {(i.namespace, i.key, i.chunk): i.content for i in items if i.code == BLOB_DATA}
    found = []
    for item in items:
        if item.namespace == 0 or item.code == BLOB_DATA:
            continue
        if item.namespace not in namespaces:
            raise _bad(item.offset, f"namespace {item.namespace} has no name")
        found.append(_value(item, namespaces[item.namespace], chunks))
    return found


def pages_in_order(image: bytes) -> list[int]:
    """Return where the pages in use begin, in the order in which they were filled.

    ESP-IDF takes the page with the most erased entries for the next one and gives it a new number, so places say nothing
    about age. A page that was being freed when power went is moved again, so the copy that was begun does not count.
    """
    heads = [(start, *struct.unpack_from("<II", image, start)) for start in range(0, len(image), PAGE)]
    used = sorted((number, start, state) for start, state, number in heads if state != NEVER)
    if used and used[-1][2] == ACTIVE and any(state == FREEING for _, _, state in used):
        used.pop()
    return [start for _, start, _ in used]


def live_items(image: bytes) -> list[Item]:
    """Return the items that count: what was replaced does not, and of two items of a name the first does.

    Raises:
        FormatError: See `read_image`.
    """
    items = [item for start in pages_in_order(image) for item in items_of_page(image, start)]
    gone = {id(item) for item in replaced(items)}
    counted: dict[tuple[int, int, str, int], Item] = {}
    for item in items:
        if id(item) not in gone:
            counted.setdefault(item.name, item)
    return list(counted.values())


def replaced(items: list[Item]) -> list[Item]:
    """Return what the last item that was written has replaced.

    ESP-IDF writes a new value and then erases the old one. If power went between the two, there are both, and the new one
    is the last of all. A chunk of a blob replaces nothing; the index behind it does.
    """
    if not items or items[-1].code == BLOB_DATA:
        return []
    last = items[-1]
    kept = set()
    if last.code == BLOB_INDEX:
        _, count, first = struct.unpack_from("<IBB", last.data)
        kept = set(range(first, first + count))
    return [
        item
        for item in items[:-1]
        if (item.namespace, item.key) == (last.namespace, last.key)
        and not (item.code == BLOB_DATA and item.chunk in kept)
    ]


def items_of_page(image: bytes, start: int) -> Iterator[Item]:
    """Return the items of one page that were written and not erased.

    Raises:
        FormatError: See `read_image`.
    """
    state, _, version = struct.unpack_from("<IIB", image, start)
    if state not in {ACTIVE, FULL, FREEING}:
        raise _bad(start, f"no such state of a page: {state:#x}")
    if version != VERSION:
        raise _bad(start + 8, f"version {0x100 - version} is not 2")
    (told,) = struct.unpack_from("<I", image, start + 28)
    if told != checksum(image[start + 4 : start + 28]):
        raise _bad(start + 28, "the page header's checksum is wrong")
    bits = int.from_bytes(image[start + 32 : start + 64], "little")
    number = 0
    while number < ENTRIES:
        if (bits >> (2 * number)) & 3 != WRITTEN:
            number += 1  # never written, or erased
            continue
        item, span = _item(image, start + 64 + number * ENTRY, written_run(bits, number))
        if item is not None:
            yield item
        number += span


def written_run(bits: int, number: int) -> int:
    """Return how many entries were written without a gap, from one on."""
    end = number
    while end < ENTRIES and (bits >> (2 * end)) & 3 == WRITTEN:
        end += 1
    return end - number


def _item(image: bytes, offset: int, whole: int) -> tuple[Item | None, int]:
    """Return an item and how many entries it has; None for one whose writing or erasing was cut off."""
    raw = image[offset : offset + ENTRY]
    namespace, code, span, chunk, told = struct.unpack_from("<BBBBI", raw)
    if told != checksum(raw[:4] + raw[8:]):
        raise _bad(offset + 4, "the entry's checksum is wrong")
    left = ENTRIES - (offset % PAGE - 64) // ENTRY
    if not 1 <= span <= left:
        raise _bad(offset + 2, f"it spans {span} entries and {left} are left")
    if span > whole:
        return None, whole
    data, content = raw[24:], b""
    if code in {STRING, BLOB, BLOB_DATA}:
        length, _, total = struct.unpack("<HHI", data)
        if length > (span - 1) * ENTRY:
            raise _bad(offset + 24, f"{length} bytes do not fit into {span - 1} entries")
        content = image[offset + ENTRY : offset + ENTRY + length]
        if total != checksum(content):
            raise _bad(offset + 28, "the checksum of its data is wrong")
    name, end, _ = raw[8:24].partition(b"\0")
    if not end or not name.isascii():
        raise _bad(offset + 8, "the key has no end, or is not ASCII")
    return Item(offset, span, namespace, code, chunk, name.decode("ascii"), data, content), span


def _value(item: Item, namespace: str, chunks: dict[tuple[int, str, int], bytes]) -> NvsEntry:
    if item.code in _BY_TYPE:
        kind, packing = _BY_TYPE[item.code]
        return NvsEntry(namespace, item.key, kind, struct.unpack_from(packing, item.data)[0])
    if item.code == STRING:
        text, end, rest = item.content.partition(b"\0")
        if not end or rest:
            raise _bad(item.offset, "a string does not end where it says")
        try:
            return NvsEntry(namespace, item.key, "string", text.decode())
        except UnicodeDecodeError as error:
            raise _bad(item.offset, "a string is not UTF-8") from error
    if item.code == BLOB:
        return NvsEntry(namespace, item.key, "blob", item.content)
    if item.code == BLOB_INDEX:
        length, count, first = struct.unpack_from("<IBB", item.data)
        parts = [chunks.get((item.namespace, item.key, number)) for number in range(first, first + count)]
        whole = b"".join(part for part in parts if part is not None)
        if None in parts or len(whole) != length:
            raise _bad(item.offset, "a part of the blob is missing")
        return NvsEntry(namespace, item.key, "blob", whole)
    raise _bad(item.offset + 1, f"no such type: {item.code:#x}")


def _bad(offset: int, why: str) -> FormatError:
    return FormatError(
        f"This is no NVS partition: {why} (offset {offset:#x}).",
        advice="Read it from the board again, or build it anew from its values.",
        what="nvs",
        offset=offset,
    )
