"""labkit.course.notebooks: from sources to notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.course import notebooks
from labkit.errors import DriftError, NotebookError

SOURCES = Path("notebooks/source")
ALL = notebooks.sources(SOURCES)
PATTERN = (SOURCES / "00_start-here.py").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one source."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "00_start-here.py").write_text(PATTERN, encoding="utf-8")
    return tmp_path


def test_committed_copies_are_what_the_sources_say() -> None:
    """No student copy has drifted from its source."""
    assert notebooks.check(SOURCES, SOURCES.parent) == len(ALL)


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.slug)
def test_student_copies_are_clean(source: notebooks.Source) -> None:
    """A student's copy has no outputs, no solution, no key, stable ids, and is the same each time."""
    text = notebooks.student(source)
    assert text == notebooks.student(source)
    cells = json.loads(text)["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    assert "SOLUTION" not in text
    assert "PRIVATE KEY" not in text
    stubs = text.count("raise NotImplementedError")
    assert stubs == text.count('"exercise"') >= 2


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.slug)
def test_shape(source: notebooks.Source) -> None:
    """Cells are short, prose stands between code, and each figure has words."""
    cells = json.loads(notebooks.solved(source))["cells"]
    code = sorted(len("".join(c["source"]).strip().split("\n")) for c in cells if c["cell_type"] == "code")
    assert code[len(code) // 2] <= 5
    assert code[int(len(code) * 0.9)] <= 14
    prose = [c for c in cells if c["cell_type"] == "markdown"]
    assert len(prose) >= 0.8 * len(code)


def test_build_and_drift(folder: Path) -> None:
    """Build writes what is needed and nothing twice; a change on either side, or a stray copy, is drift."""
    source = folder / "source"
    with pytest.raises(DriftError):
        notebooks.check(source, folder)
    assert [path.name for path in notebooks.build(source, folder)] == ["00_start-here.ipynb"]
    assert notebooks.build(source, folder) == []
    assert notebooks.check(source, folder) == 1
    copy = folder / "00_start-here.ipynb"
    good = copy.read_text(encoding="utf-8")
    copy.write_text(good.replace("Start here", "Start there"), encoding="utf-8")
    (folder / "99_stray.ipynb").write_text("{}", encoding="utf-8")
    with pytest.raises(DriftError) as caught:
        notebooks.check(source, folder)
    assert ["00_start-here.ipynb", "99_stray.ipynb"] == [path.name for path in caught.value.paths]


def test_one_change_changes_one_cell(folder: Path) -> None:
    """A changed paragraph changes one cell and its id, and no other."""
    (source,) = notebooks.sources(folder / "source")
    before = json.loads(notebooks.student(source))["cells"]
    source.path.write_text(
        PATTERN.replace("Names in certificates are only text", "A name is only text"), encoding="utf-8"
    )
    after = json.loads(notebooks.student(source))["cells"]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_a_slug_becomes_a_link(tmp_path: Path) -> None:
    """A lesson or an exercise that is named by its slug is a link in the copies; other bold words are none."""
    lessons, exercises = tmp_path / "source", tmp_path / "exercises" / "source"
    exercises.mkdir(parents=True)
    lessons.mkdir()
    said = (
        "Lessons **tls** and **audit**, exercise **first-boot**, lesson **start-here**, refused at **tls**."
    )
    text = PATTERN.replace("Read it from the leaves", said)
    for path in (lessons / "00_start-here.py", lessons / "02_tls.py", lessons / "10_audit.py"):
        path.write_text(text, encoding="utf-8")
    (exercises / "first-boot.py").write_text(
        PATTERN.replace("## In practice", "## What you hand in\n# " + said)
    )
    linked = (
        "Lessons [**tls**](02_tls.ipynb) and [**audit**](10_audit.ipynb), "
        "exercise [**first-boot**](exercises/first-boot.ipynb), lesson **start-here**, refused at **tls**."
    )
    assert linked in notebooks.student(notebooks.sources(lessons)[0])
    assert linked in notebooks.solved(notebooks.sources(lessons)[0])
    assert "Lessons [**tls**](../02_tls.ipynb) and" in notebooks.student(notebooks.sources(exercises)[0])


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.slug)
def test_links_lead_somewhere(source: notebooks.Source) -> None:
    """Each slug that a lesson names is that of a lesson or of a graded exercise."""
    known = {each.slug for each in (*ALL, *notebooks.sources(SOURCES.parent / "exercises" / "source"))}
    assert set(notebooks.mentions(source.path.read_text(encoding="utf-8"))) <= known


def test_solved_copy_has_the_solution() -> None:
    """The solved copy has the code and no markers; the student's says what is missing."""
    source = ALL[0]
    assert "rogue_root = Authority.new_root" in notebooks.solved(source)
    assert "rogue_root" not in notebooks.student(source)
    assert "SOLUTION" not in notebooks.solved(source)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("**What you'll learn**", "**Contents**", "What you'll learn"),
        ("# ## In practice", "# ## Practice", "In practice"),
        ("# ### Rules of engagement", "# ##### Rules of engagement", "one step"),
        ('lab = open_lab("start-here")', 'lab = open_lab("start-here")\nx = 1', "first code cell"),
        ("# END SOLUTION", "# THE END", "markers"),
        (' exercise="start-here.1" kind="fill-in"', "", "exercise"),
        ("lab.close()", "pass", "closes the lab"),
        ("lab.summary()", "!ls", "shell"),
        ("# Read it from the leaves", "# ![](x.png) Read it", "alternative text"),
        ("# Read it from the leaves", "# | | a |\n# | - | - |\n# | 1 | 2 |\n#\n# Read it", "no heading"),
        ("# Read it from the leaves", "# -----BEGIN PRIVATE KEY-----", "key material"),
        ("lab.summary()", "1\n\n# %%\n2\n\n# %%\n3\n\n# %%\n4", "in a row"),
        ("lab.summary()", "x = (", "parse"),
        (
            "lab.summary()",
            'y = 1\n\n\n# %% exercise="start-here.3"\nx = 1\n# BEGIN SOLUTION\ny = 2\n# END SOLUTION',
            "stands alone",
        ),
    ],
)
def test_sources_that_break_a_rule_are_refused(folder: Path, old: str, new: str, word: str) -> None:
    """Each rule of the shape is enforced, names its file, and nothing is written."""
    (source,) = notebooks.sources(folder / "source")
    assert old in PATTERN
    source.path.write_text(PATTERN.replace(old, new), encoding="utf-8")
    with pytest.raises(NotebookError, match=word):
        notebooks.build(folder / "source", folder)
    assert list(folder.glob("*.ipynb")) == []


def test_names_of_sources(folder: Path) -> None:
    """A source with another kind of name is refused."""
    (folder / "source" / "lesson.py").write_text("", encoding="utf-8")
    with pytest.raises(NotebookError, match=r"NN_slug\.py"):
        notebooks.sources(folder / "source")
