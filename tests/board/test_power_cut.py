"""The real esptool is cut off after every operation of the flash: what boots then was verified, or nothing boots.

What esptool sends is recorded once, and replayed in process with the power failing after operation 0, 1, 2 and so on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from labkit.board import Efuses, NorFlash, PowerCut, VirtualBoard, boot
from labkit.board.rom_loader import RomLoader
from labkit.board.stubs import known_stubs
from labkit.firmware.otadata import VALID, build_entry
from labkit.firmware.partitions import COURSE_TABLE, build_table
from labkit.firmware.tools import run_tool
from tests.simulators.flashed_board import app, bootloader, digest_of, sign

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

NOISE = random.Random(5).randbytes(0xF000)
"""Makes an image of 64 KB that can't be compressed."""


@dataclass
class Transcript:
    """What esptool sent, and the board that it sent it to, as it was before."""

    sent: list[bytes]
    flash: bytes
    efuses: Efuses

    def replay(self, cut: int | None) -> NorFlash:
        """Return the flash after the power failed at an operation."""
        flash = NorFlash(self.flash, cut_after=cut)
        loader = RomLoader(flash, self.efuses.copy(), stubs=known_stubs(self.efuses.chip.name))
        try:
            for piece in self.sent:
                loader.receive(piece)
        except PowerCut:
            assert flash.operations == cut
        flash.cut_after = None
        return flash


def recorded(folder: Path, key: rsa.RSAPrivateKey | None, offset: int, data: bytes) -> Transcript:
    """Flash a board with an old and another application, and record how esptool writes something onto it."""
    with VirtualBoard.open(folder / "board", chip="esp32") as board:
        if key is not None:
            board.burn({"BLOCK2": digest_of(key), "ABS_DONE_1": 1})
        parts = {
            0x1000: made(bootloader("esp32", {"kept": 1}), key),
            0x8000: build_table(COURSE_TABLE),
            0xD000: build_entry(1, VALID),
            0x20000: made(app("esp32", "old", filler=NOISE[::-1]), key),
            0x200000: made(app("esp32", "other"), key),
        }
        for start, part in parts.items():
            board.write_flash(start, part)
        before, efuses = board.flash_image(), board.efuses
        (folder / "new.bin").write_bytes(data)
        sent = board.record()
        run_tool("esptool", "--port", board.url, "write-flash", hex(offset), folder / "new.bin")
        after = board.flash_image()
    found = Transcript(sent, before, efuses)
    assert after[offset : offset + len(data)] == found.replay(None).read(offset, len(data)) == data
    return found


def made(image: bytes, key: rsa.RSAPrivateKey | None) -> bytes:
    """Return an image, signed if there is a key."""
    return image if key is None else sign(image, key)


@pytest.mark.tool
@pytest.mark.parametrize("secured", [False, True], ids=["hash", "signature"])
def test_an_application_is_written_over_the_one_that_runs(
    secured: bool,  # noqa: FBT001
    tmp_path: Path,
    boot_keys: list[rsa.RSAPrivateKey],
) -> None:
    """Cut anywhere, the slot holds the old image, or the new one, or the other slot boots: never a mixture."""
    key = boot_keys[0] if secured else None
    new = made(app("esp32", "new", filler=NOISE), key)
    assert len(new) >= 0xF000
    transcript = recorded(tmp_path, key, 0x20000, new)
    whole = {"new": new, "old": made(app("esp32", "old", filler=NOISE[::-1]), None)}
    total = transcript.replay(None).operations
    assert total > 250
    seen = []
    for cut in range(total + 1):
        flash = transcript.replay(cut)
        done = boot(flash, transcript.efuses.copy())
        assert done.booted, (cut, done.outcome)
        version = done.outcome.detail["version"]
        seen.append(version)
        if version in whole:
            assert flash.read(0x20000, len(whole[version])) == whole[version], cut
    assert ["old"] + ["other"] * (len(seen) - seen.count("new") - 1) + ["new"] * seen.count("new") == seen
    assert 1 <= seen.count("new") <= 16  # behind the image there may be padding


@pytest.mark.tool
@pytest.mark.parametrize("secured", [False, True], ids=["hash", "signature"])
def test_a_bootloader_is_written_over_the_one_that_runs(
    secured: bool,  # noqa: FBT001
    tmp_path: Path,
    boot_keys: list[rsa.RSAPrivateKey],
) -> None:
    """Cut anywhere, the ROM starts the new bootloader as a whole, or none: such a board has to be flashed again."""
    key = boot_keys[0] if secured else None
    image = bootloader("esp32", {"filler": NOISE[:1500].hex()})
    new = made(image, key)
    transcript = recorded(tmp_path, key, 0x1000, new)
    total = transcript.replay(None).operations
    reasons = set()
    for cut in range(1, total + 1):
        flash = transcript.replay(cut)
        done = boot(flash, transcript.efuses.copy())
        if done.booted:
            assert flash.read(0x1000, len(image)) == image, cut
        else:
            assert "rom" == done.outcome.stage
            reasons.add(done.outcome.reason)
    assert done.booted
    assert reasons <= {
        "magic",
        "segment-length",
        "truncated",
        "checksum",
        "digest",
        "unsigned",
        "signature-block",
    }
    assert len(reasons) >= 2
