"""The graded exercises for those who grade with nbgrader: its notebooks, its points, and what would abort it.

nbgrader executes tests in the student's own kernel, as the instructor, without a sandbox. The cells here ask a judge in a
process of its own, so that a redefined helper gains nothing; whoever replaces `labkit` itself in the kernel can still
print any points that they like. Where that matters, `labkit grade` is the way.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from labkit.course import notebooks
from labkit.course.exercises import find
from labkit.errors import NotebookError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.course.exercise import Exercise
    from labkit.course.notebooks import Source

SCHEMA = 3
"""nbgrader's metadata since 0.6."""

SECONDS = 60.0
"""How long the judge of one check may take."""

CONFIG = '''"""nbgrader's settings for this course; see `nbgrader --help-all`."""

c = get_config()  # noqa: F821 - nbgrader's

c.CourseDirectory.course_id = "iot-labs"
c.ExecutePreprocessor.timeout = 120
# Cells that a student deleted come back, instead of waiting for a person for ever.
c.OverwriteCells.add_missing_cells = True
# The text of an exercise has code that is no solution; what a student must write has its marks.
c.ClearSolutions.enforce_metadata = False
'''


def write_source(source: Source, folder: Path) -> Path:
    """Write an exercise as nbgrader's source: solutions between its marks, points in its metadata.

    Args:
        source: The exercise's master.
        folder: nbgrader's course folder.

    Returns:
        The notebook.

    Raises:
        NotebookError: The master breaks a rule, or a check has no cell of its own.
    """
    exercise = find(source.slug)
    notebook = notebooks.read_checked(source)
    seen: set[str] = set()
    notebook.cells = [part for cell in notebook.cells for part in _split(cell)]
    for cell in notebook.cells:
        cell.metadata = _metadata(cell, exercise, seen)
        cell.source = _marked(cell.source)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    names = [check.id for check in exercise.checks] + [rubric.id for rubric in exercise.rubrics]
    wanted = set(map(_grade_id, names))
    if missing := sorted(wanted - seen):
        raise NotebookError(
            f"{source.path.name}: no cell grades {missing[0]}.",
            advice='A check is graded by a cell that is lab.check("…") and nothing else; a rubric by its written cell.',
            path=source.path,
        )
    notebooks.finish(notebook)
    path = folder / "source" / source.slug / f"{source.slug}.ipynb"
    make_folder(path.parent)
    write_atomic(path, nbformat.writes(notebook, indent=1) + "\n")
    if not (folder / "nbgrader_config.py").exists():
        write_atomic(folder / "nbgrader_config.py", CONFIG)
    return path


def _metadata(cell: Any, exercise: Exercise, seen: set[str]) -> dict[str, Any]:
    given = cell.metadata
    plain: dict[str, Any] = {
        "schema_version": SCHEMA,
        "grade": False,
        "solution": False,
        "locked": False,
        "task": False,
    }
    if name := given.get("exercise"):
        plain |= {"grade_id": f"{_grade_id(name)}-answer", "solution": True}
    elif name := given.get("written"):
        points = next(rubric.points for rubric in exercise.rubrics if rubric.id == name)
        plain |= {"grade_id": _grade_id(name), "grade": True, "solution": True, "points": points}
    elif (name := _checked(cell)) and _grade_id(name) not in seen:
        check = next(check for check in exercise.checks if check.id == name)
        cell.source = f'from labkit.course.nbgrader import score\nscore("{name}")'
        plain |= {"grade_id": _grade_id(name), "grade": True, "locked": True, "points": check.points}
    else:
        return {}
    seen.add(plain["grade_id"])
    return {"nbgrader": {**plain, "cell_type": cell.cell_type}}


def _split(cell: Any) -> Iterator[Any]:
    """Give the question to the judge a cell of its own: nbgrader overwrites that one when it grades."""
    lines = cell.source.split("\n")
    if cell.cell_type == "code" and len(lines) > 1 and lines[-1].startswith('lab.check("'):
        yield nbformat.from_dict({**cell, "id": f"{cell.id}-1", "source": "\n".join(lines[:-1]).rstrip()})
        yield nbformat.from_dict({**cell, "id": f"{cell.id}-2", "source": lines[-1], "metadata": {}})
    else:
        yield cell


def _grade_id(name: str) -> str:
    return name.replace(".", "-")


def _checked(cell: Any) -> str:
    """Return which check a cell asks for, where it does nothing else."""
    if cell.cell_type != "code":
        return ""
    try:
        (line,) = ast.parse(cell.source).body
    except (SyntaxError, ValueError):
        return ""
    match line:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("lab"), "check"), [ast.Constant(str(name))])):
            return name
    return ""


def _marked(text: str) -> str:
    marks = {
        notebooks.BEGIN: "### BEGIN SOLUTION",
        notebooks.END: "### END SOLUTION",
        notebooks.TEXT_BEGIN: "### BEGIN SOLUTION",
        notebooks.TEXT_END: "### END SOLUTION",
    }
    lines = text.split("\n")
    return "\n".join(line.replace(line.strip(), marks.get(line.strip(), line.strip())) for line in lines)


# --- while nbgrader executes ----------------------------------------------------------------------------------------


def adopt_execution() -> None:
    """Where nbgrader executes this kernel, give it a workspace of its own, and take the student's name from the folder.

    nbgrader runs one submission after the other in folders named `STUDENT/EXERCISE`; without this, all of them would work
    in the instructor's workspace, with the keys of whoever came before.
    """
    if os.environ.get("NBGRADER_EXECUTION") != "autograde" or os.environ.get("LABKIT_NBGRADER"):
        return
    folder = tempfile.mkdtemp(prefix="labkit-nbgrader-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["LABKIT_NBGRADER"] = folder
    os.environ["LABKIT_WORKSPACE"] = str(Path(folder) / "workspace")
    os.environ["LABKIT_STUDENT"] = Path.cwd().parent.name
    os.environ["LABKIT_GRADED"] = "1"


def score(name: str) -> float:
    """Judge a check in a process that shares nothing with this one; print what was found, and return the points.

    Args:
        name: The check's id.

    Does not check: that this kernel's `labkit` is the one that was installed; see the module.
    """
    from labkit.course.catalogue import whose
    from labkit.course.grading.confined import Limits
    from labkit.course.grading.judging import judge_work
    from labkit.course.grading.sandbox import choose
    from labkit.workspace import Workspace

    adopt_execution()
    exercise = find(name.rpartition(".")[0])
    workspace = Workspace.open()
    (verdict,) = judge_work(
        exercise, workspace.root.parent, student=whose(workspace), sandbox=choose(), limits=Limits(),
        seconds=SECONDS, only=[name],
    )  # fmt: skip
    print(f"{verdict.check}: {verdict.status}, {verdict.points:g} of {verdict.most:g} points")
    for label in ("observed", "expected", "why", "advice"):
        if text := getattr(verdict, label):
            print(f"{label}: {text}")
    return float(verdict.points)


# --- before nbgrader executes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done to a submission.

    Attributes:
        path: The notebook.
        what: In words.
    """

    path: Path
    what: str


def clean(course: Path, slug: str) -> list[Mended]:
    """Mend what makes `nbgrader autograde` stop for everybody: unreadable notebooks, duplicated and split cells.

    An original is kept beside what was changed, as `NAME.original`.

    Args:
        course: nbgrader's course folder, with `release/` and `submitted/`.
        slug: The exercise.

    Returns:
        What was done, in order; nothing for submissions that were fine.

    Raises:
        NotebookError: The exercise was not released there.
    """
    release = course / "release" / slug / f"{slug}.ipynb"
    if not release.is_file():
        raise NotebookError(
            f"{release} is not there.", advice=f"First: nbgrader generate_assignment {slug}", path=release
        )
    pristine = nbformat.reads(release.read_text(encoding="utf-8"), as_version=4)
    known = {_id_of(cell): cell for cell in pristine.cells if _id_of(cell)}
    mended: list[Mended] = []
    for folder in sorted((course / "submitted").glob(f"*/{slug}")):
        path = folder / f"{slug}.ipynb"
        others = sorted(folder.glob("*.ipynb"))
        if not path.exists() and len(others) == 1:
            others[0].rename(path)
            mended.append(Mended(path, f"renamed from {others[0].name}"))
        if path.exists():
            mended += _cleaned(path, pristine, known)
    return mended


def _cleaned(path: Path, pristine: Any, known: dict[str, Any]) -> Iterator[Mended]:
    raw = path.read_bytes()
    try:
        notebook = nbformat.reads(raw.decode("utf-8"), as_version=4)
        nbformat.validate(notebook)
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        _keep_original(path, raw)
        write_atomic(path, nbformat.writes(pristine) + "\n")
        first = str(error).splitlines() or [type(error).__name__]
        yield Mended(
            path, f"can't be read ({first[0][:80]}): replaced by the empty exercise, which earns nothing"
        )
        return
    seen: set[str] = set()
    problems = []
    for cell in notebook.cells:
        name = _id_of(cell)
        if not name:
            cell.metadata.pop("nbgrader", None)
            continue
        if name in seen:
            problems.append(f"{name} was there twice; the first one counts")
        elif name not in known:
            problems.append(f"{name} is no cell of this exercise")
        elif cell.cell_type != known[name].cell_type:
            problems.append(f"{name} was turned into {cell.cell_type}")
        else:
            seen.add(name)
            cell.metadata["nbgrader"] = json.loads(json.dumps(known[name].metadata["nbgrader"]))
            continue
        del cell.metadata["nbgrader"]
    if problems:
        _keep_original(path, raw)
        write_atomic(path, nbformat.writes(notebook) + "\n")
        yield from (Mended(path, problem) for problem in problems)


def _id_of(cell: Any) -> str:
    data = cell.metadata.get("nbgrader")
    return str(data.get("grade_id", "")) if isinstance(data, dict) else ""


def _keep_original(path: Path, raw: bytes) -> None:
    kept = path.with_name(f"{path.name}.original")
    if not kept.exists():
        write_atomic(kept, raw)
