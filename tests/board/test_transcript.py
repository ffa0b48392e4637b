"""Recordings of real tools, and a power cut at every operation of one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.board import NorFlash, PowerCut, VirtualBoard, boot
from labkit.board.board_files import BoardFiles
from labkit.board.rom_loader import RomLoader
from labkit.board.stubs import known_stubs
from labkit.board.transcript import Transcript
from labkit.errors import FormatError
from labkit.firmware.partitions import COURSE_TABLE
from labkit.firmware.tools import run_tool
from tests.simulators.flashed_board import Flashed, app, bootloader, sign

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_a_transcript_comes_back(pieces: list[bytes]) -> None:
    """File and transcript are the same thing."""
    transcript = Transcript.of(pieces)
    assert transcript == Transcript.from_bytes(transcript.to_bytes())


@given(st.binary(max_size=60), st.booleans())
def test_other_bytes_are_refused(data: bytes, begun: bool) -> None:  # noqa: FBT001
    """Anything else is a format error, or a transcript of the same bytes."""
    wire = (b"LABWIRE1" if begun else b"") + data
    try:
        assert wire == Transcript.from_bytes(wire).to_bytes()
    except FormatError as error:
        assert ("transcript", True) == (error.what, 0 <= error.offset <= len(wire))


def world(chip: str, key: rsa.RSAPrivateKey) -> tuple[Flashed, bytes]:
    """Return a board with Secure Boot and two signed applications, and a newer one of 64 KB."""
    old, spare = sign(app(chip, "1.0"), key), sign(app(chip, "0.9"), key)
    new = sign(app(chip, "2.0", filler=random.Random(5).randbytes(0xE800)), key)
    board = Flashed(chip).fill(old, spare, boot=sign(bootloader(chip), key), otadata=[(1, 2)])
    return board.trust(key), new


def record(board: Flashed, new: bytes, folder: Path) -> Transcript:
    """Return what the real esptool sends to write the new application over the old one."""
    files = BoardFiles(folder / "board")
    files.create(board.efuses.chip)
    files.save_flash(board.flash)
    files.save_efuses(board.efuses)
    (folder / "new.bin").write_bytes(new)
    with VirtualBoard.open(folder / "board") as virtual:
        recording = virtual.record()
        words = [
            "--port",
            virtual.url,
            "write-flash",
            hex(COURSE_TABLE.ota_slots[0].offset),
            folder / "new.bin",
        ]
        run_tool("esptool", *words)
        assert "2.0" == virtual.last_boot.outcome.detail["version"]
    return Transcript.of(recording)


def after_cut(board: Flashed, transcript: Transcript, cut: int | None) -> NorFlash:
    """Return the flash after a power cut at one operation, or none."""
    flash = NorFlash(board.flash.image(), cut_after=cut)
    loader = RomLoader(flash, board.efuses.copy(), stubs=known_stubs(board.chip))
    try:
        transcript.replay(loader)
    except PowerCut:
        assert cut == flash.operations
    return flash


@pytest.mark.tool
def test_no_power_cut_boots_anything_unverified(tmp_path: Path, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Cut at each operation of a 64 KB write, the board boots one of three signed applications, whole.

    The C3 is written by its ROM, as Secure Boot lets no stub run there; test_power_cut does it through the ESP32's stub.
    """
    board, new = world("esp32c3", boot_keys[0])
    assert 0x10000 <= len(new) + 0x1000
    transcript = record(board, new, tmp_path)
    slots = COURSE_TABLE.ota_slots
    good = {board.flash.read(slots[0].offset, len(new)), board.flash.read(slots[1].offset, len(new))}
    good.add(new)
    total = after_cut(board, transcript, None).operations
    assert total > 250
    versions = []
    for cut in range(total + 1):
        flash = after_cut(board, transcript, cut)
        found = boot(NorFlash(flash.image()), board.efuses.copy())
        assert found.booted, (cut, found.outcome)
        assert flash.read(found.slot.offset, len(new)) in good, cut
        versions.append(found.outcome.detail["version"])
    assert ["1.0", "0.9", "2.0"] == [
        version for n, version in enumerate(versions) if version not in versions[:n]
    ]
    assert ("1.0", "2.0") == (versions[0], versions[-1])
