"""labkit.course.grading.packs and intake: what an enemy may put into a file."""

from __future__ import annotations

import io
import json
import stat
import warnings
import zipfile
from typing import Any

import pytest

from labkit.course.grading import intake, packs
from tests.course.grading.submissions import DOUBLE, PLAN, notebook

FILES = {"answers/sample/plan.json": b'{"number": 1}'}


def good() -> bytes:
    """Return a pack as `labkit submit` makes it."""
    return packs.write(
        exercise="sample",
        student="ada",
        packed="now",
        version="1",
        notebook=notebook("ada", PLAN).encode(),
        evidence=FILES,
    )


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    """Return a zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice, which is the point
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    """Return a member that is a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_a_pack_is_read_back() -> None:
    """What was packed comes out, the same bytes give the same receipt, and other bytes another one."""
    pack = packs.read(packs.unzip(good()))
    assert pack is not None
    assert ("sample", "ada", FILES, ()) == (pack.exercise, pack.student, pack.evidence, pack.notes)
    assert packs.receipt(good()) == packs.receipt(good())
    assert packs.receipt(good()) != packs.receipt(good() + b"\0")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK\x03\x04 no zip", "damaged"),
        (good()[:-30], "damaged"),
        (zipped(("../escape", b"x")), "leads out of it"),
        (zipped(("/etc/passwd", b"x")), "leads out of it"),
        (zipped(("a\\..\\b", b"x")), "leads out of it"),
        (zipped(("C:evil", b"x")), "leads out of it"),
        (zipped((link("notebook.ipynb"), b"/etc/passwd")), "not a plain file"),
        (zipped(("a", b"1"), ("a", b"2")), "twice"),
        (zipped(("bomb", bytes(packs.MOST_OF_ONE + 1))), "larger inside"),
        (zipped(*((f"part{n}", bytes(packs.MOST_OF_ONE)) for n in range(3))), "larger inside"),
        (zipped(*((f"f{n}", b"") for n in range(packs.MOST_MEMBERS + 1))), "members"),
    ],
    ids=["damaged", "cut", "up", "absolute", "backslash", "drive", "link", "twice", "bomb", "bombs", "many"],
)
def test_hostile_zip_files_are_refused(data: bytes, reason: str) -> None:
    """A name that leads out, a link, a name that is there twice, or a bomb: refused, and nothing is written."""
    with pytest.raises(packs.PackError, match=reason):
        packs.unzip(data)


def test_a_size_that_lies_is_found_out() -> None:
    """A member that says it is small and is not is damaged; it is never read beyond the limit."""
    data = zipped(("bomb", bytes(1 << 20)))
    lying = data.replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != data
    with pytest.raises(packs.PackError):
        packs.unzip(lying)


def test_what_was_changed_after_packing_is_named() -> None:
    """A file that is not what the manifest says, one that came in, and one that went are named; nothing is refused."""
    files = packs.unzip(good())
    files["workspace/answers/sample/plan.json"] = b"{}"
    files["workspace/answers/sample/new.json"] = b"{}"
    pack = packs.read(files)
    assert pack is not None
    assert (
        "changed after it was packed: workspace/answers/sample/new.json, workspace/answers/sample/plan.json",
    ) == pack.notes
    damaged = packs.read({**files, "manifest.json": b'{"files": 3}'})
    assert damaged is not None
    assert ("its manifest is damaged",) == damaged.notes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"{", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[" * 200_000, "damaged"),
        (b"[]", "no notebook"),
        (b'{"cells": []}', "no cells"),
        (b'{"cells": [3]}', "cell 1 is damaged"),
        (b'{"cells": [{"cell_type": "code", "source": 7}]}', "its source is no text"),
        (json.dumps({"cells": [{"cell_type": "code", "source": ""}] * 1001}).encode(), "1001 cells"),
        (
            json.dumps({"cells": [{"cell_type": "code", "source": "x" * (5 << 20)}]}).encode(),
            "longer than 4 MB",
        ),
        (b" " * ((50 << 20) + 1) + b"{", "clear its outputs"),
    ],
    ids=["empty", "cut", "binary", "deep", "list", "bare", "cell", "source", "many", "long", "large"],
)
def test_what_is_no_notebook_is_told_why(data: bytes, reason: str) -> None:
    """Whatever the bytes are, the answer is a notebook or a sentence."""
    with pytest.raises(intake.IntakeError, match=reason):
        intake.read(data)


def cells_of(*names: str) -> intake.Notebook:
    """Return a notebook with cells of these names; those with a dot are the student's."""
    return intake.Notebook(tuple(intake.Cell("code", f"# {name}", name, "." not in name) for name in names))


@pytest.mark.parametrize(
    ("names", "after", "notes"),
    [
        (("a", "x.1", "b", "x.2", "c"), ("a", "x.1", "b", "x.2", "c"), ()),
        (
            ("x.1", "b", "x.2"),
            ("a", "x.1", "b", "x.2", "c"),
            ("2 given cells are missing; put back for the run",),
        ),
        (("a", "x.1", "b", "c"), ("a", "x.1", "b", "c"), ("no cell for x.2",)),
        (
            ("a", "x.1", "x.1", "b", "x.2", "c"),
            ("a", "x.1", "x.1", "b", "x.2", "c"),
            ("cells that are there twice: x.1",),
        ),
        (
            ("a", "x.2", "b", "x.1", "c"),
            ("a", "x.2", "b", "x.1", "c"),
            ("its cells are not in the order in which they were given; run in the order handed in",),
        ),
        (("other", "x.9"), ("other", "x.9"), ("no cell for x.1, x.2",)),
    ],
    ids=["whole", "given-gone", "own-gone", "doubled", "out-of-order", "foreign"],
)
def test_cells_that_are_missing_doubled_or_moved(
    names: tuple[str, ...], after: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    """A given cell that was deleted comes back to its place; a doubled and a moved one stay; each is said."""
    found = intake.completed(cells_of(*names), cells_of("a", "x.1", "b", "x.2", "c"))
    assert (after, notes) == (tuple(cell.name for cell in found.cells), found.notes)


def test_outputs_stay_behind_whatever_their_size() -> None:
    """A notebook with a large output is read; of the output nothing is kept."""
    raw: Any = json.loads(notebook("ada", PLAN, DOUBLE))
    raw["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * (20 << 20)}]
    found = intake.read(json.dumps(raw).encode())
    assert sum(len(cell.source) for cell in found.cells) < 2000
    assert "sample" == found.exercise
