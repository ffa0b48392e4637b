"""Functions that students hand in: kept as text, and called in a process of their own.

The judge never runs a student's code in its own process. It sends cases, gets plain values back, and compares them
with what it worked out itself; the child never sees what is expected.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course.answering import READY, rich
from labkit.course.clearing import temporary
from labkit.errors import GraderFaultError, LabError, NotebookError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SECONDS = 20.0
"""How long all cases of one question may take."""

LONGEST_LINE = 1 << 20
"""Bytes of the longest line that a function may send."""

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
        """Whether it is more than the stub: the stub's line may stay where a `return` comes before it."""
        try:
            tree = ast.parse(self.source)
            mine = [
                node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == self.name
            ]
            return not any(_stub(function) for function in mine[-1:])
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return True  # it is told so when it is called

    def ask(
        self,
        cases: Sequence[Sequence[Any]],
        *,
        seconds: float = SECONDS,
        env: Mapping[str, str] | None = None,
    ) -> list[Reply]:
        """Call it with each case, in one process that shares nothing with ours.

        Args:
            cases: The arguments of each call: JSON's values, and bytes.
            seconds: How long all of them may take.
            env: What its process finds in the environment beyond ours.

        Returns:
            One reply a case. A function that can't be called replies to all with the same error.

        Raises:
            GraderFaultError: Its process did not start.

        Does not check: what the code does in its process. Where nothing confines the judge, it runs as you.
        """
        asked = {"cases": [_plain(case) for case in cases]}
        return self._talk(asked, len(cases), (), (), seconds, env=env)

    def converse(
        self,
        there: Any,
        methods: Sequence[str],
        *,
        arguments: Sequence[Any] = (),
        facts: Mapping[str, Any] | None = None,
        seconds: float = SECONDS,
    ) -> Reply:
        """Call it once, with something of ours: what it calls there is done here, in our process, and answered.

        The function sees an object that has `facts` as attributes, and the methods. An error of ours reaches it as such;
        any other exception of a method ends its process and is raised here. So a power cut is one.

        Args:
            there: What its calls are done on.
            methods: What it may call; nothing else can be reached.
            arguments: What it is given besides: JSON's values, and bytes.
            facts: JSON's values, by name.
            seconds: How long it may take.

        Raises:
            GraderFaultError: Its process did not start.

        Does not check: what the code does in its process; see `ask`.
        """
        asked = {"cases": [_plain(arguments)], "there": [list(methods), dict(facts or {})]}
        return self._talk(asked, 1, [there], methods, seconds)[0]

    def converse_each(
        self, theres: Sequence[Any], methods: Sequence[str], *, seconds: float = SECONDS
    ) -> list[Reply]:
        """Call it once with each of several things of ours, in one process; see `converse`."""
        asked = {"cases": [[]] * len(theres), "there": [list(methods), {}]}
        return self._talk(asked, len(theres), theres, methods, seconds)

    def _talk(
        self,
        asked: Mapping[str, Any],
        count: int,
        theres: Sequence[Any],
        methods: Sequence[str],
        seconds: float,
        *,
        env: Mapping[str, str] | None = None,
    ) -> list[Reply]:
        message = json.dumps({"source": self.source, "name": self.name, **asked})
        with (
            temporary("labkit-answer-") as folder,
            _child(folder, seconds, env or {}) as (child, late),
        ):
            while (said := _heard(child, message, len(theres))) is not None:
                if isinstance(said, list):
                    return self._replies(said, count)
                message = json.dumps(_serve(theres[said.case], methods, said))
        return [self._late(seconds) if late.is_set() else self._ended()] * count

    def _ended(self) -> Reply:
        return Reply(error=f"{self.name}() ended the process that called it")

    def _late(self, seconds: float) -> Reply:
        return Reply(error=f"{self.name}() did not come back within {seconds:g} s")

    def _replies(self, said: list[Any], count: int) -> list[Reply]:
        try:
            replies = [
                Reply(rich(reply["value"]), str(reply["error"]), tuple(map(str, reply["kinds"])))
                for reply in said
            ]
        except (ValueError, KeyError, TypeError, RecursionError):
            replies = []
        if len(replies) != count:
            return [self._ended()] * count
        return replies


@contextmanager
def _child(
    folder: Path, seconds: float, env: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], threading.Event]]:
    """Start a process for one conversation, and say when its time was up; it and its children are gone afterwards.

    Raises:
        GraderFaultError: It did not come as far as the function.
    """
    try:
        child = subprocess.Popen(
            [*_around, sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("LABKIT_DEBUG") else subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **env},
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(folder, error.strerror or str(error)) from error

    def kill() -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL) if hasattr(os, "killpg") else child.kill()

    late = threading.Event()

    def end() -> None:
        late.set()
        kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        if child.stdout.readline(LONGEST_LINE).strip() != READY.encode():
            raise _not_started(folder, "not in time" if late.is_set() else "its process ended at once")
        yield child, late
    finally:
        timer.cancel()
        kill()
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        child.wait()


def _not_started(folder: Path, why: str) -> GraderFaultError:
    return GraderFaultError(
        f"The process that calls a function did not start ({why}).",
        advice="Try again. If it stays so, LABKIT_DEBUG=1 shows what the process says.",
        place=str(folder),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """What a function asks for."""

    case: int
    name: str
    arguments: list[Any]
    named: dict[str, Any]


def _heard(child: subprocess.Popen[bytes], message: str, cases: int) -> _Call | list[Any] | None:
    """Tell a function something, and return what it asks for next; its replies; None where it makes no sense."""
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        child.stdin.write(message.encode() + b"\n")
        child.stdin.flush()
        said = json.loads(child.stdout.readline(LONGEST_LINE))
        if isinstance(said, list):
            return said
        call = _Call(said["case"], said["call"], rich(said["arguments"]), rich(said["named"]))
        if type(call.case) is int and 0 <= call.case < cases and type(call.arguments) is list:
            return call
    return None


def _serve(there: Any, methods: Sequence[str], call: _Call) -> dict[str, Any]:
    """Do what a function asks for, and return what to tell it."""
    if call.name not in methods:
        return _problem("AttributeError", f"there is no {call.name!r}, only {', '.join(methods)}")
    try:
        return {"value": _plain(getattr(there, call.name)(*call.arguments, **call.named)), "error": None}
    except LabError as error:
        values = {
            key: value if type(value) in {str, int, float, bool} else str(value)
            for key, value in error.values().items()
        }
        return _problem(type(error).__name__, error.message, advice=error.advice, values=values)
    except (TypeError, ValueError, AttributeError, LookupError) as error:  # of what it was given
        return _problem(type(error).__name__, str(error))


def _problem(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"value": None, "error": {"kind": kind, "message": message, **more}}


def _stub(function: ast.FunctionDef) -> bool:
    """Return whether a function comes to the line that says that it is missing."""
    for statement in function.body:
        if isinstance(statement, ast.Raise) and "NotImplementedError" in ast.unparse(statement):
            return True
        if any(isinstance(node, ast.Return) for node in _own(statement)):
            return False
    return False


def _own(statement: ast.AST) -> Iterator[ast.AST]:
    """Walk through a statement, and not into functions that it defines."""
    yield statement
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        for child in ast.iter_child_nodes(statement):
            yield from _own(child)


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
