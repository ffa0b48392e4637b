"""Where a reader's risk register is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.threats.risk import Register

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.workspace import Workspace

FILE = "course/register.json"


def load_register(workspace: Workspace) -> Register:
    """Return the register in a workspace; an empty one where there is none.

    Raises:
        FormatError: The file is none of ours.
    """
    path = workspace.path(FILE)
    return (
        Register.from_json(path.read_text(encoding="utf-8", errors="replace"))
        if path.exists()
        else Register()
    )


def save_register(workspace: Workspace, register: Register) -> Path:
    """Keep a register in a workspace, and return its file."""
    return workspace.write(FILE, register.to_json())
