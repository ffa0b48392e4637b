"""Run the imports that are there for type checkers only, so that a reference can say what a type is and link to it."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import labkit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, ModuleType


def run_typing_imports() -> None:
    """Import every part of labkit and run what its modules import under TYPE_CHECKING.

    All modules are loaded by then, so that circles among these imports don't matter.
    """
    for path in sorted(Path(labkit.__file__).parent.glob("*/__init__.py")):
        if path.parent.name != "cli":
            importlib.import_module(f"labkit.{path.parent.name}")
    blocks = [
        block
        for name, module in sorted(sys.modules.items())
        if name.startswith("labkit.")
        for block in _blocks(module)
    ]
    while blocks:
        # What one module imports from another may itself be there for type checkers only: those come in a later round.
        left = [block for block in blocks if not _ran(*block)]
        if len(left) == len(blocks):
            exec(left[0][0], left[0][1].__dict__)  # noqa: S102 - raises what is wrong with it
        blocks = left


def _blocks(module: ModuleType) -> Iterator[tuple[CodeType, ModuleType]]:
    file = module.__file__
    if file is None:
        return
    for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield compile(ast.Module(node.body, []), file, "exec"), module


def _ran(code: CodeType, module: ModuleType) -> bool:
    try:
        exec(code, module.__dict__)  # noqa: S102 - our own source, as a type checker reads it
    except ImportError:
        return False
    return True
