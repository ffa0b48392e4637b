"""Which board of the workspace a command means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.board.board_files import BoardFiles

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", flags=re.ASCII)


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise click.BadParameter(
            f"{value!r} is no board's name; letters, digits, '.', '_' and '-', such as board-2"
        )
    return value


name_option = click.option(
    "--name", default="board", show_default=True, callback=_name, help="Which board of the workspace."
)


def folder_of(name: str) -> Path:
    """Return the folder of a board, whether there is one or not."""
    return Workspace.open().path("boards", name)


def files_of(name: str) -> BoardFiles:
    """Return the files of a board of the workspace.

    Raises:
        BoardGoneError: There is none of that name.
    """
    from labkit.board.board_files import BoardFiles
    from labkit.errors import BoardGoneError

    files = BoardFiles(folder_of(name))
    if not files.exists:
        raise BoardGoneError(
            f"There is no board {name!r} in this workspace.",
            advice=f"Make one: labkit board new --name {name}",
        )
    return files
