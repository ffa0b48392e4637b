"""Changing NVS in place: like a dictionary, through power cuts, and readable for everybody."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.board import NorFlash, PowerCut
from labkit.errors import FormatError, NvsRefusedError
from labkit.firmware import NvsEntry, build_image, read_image
from labkit.firmware.nvs import ACTIVE, FREEING, FULL, PAGE, VERSION, checksum, pack_entry, page_header
from labkit.firmware.nvs_encryption import encrypt_image
from labkit.firmware.nvs_reader import pages_in_order
from labkit.firmware.nvs_store import NvsStore

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = b"k" * 32 + b"l" * 32
SIZE = 4 * PAGE


def entry(key: str, value: int | str | bytes, namespace: str = "lab") -> NvsEntry:
    """Return a value of the kind that its type suggests."""
    kind = {int: "u32", str: "string", bytes: "blob"}[type(value)]
    return NvsEntry(namespace, key, kind, value)


def values_of(entries: Sequence[NvsEntry]) -> dict[tuple[str, str], NvsEntry]:
    """Return values by name."""
    return {(one.namespace, one.key): one for one in entries}


def store(image: bytes = b"", key: bytes | None = None, size: int = SIZE) -> tuple[NvsStore, NorFlash]:
    """Return a store and the flash below it."""
    flash = NorFlash(image, size=size)
    return NvsStore(flash, key), flash


VALUE = st.one_of(
    st.integers(0, 2**32 - 1),
    st.text("abc", max_size=40),
    st.binary(max_size=100),
    st.binary(min_size=3000, max_size=5000),
)
SETS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUE, max_size=4)


@settings(deadline=None, max_examples=60)
@given(st.lists(SETS, max_size=8), st.booleans())
def test_it_is_a_dictionary(steps: list[dict[str, int | str | bytes]], encrypted: bool) -> None:  # noqa: FBT001
    """Whatever is written after whatever, of whatever kind and size, is what is read; also encrypted, also anew."""
    key = KEY if encrypted else None
    made, flash = store(key=key, size=8 * PAGE)
    for step in steps:
        wanted = [entry(name, value) for name, value in step.items()]
        made.replace(wanted)
        assert values_of(wanted) == values_of(NvsStore(flash, key).entries())


def test_what_the_generator_wrote_goes_on() -> None:
    """A partition of the factory takes new values, keeps the others byte for byte, and costs two operations a number."""
    before = [entry("id", "sensor-001"), entry("key", b"k" * 3000), entry("slot", 1)]
    made, flash = store(build_image(before, size=SIZE))
    made.replace([*before[:2], entry("slot", 2)])
    assert [*before[:2], entry("slot", 2)] == made.entries()
    assert 3 == flash.operations  # the entry, its bits, and the old one's bits
    made.replace(made.entries())
    assert 3 == flash.operations


def test_a_kind_may_change() -> None:
    """A number becomes a text, a text a blob, a blob a number, and there is always one of the name."""
    made, _ = store()
    for value in (1, "text", b"blob" * 600, b"", b"blob", 2, b"x", "y"):
        made.replace([entry("a", value)])
        assert [entry("a", value)] == made.entries()


def test_pages_are_moved_when_they_are_full() -> None:
    """A thousand changes fit into three pages, for what was erased is left behind; what stays is moved along."""
    made, flash = store(size=3 * PAGE)
    fixed = entry("fixed", "x" * 500)
    for number in range(1000):
        made.replace([fixed, entry("counter", number)])
    assert values_of([fixed, entry("counter", 999)]) == values_of(made.entries())
    order = pages_in_order(flash.image())
    numbers = [int.from_bytes(flash.read(page + 4, 4), "little") for page in order]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 3


@pytest.mark.parametrize("value", ["x" * 3900, b"x" * 9000])
def test_what_has_no_room_changes_nothing(value: str | bytes) -> None:
    """A value that does not fit is refused, and those that were there are there."""
    made, _ = store(size=3 * PAGE)
    held = [entry("a", "y" * 3900)]
    made.replace(held)
    made.replace([*held, entry("small", 1)])
    with pytest.raises(NvsRefusedError) as caught:
        made.replace([*held, entry("small", 1), entry("b", value), entry("c", value)])
    assert "partition-too-small" == caught.value.rule
    found = values_of(made.entries())
    assert held[0] == found["lab", "a"]
    assert entry("small", 1) == found["lab", "small"]


def test_there_are_254_namespaces() -> None:
    """One namespace more than its number has room for is refused."""
    many = [entry("a", 1, f"n{number}") for number in range(254)]
    made, _ = store(build_image(many, size=12 * PAGE), size=12 * PAGE)
    assert values_of(many) == values_of(made.entries())
    with pytest.raises(NvsRefusedError) as caught:
        made.replace([*many, entry("a", 1, "more")])
    assert "partition-too-small" == caught.value.rule


# --- power cuts ---------------------------------------------------------------------------------------------------

STORIES: dict[str, tuple[list[NvsEntry], list[NvsEntry], int]] = {
    "number": ([entry("a", 1), entry("b", 7)], [entry("a", 2), entry("b", 7)], 3),
    "text": ([entry("a", "old" * 50)], [entry("a", "new" * 60)], 3),
    "blob": ([entry("a", b"o" * 5000)], [entry("a", b"n" * 6000)], 6),
    "kind": ([entry("a", b"o" * 5000)], [entry("a", "text")], 6),
    "first": ([], [entry("a", b"n" * 3000, "other")], 3),
    "erase": ([entry("a", b"o" * 5000)], [], 4),
    "moving": (
        [entry("a", "x" * 1200), entry("b", b"y" * 1200), entry("c", "o" * 1000)],
        [entry("a", "x" * 1200), entry("b", b"y" * 1200), entry("c", "n" * 1000)],
        3,
    ),
}


@pytest.mark.parametrize(
    ("name", "key"), [*((name, None) for name in STORIES), ("number", KEY), ("text", KEY), ("moving", KEY)]
)
def test_power_may_go_at_any_operation(name: str, key: bytes | None) -> None:
    """After every operation the value is the old or the new one, nothing else changed, and the store goes on."""
    before, after, pages = STORIES[name]
    first, flash = store(key=key, size=pages * PAGE)
    first.replace(before)
    if name == "moving":
        for number in range(8):  # until the change has to move a page
            first.replace([*before[:2], entry("c", "p" * (990 + number))])
        first.replace(before)
    whole, counted = store(flash.image(), key, size=pages * PAGE)
    whole.replace(after)
    assert values_of(after) == values_of(whole.entries())
    seen = set()
    for cut in range(counted.operations):
        made, medium = store(flash.image(), key, size=pages * PAGE)
        medium.cut_after = cut
        with pytest.raises(PowerCut):
            made.replace(after)
        medium.cut_after = None
        found = values_of(made.entries())
        assert found in (values_of(before), values_of(after)), cut
        seen.add(str(found))
        made.replace(after)
        assert values_of(after) == values_of(made.entries()), cut
        made.replace(before)
        assert values_of(before) == values_of(NvsStore(medium, key).entries()), cut
    assert counted.operations >= 2


def test_power_may_go_again_and_again() -> None:
    """Cuts during what mends earlier cuts lose nothing either."""
    chance = random.Random(7)
    made, flash = store(size=4 * PAGE)
    held = {name: entry(name, "x" * chance.randrange(900)) for name in "abcd"}
    made.replace(list(held.values()))
    for _ in range(300):
        name = chance.choice("abcd")
        new = entry(
            name, chance.choice(["y" * chance.randrange(900), chance.randbytes(700), chance.randrange(9)])
        )
        flash.cut_after = flash.operations + chance.randrange(12)
        try:
            made.replace(list((held | {name: new}).values()))
        except PowerCut:
            flash.cut_after = None
            found = values_of(made.entries())["lab", name]
            assert found in {held[name], new}
            new = found
        flash.cut_after = None
        held[name] = new
        assert values_of(list(held.values())) == values_of(made.entries())


# --- partitions of somebody else ------------------------------------------------------------------------------------


def page(state: int, number: int, *entries: bytes, bits: int | None = None) -> bytes:
    """Return a page of raw entries, all of them written without a word."""
    mask = (1 << 256) - 1
    for place in range(len(entries)):
        mask &= ~(1 << (2 * place))
    chosen = mask if bits is None else bits
    return (page_header(state, number) + chosen.to_bytes(32, "little") + b"".join(entries)).ljust(
        PAGE, b"\xff"
    )


SPACE = pack_entry(0, 1, 1, 0xFF, "lab", b"\1" + b"\xff" * 7)


def number_entry(value: int, key: str = "a") -> bytes:
    """Return a number's entry."""
    return pack_entry(1, 4, 1, 0xFF, key, value.to_bytes(4, "little") + b"\xff" * 4)


def test_erased_entries_and_old_pages() -> None:
    """Erased entries are skipped, pages count by their numbers, and a page that is being freed still counts."""
    bits = ((1 << 256) - 1) & ~1 & ~(3 << 2) & ~(1 << 4)
    erased = page(ACTIVE, 5, SPACE, number_entry(1), number_entry(2), bits=bits)
    assert [entry("a", 2)] == read_image(erased + b"\xff" * 2 * PAGE)
    turned = page(ACTIVE, 9, number_entry(2, "b")) + page(FULL, 8, SPACE, number_entry(1)) + b"\xff" * PAGE
    assert [entry("a", 1), entry("b", 2)] == read_image(turned)
    freed = page(FREEING, 8, SPACE, number_entry(1)) + page(ACTIVE, 9, SPACE) + b"\xff" * PAGE
    assert [entry("a", 1)] == read_image(freed)
    made, _ = store(freed)
    made.replace([entry("a", 1), entry("b", 2)])
    assert [entry("a", 1), entry("b", 2)] == made.entries()


def test_a_value_that_came_twice() -> None:
    """Of a value and its successor the last one counts; of two in the middle the first, as for ESP-IDF."""
    assert [entry("a", 2)] == read_image(page(ACTIVE, 0, SPACE, number_entry(1), number_entry(2)))
    twice = page(ACTIVE, 0, SPACE, number_entry(1), number_entry(2), number_entry(3, "b"))
    assert [entry("a", 1), entry("b", 3)] == read_image(twice)


def test_a_freed_page_with_no_page_to_go_to() -> None:
    """Where somebody filled every page, a page that is being freed has nowhere to go: refused, nothing lost."""
    full = page(FREEING, 1, SPACE, number_entry(1)) + page(FULL, 2) + page(FULL, 3)
    made, _ = store(full, size=3 * PAGE)
    with pytest.raises(NvsRefusedError) as caught:
        made.replace([entry("a", 2)])
    assert "partition-too-small" == caught.value.rule
    assert [entry("a", 1)] == made.entries()


def test_full_pages_without_a_gap() -> None:
    """Where every entry of every page counts, and where no page is free, nothing can be added."""
    filled = [SPACE, *(number_entry(n, f"k{n}") for n in range(125))]
    made, _ = store(page(FULL, 1, *filled) + b"\xff" * PAGE, size=2 * PAGE)
    with pytest.raises(NvsRefusedError):
        made.replace([*made.entries(), entry("more", 1)])
    assert 125 == len(made.entries())
    made, _ = store(page(FULL, 1, *filled), size=PAGE)
    with pytest.raises(NvsRefusedError):
        made.replace([*made.entries(), entry("more", 1)])


def test_half_written_entries_are_not_there() -> None:
    """Entries that were programmed and not announced, and a text whose end is missing, do not count."""
    text = pack_entry(1, 0x21, 3, 0xFF, "t", b"\x28\0\xff\xff" + bytes(4))
    bits = ((1 << 256) - 1) & ~1 & ~(1 << 2)
    half = page(ACTIVE, 0, SPACE, text, b"x" * 32, b"y" * 32, bits=bits)
    assert [] == read_image(half)
    made, _ = store(half)
    made.replace([entry("a", 1)])
    assert [entry("a", 1)] == made.entries()


def test_the_wrong_key_changes_nothing() -> None:
    """With another key the partition is refused before a bit is cleared."""
    image = encrypt_image(build_image([entry("a", 1)], size=SIZE), KEY)
    made, flash = store(image, b"m" * 32 + b"n" * 32)
    with pytest.raises(FormatError):
        made.replace([entry("a", 2)])
    assert image == flash.image()
    assert VERSION == image[8]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3 * PAGE - 1), st.binary(min_size=1, max_size=12)), max_size=6))
def test_a_hostile_partition_is_refused_or_mended(noise: list[tuple[int, bytes]]) -> None:
    """Whatever somebody writes into a partition, a change ends in values or in a reason."""
    data = bytearray(build_image([entry("a", 1), entry("b", b"x" * 3000), entry("c", "y")], size=3 * PAGE))
    for where, what in noise:
        data[where : where + len(what)] = what
    made, _ = store(bytes(data[: 3 * PAGE]), size=3 * PAGE)
    try:
        made.replace([entry("a", 2)])
        assert entry("a", 2) in made.entries()
    except (FormatError, NvsRefusedError):
        pass


def header(version: int) -> bytes:
    """Return a page's first bytes with another version."""
    rest = (0).to_bytes(4, "little") + bytes([version]) + b"\xff" * 19
    return ACTIVE.to_bytes(4, "little") + rest + checksum(rest).to_bytes(4, "little")


def raw(*parts: bytes) -> bytes:
    """Return a partition of one page of entries of the namespace lab."""
    return page(ACTIVE, 0, SPACE, *parts) + b"\xff" * 2 * PAGE


def sized_entry(code: int, data: bytes, span: int = 2, length: int | None = None) -> list[bytes]:
    """Return a text or blob with any code, span and length."""
    told = (len(data) if length is None else length).to_bytes(2, "little") + b"\xff\xff"
    head = pack_entry(1, code, span, 0xFF, "a", told + checksum(data).to_bytes(4, "little"))
    return [head, data.ljust(32, b"\xff")]


STRANGE = {
    "version-1": (header(0xFF) + raw()[32:], 8),
    "a-namespace-without-a-name": (page(ACTIVE, 0, number_entry(1)), 64),
    "a-state-that-is-none": (b"\xfd" + raw()[1:], 0),
    "a-broken-header": (raw()[:4] + b"\1" + raw()[5:], 28),
    "a-span-of-nothing": (raw(pack_entry(1, 4, 0, 0xFF, "a", bytes(8))), 98),
    "a-span-beyond-the-page": (raw(pack_entry(1, 4, 126, 0xFF, "a", bytes(8))), 98),
    "a-broken-entry": (raw(b"\2" + number_entry(1)[1:]), 100),
    "a-text-longer-than-its-entries": (raw(*sized_entry(0x21, b"x\0", length=33)), 120),
    "broken-data": (raw(sized_entry(0x21, b"x\0")[0], b"y" * 32), 124),
    "a-key-without-an-end": (raw(pack_entry(1, 4, 1, 0xFF, "a" * 16, bytes(8))), 104),
    "a-text-without-an-end": (raw(*sized_entry(0x21, b"xx")), 96),
    "a-text-that-goes-on": (raw(*sized_entry(0x21, b"x\0y\0")), 96),
    "a-text-that-is-none": (raw(*sized_entry(0x21, b"\xff\0")), 96),
    "a-type-that-is-none": (raw(pack_entry(1, 0x77, 1, 0xFF, "a", bytes(8))), 97),
    "a-blob-without-its-part": (raw(pack_entry(1, 0x48, 1, 0xFF, "a", b"\5\0\0\0\1\0\xff\xff")), 96),
}


@pytest.mark.parametrize("defect", STRANGE)
def test_strange_pages_are_refused_where_they_are_strange(defect: str) -> None:
    """Each defect is found at its place, and a store refuses to touch it; an old blob, of ESP-IDF's first, is read."""
    assert [entry("a", b"old")] == read_image(raw(*sized_entry(0x41, b"old")))
    data, offset = STRANGE[defect]
    with pytest.raises(FormatError) as caught:
        read_image(data)
    assert ("nvs", offset) == (caught.value.what, caught.value.offset)
    made, flash = store(data, size=3 * PAGE)
    with pytest.raises(FormatError):
        made.replace([entry("b", 1)])
    assert 0 == flash.operations
