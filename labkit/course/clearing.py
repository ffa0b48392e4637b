"""Remove a folder in which somebody else has written: however deep, and whatever its modes are."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; what can't be removed stays.

    `shutil.rmtree` calls itself once a level, and stops at a folder that is a thousand deep with an error of Python's.
    Here folders are moved up before they are emptied, so that no path is long and nothing calls itself.

    Args:
        path: What to remove; nothing happens where there is nothing.
    """
    if path.is_symlink() or not path.is_dir():
        with suppress(OSError):
            path.unlink()
        return
    number, waiting = 0, [path]
    with suppress(OSError):
        path.chmod(0o700)
    while waiting:
        place = waiting.pop()
        for entry in _entries(place):
            with suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    Path(entry.path).unlink()
                    continue
                lifted = Path(entry.path)
                lifted.chmod(0o700)  # to be moved it has to be writable
                if place != path:
                    number += 1
                    lifted = lifted.rename(path / f"lifted-{os.getpid()}-{number}")
                waiting.append(lifted)
        if place != path:
            with suppress(OSError):
                place.rmdir()
    with suppress(OSError):
        path.rmdir()


def _entries(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as found:
            return list(found)
    except OSError:
        return []


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """Make a folder for the length of the block.

    Args:
        prefix: How its name begins.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        remove(folder)
