"""A board's folder: `flash.bin`, `efuse.bin`, `board.json`, and snapshots of the three."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.board.chips import find_chip
from labkit.board.efuse import Efuses
from labkit.board.nor_flash import NorFlash
from labkit.errors import FormatError, SnapshotMissingError, WorkspaceCorruptError
from labkit.workspace import make_folder, os_errors, write_atomic, write_together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.board.chips import Chip

FORMAT = 1
FLASH, EFUSE, CARD = "flash.bin", "efuse.bin", "board.json"
STATE = (FLASH, EFUSE, CARD)
SNAPSHOTS = "snapshots"

_MAKER = bytes.fromhex("24dcc3")
"""One of the prefixes that belong to Espressif, so that tools find what they expect."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")


@dataclass(frozen=True, slots=True)
class Card:
    """What stands on the board.

    Attributes:
        chip: The chip's name.
        revision: Its revision.
        mac: Its MAC, in hexadecimal with colons.
    """

    chip: str
    revision: int
    mac: str


def new_mac() -> bytes:
    """Return a MAC that no other board of the course has, in all likelihood."""
    return _MAKER + secrets.token_bytes(3)


class BoardFiles:
    """The folder.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether there is a board in it."""
        return (self.folder / CARD).is_file()

    def create(self, chip: Chip, *, revision: int | None = None, mac: bytes | None = None) -> None:
        """Put a new board there: blank flash, factory fuses. The old one's state is gone; snapshots stay.

        Raises:
            EfuseUnknownError: There is no such revision.
            WorkspaceError: It can't be written.
        """
        efuses = Efuses.fresh(chip, mac=mac or new_mac(), revision=revision)
        make_folder(self.folder, private=True)
        card = Card(chip.name, efuses.revision, efuses.mac.hex(":"))
        text = json.dumps({"format": FORMAT, **asdict(card)}, indent=2, sort_keys=True) + "\n"
        self._write(self.folder, {FLASH: NorFlash().image(), EFUSE: efuses.to_bytes(), CARD: text.encode()})

    @staticmethod
    def _write(folder: Path, files: Mapping[str, bytes]) -> None:
        # Together, so that no fuses come to lie beside another board's flash.
        write_together([(folder / name, data, name != CARD) for name, data in files.items()])

    def card(self) -> Card:
        """Return what stands on the board.

        Raises:
            WorkspaceCorruptError: The file says something else.
        """
        path = self.folder / CARD
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["format"] != FORMAT:
                raise _corrupt(path, f"it is of format {told['format']}")
            return Card(find_chip(str(told["chip"])).name, int(told["revision"]), str(told["mac"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _corrupt(path, f"{type(error).__name__}: {error}") from error

    def load(self) -> tuple[NorFlash, Efuses]:
        """Return the state.

        Raises:
            WorkspaceCorruptError: A file is missing or damaged.
        """
        chip = find_chip(self.card().chip)
        try:
            flash = NorFlash((self.folder / FLASH).read_bytes())
            efuses = Efuses.from_bytes((self.folder / EFUSE).read_bytes())
        except ValueError as error:
            raise _corrupt(self.folder / FLASH, str(error)) from error
        except FormatError as error:
            raise _corrupt(self.folder / EFUSE, error.message) from error
        except OSError as error:
            raise _corrupt(Path(error.filename or self.folder), str(error.strerror)) from error
        if efuses.chip is not chip:
            raise _corrupt(self.folder / EFUSE, f"they are those of an {efuses.chip.title}")
        return flash, efuses

    def save_flash(self, flash: NorFlash, *, durable: bool = True) -> None:
        """Write the flash, whole or not at all. It may hold keys, so it is readable by its owner alone."""
        write_atomic(self.folder / FLASH, flash.image(), secret=True, durable=durable)

    def save_efuses(self, efuses: Efuses) -> None:
        """Write the fuses, whole or not at all."""
        write_atomic(self.folder / EFUSE, efuses.to_bytes(), secret=True)

    # --- snapshots ----------------------------------------------------------------------------------------------

    def snapshots(self) -> list[str]:
        """Return the snapshots' names."""
        folder = self.folder / SNAPSHOTS
        return (
            sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
            if folder.is_dir()
            else []
        )

    def snapshot(self, name: str) -> None:
        """Keep a copy of what is on disk under a name; an older one of that name is replaced.

        Raises:
            ValueError: The name is no plain name.
            WorkspaceError: It can't be written; an older one is unchanged.
        """
        if not _NAME.fullmatch(name):
            text = f"{name!r} is no name for a snapshot: letters, digits, dots and dashes"
            raise ValueError(text)
        folder = make_folder(self.folder / SNAPSHOTS, private=True)
        with os_errors(folder):
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            try:
                self._copy(self.folder, fresh)
                shutil.rmtree(folder / name, ignore_errors=True)
                fresh.rename(folder / name)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)

    def restore(self, name: str) -> None:
        """Bring the files back to a snapshot.

        Raises:
            SnapshotMissingError: There is none of that name.
            WorkspaceError: A file can't be written.
        """
        known = self.snapshots()
        if name not in known:
            raise SnapshotMissingError(
                f"This board has no snapshot {name!r}.",
                advice=f"Known: {', '.join(known) or 'none yet'}. Make one: labkit board snapshot NAME",
                name=name,
                known=tuple(known),
            )
        self._copy(self.folder / SNAPSHOTS / name, self.folder)

    def clone(self, folder: Path) -> BoardFiles:
        """Copy the state to another folder: a second board with the same flash, fuses and MAC.

        Real fuses can't be copied. This can, so that an attack may be tried on a copy.

        Raises:
            WorkspaceCorruptError: There is something in that folder already.
            WorkspaceError: It can't be written.
        """
        if folder.exists() and any(folder.iterdir()):
            raise _corrupt(folder, "it is not empty, and a board is not copied over something else")
        make_folder(folder, private=True)
        self._copy(self.folder, folder)
        return BoardFiles(folder)

    def _copy(self, source: Path, target: Path) -> None:
        with os_errors(target):
            files = {name: (source / name).read_bytes() for name in STATE}
        self._write(target, files)


def _corrupt(path: Path, why: str) -> WorkspaceCorruptError:
    return WorkspaceCorruptError(
        f"{path} is not usable: {why}.",
        advice="Go back to a snapshot (labkit board snapshot --restore NAME), or make a new board: labkit board new",
        path=path,
    )
