"""A whole flash: merged as esptool merges, and what a thief finds in a dump."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.board import boot
from labkit.errors import ImageRefusedError
from labkit.firmware import NvsEntry, build_image
from labkit.firmware.flash_image import FlashPart, Found, merge, survey
from labkit.firmware.nvs_encryption import build_key_partition, encrypt_image
from labkit.firmware.tools import merge_parts
from tests.simulators.flashed_board import Flashed, app

VALUES = [NvsEntry("identity", "device_id", "string", "sensor-001")]
KEY = b"n" * 32 + b"m" * 32


@pytest.mark.tool
def test_esptool_merges_the_same() -> None:
    """Parts in any order become the bytes that merge-bin writes."""
    parts = [FlashPart(0x9000, b"nvs" * 100, "nvs"), FlashPart(0x1000, app("esp32"), "bootloader")]
    assert merge_parts([(one.offset, one.data) for one in parts], "esp32") == merge(parts)
    assert 0x10000 == len(merge(parts, size=0x10000))
    assert b"" == merge([])


@pytest.mark.parametrize(("offset", "rule"), [(0x100F, "overlap"), (0x3FFFF8, "flash-size")])
def test_parts_that_make_no_flash(offset: int, rule: str) -> None:
    """Parts that overlap or end behind the flash are refused by name; beside each other they are not."""
    first = FlashPart(0x1000, bytes(16), "first")
    assert 0x1020 == len(merge([first, FlashPart(0x1010, bytes(16), "second")]))
    with pytest.raises(ImageRefusedError) as caught:
        merge([first, FlashPart(offset, bytes(16), "second")])
    assert rule == caught.value.rule


def found(board: Flashed) -> dict[str, tuple[str, str]]:
    """Return kind and content of every part of a board's dump."""
    return {part.name: (part.kind, part.holds) for part in survey(board.flash.image())}


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_a_dump_in_the_clear_tells_everything(chip: str) -> None:
    """Bootloader, table, versions, states, how many values, and the keys: all of it can be read."""
    board = Flashed(chip).fill(app(chip, "1.2"))
    board.write(0x10000, build_image(VALUES))
    board.write(0x16000, build_key_partition(KEY))
    boot(board.flash, board.efuses)
    assert {
        "bootloader": ("bootloader", "2 segments"),
        "partition table": ("table", "7 partitions"),
        "nvs": ("blank", "nothing"),
        "otadata": ("otadata", "choice 1: valid"),
        "phy_init": ("blank", "nothing"),
        "fctry": ("nvs", "1 value in identity"),
        "nvs_keys": ("keys", "the keys of encrypted NVS"),
        "ota_0": ("application", "course-node 1.2"),
        "ota_1": ("blank", "nothing"),
    } == found(board)
    offsets = [part.offset for part in survey(board.flash.image())]
    assert offsets == sorted(offsets)


def test_an_encrypted_dump_is_noise() -> None:
    """With flash and NVS encrypted, the same dump has no part that says anything."""
    board = Flashed().encrypt(b"k" * 16 + b"l" * 16).fill(app("esp32", "1.2"))
    board.write(0x10000, encrypt_image(build_image(VALUES), KEY), encrypted=False)
    assert {"noise"} == {kind for kind, _ in found(board).values()}
    assert Found(
        0x9000, 0x3F7000, "everything else", "noise", "encrypted, or nothing that we know"
    ) in survey(board.flash.image())
    plain = Flashed().fill(app("esp32"))
    plain.write(0x10000, encrypt_image(build_image(VALUES), KEY))
    assert "noise" == found(plain)["fctry"][0]


def test_damaged_and_strange_parts() -> None:
    """A damaged image is said to be one; partitions of other kinds are not looked into."""
    broken = bytearray(app("esp32", "1.2"))
    broken[60] ^= 1
    board = Flashed().fill(bytes(broken), b"no image")
    board.write(0xF000, b"radio")
    told = found(board)
    assert ("application", "course-node 1.2, damaged") == told["ota_0"]
    assert "noise" == told["ota_1"][0]
    assert "noise" == told["phy_init"][0]


@given(st.binary(max_size=200), st.integers(0, 0x9100))
def test_any_dump_can_be_surveyed(noise: bytes, where: int) -> None:
    """Whatever is in a dump, and however short it is, there is an answer."""
    dump = bytes(where) + noise
    assert 2 <= len(survey(dump)) <= 100
