"""Execute a submitted notebook in a fresh folder, and keep the plain files that it left."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.clock import Stopwatch
from labkit.course.clearing import remove
from labkit.course.grading.confined import Confined, Limits, fresh_name
from labkit.course.grading.results import Run
from labkit.course.grading.sandbox import LAB, TMP, View, base_env
from labkit.course.scrub import Places
from labkit.errors import GraderFaultError
from labkit.workspace import RUNTIME, make_folder, write_atomic

if TYPE_CHECKING:
    from labkit.course.grading.intake import Notebook
    from labkit.course.grading.sandbox import Sandbox

_DRIVER = Path(__file__).with_name("driving.py")
_LEFT_OUT = frozenset({".locks", "checkpoints", "__pycache__", ".restore"}) | RUNTIME
_OWN_TIME = 30.0
"""Seconds that starting and ending a kernel may take on a busy machine."""

MOST_ERRORS = 50
_MOST_FILES = 5000
_LONGEST_PATH = 1000  # characters below the workspace; nobody's answer lies so deep


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds.

    Attributes:
        cell: One cell.
        notebook: All cells together.
        check: One check of the judge.
    """

    cell: float = 60.0
    notebook: float = 300.0
    check: float = 60.0


@dataclass(slots=True)
class Executed:
    """What came of a run.

    Attributes:
        run: What to tell.
        notebook: The executed notebook, if it came back.
    """

    run: Run
    notebook: str = ""


@dataclass(slots=True)
class _Heard:
    cell: int = -1
    why: str = ""
    ended: bool = False
    notebook: str = ""
    errors: list[str] = field(default_factory=list)


def execute(
    notebook: Notebook,
    folder: Path,
    *,
    student: str,
    sandbox: Sandbox,
    patience: Patience,
    limits: Limits,
) -> Executed:
    """Execute a notebook as a student's, confined, and end everything that came of it.

    Args:
        notebook: Its cells.
        folder: A folder of the submission's own. `workspace/` in it is what the judge looks at.
        student: Whose variant it is.
        sandbox: What confines it.
        patience: How long it may take.
        limits: What it may take beside time.

    Returns:
        What came of it. It never raises for what a notebook does.

    Raises:
        GraderFaultError: No cell was reached: the grader is at fault.

    Does not check: anything. What the run tells of itself earns no point; see `judge_work`.
    """
    watch = Stopwatch()
    for name in ("workspace", "notebook", "home", "tmp"):
        remove(folder / name)
    for name in ("notebook", "home", "tmp"):
        make_folder(folder / name, private=True)
    inside = Path(LAB) if sandbox.confines else folder
    spec = {
        "cells": [{"kind": cell.kind, "source": cell.source} for cell in notebook.cells],
        "seconds": patience.notebook,
        "cell_seconds": patience.cell,
        "cwd": str(inside / "notebook"),
        "limits": limits.of_each(),
        "output_limit": 4 << 20,
    }
    if sandbox.confines:
        spec["limits"] |= {"RLIMIT_NPROC": limits.processes * 4}  # type: ignore[operator]
    view = View(
        writable={LAB: folder, TMP: folder / "tmp"},
        cwd=str(inside / "notebook"),
        env=_env(student, inside),
        name=fresh_name(),
        memory=limits.memory,
    )
    heard = _Heard()
    with Confined(
        sandbox,
        view,
        [sys.executable, "-I", str(_DRIVER)],
        limits=limits,
        spec=json.dumps(spec).encode(),
    ) as process:
        for line in process.lines(patience.notebook + _OWN_TIME):
            _hear(heard, line)
        exceeded = process.exceeded
    cells = sum(cell.kind == "code" for cell in notebook.cells)
    why = heard.why
    if heard.cell < 0 and cells:
        raise GraderFaultError(
            f"The kernel did not start ({why or exceeded or 'its process ended at once'}).",
            advice="LABKIT_DEBUG=1 labkit grade … shows what it says; --sandbox none tries without a sandbox.",
            place=str(folder),
        )
    if exceeded or not heard.ended:
        why = exceeded or "it ended the process that ran it"
    if why and "cell" not in why:
        why += f", in cell {heard.cell + 1}"
    places = Places(workspace=inside / "workspace", course=Path(__file__).parents[3])
    run = Run(
        ended=heard.ended and not why,
        reason=places.without(why)[:300],
        cells=cells,
        errors=tuple(places.without(text) for text in heard.errors),
        seconds=round(watch.milliseconds / 1000, 1),
        sandbox=sandbox.kind,
    )
    return Executed(run, heard.notebook)


def _env(student: str, inside: Path) -> dict[str, str]:
    return {
        **base_env(),
        "HOME": str(inside / "home"),
        "USER": "student",
        "LOGNAME": "student",
        "TMPDIR": str(inside / "tmp"),
        "IPYTHONDIR": str(inside / "home" / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "LABKIT_STUDENT": student,
        "LABKIT_GRADED": "1",
        "LABKIT_WORKSPACE": str(inside / "workspace"),
    }


def _hear(heard: _Heard, line: bytes) -> None:
    """Take a line of the driver. A notebook may have written it: it is text for people, cut to size."""
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(said, dict):
        return
    if isinstance(said.get("cell"), int):
        heard.cell = said["cell"]
    if isinstance(said.get("error"), int) and len(heard.errors) < MOST_ERRORS:
        heard.errors.append(f"cell {said['error'] + 1}: {str(said.get('text', ''))[:300]}")
    if isinstance(said.get("notebook"), str):
        heard.notebook = said["notebook"]
    if said.get("end") is True:
        heard.ended, heard.why = True, str(said.get("why", ""))[:300]


def keep_plain_files(folder: Path, *, limit: int) -> str:
    """Leave of a workspace its plain files and folders alone: no links, pipes, sockets, checkpoints.

    Args:
        folder: The workspace; nothing that could change it runs any more.
        limit: Bytes that are kept at most.

    Returns:
        What was removed that a person should know of, in a sentence; or nothing.
    """
    linked = folder.is_symlink()
    if linked or not folder.is_dir():
        with contextlib.suppress(OSError):
            folder.unlink()
        make_folder(folder, private=True)
        return "its workspace was a link" if linked else ""
    removed, plain = _plain_files(folder)
    total = 0
    for number, (size, path) in enumerate(
        sorted(plain)
    ):  # whoever fills a disk keeps the small files, the answers
        total += size
        if total > limit or number >= _MOST_FILES:
            remove(path)
            removed.append(str(path.relative_to(folder)))
    return f"left out of what is judged: {', '.join(sorted(removed)[:5])}" if removed else ""


def _plain_files(folder: Path) -> tuple[list[str], list[tuple[int, Path]]]:
    removed: list[str] = []
    plain: list[tuple[int, Path]] = []
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(OSError):
            place.chmod(0o700)
        for entry in list(os.scandir(place)):
            path = Path(entry.path)
            if entry.name in _LEFT_OUT:
                remove(path)
            elif len(str(path.relative_to(folder))) > _LONGEST_PATH:
                remove(path)
                removed.append(f"{str(path.relative_to(folder))[:40]}…")
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                found = entry.stat(follow_symlinks=False)
                # A second name of a file may be outside, where it could still be changed.
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                    plain.append((found.st_size, path))
                else:
                    remove(path)
                    removed.append(str(path.relative_to(folder)))
    return removed, plain


def keep_notebook(executed: str, path: Path) -> None:
    """Keep an executed notebook for the instructor, without keys and paths of this machine."""
    import nbformat

    from labkit.course.scrub import scrub

    if not executed:
        return
    places = Places(workspace=Path(LAB) / "workspace", course=Path(__file__).parents[3])
    try:
        notebook = nbformat.reads(executed, as_version=4)
        scrub(notebook, places)
        text = nbformat.writes(notebook)
    except Exception:  # noqa: BLE001 - a notebook may have forged it; the judge does without
        return
    write_atomic(path, places.without(text) + "\n", secret=True)
