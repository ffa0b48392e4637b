"""Notebooks to hand in, and how the tests grade them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import v4

from labkit.course.exercise import Draw
from labkit.course.grading.batch import Batch, Rules
from labkit.course.grading.collecting import collect, places
from labkit.course.grading.confined import Limits
from labkit.course.grading.execution import Patience
from labkit.course.grading.keeper import family
from labkit.pki import Key

if TYPE_CHECKING:
    from labkit.course.grading.results import Result
    from labkit.course.grading.sandbox import Sandbox

SAMPLE = Path(__file__).with_name("sample.py")

KEY = Key.generate().pem().decode()
"""A private key, made for this run."""

SECRET = KEY.splitlines()[1]
"""A line of it that must not be found anywhere."""

SETUP = """import json, os
from pathlib import Path
# open_lab("sample")
ws = Path(os.environ["LABKIT_WORKSPACE"])
(ws / "answers/sample").mkdir(parents=True)
def hand(name, text):
    (ws / "answers/sample" / name).write_text(text)
"""
PLAN = 'hand("plan.json", json.dumps({"number": NUMBER}))'
DOUBLE = 'hand("double.py", "def double(x):\\n    return 2 * x\\n")'


def number_of(student: str) -> int:
    """Return the number in a student's variant."""
    return Draw("sample", student).number("number", 1000, 9999)


def notebook(student: str, *cells: str, written: str = "") -> str:
    """Return a notebook of the sample exercise: the set-up, then cells; NUMBER is the student's own."""
    made = [v4.new_code_cell(SETUP, id="setup")]
    for place, cell in enumerate(cells, start=1):
        source = cell.replace("NUMBER", str(number_of(student)))
        made.append(v4.new_code_cell(source, id=f"sample-{place}", metadata={"exercise": f"sample.{place}"}))
    if written:
        made.append(v4.new_markdown_cell(written, id="sample-D1", metadata={"written": "sample.D1"}))
    text: str = nbformat.writes(v4.new_notebook(cells=made))
    return text


def give(folder: Path, student: str, *cells: str, written: str = "") -> Path:
    """Hand a notebook in, in a folder of the student's."""
    path = folder / student / "sample.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook(student, *cells, written=written), encoding="utf-8")
    return path


def rules(sandbox: Sandbox, **more: Any) -> Rules:
    """Return rules for the sample exercise, with little patience."""
    given = {
        "patience": Patience(cell=60, notebook=120, check=60),
        "limits": Limits(memory=600 << 20, disk=64 << 20),
        "files": {"sample": str(SAMPLE)},
        **more,
    }
    return Rules(sandbox, **given)


def grade(folder: Path, keep: Path, how: Rules) -> dict[str, Result]:
    """Grade a folder; return the results by student."""
    found = collect(folder, known=("sample",))
    return {result.student: result for result in Batch(found, places(found), keep, how).run()}


def left_over() -> set[int]:
    """Return processes of a grader that run and come from us; orphans too, see the fixture `orphans`."""
    found = set()
    for pid in family(os.getpid()):
        with contextlib.suppress(OSError):
            if b"LABKIT_GRADED=1" in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found
