"""What browsers need beside pages, from npm, held against a hash."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from labkit.course.site.assets import fetched
from labkit.errors import SiteError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a course that locks a package, on a machine whose npm brings it from a file."""
    (tmp_path / "docs").mkdir()
    inner = tmp_path / "mermaid.mjs"
    inner.write_text("export default 1;", encoding="utf-8")
    archive = tmp_path / "mermaid-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("dist/mermaid.mjs", "dist/mermaid.mjs.map", "src/other.mjs"):
            tar.add(inner, f"package/{name}")
    programs = tmp_path / "bin"
    programs.mkdir()
    npm = programs / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$1" = pack ] && cp {archive} .\n', encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    lock(tmp_path, archive.read_bytes())
    return tmp_path


def lock(course: Path, archive: bytes) -> None:
    """Lock the package to an archive."""
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    wanted = {"mermaid": {"version": "1.0.0", "integrity": integrity, "files": ["dist/"]}}
    (course / "docs" / "assets.json").write_text(json.dumps(wanted), encoding="utf-8")


def test_what_the_lock_names_is_kept(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that are asked for are taken out, and nothing else; the next time no npm is needed."""
    folder = fetched(course, "mermaid")
    assert folder is not None
    assert ["dist/mermaid.mjs"] == [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    monkeypatch.setenv("PATH", "/nowhere")
    assert folder == fetched(course, "mermaid")


def test_another_archive_is_refused(course: Path) -> None:
    """What has another hash is not used, and nothing of it is left."""
    lock(course, b"another")
    with pytest.raises(SiteError, match="not the one") as caught:
        fetched(course, "mermaid")
    assert "mermaid" == caught.value.what
    assert not (course / "build").exists()


def test_without_npm_there_is_none(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no npm, or no registry answers, nothing is fetched and nobody is stopped."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert fetched(course, "mermaid") is None
    monkeypatch.setenv("PATH", str(course / "bin"))
    (course / "bin" / "npm").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert fetched(course, "mermaid") is None
