"""The course as students get it: a copy that runs, without solutions, tests, and sample answers."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import labkit
from labkit.clock import SYSTEM_CLOCK
from labkit.course.solutions import RELEASED
from labkit.errors import WorkspaceCorruptError
from labkit.workspace import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEFT_OUT = (
    ".ci",
    ".github",
    ".pre-commit-config.yaml",
    "CONTRIBUTING.md",
    "benchmarks",
    "docs/decisions",
    "docs/examples",
    "docs/grading.md",
    "docs/instructors.md",
    "docs/test-report.md",
    "notebooks/source",
    "notebooks/exercises/source",
    "scripts",
    "tests",
)
"""What an instructor needs and a student must not have, or has no use for."""

_SAMPLES = {"good": 4, "weak": 5}
"""What of a `Rubric` is a sample answer, and its place among the arguments."""

_GENERATED = {
    ".lab",
    "build",
    "workspace",
    "kit",
    "__pycache__",
    ".git",
    "site",
    ".ruff_cache",
    ".mypy_cache",
}


def export(course: Path, target: Path) -> int:
    """Write the students' copy of the course.

    Args:
        course: The course's folder.
        target: A folder that is new or empty.

    Returns:
        How many files were written.

    Raises:
        WorkspaceCorruptError: The target holds something.

    Does not check: that no instructor has written a solution elsewhere, such as into a lesson's text.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise WorkspaceCorruptError(
            f"{target} is not empty.", advice="Name a new folder, or an empty one.", path=target
        )
    make_folder(target)
    count = 0
    for relative in _kept(course):
        source, copy = course / relative, target / relative
        if target in source.parents:
            continue
        make_folder(copy.parent)
        data = source.read_bytes()
        if relative.parts[:3] == ("labkit", "course", "exercises") and relative.suffix == ".py":
            data = without_samples(data.decode()).encode()
        copy.write_bytes(data)
        copy.chmod(source.stat().st_mode & 0o777)
        count += 1
    marker = {"version": labkit.__version__, "released": SYSTEM_CLOCK.now().isoformat(timespec="seconds")}
    (target / RELEASED).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return count + 1


def _kept(course: Path) -> Iterable[Path]:
    for relative in _files(course):
        text = relative.as_posix()
        if not any(text == entry or text.startswith(f"{entry}/") for entry in _LEFT_OUT):
            yield relative


def _files(course: Path) -> list[Path]:
    """Return what belongs to the course: what git knows, or, without git, all that was not generated."""
    if (course / ".git").exists():
        ended = subprocess.run(["git", "ls-files", "-z"], cwd=course, capture_output=True, check=False)
        if ended.returncode == 0:
            names = ended.stdout.decode().split("\0")
            return sorted(Path(name) for name in names if name and (course / name).is_file())
    return sorted(
        path.relative_to(course)
        for path in course.rglob("*")
        if path.is_file() and not path.is_symlink() and not _GENERATED & set(path.relative_to(course).parts)
    )


def without_samples(text: str) -> str:
    """Return an exercise's module with the sample answers of its rubrics taken out."""
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    tree = ast.parse(text)
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    spans: list[tuple[int, int]] = []
    for value in _samples(tree):
        node = named.get(value.id) if isinstance(value, ast.Name) else value
        if node is not None and node.end_lineno is not None and node.end_col_offset is not None:
            begin = starts[node.lineno - 1] + node.col_offset
            spans.append((begin, starts[node.end_lineno - 1] + node.end_col_offset))
    data = text.encode()
    for begin, end in sorted(set(spans), reverse=True):
        data = data[:begin] + b'""' + data[end:]
    return data.decode()


def _samples(tree: ast.Module) -> Iterable[ast.expr]:
    """Yield the sample answers: by their name, or by their place among the arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Rubric":
            yield from (keyword.value for keyword in node.keywords if keyword.arg in _SAMPLES)
            yield from (node.args[place] for place in _SAMPLES.values() if place < len(node.args))
