"""What our pages need of Sphinx beyond its configuration, on a site of two pages."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tests.conftest import missing

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """
extensions = ["myst_parser", "labkit.course.site.extension"]
"""
LESSON = "# Lesson\n\n## Part\n\nShown.\n\n## Go deeper: more\n\nFolded.\n\n### Inside\n\nToo.\n\n## After\n\nShown.\n"


def build(folder: Path) -> Path:
    """Build a site as it is now; return the folder of its pages."""
    if find_spec("sphinx") is None or find_spec("myst_parser") is None:
        missing("Sphinx is not installed; python3 lab.py extras site installs it")
    command = [sys.executable, "-m", "sphinx", "-q", str(folder), str(folder / "html")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_what_goes_deeper_is_folded_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    """A part that goes deeper is folded with all below it, and listed; a page that was renamed is there once."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "conf.py").write_text(SETTINGS, encoding="utf-8")
    index = "# All\n\n```{toctree}\n:glob:\n\nlessons/*\n```\n"
    (tmp_path / "index.md").write_text(index, encoding="utf-8")
    (tmp_path / "lessons" / "old.md").write_text(LESSON, encoding="utf-8")
    html = build(tmp_path)
    text = (html / "lessons" / "old.html").read_text(encoding="utf-8")
    before, _, rest = text.partition('<details class="go-deeper">')
    folded, _, after = rest.partition("</details>")
    assert "Go deeper: more" in before
    assert "Folded." in folded
    assert "Too." in folded
    assert "After</h2>" not in folded
    assert "After" in after
    assert "lessons/old.html#inside" in (html / "index.html").read_text(encoding="utf-8")

    (tmp_path / "lessons" / "old.md").rename(tmp_path / "lessons" / "new.md")
    build(tmp_path)
    assert [path.name for path in (html / "lessons").glob("*.html")] == ["new.html"]
    assert (html / "search.html").exists()
    assert (html / "genindex.html").exists()
