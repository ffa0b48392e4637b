"""NVS partitions: the key-value store in an ESP32's flash, written as the factory does and read as a thief would.

The layout is that of ESP-IDF, storage format version 2 (ESP-IDF programming guide, "Non-Volatile Storage Library",
section *Internals*): pages of 4,096 bytes, each with a header, a bitmap of two bits an entry, and 126 entries of
32 bytes.

Nothing here is encrypted. Whoever can read the flash reads every value.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError, NvsRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PAGE = 4096
ENTRY = 32
ENTRIES = 126
"""Entries of a page."""

SMALLEST = 3 * PAGE
"""Smallest partition that NVS works in; one page of it always stays free."""

LONGEST_KEY = 15
LONGEST_STRING = 3967
"""Longest string without its NUL: what fits into the page that it may not leave, with room for its header."""

LONGEST_BLOB = 508_000

ACTIVE, FULL = 0xFFFFFFFE, 0xFFFFFFFC
VERSION = 0xFE
"""Version 2, counted down, because flash bits only go from 1 to 0."""

STRING, BLOB, BLOB_DATA, BLOB_INDEX = 0x21, 0x41, 0x42, 0x48
INTEGERS = {
    "u8": (0x01, "<B"), "i8": (0x11, "<b"), "u16": (0x02, "<H"), "i16": (0x12, "<h"),
    "u32": (0x04, "<I"), "i32": (0x14, "<i"), "u64": (0x08, "<Q"), "i64": (0x18, "<q"),
}  # fmt: skip
"""The types of integers by name: the type byte, and how `struct` packs them."""

_BY_TYPE = {code: (name, packing) for name, (code, packing) in INTEGERS.items()}
KINDS = (*INTEGERS, "string", "blob")


@dataclass(frozen=True, slots=True)
class NvsEntry:
    """One value.

    Attributes:
        namespace: Where it belongs, 1 to 15 characters.
        key: What it is called, 1 to 15 characters.
        kind: One of `KINDS`.
        value: An integer, a text for `string`, bytes for `blob`.
    """

    namespace: str
    key: str
    kind: str
    value: int | str | bytes


def checksum(data: bytes) -> int:
    """Return the CRC-32 that NVS and otadata use, which begins with all ones."""
    return zlib.crc32(data, 0xFFFFFFFF)


def verify_entries(entries: Iterable[NvsEntry]) -> None:
    """Verify that NVS can hold values.

    Raises:
        NvsRefusedError: `rule` is `key-empty`, `key-too-long`, `key-characters`, `kind`, `integer-range`,
            `string-too-long`, `string-nul`, `blob-too-long` or `duplicate`.
    """
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        for name in (entry.namespace, entry.key):
            _verify_name(name)
        _verify_value(entry)
        if (entry.namespace, entry.key) in seen:
            raise _refused(entry.key, "duplicate", f"{entry.namespace} has the key {entry.key} twice")
        seen.add((entry.namespace, entry.key))


def _verify_name(name: str) -> None:
    if not name:
        raise _refused(name, "key-empty", "a key or namespace is empty")
    if len(name.encode()) > LONGEST_KEY:
        raise _refused(
            name, "key-too-long", f"{name} has {len(name)} characters and {LONGEST_KEY} are allowed"
        )
    if not (name.isascii() and name.isprintable()):
        raise _refused(name, "key-characters", f"{name!r} has characters that a key can't have")


def _verify_value(entry: NvsEntry) -> None:
    value = entry.value
    if entry.kind in INTEGERS and isinstance(value, int):
        try:
            struct.pack(INTEGERS[entry.kind][1], value)
        except struct.error as error:
            raise _refused(entry.key, "integer-range", f"{value} does not fit into {entry.kind}") from error
    elif entry.kind == "string" and isinstance(value, str):
        length = len(value.encode())
        if length > LONGEST_STRING:
            why = (
                f"the string {entry.key} has {length} bytes and {LONGEST_STRING} are allowed; make it a blob"
            )
            raise _refused(entry.key, "string-too-long", why)
        if "\0" in value:
            raise _refused(
                entry.key, "string-nul", f"the string {entry.key} has a NUL in it, which would end it"
            )
    elif entry.kind == "blob" and isinstance(value, bytes):
        if len(value) > LONGEST_BLOB:
            raise _refused(
                entry.key, "blob-too-long", f"the blob {entry.key} has more than {LONGEST_BLOB} bytes"
            )
    else:
        why = f"{entry.key} is said to be {entry.kind!r} and holds {type(value).__name__}"
        raise _refused(entry.key, "kind", why)


def build_image(entries: Sequence[NvsEntry], *, size: int = 0x6000) -> bytes:
    """Return a partition with values in it, byte for byte what Espressif's generator writes.

    Args:
        entries: The values; those of one namespace follow each other.
        size: The partition's size: a multiple of 4,096, at least 0x3000.

    Raises:
        NvsRefusedError: See `verify_entries`; or `rule` is `size` or `partition-too-small`.
    """
    if size % PAGE or size < SMALLEST:
        raise _refused(
            "", "size", f"a partition of {size:#x} bytes; it takes a multiple of 0x1000, at least 0x3000"
        )
    verify_entries(entries)
    image = _Image(size)
    namespaces: dict[str, int] = {}
    for entry in entries:
        if entry.namespace not in namespaces:
            namespaces[entry.namespace] = len(namespaces) + 1
            image.integer(0, "u8", entry.namespace, namespaces[entry.namespace])
        number, value = namespaces[entry.namespace], entry.value
        if isinstance(value, str):
            image.string(number, entry.key, value.encode() + b"\0")
        elif isinstance(value, bytes):
            image.blob(number, entry.key, value)
        else:
            image.integer(number, entry.kind, entry.key, value)
    return image.finish()


class _Image:
    """A partition that is being filled, page after page."""

    def __init__(self, size: int) -> None:
        self._data = bytearray(b"\xff" * size)
        self._page = -1
        self._used = 0
        self._next_page()

    def integer(self, namespace: int, kind: str, key: str, value: int) -> None:
        code, packing = INTEGERS[kind]
        self._room(1)
        self._item(namespace, code, 1, 0xFF, key, struct.pack(packing, value).ljust(8, b"\xff"))

    def string(self, namespace: int, key: str, data: bytes) -> None:
        span = 1 + _entries(len(data))
        self._room(span)  # a string may not leave its page
        self._item(namespace, STRING, span, 0xFF, key, _sized(data))
        self._append(data)

    def blob(self, namespace: int, key: str, data: bytes) -> None:
        self._room(1)
        offset = chunks = 0
        while True:
            tail = (ENTRIES - self._used - 1) * ENTRY
            part = data[offset : offset + tail]
            self._item(namespace, BLOB_DATA, 1 + _entries(len(part)), chunks, key, _sized(part))
            self._append(part)
            chunks += 1
            offset += len(part)
            if offset < len(data) or tail - len(part) < ENTRY:
                self._next_page()
            if offset >= len(data):
                break
        # The index comes last: a blob whose writing was cut off has none, and does not count.
        self._item(namespace, BLOB_INDEX, 1, 0xFF, key, struct.pack("<IBBH", len(data), chunks, 0, 0xFFFF))

    def finish(self) -> bytes:
        self._head(ACTIVE)
        return bytes(self._data)

    def _room(self, span: int) -> None:
        if self._used + span > ENTRIES:
            self._next_page()

    def _next_page(self) -> None:
        if self._page >= 0:
            self._head(FULL)
        self._page += 1
        self._used = 0
        # The last page stays free, so that NVS can move values into it later.
        if (self._page + 2) * PAGE > len(self._data):
            raise _refused(
                "", "partition-too-small", f"the values do not fit into {len(self._data):#x} bytes"
            )

    def _head(self, state: int) -> None:
        start = self._page * PAGE
        rest = struct.pack("<IB", self._page, VERSION) + b"\xff" * 19
        self._data[start : start + 32] = struct.pack("<I", state) + rest + struct.pack("<I", checksum(rest))
        bits = (1 << 256) - 1
        for number in range(self._used):
            bits &= ~(1 << (2 * number))  # 0b10: written
        self._data[start + 32 : start + 64] = bits.to_bytes(32, "little")

    def _item(self, namespace: int, code: int, span: int, chunk: int, key: str, data: bytes) -> None:  # noqa: PLR0917
        first = struct.pack("<BBBB", namespace, code, span, chunk)
        name = key.encode().ljust(16, b"\0")
        self._append(first + struct.pack("<I", checksum(first + name + data)) + name + data)

    def _append(self, data: bytes) -> None:
        start = self._page * PAGE + 64 + self._used * ENTRY
        self._data[start : start + len(data)] = data
        self._used += _entries(len(data))


def _entries(length: int) -> int:
    return -(-length // ENTRY)


def _sized(data: bytes) -> bytes:
    return struct.pack("<HHI", len(data), 0xFFFF, checksum(data))


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Item:
    """One entry that was found, with the entries that belong to it."""

    offset: int
    namespace: int
    code: int
    chunk: int
    key: str
    data: bytes
    content: bytes


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
    items = [item for start in range(0, len(image), PAGE) for item in _page(image, start)]
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


def _page(image: bytes, start: int) -> Iterator[_Item]:
    state, _, version = struct.unpack_from("<IIB", image, start)
    if state == 0xFFFFFFFF:
        return  # never written
    if state not in {ACTIVE, FULL}:
        raise _bad(start, f"no such state of a page: {state:#x}")
    if version != VERSION:
        raise _bad(start + 8, f"version {0x100 - version} is not 2")
    (told,) = struct.unpack_from("<I", image, start + 28)
    if told != checksum(image[start + 4 : start + 28]):
        raise _bad(start + 28, "the page header's checksum is wrong")
    bits = int.from_bytes(image[start + 32 : start + 64], "little")
    number = 0
    while number < ENTRIES:
        if (bits >> (2 * number)) & 3 != 2:
            number += 1
            continue
        item, span = _item(image, start + 64 + number * ENTRY, ENTRIES - number)
        yield item
        number += span


def _item(image: bytes, offset: int, left: int) -> tuple[_Item, int]:
    raw = image[offset : offset + ENTRY]
    namespace, code, span, chunk, told = struct.unpack_from("<BBBBI", raw)
    if told != checksum(raw[:4] + raw[8:]):
        raise _bad(offset + 4, "the entry's checksum is wrong")
    if not 1 <= span <= left:
        raise _bad(offset + 2, f"it spans {span} entries and {left} are left")
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
    return _Item(offset, namespace, code, chunk, name.decode("ascii"), data, content), span


def _value(item: _Item, namespace: str, chunks: dict[tuple[int, str, int], bytes]) -> NvsEntry:
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


def _refused(key: str, rule: str, why: str) -> NvsRefusedError:
    return NvsRefusedError(
        f"NVS can't hold this: {why}.",
        advice="Keys have 1 to 15 characters, strings at most 3,967 bytes; longer data goes into a blob.",
        key=key,
        rule=rule,
    )
