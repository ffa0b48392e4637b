"""Firmware images: made by the real esptool, read by us, and every way to break one."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError, ImageFormatError, ImageRefusedError
from labkit.firmware.description import (
    BEHAVIOUR_MAGIC,
    LONGEST_BEHAVIOUR,
    AppDescription,
    BootloaderDescription,
    build_app,
    build_behaviour,
    build_bootloader,
    find_behaviour,
    parse_app,
    parse_bootloader,
)
from labkit.firmware.image import (
    HEADER,
    behaviour_of,
    build_image,
    checksum,
    parse_image,
    repair,
    verify_placement,
)
from labkit.firmware.tools import build_app as build_with_esptool
from labkit.firmware.tools import merge_parts, run_tool

if TYPE_CHECKING:
    from pathlib import Path

DRAM = 0x3FFB0000
SMALL = build_image([(DRAM, b"abcd" * 5)], chip_id=0, entry=0x40080400)


# --- the real tools -----------------------------------------------------------------------------------------------


@pytest.mark.tool
def test_esptool_reads_our_application_as_we_do(app_image: bytes, tmp_path: Path) -> None:
    """The real image-info finds checksum, digest and description that we find."""
    file = tmp_path / "app.bin"
    file.write_bytes(app_image)
    said = run_tool("esptool", "image-info", file).stdout
    image = parse_image(app_image)
    assert f"Chip ID: {image.chip_id} " in said
    assert f"Entry point: {image.entry:#x}" in said
    assert f"Checksum: {image.checksum[1]:#04x} (valid)" in said
    assert f"Validation hash: {image.actual_digest.hex()} (valid)" in said
    assert "Minimal chip revision: v0.3" in said
    assert 3 == image.min_revision
    assert len(app_image) == image.length
    found = image.description
    assert found is not None
    assert ("course-node", "1.4.2", 3) == (found.project, found.version, found.secure_version)
    for line in ("Project name: course-node", "App version: 1.4.2", "Secure version: 3"):
        assert line in said
    assert f"ELF file SHA256: {found.elf_digest.hex()}" in said
    assert bytes(32) != found.elf_digest
    verify_placement(image)
    assert {"telemetry": 60} == behaviour_of(image)
    assert image.bootloader is None


@pytest.mark.tool
def test_esptool_reads_our_bootloader_as_we_do(bootloader_image: bytes, tmp_path: Path) -> None:
    """The look-alike is a bootloader to the real image-info."""
    file = tmp_path / "bootloader.bin"
    file.write_bytes(bootloader_image)
    said = run_tool("esptool", "image-info", file).stdout
    image = parse_image(bootloader_image)
    assert "Bootloader version: 1" in said
    assert BootloaderDescription(1) == image.bootloader
    assert image.description is None
    assert behaviour_of(image) is None
    verify_placement(image)


@pytest.mark.tool
def test_we_write_what_esptool_writes(app_image: bytes, bootloader_image: bytes) -> None:
    """The same segments in the same order become the same bytes, and repairing what is whole changes nothing."""
    for data in (app_image, bootloader_image):
        image = parse_image(data)
        segments = [(one.address, one.data) for one in image.segments]
        built = build_image(
            segments,
            chip_id=image.chip_id,
            entry=image.entry,
            min_revision=image.min_revision,
            max_revision=image.max_revision,
            flash=image.flash,
        )
        assert data == built
        assert data == repair(data)


@pytest.mark.tool
def test_an_image_is_as_long_as_one_wants() -> None:
    """Filler that crosses a page of flash leaves an image that is placed rightly, padded for a signature on request."""
    data = build_with_esptool(
        "esp32c3", AppDescription("big", "1"), {}, filler=bytes(range(256)) * 300, secure_pad=True
    )
    image = parse_image(data)
    verify_placement(image)
    assert 0 == len(data) % 0x10000
    assert {} == behaviour_of(image)


@pytest.mark.tool
def test_esptool_merges_parts() -> None:
    """Parts of a flash become one image with FF between them, from address 0 on."""
    merged = merge_parts([(0x1000, SMALL), (0x8000, b"table")], "esp32")
    assert b"\xff" * 0x1000 + SMALL == merged[: 0x1000 + len(SMALL)]
    assert b"table" == merged[0x8000:]


# --- breaking images ----------------------------------------------------------------------------------------------


def changed(offset: int, new: bytes) -> bytes:
    """Return the small image with other bytes somewhere."""
    return SMALL[:offset] + new + SMALL[offset + len(new) :]


LONG = struct.pack("<I", 0x1000000)
BROKEN = {
    "empty": (b"", "truncated"),
    "half-a-header": (SMALL[:23], "truncated"),
    "erased": (b"\xff" * 64, "magic"),
    "another-magic": (changed(0, b"\xea"), "magic"),
    "no-segments": (changed(1, b"\0"), "segments"),
    "17-segments": (changed(1, b"\x11"), "segments"),
    "a-segment-more": (changed(1, b"\x02"), "digest"),
    "a-segment-that-is-not-there": (changed(1, b"\x02")[:56], "truncated"),
    "a-checksum-that-is-not-there": (build_image([(DRAM, bytes(20))], chip_id=0, entry=0)[:52], "truncated"),
    "half-a-segment-header": (SMALL[: HEADER + 4], "truncated"),
    "odd-length": (changed(HEADER + 4, b"\x13"), "segment-length"),
    "a-length-of-16-mb": (changed(HEADER + 4, LONG), "segment-length"),
    "a-length-that-wraps": (changed(HEADER + 4, b"\xfc\xff\xff\xff"), "segment-length"),
    "a-length-beyond-the-end": (changed(HEADER + 4, b"\xfc\xff\0\0"), "truncated"),
    "cut-before-the-checksum": (SMALL[:55], "truncated"),
    "cut-in-the-digest": (SMALL[:-1], "truncated"),
    "another-checksum": (changed(63, b"\0"), "checksum"),
    "a-bit-of-data": (changed(40, b"\0"), "checksum"),
    "a-bit-of-the-entry": (changed(4, b"\1"), "digest"),
    "another-digest": (changed(len(SMALL) - 1, b"\0"), "digest"),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_broken_images_are_refused_for_their_defect(defect: str) -> None:
    """Each defect has its reason and a place within the image; without it the image is read."""
    parse_image(SMALL)
    data, rule = BROKEN[defect]
    with pytest.raises(ImageFormatError) as caught:
        parse_image(data)
    assert ("image", rule) == (caught.value.what, caught.value.rule)
    assert 0 <= caught.value.offset <= max(len(data), 1)


def test_sums_can_be_reported_instead() -> None:
    """Without verification a wrong checksum and digest are values of the image."""
    image = parse_image(changed(40, b"\0"), verify=False)
    assert image.checksum[0] != image.checksum[1]
    assert image.digest != image.actual_digest


def test_an_attacker_repairs_checksum_and_digest() -> None:
    """A changed image whose sums were made right again is an image: they find accidents, not attackers."""
    image = parse_image(repair(changed(40, b"\0")))
    assert image.digest == image.actual_digest
    bare = build_image([(DRAM, b"abcd")], chip_id=0, entry=0, hashed=False)
    assert parse_image(bare).digest is None
    assert bare == repair(bare[:-1] + b"\0")
    with pytest.raises(ImageFormatError) as caught:
        repair(b"")
    assert "truncated" == caught.value.rule


@pytest.mark.parametrize(
    ("chip_id", "address", "length", "rule"),
    [
        (0, 0x60000000, 4, "load-address"),
        (0, 0x3FFFFFFC, 8, "load-address"),
        (5, 0x40080400, 4, "load-address"),
        (5, 0xFFFFFFFC, 8, "load-address"),
        (0, 0x3F400000, 4, "segment-alignment"),
        (5, 0x42000024, 4, "segment-alignment"),
    ],
)
def test_segments_go_where_there_is_memory(chip_id: int, address: int, length: int, rule: str) -> None:
    """A segment beyond the chip's memory, or one that flash can't be mapped to, is refused by its name."""
    for good in (0x20, {0: DRAM, 5: 0x3FC80000}[chip_id], {0: 0x3F400020, 5: 0x3C000020}[chip_id]):
        verify_placement(parse_image(build_image([(good, b"abcd")], chip_id=chip_id, entry=0)))
    image = parse_image(build_image([(address, bytes(length))], chip_id=chip_id, entry=0))
    with pytest.raises(ImageFormatError) as caught:
        verify_placement(image)
    assert rule == caught.value.rule


def test_chips_that_we_do_not_know_have_any_memory() -> None:
    """The placement of an image for another chip is not judged."""
    verify_placement(parse_image(build_image([(0x12345678, b"abcd")], chip_id=13, entry=0)))


@given(st.binary(max_size=120), st.integers(0, len(SMALL)), st.booleans())
def test_any_bytes_are_an_image_or_none(noise: bytes, where: int, repaired: bool) -> None:  # noqa: FBT001
    """Whatever is in an image, parsing ends with a reason or a description, and never in anything else."""
    data = SMALL[:where] + noise + SMALL[where + len(noise) :]
    try:
        image = parse_image(repair(data) if repaired else data, verify=not repaired)
        assert sum(len(one.data) for one in image.segments) <= len(data)
        verify_placement(image)
        behaviour_of(image)
        assert image.description is None or image.description.project
    except FormatError as error:
        assert error.what in {"image", "behaviour"}


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=40)), min_size=1, max_size=16))
def test_what_was_built_is_read(segments: list[tuple[int, bytes]]) -> None:
    """Any segments whose lengths are whole words come back as they were."""
    words = [(address, data[: len(data) & ~3]) for address, data in segments]
    image = parse_image(build_image(words, chip_id=5, entry=7))
    assert words == [(one.address, one.data) for one in image.segments]


@given(st.lists(st.binary(max_size=70), max_size=4))
def test_the_checksum_is_the_exclusive_or(parts: list[bytes]) -> None:
    """The checksum by halves is the one byte by byte."""
    expected = 0xEF
    for byte in b"".join(parts):
        expected ^= byte
    assert expected == checksum(parts)


# --- descriptions and behaviour -----------------------------------------------------------------------------------


def test_descriptions_go_round() -> None:
    """An application's and a bootloader's description come back as they were, at their fixed lengths."""
    app = AppDescription("p", "v", 7, "idf", "date", "time", b"e" * 32)
    assert (256, app) == (len(build_app(app)), parse_app(build_app(app)))
    boot = BootloaderDescription(2, "idf", "then", 9)
    assert (80, boot) == (len(build_bootloader(boot)), parse_bootloader(build_bootloader(boot)))
    assert parse_app(bytes(256)) is None
    assert parse_app(b"") is None
    assert parse_bootloader(bytes(80)) is None


def test_a_strangers_texts_can_not_command_a_terminal() -> None:
    """Escape sequences and bytes beyond ASCII in a description are shown as what they are: nothing."""
    data = build_app(AppDescription("project", "v")).replace(b"project", b"\x1b[2J\xff\r!")
    found = parse_app(data)
    assert found is not None
    assert "�[2J��!" == found.project


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"project": "x" * 32}, "text-too-long"),
        ({"version": "1\n"}, "text-characters"),
        ({"version": "é"}, "text-characters"),
        ({"secure_version": -1}, "secure-version"),
        ({"secure_version": 2**32}, "secure-version"),
    ],
)
def test_descriptions_that_do_not_fit(change: dict[str, object], rule: str) -> None:
    """What has no room in a description is refused by name; what fills it does not."""
    build_app(AppDescription("x" * 31, "1", 2**32 - 1))
    with pytest.raises(ImageRefusedError) as caught:
        build_app(dataclasses.replace(AppDescription("p", "1"), **change))  # type: ignore[arg-type]
    assert rule == caught.value.rule


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"{}" + b" " * LONGEST_BEHAVIOUR, b"[" * 4000, b"\xff", b'{"a":' * 800],
    ids=["empty", "half", "a-list", "endless", "deep", "not-text", "deep-objects"],
)
def test_behaviour_that_makes_no_sense(text: bytes) -> None:
    """A block without a JSON object of a bounded length is refused where it begins; one with is read."""
    assert {"a": 1} == find_behaviour(b"xx" + build_behaviour({"a": 1}) + b"yy")
    assert find_behaviour(b"no such block") is None
    with pytest.raises(FormatError) as caught:
        find_behaviour(b"xx" + BEHAVIOUR_MAGIC + text + b"\0")
    assert ("behaviour", 8) == (caught.value.what, caught.value.offset)


def test_a_product_may_be_called_like_the_block() -> None:
    """The block's name in the description is a name, and the block behind it is the block."""
    description = build_app(AppDescription("VESP1", "VESP1"))
    for block, expected in ((build_behaviour({"a": 1}), {"a": 1}), (b"code", None)):
        data = description + block + bytes(-len(block) % 4)
        image = parse_image(build_image([(0x3F400020, data)], chip_id=0, entry=0))
        assert expected == behaviour_of(image)


def test_too_much_behaviour_is_refused() -> None:
    """What the board would not read is not built."""
    with pytest.raises(ImageRefusedError) as caught:
        build_behaviour({"a": "x" * LONGEST_BEHAVIOUR})
    assert "behaviour-too-long" == caught.value.rule
