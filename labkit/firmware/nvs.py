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

from labkit.errors import NvsRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

NEVER, ACTIVE, FULL, FREEING = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8
"""States of a page: bits that are cleared one after the other. One that is being freed is moved to a new page."""

VERSION = 0xFE
"""Version 2, counted down, because flash bits only go from 1 to 0."""

WRITTEN = 0b10
"""What the bitmap says of an entry that counts: 11 was never written, 00 is erased."""

STRING, BLOB, BLOB_DATA, BLOB_INDEX = 0x21, 0x41, 0x42, 0x48
INTEGERS = {
    "u8": (0x01, "<B"), "i8": (0x11, "<b"), "u16": (0x02, "<H"), "i16": (0x12, "<h"),
    "u32": (0x04, "<I"), "i32": (0x14, "<i"), "u64": (0x08, "<Q"), "i64": (0x18, "<q"),
}  # fmt: skip
"""The types of integers by name: the type byte, and how `struct` packs them."""

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
        span = 1 + entries_of(len(data))
        self._room(span)  # a string may not leave its page
        self._item(namespace, STRING, span, 0xFF, key, sized(data))
        self._append(data)

    def blob(self, namespace: int, key: str, data: bytes) -> None:
        self._room(1)
        offset = chunks = 0
        while True:
            tail = (ENTRIES - self._used - 1) * ENTRY
            part = data[offset : offset + tail]
            self._item(namespace, BLOB_DATA, 1 + entries_of(len(part)), chunks, key, sized(part))
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
        self._data[start : start + 32] = page_header(state, self._page)
        bits = (1 << 256) - 1
        for number in range(self._used):
            bits &= ~(1 << (2 * number))  # 0b10: written
        self._data[start + 32 : start + 64] = bits.to_bytes(32, "little")

    def _item(self, namespace: int, code: int, span: int, chunk: int, key: str, data: bytes) -> None:  # noqa: PLR0917
        self._append(pack_entry(namespace, code, span, chunk, key, data))

    def _append(self, data: bytes) -> None:
        start = self._page * PAGE + 64 + self._used * ENTRY
        self._data[start : start + len(data)] = data
        self._used += entries_of(len(data))


def page_header(state: int, number: int) -> bytes:
    """Return the first 32 bytes of a page."""
    rest = struct.pack("<IB", number, VERSION) + b"\xff" * 19
    return struct.pack("<I", state) + rest + struct.pack("<I", checksum(rest))


def pack_entry(namespace: int, code: int, span: int, chunk: int, key: str, data: bytes) -> bytes:  # noqa: PLR0917
    """Return one entry: 32 bytes, the last 8 of them its data."""
    first = struct.pack("<BBBB", namespace, code, span, chunk)
    name = key.encode().ljust(16, b"\0")
    return first + struct.pack("<I", checksum(first + name + data)) + name + data


def entries_of(length: int) -> int:
    """Return how many entries the data of a string or blob takes."""
    return -(-length // ENTRY)


def sized(data: bytes) -> bytes:
    """Return what the entry of a string or blob says of the data behind it."""
    return struct.pack("<HHI", len(data), 0xFFFF, checksum(data))


def _refused(key: str, rule: str, why: str) -> NvsRefusedError:
    return NvsRefusedError(
        f"NVS can't hold this: {why}.",
        advice="Keys have 1 to 15 characters, strings at most 3,967 bytes; longer data goes into a blob.",
        key=key,
        rule=rule,
    )
