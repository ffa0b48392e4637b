"""A bench with one virtual board on it, on which real tools are used and the whole state is compared afterwards."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.board import CHIPS, Efuses, NorFlash, VirtualBoard
from labkit.board.board_files import BoardFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAC = bytes.fromhex("24dcc3a1b2c4")
BASE = random.Random(1).randbytes(0x20000)
"""What lies at the beginning of the flash before each command, so that it shows what is erased."""

DATA = bytes(range(256)) * 20 + random.Random(2).randbytes(1000)
NOISE = random.Random(3).randbytes(0x1000)
KEY = random.Random(4).randbytes(32)
FILES = {
    "base": BASE,
    "data": DATA,
    "noise": NOISE,
    "key": KEY,
    "short": KEY[:16],
    "key24": KEY[:24],
    "huge": bytes(0x2000),
}
"""The files that a command line may name, as {data}."""


@dataclass(frozen=True)
class Case:
    """One command, what it says and what it changes. Nothing else may change.

    Attributes:
        words: The command line; {port}, {dir} and names of `FILES` are filled in.
        says: What its output holds, in this order of lines or any.
        status: Its exit status.
        chips: The chips that it is tried on.
        burned: What is burned beforehand.
        writes: What is in flash afterwards where it was written; the rest of the sectors is erased.
        erases: Sectors that are erased, as offset and length.
        burns: What is burned afterwards; a text is the name of a file that holds it.
        first: Commands that come before, without the board.
        check: More to look at.
        port: `socket` or `pty`.
        revision: The chip's revision.
        whole: Whether the flash is compared; an erase of everything names no sectors.
    """

    words: str
    says: tuple[str, ...] = ()
    status: int = 0
    chips: tuple[str, ...] = ("esp32", "esp32c3")
    burned: Mapping[str, int | bytes] = field(default_factory=dict)
    writes: tuple[tuple[int, bytes], ...] = ()
    erases: tuple[tuple[int, int], ...] = ()
    burns: Mapping[str, int | bytes | str] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    check: Callable[[Bench, str], None] | None = None
    port: str = "socket"
    revision: int | None = None


def expand(cases: tuple[Case, ...]) -> dict[str, tuple[Case, str]]:
    """Return each case with each of its chips, by a name for the test."""
    found: dict[str, tuple[Case, str]] = {}
    for case in cases:
        for chip in case.chips:
            name = f"{chip}: {case.words.replace('{port}', 'PORT').replace('{chip}', chip)}"
            name += f" on {', '.join(case.burned)}" if case.burned else ""
            name += f" rev {case.revision}" if case.revision is not None else ""
            assert name not in found, name
            found[name] = (case, chip)
    return found


def invocations(*tables: tuple[Case, ...]) -> set[tuple[str, str]]:
    """Return the distinct invocations of tables: command and options, and the chip. The transport does not count."""
    return {(case.words, chip) for table in tables for case in table for chip in case.chips}


def tool(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one of Espressif's tools; its lines are not wrapped."""
    program = Path(sys.executable).parent / words[0]
    env = {**os.environ, "COLUMNS": "500", "NO_COLOR": "1"}
    for name in ("ESPTOOL_PORT", "ESPTOOL_CHIP", "ESPTOOL_BAUD"):
        env.pop(name, None)
    return subprocess.run(
        [str(program), *words[1:]],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Bench:
    """A board that is prepared for one case.

    Args:
        folder: An empty folder.
        case: What will be done.
        chip: Which chip the board has.
    """

    def __init__(self, folder: Path, case: Case, chip: str) -> None:
        self.folder = folder
        self.case = case
        self.chip = chip
        for name, data in FILES.items():
            (folder / f"{name}.bin").write_bytes(data)
        files = BoardFiles(folder / "board")
        files.create(CHIPS[chip], mac=MAC, revision=case.revision)
        efuses = Efuses.fresh(CHIPS[chip], mac=MAC, revision=case.revision)
        efuses.burn(case.burned)
        files.save_efuses(efuses)
        files.save_flash(NorFlash(BASE), durable=False)
        self.fuses_before = efuses

    def words(self, line: str, port: str = "") -> list[str]:
        """Return a command line with everything filled in."""
        known = {name: f"{name}.bin" for name in FILES}
        return [word.format(port=port, dir=self.folder, chip=self.chip, **known) for word in line.split()]

    def run(self) -> None:
        """Do it, and compare."""
        case = self.case
        for line in case.first:
            done = tool(self.words(line), self.folder)
            assert done.returncode == 0, done.stdout + done.stderr
        terminal = self.folder / "tty" if case.port == "pty" else None
        with VirtualBoard.open(self.folder / "board", terminal=terminal) as self.board:
            done = tool(self.words(case.words, self.board.ports[case.port]), self.folder)
            said = re.sub(r"\s+", " ", done.stdout + done.stderr)
            assert (case.status, []) == (
                done.returncode,
                [
                    text
                    for text in case.says
                    if text.format(chip=self.chip, title=CHIPS[self.chip].title) not in said
                ],
            ), done.stdout + done.stderr
            self.board.check()
            self.compare()
            if case.check:
                case.check(self, said)
        again = BoardFiles(self.folder / "board").load()
        assert (self.flash_after, self.fuses_after.to_bytes()) == (again[0].image(), again[1].to_bytes())

    def compare(self) -> None:
        """Compare all of the flash and every fuse with what the case says."""
        expected = NorFlash(BASE)
        for offset, length in self.case.erases:
            expected.erase(offset, length)
        for offset, data in self.case.writes:
            start, end = offset & ~0xFFF, -(-(offset + len(data)) // 0x1000) * 0x1000
            expected.erase(start, end - start)
        for offset, data in self.case.writes:
            expected.program(offset, data)
        fuses = self.fuses_before.copy()
        fuses.burn(
            {
                name: (self.folder / value).read_bytes() if isinstance(value, str) else value
                for name, value in self.case.burns.items()
            }
        )
        self.flash_after, self.fuses_after = self.board.flash_image(), self.board.efuses
        assert expected.image() == self.flash_after
        assert all_fields(fuses) == all_fields(self.fuses_after)


def all_fields(efuses: Efuses) -> dict[str, int]:
    """Return every field's true value, and which blocks were spoilt."""
    fields = {field.name: efuses.field(field.name) for field in efuses.fields}
    return {**fields, "spoilt": sum(1 << number for number in efuses.damaged)}
