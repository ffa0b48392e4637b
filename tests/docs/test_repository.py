"""What holds for every file: no keys, no outputs, no places of a machine, a docstring for every test."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest


def tracked() -> list[Path]:
    """Return the files under git, or all files that could be."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listed.stdout.splitlines() if Path(line).is_file()]


def test_no_private_key_is_under_git() -> None:
    """No file holds a private key: a PEM header with base64 below it."""
    found = [
        path for path in tracked()
        if re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}", path.read_bytes())
    ]  # fmt: skip
    assert found == []


def test_notebooks_carry_no_outputs() -> None:
    """A committed notebook has no outputs and no execution counts."""
    for path in tracked():
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("path", sorted(Path("tests").rglob("test_*.py")), ids=str)
def test_every_test_says_what_it_holds(path: Path) -> None:
    """Each test function has a docstring of one sentence or more."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    silent = [
        test.name for test in tests if not (ast.get_docstring(test) or "").rstrip().endswith((".", "!"))
    ]
    assert tests
    assert silent == []


LONG = {Path("labkit/errors.py")}
"""The error tree stands in one place however large it grows; there is no code in it to lose one's way in."""


@pytest.mark.parametrize("path", sorted(set(Path("labkit").rglob("*.py")) - LONG), ids=str)
def test_files_stay_small(path: Path) -> None:
    """A file of labkit has at most 450 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
