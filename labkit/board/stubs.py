"""The flasher stubs that the installed esptool would upload, so that the board knows them when they come."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from labkit.board.loader_protocol import Stub


@cache
def known_stubs(chip: str) -> tuple[Stub, ...]:
    """Return the stubs for a chip; none if esptool is not in this Python environment.

    esptool's files are read as data. Nothing of it is imported.
    """
    # Not by its import name: `labkit`, as a script, has its own folder first on sys.path, where esptool.py is a script too.
    try:
        folder = Path(str(metadata.distribution("esptool").locate_file("esptool/targets/stub_flasher")))
    except metadata.PackageNotFoundError:
        return ()
    files = sorted(folder.glob(f"*/{chip}.json"))
    return tuple(stub for file in files if (stub := parse_stub(file.read_bytes())) is not None)


def parse_stub(data: bytes) -> Stub | None:
    """Return the stub that a file of esptool describes, or None if it is none that we can read."""
    try:
        return _stub(json.loads(data))
    except (ValueError, KeyError, TypeError):
        return None  # another release's; the board then refuses its program, and says so


def _stub(told: dict[str, Any]) -> Stub:
    text = base64.b64decode(told["text"])
    segments = [(int(told["text_start"]), len(text))]
    if "data" in told:
        segments.append((int(told["data_start"]), len(base64.b64decode(told["data"]))))
    return Stub(int(told["entry"]), hashlib.sha256(text).digest(), tuple(segments))
