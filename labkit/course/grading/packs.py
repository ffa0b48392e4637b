"""Packs: what `labkit submit` makes, and the careful reading of any zip file.

A pack is a zip file with `manifest.json`, `notebook.ipynb` and `workspace/…`. Its receipt is the SHA-256 of the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

FORMAT = 1
MANIFEST, NOTEBOOK, EVIDENCE = "manifest.json", "notebook.ipynb", "workspace/"

MOST_MEMBERS = 2000
MOST_BYTES = 96 << 20
MOST_OF_ONE = 52 << 20


class PackError(ValueError):
    """It is no zip file that can be opened safely; the text says why."""


@dataclass(frozen=True, slots=True)
class Pack:
    """What was in a pack.

    Attributes:
        exercise: What its manifest says.
        student: Who its manifest says it is from.
        packed: When it says that it was made.
        notebook: The notebook.
        evidence: Files of the workspace, by their place there.
        notes: What was odd about it.
    """

    exercise: str
    student: str
    packed: str
    notebook: bytes
    evidence: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write(
    *, exercise: str, student: str, packed: str, version: str, notebook: bytes, evidence: dict[str, bytes]
) -> bytes:
    """Return a pack: the same content gives the same bytes."""
    files = {
        NOTEBOOK: notebook,
        **{EVIDENCE + name: data for name, data in sorted(evidence.items())},
    }
    manifest = {
        "format": FORMAT,
        "exercise": exercise,
        "student": student,
        "packed": packed,
        "labkit": version,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for name, data in files.items()
        },
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        for name, data in {MANIFEST: text.encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def receipt(data: bytes) -> str:
    """Return the receipt's id of a pack: 32 digits of its SHA-256, in groups that can be read out."""
    digits = hashlib.sha256(data).hexdigest()[:32]
    return "-".join(digits[at : at + 8] for at in range(0, 32, 8))


def unzip(data: bytes) -> dict[str, bytes]:
    """Return the files in a zip file, by name.

    Args:
        data: The zip file.

    Raises:
        PackError: It is damaged, holds a name that leads elsewhere, a link, the same name twice, or too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _members(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise PackError(f"the zip file is damaged ({str(error)[:100]})") from error


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise PackError(f"the zip file has {len(infos)} members, which is more than {MOST_MEMBERS}")
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    for info in infos:
        name = _safe(info)
        if info.is_dir():
            continue
        if name in found:
            raise PackError(f"the zip file holds {name!r} twice")
        # What a member says of its size may be a lie: what comes out is counted.
        with archive.open(info) as file:
            content = file.read(min(left, MOST_OF_ONE) + 1)
        if len(content) > min(left, MOST_OF_ONE):
            raise PackError(f"the zip file is larger inside than {MOST_BYTES >> 20} MB allow ({name!r})")
        left -= len(content)
        found[name] = content
    return found


def _safe(info: zipfile.ZipInfo) -> str:
    name = info.filename
    path = PurePosixPath(name)
    # A backslash or a drive leads elsewhere on Windows.
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or ":" in name
        or "\0" in name
        or len(name) > 300
    ):
        raise PackError(f"the zip file holds a name that leads out of it: {name[:80]!r}")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise PackError(f"the zip file holds something that is not a plain file: {name[:80]!r}")
    return str(path)


def read(files: dict[str, bytes]) -> Pack | None:
    """Return the pack that the files of a zip file are, or None if they are none.

    Does not check: that it was made by `labkit submit`. Whoever packs can write any manifest.
    """
    if MANIFEST not in files or NOTEBOOK not in files:
        return None
    try:
        manifest: Any = json.loads(files[MANIFEST])
        listed = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
        said = {name: str(manifest[name])[:64] for name in ("exercise", "student", "packed")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Pack("", "", "", files[NOTEBOOK], notes=("its manifest is damaged",))
    there = {name: data for name, data in files.items() if name != MANIFEST}
    wrong = [
        name
        for name in sorted({*there, *listed})
        if name not in there or hashlib.sha256(there[name]).hexdigest() != listed.get(name)
    ]
    notes = (f"changed after it was packed: {', '.join(wrong[:5])}",) if wrong else ()
    evidence = {
        name.removeprefix(EVIDENCE): data for name, data in there.items() if name.startswith(EVIDENCE)
    }
    return Pack(said["exercise"], said["student"], said["packed"], files[NOTEBOOK], evidence, notes)
