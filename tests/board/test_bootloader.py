"""The boot chain: what starts, what does not, where it ends and why."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.board import CHIPS
from labkit.board.bootloader import REASONS, Boot, boot
from labkit.errors import FormatError
from labkit.firmware.image import build_image, repair
from labkit.firmware.otadata import ABORTED, INVALID, NEW, PENDING_VERIFY, VALID, parse_otadata
from labkit.firmware.partitions import APP, COURSE_TABLE, FACTORY, Partition, PartitionTable
from labkit.outcome import BOOT
from tests.simulators.flashed_board import DRAM, DROM, Flashed, app, bootloader, sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric import rsa

BOTH = pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
OTADATA = 0xD000
FACTORY_TABLE = PartitionTable(
    (
        *COURSE_TABLE.partitions[:5],
        Partition("factory", APP, FACTORY, 0x20000, 0x10000),
        Partition("ota_0", APP, 0x10, 0x30000, 0x10000),
        Partition("ota_1", APP, 0x11, 0x40000, 0x10000),
    )
)


def reset(board: Flashed) -> Boot:
    """Reset a board."""
    return boot(board.flash, board.efuses)


def verdict(board: Flashed) -> tuple[str, str]:
    """Reset a board and return where it ended, and why."""
    outcome = reset(board).outcome
    return outcome.stage, outcome.reason


def version(board: Flashed) -> str:
    """Reset a board and return the version that runs."""
    outcome = reset(board).outcome
    assert outcome.accepted, outcome
    return str(outcome.detail["version"])


def states(board: Flashed) -> list[tuple[int, str]]:
    """Return both entries of otadata."""
    entries = parse_otadata(board.view.read(OTADATA, 0x2000))
    return [(one.sequence, one.state_name) for one in entries if one.intact]


# --- a plain board ------------------------------------------------------------------------------------------------


@BOTH
def test_a_board_boots(chip: str) -> None:
    """From reset to application: slot, version and behaviour are told, and the console reads like a real one."""
    board = Flashed(chip).fill(app(chip, "1.2", behaviour={"interval": 60}))
    done = reset(board)
    assert done.booted
    assert ("application", "accepted") == (done.outcome.stage, done.outcome.reason)
    assert ("ota_0", "1.2", "course-node") == tuple(
        done.outcome.detail[n] for n in ("slot", "version", "project")
    )
    assert {"interval": 60} == done.behaviour
    assert done.slot == COURSE_TABLE.find("ota_0")
    text = "\n".join(done.console)
    for line in (
        "SPI_FAST_FLASH_BOOT",
        "load:0x3f",
        "2nd stage bootloader",
        "no machine code runs",
        "nvs_keys         NVS keys         01 04 00016000 00001000",
        "fctry            WiFi data",
        "ota_1            OTA app",
        "Loaded app from partition at offset 0x20000",
    ):
        assert line in text
    assert [(1, "valid")] == states(board)


@BOTH
def test_machine_code_runs_as_its_twin(chip: str) -> None:
    """An image without a behaviour passes every check, and the console says that a twin runs in its place."""
    image = app(chip).replace(b"VESP1", b"\0\0\0\0\0")
    done = reset(Flashed(chip).fill(repair(image)))
    assert done.booted
    assert done.behaviour is None
    assert "labkit's twin of the node runs in its place" in done.console[-1]


def test_nonsense_behaviour_does_not_run() -> None:
    """Where image or bootloader say things that are no JSON, the model stops and says where."""
    board = Flashed().fill(repair(app("esp32").replace(b"{}", b"{]")))
    assert ("application", "behaviour") == verdict(board)
    broken = repair(bootloader("esp32", {}).replace(b"{}", b"{]"))
    assert ("bootloader", "behaviour") == verdict(Flashed().fill(app("esp32"), boot=broken))


def with_byte(image: bytes, offset: int, value: int) -> bytes:
    """Return an image with another byte."""
    return image[:offset] + bytes([value]) + image[offset + 1 :]


@BOTH
def test_bootloaders_that_the_rom_refuses(chip: str) -> None:
    """Each defect of the bootloader ends in the ROM with its reason; a whole one beside it boots."""
    good = bootloader(chip)
    other = "esp32c3" if chip == "esp32" else "esp32"
    defects = {
        "magic": b"\xff" * 64,
        "segments": with_byte(good, 1, 0),
        "truncated": with_byte(good, 30, 0x7F),
        "segment-length": with_byte(good, 28, 1),
        "checksum": with_byte(good, 40, good[40] ^ 1),
        "digest": with_byte(good, len(good) - 1, good[-1] ^ 1),
        "chip-id": bootloader(other),
        "load-address": build_image([(0x60000000, b"data")], chip_id=CHIPS[chip].chip_id, entry=0),
    }
    board = Flashed(chip).fill(app(chip))
    for reason, data in defects.items():
        board.write(CHIPS[chip].bootloader_offset, data)
        assert ("rom", reason) == verdict(board)
    board.write(CHIPS[chip].bootloader_offset, app(chip))
    assert ("rom", "load-address") == verdict(board)
    assert "the ROM maps no flash" in "\n".join(reset(board).console)
    board.write(CHIPS[chip].bootloader_offset, good)
    assert "1.0" == version(board)


def test_blank_flash_says_what_a_real_board_says() -> None:
    """A new board has nothing in its flash."""
    done = reset(Flashed())
    assert ("rom", "magic") == (done.outcome.stage, done.outcome.reason)
    assert "invalid header: 0xffffffff" in done.console
    assert done.table is None


@BOTH
def test_revisions(chip: str) -> None:
    """Bootloader and application may ask for a newer chip, the application also for an older one."""
    found = CHIPS[chip].revisions[0]
    too_new = {"min_revision": found + 1}
    assert ("bootloader", "revision") == verdict(
        Flashed(chip).fill(app(chip), boot=bootloader(chip, **too_new))
    )
    assert (
        Flashed(chip).fill(app(chip), boot=bootloader(chip, max_revision=found - 1)).efuses.revision == found
    )
    assert "1.0" == version(Flashed(chip).fill(app(chip), boot=bootloader(chip, max_revision=found - 1)))
    for options in (too_new, {"max_revision": found - 1}):
        assert ("image", "revision") == verdict(Flashed(chip).fill(app(chip, **options)))
    for options in ({"min_revision": found}, {"max_revision": found}, {"max_revision": 0}):
        assert "1.0" == version(Flashed(chip).fill(app(chip, **options)))


def test_the_partition_table_must_be_whole() -> None:
    """A table with a wrong MD5 or a partition beyond the flash ends the boot there."""
    board = Flashed().fill(app("esp32"))
    data = bytearray(board.flash.read(0x8000, 0xC00))
    data[4] ^= 1
    board.write(0x8000, bytes(data))
    assert ("partitions", "partition-table") == verdict(board)
    assert "boot: Failed to verify partition table" in reset(board).console[-1]
    board.write(0x8000, b"\xff" * 0xC00)
    assert ("partitions", "partition-table") == verdict(board)


@BOTH
def test_applications_that_are_refused(chip: str) -> None:
    """Each defect of the only application ends the boot with its reason."""
    good = app(chip)
    other = "esp32c3" if chip == "esp32" else "esp32"
    number = CHIPS[chip].chip_id
    defects: dict[str, bytes | None] = {
        "magic": None,
        "checksum": with_byte(good, 40, good[40] ^ 1),
        "digest": with_byte(good, len(good) - 1, good[-1] ^ 1),
        "chip-id": app(other),
        "load-address": build_image([(0x60000000, b"data")], chip_id=number, entry=0),
        "segment-alignment": build_image([(DROM[chip] + 4, b"data")], chip_id=number, entry=0),
        "description": build_image([(DRAM[chip], b"data"), (0, b"pad!")], chip_id=number, entry=0),
        "truncated": with_byte(good, 30, 0x7F),
    }
    for reason, data in defects.items():
        done = reset(Flashed(chip).fill(data))
        assert ("image", reason) == (done.outcome.stage, done.outcome.reason)
        assert {"ota_0": reason, "ota_1": "magic"} == done.outcome.detail["refused"]
        assert "No bootable app partitions in the partition table" in done.console[-1]
    assert "1.0" == version(Flashed(chip).fill(good))


def test_an_image_does_not_reach_beyond_its_partition() -> None:
    """What is longer than its slot is cut there, though the flash goes on."""
    table = PartitionTable((*FACTORY_TABLE.partitions[:6],))
    board = Flashed().fill(table=table)
    big = app("esp32", filler=bytes(0x10000))
    board.write(0x20000, big)
    assert ("image", "truncated") == verdict(board)
    board.write(0x20000, app("esp32", filler=bytes(0xF000)))
    assert "1.0" == version(board)


def test_long_images_are_read_whole() -> None:
    """An image longer than the first window is read in a second look."""
    board = Flashed().fill(app("esp32", filler=bytes(0x60000)))
    assert "1.0" == version(board)


def test_a_table_without_applications() -> None:
    """Where nothing can be booted, that is the reason."""
    table = PartitionTable(COURSE_TABLE.partitions[:5])
    assert ("image", "no-app") == verdict(Flashed().fill(table=table))


# --- otadata ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("otadata", "expected"),
    [
        ([], "a"),
        ([(1, VALID)], "a"),
        ([(2, VALID)], "b"),
        ([(1, VALID), (2, VALID)], "b"),
        ([(3, VALID), (2, VALID)], "a"),
        ([(1, VALID), (2, INVALID)], "a"),
        ([(1, VALID), (2, ABORTED)], "a"),
        ([(1, ABORTED), (2, INVALID)], "a"),
        ([(1, VALID), (2, NEW)], "b"),
        ([(1, VALID), (2, PENDING_VERIFY)], "a"),
        ([(1, 77), None], "a"),
    ],
)
def test_which_slot_boots(otadata: Sequence[tuple[int, int] | None], expected: str) -> None:
    """The table of otadata's states: which of two applications starts."""
    assert expected == version(Flashed().fill(app("esp32", "a"), app("esp32", "b"), otadata=otadata))


def test_a_new_image_has_one_boot() -> None:
    """New becomes pending, and pending that nobody called valid becomes aborted: the old one is back."""
    board = Flashed().fill(app("esp32", "old"), app("esp32", "new"), otadata=[(1, VALID), (2, NEW)])
    assert "new" == version(board)
    assert [(1, "valid"), (2, "pending-verify")] == states(board)
    assert "old" == version(board)
    assert [(1, "valid"), (2, "aborted")] == states(board)
    assert "old" == version(board)


def test_a_bootloader_without_rollback() -> None:
    """Built without rollback, the bootloader keeps what was chosen, and never touches its state."""
    boot_image = bootloader("esp32", {"rollback": False})
    board = Flashed().fill(
        app("esp32", "old"), app("esp32", "new"), otadata=[(1, VALID), (2, NEW)], boot=boot_image
    )
    for _ in range(2):
        assert "new" == version(board)
    assert [(1, "valid"), (2, "new")] == states(board)
    assert 0 == board.flash.operations


def test_a_chosen_image_that_is_broken() -> None:
    """The other slot boots, and the console names the slot that could not."""
    board = Flashed().fill(app("esp32", "old"), b"\0" * 64, otadata=[(1, VALID), (2, NEW)])
    done = reset(board)
    assert ("old", {"ota_1": "magic"}) == (done.outcome.detail["version"], done.outcome.detail["refused"])
    assert any("ota_1 is passed over: magic" in line for line in done.console)
    broken = with_byte(app("esp32", "new"), 60, 1)
    board = Flashed().fill(app("esp32", "old"), broken, otadata=[(1, VALID), (2, NEW)])
    done = reset(board)
    assert ("old", {"ota_1": "checksum"}) == (done.outcome.detail["version"], done.outcome.detail["refused"])
    assert any("OTA app partition slot 1 is not bootable" in line for line in done.console)


def test_the_factory_application() -> None:
    """With a factory application, blank otadata means the factory; slots below it in order come before it."""
    board = Flashed().fill(app("esp32", "a"), table=FACTORY_TABLE)
    board.write(0x20000, app("esp32", "factory"))
    assert "factory" == version(board)
    assert [] == states(board)
    board.fill(app("esp32", "a"), table=FACTORY_TABLE, otadata=[(1, VALID)])
    assert "a" == version(board)
    board.write(0x30000, b"\0")
    done = reset(board)
    assert "factory" == done.outcome.detail["version"]
    board.write(0x20000, b"\0")
    board.write(OTADATA, b"\xff" * 0x2000)
    done = reset(board)
    assert any("Factory app partition is not bootable" in line for line in done.console)


def test_a_table_without_otadata() -> None:
    """Without otadata, or with one that is too small, the first slot boots and nothing is written."""
    small = dataclasses.replace(COURSE_TABLE.partitions[1], size=0x1000)
    for partitions in (
        COURSE_TABLE.partitions[:1] + COURSE_TABLE.partitions[2:],
        (COURSE_TABLE.partitions[0], small, *COURSE_TABLE.partitions[2:]),
        (COURSE_TABLE.partitions[0], *COURSE_TABLE.partitions[2:]),
    ):
        board = Flashed().fill(app("esp32", "a"), app("esp32", "b"), table=PartitionTable(partitions))
        assert "a" == version(board)
        assert 0 == board.flash.operations


# --- anti-rollback ------------------------------------------------------------------------------------------------


@BOTH
def test_what_was_called_valid_ends_older_versions(chip: str) -> None:
    """A valid application burns its security version; an older one is refused for ever, and a newer one boots."""
    old, new = app(chip, "old", secure_version=1), app(chip, "new", secure_version=3)
    board = Flashed(chip).fill(old, new, otadata=[(1, VALID)])
    assert ("old", 1) == (version(board), board.efuses.secure_version)
    board.fill(old, new, otadata=[(1, VALID), (2, VALID)])
    done = reset(board)
    assert ("new", 3) == (done.outcome.detail["version"], board.efuses.secure_version)
    assert any("Secure version in eFuse is now 3" in line for line in done.console)
    board.fill(old, None, otadata=[(3, VALID), (2, INVALID)])
    board.write(0x200000, b"\0")
    done = reset(board)
    assert ("image", "secure-version") == (done.outcome.stage, done.outcome.reason)
    assert any("the application is too old" in line for line in done.console)


def test_the_chosen_slot_may_be_too_old() -> None:
    """otadata that names an older application loses to the other entry, as ESP-IDF decides it."""
    old, new = app("esp32", "old", secure_version=1), app("esp32", "new", secure_version=2)
    board = Flashed().fill(old, new, otadata=[(3, VALID), (2, VALID)])
    board.efuses.burn({"SECURE_VERSION": 3})
    assert "new" == version(board)
    board.write(0x20000, b"\0")
    assert "new" == version(board)


def test_what_otadata_names_must_describe_itself() -> None:
    """An image without a description has no security version, so anti-rollback passes it over."""
    nameless = build_image([(DRAM["esp32"], b"data")], chip_id=0, entry=0)
    board = Flashed().fill(app("esp32", "old"), nameless, otadata=[(1, VALID), (2, NEW)])
    done = reset(board)
    assert ("old", {"ota_1": "description"}) == (
        done.outcome.detail["version"],
        done.outcome.detail["refused"],
    )


def test_a_new_image_burns_nothing() -> None:
    """A security version is burned when an application was called valid, not when it is tried."""
    board = Flashed().fill(
        app("esp32"), app("esp32", "new", secure_version=5), otadata=[(1, VALID), (2, NEW)]
    )
    assert ("new", 0) == (version(board), board.efuses.secure_version)


@BOTH
def test_a_version_beyond_the_fuses_burns_nothing(chip: str) -> None:
    """A security version that the fuses can't count to is no reason to burn them all."""
    board = Flashed(chip).fill(app(chip, secure_version=33), otadata=[(1, VALID)])
    assert ("1.0", 0) == (version(board), board.efuses.secure_version)


def test_a_bootloader_without_anti_rollback() -> None:
    """Built without it, the bootloader neither burns nor compares."""
    boot_image = bootloader("esp32", {"anti_rollback": False})
    board = Flashed().fill(app("esp32", secure_version=1), otadata=[(1, VALID)], boot=boot_image)
    board.efuses.burn({"SECURE_VERSION": 7})
    assert ("1.0", 3) == (version(board), board.efuses.secure_version)


# --- Secure Boot --------------------------------------------------------------------------------------------------


@BOTH
def test_signed_boards_boot(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """With bootloader and application signed by the burned key, the ROM and the second stage say so."""
    key = boot_keys[0]
    board = Flashed(chip).trust(key).fill(sign(app(chip), key), boot=sign(bootloader(chip), key))
    done = reset(board)
    assert done.booted
    assert "secure boot verification succeeded" in done.console
    assert any("Signature verified successfully!" in line for line in done.console)


@BOTH
def test_what_the_rom_refuses_under_secure_boot(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Unsigned, tampered, repaired, signed by another: the bootloader is refused by the ROM, each for its reason."""
    key, other = boot_keys[:2]
    good = sign(bootloader(chip), key)
    tampered = with_byte(good, 60, good[60] ^ 1)
    cases = {
        "unsigned": bootloader(chip),
        "checksum": tampered,
        "image-digest": repair(tampered),
        "untrusted-key": sign(bootloader(chip), other),
        "signature-block": with_byte(good, len(good) - 4096 + 200, good[-4096 + 200] ^ 1),
    }
    board = Flashed(chip).trust(key).fill(sign(app(chip), key))
    for reason, data in cases.items():
        board.write(CHIPS[chip].bootloader_offset, data.ljust(0x7000, b"\xff"))
        done = reset(board)
        assert ("rom", reason) == (done.outcome.stage, done.outcome.reason)
        if reason != "checksum":
            assert "secure boot verification failed" in done.console
    board.write(CHIPS[chip].bootloader_offset, good)
    assert "1.0" == version(board)


@BOTH
def test_what_the_second_stage_refuses_under_secure_boot(
    chip: str, boot_keys: list[rsa.RSAPrivateKey]
) -> None:
    """The same for the application; an older version of the same maker passes, for a signature says nothing of age."""
    key, other = boot_keys[:2]
    good = sign(app(chip, "2.0"), key)
    cases = {
        "unsigned": app(chip),
        "checksum": with_byte(good, 60, good[60] ^ 1),
        "image-digest": repair(with_byte(good, 60, good[60] ^ 1)),
        "untrusted-key": sign(app(chip), other),
    }
    board = Flashed(chip).trust(key)
    for reason, data in cases.items():
        board.flash.erase(0x20000, 0x10000)
        board.fill(data, boot=sign(bootloader(chip), key))
        done = reset(board)
        assert ("image", reason) == (done.outcome.stage, done.outcome.reason)
    board.fill(sign(app(chip, "1.0"), key), boot=sign(bootloader(chip), key))
    assert "1.0" == version(board)


def test_a_signature_sector_lies_within_its_partition(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """A signature behind the end of the slot does not count, whoever made it."""
    key = boot_keys[0]
    table = PartitionTable((*FACTORY_TABLE.partitions[:6],))
    board = Flashed().trust(key).fill(table=table, boot=sign(bootloader("esp32"), key))
    board.write(0x20000, sign(app("esp32", filler=bytes(0xEFFF)), key))
    assert ("image", "unsigned") == verdict(board)
    board.write(0x20000, sign(app("esp32", filler=bytes(0xE000)), key))
    assert "1.0" == version(board)


def test_three_keys_and_revocation(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """On the ESP32-C3 a board survives the loss of a key: revoke digest 0, boot on digest 1."""
    first, second, third = boot_keys
    board = Flashed("esp32c3").trust(first, second, third)
    board.fill(sign(app("esp32c3"), first), boot=sign(bootloader("esp32c3"), first, second))
    assert "1.0" == version(board)
    board.efuses.burn({"SECURE_BOOT_KEY_REVOKE0": 1})
    assert ("image", "revoked-key") == verdict(board)
    board.fill(sign(app("esp32c3", "1.1"), second), boot=sign(bootloader("esp32c3"), first, second))
    assert "1.1" == version(board)
    board.fill(sign(app("esp32c3", "1.1"), second), boot=sign(bootloader("esp32c3"), first))
    assert ("rom", "revoked-key") == verdict(board)


def test_the_esp32_looks_at_one_signature(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """A second signature by the trusted key does not help on the first chip."""
    key, other = boot_keys[:2]
    board = Flashed().trust(key).fill(sign(app("esp32"), key), boot=sign(bootloader("esp32"), other, key))
    assert ("rom", "untrusted-key") == verdict(board)


@BOTH
def test_a_digest_that_nobody_can_read_bricks(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Burned in the wrong order: the digest is read-protected, the ROM reads zeros, and nothing boots any more."""
    key = boot_keys[0]
    board = Flashed(chip).trust(key).fill(sign(app(chip), key), boot=sign(bootloader(chip), key))
    assert "1.0" == version(board)
    board.efuses.burn({"RD_DIS": 2 if chip == "esp32" else 1})
    done = reset(board)
    assert ("rom", "no-trusted-key") == (done.outcome.stage, done.outcome.reason)
    assert "Valid secure boot key blocks: 0" in done.console


@BOTH
def test_secure_boot_without_a_digest_bricks(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Switched on before any key was burned, nothing boots any more."""
    board = Flashed(chip).fill(sign(app(chip), boot_keys[0]), boot=sign(bootloader(chip), boot_keys[0]))
    assert "1.0" == version(board)
    board.efuses.burn({"ABS_DONE_1" if chip == "esp32" else "SECURE_BOOT_EN": 1})
    assert ("rom", "no-trusted-key") == verdict(board)


# --- flash encryption ---------------------------------------------------------------------------------------------


@BOTH
def test_encrypted_boards_boot(chip: str) -> None:
    """What was written encrypted boots, and otadata is written encrypted too: the dump is noise."""
    board = (
        Flashed(chip)
        .encrypt(b"k" * 16 + b"l" * 16)
        .fill(app(chip), app(chip, "new"), otadata=[(1, VALID), (2, NEW)])
    )
    assert "new" == version(board)
    assert [(1, "valid"), (2, "pending-verify")] == states(board)
    dump = board.flash.image()
    assert b"course-node" not in dump
    assert bytes.fromhex("aa50") != dump[0x8000:0x8002]


@BOTH
def test_plain_text_under_encryption_is_refused(chip: str) -> None:
    """Fuses burned over flash in the clear: the chip decrypts what was never encrypted, and says what it sees."""
    board = Flashed(chip).fill(app(chip))
    assert "1.0" == version(board)
    board.encrypt(b"k" * 16 + b"l" * 16)
    done = reset(board)
    assert ("rom", "not-encrypted") == (done.outcome.stage, done.outcome.reason)
    assert any(line.startswith("invalid header: 0x") for line in done.console)
    assert "invalid header: 0xffffffff" not in done.console


@BOTH
def test_another_boards_flash_is_noise(chip: str) -> None:
    """A flash chip that was moved to a board with another key does not boot there."""
    first = Flashed(chip).encrypt(b"k" * 16 + b"l" * 16).fill(app(chip))
    second = Flashed(chip).encrypt(b"m" * 16 + b"n" * 16)
    second.flash = first.flash
    assert "1.0" == version(first)
    assert ("rom", "magic") == verdict(second)


def test_reading_ends_with_the_flash() -> None:
    """What lies beyond the chip is left out, encrypted or not."""
    board = Flashed()
    for _ in range(2):
        assert 16 == len(board.view.read(board.flash.size - 16, 100))
        assert b"" == board.view.read(board.flash.size, 100)
        assert b"" == board.view.read(board.flash.size + 100, 100)
        board.efuses.burn({"FLASH_CRYPT_CNT": 1})


@BOTH
def test_encryption_without_a_key_takes_zeros(chip: str) -> None:
    """Switched on with no key burned, the hardware decrypts with zeros, as everybody can."""
    board = Flashed(chip)
    board.efuses.burn({"FLASH_CRYPT_CNT" if chip == "esp32" else "SPI_BOOT_CRYPT_CNT": 1})
    assert "1.0" == version(board.fill(app(chip)))


@BOTH
def test_encrypted_and_signed(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Both at once, as a product has them: what is signed is the plain text."""
    key = boot_keys[0]
    board = Flashed(chip).encrypt(b"k" * 16 + b"l" * 16).trust(key)
    assert "1.0" == version(board.fill(sign(app(chip), key), boot=sign(bootloader(chip), key)))


# --- a hostile flash ------------------------------------------------------------------------------------------------

SECTORS = (0x1000, 0x8000, 0xD000, 0xE000, 0x20000, 0x200000)
PLACES = st.one_of(
    *(st.integers(start, start + length) for start, length in ((0x1000, 300), (0x8000, 256), (0xD000, 40), (0xE000, 40), (0x20000, 400), (0x200000, 400)))
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=8)), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_any_flash_ends_in_a_verdict(noise: list[tuple[int, bytes]], sealed: bool, encrypted: bool) -> None:  # noqa: FBT001
    """Whatever somebody writes into the flash, the boot chain ends with an outcome, again and again."""
    board = Flashed("esp32")
    board = board.encrypt(b"k" * 16 + b"l" * 16) if encrypted else board
    board.fill(app("esp32", "old"), app("esp32", "new"), otadata=[(1, VALID), (2, NEW)])
    sectors = {start: bytearray(board.view.read(start, 0x1000)) for start in SECTORS}
    for where, what in noise:
        sector = sectors[where & ~0xFFF]
        sector[where % 0x1000 : where % 0x1000 + len(what)] = what
    if sealed:
        table = sectors[0x8000]
        end = max(table.find(b"\xeb\xeb"), 0)
        table[end + 16 : end + 32] = hashlib.md5(table[:end], usedforsecurity=False).digest()
        for start in (0x1000, 0x20000, 0x200000):
            with contextlib.suppress(FormatError):
                sectors[start][:] = repair(bytes(sectors[start]))
    for start, sector in sectors.items():
        board.write(start, bytes(sector))
    for _ in range(2):
        outcome = reset(board).outcome
        assert outcome.accepted or outcome.reason in REASONS[outcome.stage]


def test_every_reason_is_explained() -> None:
    """The page of reasons has each of them once, with its stages in the order of the boot."""
    page = Path("docs/formats/boot.md").read_text(encoding="utf-8").split("## Reasons")[1]
    told = dict(re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \|", page, re.MULTILINE))
    stages = {reason: [stage for stage in BOOT if reason in REASONS.get(stage, ())] for reason in told}
    assert {reason for reasons in REASONS.values() for reason in reasons} == set(told)
    assert {reason: ", ".join(found) for reason, found in stages.items()} == told
