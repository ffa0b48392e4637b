"""A folder in which a stranger has written goes, however deep it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labkit.course.clearing import remove, temporary

if TYPE_CHECKING:
    from pathlib import Path


def dig(folder: Path, levels: int) -> None:
    """Make folders in folders, deeper than any path reaches."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 200, dir_fd=place)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


def test_what_is_deeper_than_paths_reach_goes(tmp_path: Path) -> None:
    """Two thousand levels, files without rights, pipes and links are gone; what a link leads to is not."""
    kept = tmp_path / "kept"
    kept.write_text("mine")
    with temporary("labkit-test-") as folder:
        dig(folder, 2000)
        (folder / "shut").mkdir()
        (folder / "shut/file").write_text("x")
        (folder / "shut/below").mkdir()
        os.mkfifo(folder / "shut/below/pipe")
        (folder / "link").symlink_to(tmp_path)
        (folder / "shut/below").chmod(0)
        (folder / "shut").chmod(0)
    assert not folder.exists()
    assert kept.read_text() == "mine"


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    """Of a link to a folder only the link is removed, and of nothing nothing."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    remove(tmp_path / "nothing")
    assert ["folder"] == [path.name for path in tmp_path.iterdir()]
