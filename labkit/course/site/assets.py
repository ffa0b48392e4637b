"""What browsers need beside pages, from npm: fetched once by npm itself, held against a hash, kept in the course's folder."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from labkit.errors import SiteError
from labkit.processes import find_tool
from labkit.workspace import make_folder

_LOCK = "docs/assets.json"
_KEPT = "build/site/assets"
_PATIENCE = 300
"""Seconds that npm may take."""


def fetched(course: Path, name: str) -> Path | None:
    """Return the folder of a package's files, as docs/assets.json asks for them.

    Args:
        course: The course's folder.
        name: The package.

    Returns:
        The folder; None where there is no npm, or it could not fetch.

    Raises:
        SiteError: What npm brought is not what the lock says.
    """
    wanted = json.loads((course / _LOCK).read_text(encoding="utf-8"))[name]
    kept = course / _KEPT / f"{name}-{wanted['version']}"
    if kept.is_dir():
        return kept
    npm = find_tool("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [str(npm), "pack", "--silent", "--ignore-scripts", f"{name}@{wanted['version']}"]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=_PATIENCE)
        except (OSError, subprocess.SubprocessError):
            return None
        (archive,) = Path(folder).glob("*.tgz")
        _check(archive, name, wanted["integrity"])
        make_folder(kept.parent)
        fresh = Path(tempfile.mkdtemp(dir=kept.parent))
        with tarfile.open(archive) as tar:
            for member in tar:
                inner = member.name.removeprefix("package/")
                if (
                    member.isfile()
                    and inner.startswith(tuple(wanted["files"]))
                    and inner.endswith((".mjs", ".js"))
                ):
                    member.name = inner
                    tar.extract(member, fresh, filter="data")
        shutil.rmtree(kept, ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(kept)
    return kept


def _check(archive: Path, name: str, integrity: str) -> None:
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise SiteError(
            f"npm's {name} is not the one that {_LOCK} names.",
            advice="Do not build with it. Who fetched it, from where? `npm view` shows what the registry says.",
            what=name,
        )
