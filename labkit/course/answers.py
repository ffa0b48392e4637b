"""Functions that students hand in: kept as text, and called in a process of their own.

The judge never runs a student's code in its own process. It sends cases, gets plain values back, and compares them
with what it worked out itself; the child never sees what is expected.
"""

from __future__ import annotations

import json
import linecache
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import processes
from labkit.errors import NotebookError, ToolError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECONDS = 20.0
"""How long all cases of one question may take."""

_CHILD = Path(__file__).with_name("answering.py")
_around: tuple[str, ...] = ()


def confine(words: Sequence[str]) -> None:
    """Have every function that is asked from now on run behind a command that confines it; the grader's judge does.

    Args:
        words: The command; what it runs follows.
    """
    global _around  # noqa: PLW0603 - a judge is a process of its own
    _around = tuple(words)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a function did with one case.

    Attributes:
        value: What it returned: JSON's values, bytes and None.
        error: What it raised instead, in a line; empty if it returned.
        kinds: The names of the classes of what it raised, most special first.
    """

    value: Any = None
    error: str = ""
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A function that was handed in.

    Attributes:
        source: The text of the cell that defines it.
        name: Its name.
    """

    source: str
    name: str

    @property
    def written(self) -> bool:
        """Whether it is more than the stub."""
        return "raise NotImplementedError" not in self.source

    def ask(self, cases: Sequence[Sequence[Any]], *, seconds: float = SECONDS) -> list[Reply]:
        """Call it with each case, in one process that shares nothing with ours.

        Args:
            cases: The arguments of each call: JSON's values, and bytes.
            seconds: How long all of them may take.

        Returns:
            One reply a case. A function that can't be called replies to all with the same error.

        Does not check: what the code does in its process. Where nothing confines the judge, it runs as you.
        """
        asked = json.dumps(
            {"source": self.source, "name": self.name, "cases": [_plain(case) for case in cases]}
        )
        with tempfile.TemporaryDirectory(prefix="labkit-answer-") as folder:
            argv: list[str | Path] = [*_around, sys.executable, "-I", _CHILD]
            try:
                ended = processes.run(
                    argv, stdin=asked.encode(), timeout=seconds, cwd=Path(folder), check=False
                )
            except ToolError:
                return [Reply(error=f"{self.name}() did not come back within {seconds:g} s")] * len(cases)
        try:
            replies = [
                Reply(_rich(reply["value"]), str(reply["error"]), tuple(map(str, reply["kinds"])))
                for reply in json.loads(ended.stdout)
            ]
        except (ValueError, KeyError, TypeError, RecursionError):
            replies = []
        if len(replies) != len(cases):
            return [Reply(error=f"{self.name}() ended the process that called it")] * len(cases)
        return replies


def hand_in(folder: Path, function: Callable[..., Any]) -> Path:
    """Keep a function as text: the whole cell that defines it, so that its imports come along.

    Args:
        folder: Where to.
        function: The function, defined in a cell of the notebook.

    Raises:
        NotebookError: Its text can't be found.
    """
    name = getattr(function, "__name__", "")
    code = getattr(function, "__code__", None)
    source = "".join(linecache.getlines(code.co_filename)) if code else ""
    if not name.isidentifier() or f"def {name}" not in source:
        raise NotebookError(
            f"The text of {name or function!r} can't be found.",
            advice="Define it with def in a cell of this notebook, run that cell, and hand it in again.",
            path=folder,
        )
    return write_atomic(make_folder(folder) / f"{name}.py", source)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {"items": [[_plain(key), _plain(item)] for key, item in value.items()]}
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if isinstance(value, dict):
        if "bytes" in value:
            return bytes.fromhex(value["bytes"])
        return {_rich(key): _rich(item) for key, item in value["items"]}
    return value
