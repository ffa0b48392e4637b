"""Read a running board's console from another process, without taking its port from anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.board.virtual_board import running_at
from labkit.clock import Deadline
from labkit.errors import BoardGoneError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = "console.log"
START = "[virtual "
"""How the first line after a reset begins."""

_LOOK = 0.1


def follow(folder: Path) -> Iterator[str]:
    """Yield what a board says: everything since its last reset, then each line as it comes, until the board stops.

    Args:
        folder: The board's folder.

    Raises:
        BoardGoneError: No board runs there.
    """
    if not running_at(folder):
        raise BoardGoneError(
            f"No board runs in {folder}.",
            advice="Start it in another terminal: labkit board run",
        )
    path, at, rest = folder / LOG, 0, ""
    first = True
    while True:
        alive = bool(running_at(folder))  # looked at first: what it said last is in the file by then
        if path.exists() and path.stat().st_size < at:
            at, rest = 0, ""  # the file began anew
        text, at = _read(path, at)
        lines = (rest + text).split("\n")
        rest = lines.pop()
        if first and lines:
            lines, first = _since_reset(lines), False
        yield from lines
        if not alive:
            return
        Deadline(_LOOK).pause(_LOOK)


def _read(path: Path, at: int) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            file.seek(at)
            data = file.read()
    except FileNotFoundError:
        return "", at
    return data.decode(errors="replace"), at + len(data)


def _since_reset(lines: list[str]) -> list[str]:
    starts = [number for number, line in enumerate(lines) if line.startswith(START)]
    return lines[starts[-1] :] if starts else lines
