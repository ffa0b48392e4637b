"""Take out of a report what does not belong there: keys, and where this machine keeps things."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KEY = re.compile(
    # A key that was printed with repr has its line feeds as \\n; one that was cut off has no end.
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END[A-Z ]*-{0,5}|[\sA-Za-z0-9+/=\\]*)",
    re.DOTALL,
)
_BASE64 = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=\s]{20,}")
"""PEM that was encoded once more, as people do to get a file through a form."""

GONE = "[a private key was here]"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of this machine that a report calls by a short name.

    Attributes:
        workspace: Where the run keeps its state.
        course: The course's folder.
        home: The user's home.
    """

    workspace: Path
    course: Path
    home: Path = field(default_factory=Path.home)

    def without(self, text: str) -> str:
        """Return a text with short names for our folders, and without private keys."""
        for folder, name in ((self.workspace, "workspace"), (self.course, "course"), (self.home, "~")):
            for path in {str(folder), str(folder.resolve())}:
                text = _whole(path).sub(name, text) if path != folder.anchor else text
        return without_keys(text)


def without_keys(text: str) -> str:
    """Return a text without private keys in PEM, also where that was encoded in base64.

    Does not check: keys in other forms (DER as hexadecimal digits, bare numbers).
    """
    return _BASE64.sub(_decoded, _KEY.sub(GONE, text))


def _decoded(found: re.Match[str]) -> str:
    packed = re.sub(r"\s", "", found[0])
    try:
        inside = base64.b64decode(packed[: len(packed) // 4 * 4])
    except ValueError:
        return found[0]
    return GONE if b"PRIVATE KEY" in inside else found[0]


def _whole(path: str) -> re.Pattern[str]:
    # Only where a path begins and a name ends: root's home is /root, and every workspace has a folder root/.
    # An escaped line feed is a beginning too; the outputs hold texts that were printed with repr.
    return re.compile(rf"(?:(?<![\w.~-])|(?<=\\[nt])){re.escape(path)}(?![\w-])")


def scrub(notebook: Any, places: Places) -> None:
    """Scrub the outputs of a notebook, in place; its own text stays as it is.

    Args:
        notebook: The executed notebook.
        places: What to call by a short name.

    Does not check: pictures, and keys that are not PEM.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell["outputs"] = [_scrubbed(output, places) for output in cell.outputs]


def _scrubbed(value: Any, places: Places) -> Any:
    if isinstance(value, str):
        return places.without(value)
    if isinstance(value, dict):
        for key in value:
            value[key] = _scrubbed(value[key], places)
        return value
    return [_scrubbed(item, places) for item in value] if isinstance(value, list) else value
