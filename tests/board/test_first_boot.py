"""Flash encryption switched on by the bootloader: once, for ever, and not while the power fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.board import NorFlash, PowerCut, VirtualBoard, boot
from labkit.firmware.flash_image import survey
from labkit.firmware.otadata import VALID, parse_otadata
from labkit.firmware.partitions import COURSE_TABLE, build_table
from labkit.firmware.tools import run_tool
from tests.simulators.flashed_board import Flashed, app, bootloader, sign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

BOTH = pytest.mark.parametrize("chip", ["esp32", "esp32c3"])


def fresh(
    chip: str,
    mode: object = "development",
    key: rsa.RSAPrivateKey | None = None,
    otadata: Sequence[tuple[int, int]] = ((1, VALID),),
) -> Flashed:
    """Return a board in the clear, whose bootloader is to encrypt it at its first boot."""
    start, first = bootloader(chip, {"flash_encryption": mode}), app(chip, "1.0")
    board = Flashed(chip)
    if key is not None:
        board.trust(key)
        start, first = sign(start, key), sign(first, key)
    return board.fill(first, boot=start, otadata=otadata)


def kinds(board: Flashed) -> set[str]:
    """Return what somebody finds who reads the chip."""
    return {part.kind for part in survey(board.flash.image())}


@BOTH
@pytest.mark.parametrize("mode", ["development", "release"])
def test_the_first_boot_encrypts_and_every_other_boots(chip: str, mode: str) -> None:
    """After one boot the dump is noise, the key can't be read, and the application runs as before."""
    board = fresh(chip, mode)
    assert "application" in kinds(board)
    done = boot(board.flash, board.efuses)
    assert done.booted
    text = "\n".join(done.console)
    for words in (
        "Generating new flash encryption key...",
        "Encrypting partition",
        "Resetting with flash encryption",
    ):
        assert words in text
    assert 2 == text.count("2nd stage bootloader")
    assert {"noise"} == kinds(board)
    assert board.efuses.flash_encryption_enabled
    assert bytes(32) == board.efuses.visible(1 if chip == "esp32" else 4)
    assert (mode == "release") == board.efuses.manual_encrypt_disabled
    operations = board.flash.operations
    again = boot(board.flash, board.efuses)
    assert again.booted
    assert "Encrypting" not in "\n".join(again.console)
    assert operations == board.flash.operations


@BOTH
@pytest.mark.parametrize("state", [None, VALID])
def test_what_was_chosen_is_encrypted_with_the_rest(chip: str, state: int | None) -> None:
    """The choice that the bootloader notes at its first boot is still the choice after it."""
    board = fresh(chip, otadata=[(1, state)] if state is not None else [])
    done = boot(board.flash, board.efuses)
    assert done.booted
    second = "\n".join(done.console).split("Resetting with")[1]
    assert "trying OTA 0" not in second
    entries = parse_otadata(board.view.read(0xD000, 0x2000))
    assert (1, "valid") == (entries[0].sequence, entries[0].state_name)


@BOTH
def test_with_secure_boot_the_signature_is_encrypted_too(
    chip: str, boot_keys: list[rsa.RSAPrivateKey]
) -> None:
    """Signed images stay signed: what is verified is the plain text."""
    board = fresh(chip, key=boot_keys[0])
    assert boot(board.flash, board.efuses).booted
    assert {"noise"} == kinds(board)


@BOTH
def test_a_key_that_is_burned_already_is_taken(chip: str) -> None:
    """A key from the factory line is used, and no other is drawn."""
    board = fresh(chip)
    key = b"k" * 16 + b"l" * 16
    board.efuses.burn(
        {"BLOCK1": key[::-1]} if chip == "esp32" else {"BLOCK_KEY2": key[::-1], "KEY_PURPOSE_2": 4}
    )
    done = boot(board.flash, board.efuses)
    assert done.booted
    assert key == board.efuses.flash_encryption_key
    assert "Using pre-loaded flash encryption key" in "\n".join(done.console)


@pytest.mark.parametrize("mode", [None, "other", 1, ["release"]])
def test_a_bootloader_that_was_not_built_for_it(mode: object) -> None:
    """Without the word, or with one that is none, nothing is burned and nothing encrypted."""
    board = fresh("esp32", mode)
    before = board.efuses.to_bytes()
    assert boot(board.flash, board.efuses).booted
    assert before == board.efuses.to_bytes()


def test_a_counter_that_is_used_up() -> None:
    """In development plain images may be written again, until the counter has no bit left."""
    board = fresh("esp32c3")
    board.efuses.burn({"SPI_BOOT_CRYPT_CNT": 3})
    assert not board.efuses.flash_encryption_enabled
    assert boot(board.flash, board.efuses).booted
    assert 7 == board.efuses.flash_crypt_count


def test_fuses_without_room() -> None:
    """No free block, or protected fuses: the board says so, does not start, and its flash is as it was."""
    full = fresh("esp32c3")
    for number in range(6):
        full.efuses.burn({f"BLOCK_KEY{number}": b"x" * 32})
    held = fresh("esp32")
    held.efuses.burn({"WR_DIS": 1})  # RD_DIS can't be burned any more, so a key could be read
    for board in (full, held):
        before = board.flash.image()
        done = boot(board.flash, board.efuses)
        assert ("image", "flash-encryption") == (done.outcome.stage, done.outcome.reason)
        assert before == board.flash.image()


def test_power_that_fails_meanwhile() -> None:
    """Cut anywhere, the board does not start anything that was not verified; written anew, it boots."""
    board = fresh("esp32")
    before, fuses = board.flash.image(), board.efuses.copy()
    boot(board.flash, board.efuses)
    total = board.flash.operations
    assert total > 100
    verdicts = set()
    for cut in range(0, total, 5):
        board.flash, board.efuses = NorFlash(before, cut_after=cut), fuses.copy()
        with pytest.raises(PowerCut):
            boot(board.flash, board.efuses)
        board.flash.cut_after = None
        done = boot(board.flash, board.efuses)
        verdicts.add(done.outcome.reason)
    assert verdicts <= {
        "accepted",
        *(
            "truncated",
            "magic",
            "segments",
            "segment-length",
            "checksum",
            "digest",
        ),  # any rule: half of it is noise
        "partition-table",
        "no-app",
    }
    assert len(verdicts) > 1
    board.fill(app("esp32", "1.0"), boot=bootloader("esp32", {"flash_encryption": "development"}))
    assert boot(board.flash, board.efuses).booted


@pytest.mark.tool
def test_a_board_that_has_power_goes_on(tmp_path: Path) -> None:
    """On a running board the fuses that the bootloader burned are those that tools see, and are kept on disk."""
    with VirtualBoard.open(tmp_path / "board", chip="esp32c3") as running:
        for offset, data in (
            (0x8000, build_table(COURSE_TABLE)),
            (0x20000, app("esp32c3", "1.0")),
            (0x0, bootloader("esp32c3", {"flash_encryption": "development"})),
        ):
            running.write_flash(offset, data)
        assert running.console.wait_for("Resetting with flash encryption enabled")
        assert running.efuses.flash_encryption_enabled
        words = ["summary", "--format", "value_only", "SPI_BOOT_CRYPT_CNT"]
        assert "Enable" in run_tool("espefuse", "--chip", "esp32c3", "--port", running.url, *words).stdout
    with VirtualBoard.open(tmp_path / "board") as running:
        assert running.console.wait_for("Loaded app from partition at offset 0x20000")
        assert b"course-node" not in running.flash_image()
