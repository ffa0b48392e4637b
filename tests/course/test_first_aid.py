"""labkit.course.first_aid: what a notebook says when something goes wrong that happens to everybody."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from labkit.course import first_aid

STARTUP = Path(first_aid.__file__).with_name("startup.py")
REFUSE = "from labkit.errors import TopicRefusedError\nraise TopicRefusedError('Bad topic.', advice='Mend it.', topic='x', rule='empty')"


def shown(*cells: str) -> list[str]:
    """Return what a new kernel of `labkit lab` shows under each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    env = {**os.environ, "PYTHONSTARTUP": str(STARTUP)}
    NotebookClient(notebook, allow_errors=True).execute(env=env)
    return [
        "".join(
            str(output.get("text", "")) + "\n".join(output.get("traceback", [])) for output in cell.outputs
        )
        for cell in notebook.cells
    ]


def test_a_kernel_helps_before_the_lab_is_open() -> None:
    """A missing name brings its traceback and what to run; our own errors are two lines; other errors are untouched."""
    early, ours, later, other = shown("lab.check('x')", REFUSE, "lab = 1\nsite.attempt()", "1 / 0")
    assert "NameError" in early
    assert "The lab is not open in this kernel" in early
    assert "Run All Above" in early
    assert "TopicRefusedError: Bad topic.\n  Mend it." == ours.strip()
    assert "Is site made in a cell further up" in later
    assert "ZeroDivisionError" in other
    assert "Run All Above" not in other


def test_files_that_changed_since_are_seen(tmp_path: Path) -> None:
    """A package is older than its files if one of them was written later, and only then."""
    package = tmp_path / "package" / "part"
    package.mkdir(parents=True)
    for name in ("one.py", "two.py", "notes.txt"):
        (package / name).write_text("", encoding="utf-8")
        os.utime(package / name, (1000, 1000))
    os.utime(package / "notes.txt", (3000, 3000))
    assert not first_aid.outdated(tmp_path, 2000)
    os.utime(package / "two.py", (2001, 2001))
    assert first_aid.outdated(tmp_path, 2000)
