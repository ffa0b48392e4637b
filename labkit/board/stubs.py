"""The flasher stubs that the installed esptool would upload, so that the board knows them when they come."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path

from labkit.board.loader_protocol import Stub


@cache
def known_stubs(chip: str) -> tuple[Stub, ...]:
    """Return the stubs for a chip; none if esptool is not in this Python environment.

    esptool's files are read as data. Nothing of it is imported.
    """
    try:
        found = importlib.util.find_spec("esptool")
    except (ImportError, ValueError):
        return ()
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    files = [
        file for folder in folders for file in sorted(folder.glob(f"targets/stub_flasher/*/{chip}.json"))
    ]
    return tuple(_stub(file.read_bytes()) for file in files)


def _stub(data: bytes) -> Stub:
    told = json.loads(data)
    text = base64.b64decode(told["text"])
    segments = [(int(told["text_start"]), len(text))]
    if "data" in told:
        segments.append((int(told["data_start"]), len(base64.b64decode(told["data"]))))
    return Stub(int(told["entry"]), hashlib.sha256(text).digest(), tuple(segments))
