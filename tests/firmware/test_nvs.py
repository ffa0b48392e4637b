"""NVS partitions, byte for byte against Espressif's generator."""

from __future__ import annotations

import importlib.util
import random
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError, NvsRefusedError
from labkit.firmware import NvsEntry, build_image, parse_csv, read_image, render_csv
from labkit.firmware.nvs import INTEGERS, LONGEST_STRING, PAGE
from labkit.processes import run

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=15)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=200)


@st.composite
def entries(draw: st.DrawFn, *, longest: int = 2000) -> list[NvsEntry]:
    """Return values of all kinds in a few namespaces."""
    found = {}
    for namespace in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        for key in draw(st.lists(NAMES, max_size=6, unique=True)):
            kind = draw(st.sampled_from([*INTEGERS, "string", "blob"]))
            if kind == "string":
                value: int | str | bytes = draw(TEXTS)
            elif kind == "blob":
                value = draw(st.binary(max_size=longest))
            else:
                bits = int(kind[1:])
                signed = kind[0] == "i"
                low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
                value = draw(st.integers(low, high))
            found[namespace, key] = NvsEntry(namespace, key, kind, value)
    return list(found.values())


@given(entries())
def test_what_was_written_is_read(values: list[NvsEntry]) -> None:
    """Every value comes back as it was, in its order."""
    assert values == read_image(build_image(values, size=0x20000))


@given(entries())
def test_the_csv_goes_round(values: list[NvsEntry]) -> None:
    """The CSV of values is read as the same values."""
    assert values == parse_csv(render_csv(values))


@given(st.binary(max_size=300), st.integers(0, 0x3000 - 1))
def test_a_hostile_partition_is_refused_or_read(noise: bytes, where: int) -> None:
    """Whatever somebody writes into a partition, the reader says what is wrong or reads on."""
    values = [NvsEntry("lab", "id", "string", "sensor-001"), NvsEntry("lab", "key", "blob", b"k" * 300)]
    image = bytearray(build_image(values, size=0x3000))
    image[where : where + len(noise)] = noise[: len(image) - where]
    try:
        read_image(bytes(image))
    except FormatError as error:
        assert 0 <= error.offset <= len(image)


@pytest.mark.parametrize("data", [b"", b"\xff" * 4095, b"\0" * PAGE])
def test_what_is_no_partition(data: bytes) -> None:
    """A size that is none, and a page in a state that is none, are refused; an empty partition has no values."""
    with pytest.raises(FormatError):
        read_image(data)
    assert [] == read_image(b"\xff" * PAGE)


def test_each_bit_is_covered() -> None:
    """A flipped bit in anything that was written is found, but for the namespace's own name in no checksum's place."""
    image = build_image([NvsEntry("lab", "id", "string", "sensor-001")], size=0x3000)
    used = range(64, 64 + 3 * 32)
    for offset in [*range(4, 32), *used]:
        broken = bytearray(image)
        broken[offset] ^= 1
        if offset >= 64 + 2 * 32 + len("sensor-001") + 1:
            continue  # what lies behind the string's end belongs to nobody
        with pytest.raises(FormatError):
            read_image(bytes(broken))


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (NvsEntry("lab", "", "u8", 1), "key-empty"),
        (NvsEntry("lab", "a" * 16, "u8", 1), "key-too-long"),
        (NvsEntry("n" * 16, "a", "u8", 1), "key-too-long"),
        (NvsEntry("lab", "ä", "u8", 1), "key-characters"),
        (NvsEntry("lab", "a", "u8", 256), "integer-range"),
        (NvsEntry("lab", "a", "i8", -129), "integer-range"),
        (NvsEntry("lab", "a", "string", "x" * (LONGEST_STRING + 1)), "string-too-long"),
        (NvsEntry("lab", "a", "string", "x\0y"), "string-nul"),
        (NvsEntry("lab", "a", "blob", b"x" * 508_001), "blob-too-long"),
        (NvsEntry("lab", "a", "u8", "1"), "kind"),
        (NvsEntry("lab", "a", "float", 1), "kind"),
    ],
)
def test_what_nvs_cannot_hold(entry: NvsEntry, rule: str) -> None:
    """Each is refused for its own reason, before a byte is built; a value beside it would have been fine."""
    good = NvsEntry("lab", "good", "string", "x" * LONGEST_STRING)
    assert [good] == read_image(build_image([good]))
    with pytest.raises(NvsRefusedError) as caught:
        build_image([good, entry])
    assert rule == caught.value.rule


def test_a_key_comes_once() -> None:
    """The same key twice in a namespace is refused; in two namespaces it is not."""
    build_image([NvsEntry("one", "a", "u8", 1), NvsEntry("two", "a", "u8", 1)])
    with pytest.raises(NvsRefusedError) as caught:
        build_image([NvsEntry("one", "a", "u8", 1), NvsEntry("one", "a", "u8", 2)])
    assert "duplicate" == caught.value.rule


@pytest.mark.parametrize(
    ("size", "rule"), [(0x2000, "size"), (0x3001, "size"), (0x3000, "partition-too-small")]
)
def test_partitions_of_the_wrong_size(size: int, rule: str) -> None:
    """Sizes that NVS can't use are refused, and so are values that leave no page free."""
    values = [NvsEntry("lab", f"blob{n}", "blob", b"x" * 3000) for n in range(3)]
    with pytest.raises(NvsRefusedError) as caught:
        build_image(values, size=size)
    assert rule == caught.value.rule
    assert values == read_image(build_image(values, size=0x5000))


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ("", "header"),
        ("key,type,encoding\n", "header"),
        ("key,type,encoding,value\nlab,namespace,,\nca, file, string, root.crt\n", "space"),
        ("key,type,encoding,value\nlab,namespace,,\nca,file,string,/etc/passwd\n", "file"),
        ("key,type,encoding,value\nlab,namespace,,\nca,blob,string,x\n", "type"),
        ("key,type,encoding,value\nlab,namespace,,\nca,data,base64,eA==\n", "encoding"),
        ("key,type,encoding,value\nlab,namespace,,\nca,data,u8,0x10\n", "integer"),
        ("key,type,encoding,value\nlab,namespace,,\nca,data,hex2bin,abc\n", "hex"),
        ("key,type,encoding,value\nca,data,u8,1\n", "namespace"),
        ("key,type,encoding,value\nlab,namespace,,\nca,data,u8\n", "columns"),
        ("key,type,encoding,value\nlab,namespace,,\nca,data,u8,256\n", "integer-range"),
    ],
)
def test_a_csv_with_a_trap(lines: str, rule: str) -> None:
    """Each trap is refused by its name instead of becoming another value."""
    with pytest.raises(NvsRefusedError) as caught:
        parse_csv(lines)
    assert rule == caught.value.rule


def test_a_carriage_return_is_not_lost() -> None:
    """A string that the generator's CSV reader would change is refused."""
    with pytest.raises(NvsRefusedError) as caught:
        render_csv([NvsEntry("lab", "a", "string", "x\r\ny")])
    assert "carriage-return" == caught.value.rule


# --- against the real generator -----------------------------------------------------------------------------------


def generated(folder: Path, values: list[NvsEntry], size: int) -> bytes:
    """Return what Espressif's generator makes of values."""
    if importlib.util.find_spec("esp_idf_nvs_partition_gen") is None:
        pytest.fail("esp-idf-nvs-partition-gen is a part of the course's environment")
    source, target = folder / "in.csv", folder / "out.bin"
    source.write_text(render_csv(values), encoding="utf-8")
    words = ["generate", str(source), str(target), hex(size)]
    run([sys.executable, "-m", "esp_idf_nvs_partition_gen", *words], cwd=folder, timeout=60)
    return target.read_bytes()


def some_values(chance: random.Random) -> list[NvsEntry]:
    """Return values whose sizes lie around the ends of pages."""
    values = []
    for number in range(chance.randrange(1, 12)):
        kind = chance.choice(["u8", "i32", "u64", "string", "blob", "blob"])
        length = chance.choice([1, 31, 32, 33, 300, 900, 1700, 3900, 3967])
        value: int | str | bytes = chance.randrange(100)
        if kind == "string":
            value = "s" * length
        elif kind == "blob":
            value = chance.randbytes(length + chance.choice([0, 0, 5000]))
        values.append(NvsEntry(chance.choice(["one", "two"]), f"key{number}", kind, value))
    return sorted(values, key=lambda value: value.namespace)


@pytest.mark.tool
@pytest.mark.parametrize("seed", range(16))
def test_the_generator_writes_the_same(tmp_path: Path, seed: int) -> None:
    """Whatever the values, the image is the generator's, byte for byte."""
    values = some_values(random.Random(seed))
    assert generated(tmp_path, values, 0x20000) == build_image(values, size=0x20000)


@pytest.mark.tool
def test_a_devices_identity_is_written_the_same(tmp_path: Path) -> None:
    """What the factory writes for a device is the generator's image too."""
    pem = "-----BEGIN CERTIFICATE-----\n" + "A" * 64 + "\n-----END CERTIFICATE-----\n"
    values = [
        NvsEntry("identity", "device_id", "string", "sensor-001"),
        NvsEntry("identity", "chain", "string", pem * 10),
        NvsEntry("identity", "key", "string", pem),
        NvsEntry("identity", "slot", "u8", 0),
    ]
    assert generated(tmp_path, values, 0x6000) == build_image(values)
