"""What a check of a graded exercise may look at: a student's files, read as if an enemy had written them."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.course.answers import Answer
from labkit.course.clearing import remove
from labkit.course.exercise import Exercise
from labkit.errors import AnswerUnreadableError, NotebookError
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from labkit.course.lab import Lab
    from labkit.course.lesson import RejectedError

T = TypeVar("T")

LIMIT = 1 << 20
"""Bytes of the largest file that is read, unless a check asks for more."""


class Work:
    """A student's files, and a place of the judge's own beside them.

    Use it in `with`: what a check started is stopped, and the judge's place removed, at the end.

    Args:
        exercise: The exercise.
        root: The student's workspace. Nothing is ever written there.
        student: Whose it is; decides the variant.
    """

    def __init__(self, exercise: Exercise, root: Path, student: str) -> None:
        self.exercise = exercise
        self.root = root
        self.variant = exercise.variant(student)
        self._resources = ExitStack()
        self._scratch: Workspace | None = None
        self._made: dict[str, Any] = {}

    @classmethod
    def of(cls, lab: Lab) -> Self:
        """Return the work in the workspace of a lab, which is one of a graded exercise."""
        exercise, variant = lab.lesson, lab.variant
        if not isinstance(exercise, Exercise) or variant is None:
            text = f"{lab.lesson.slug} is no graded exercise"
            raise TypeError(text)
        return cls(exercise, lab.workspace.root, variant.student)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def enter(self, resource: AbstractContextManager[T]) -> T:
        """Start something of the judge's own and keep it until the end."""
        return self._resources.enter_context(resource)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return something that several checks use, made by the first of them: a broker, a board.

        Args:
            name: What to call it.
            make: Makes it; `enter` what must be stopped at the end.
        """
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made

    @property
    def scratch(self) -> Workspace:
        """A workspace of the judge's own, empty at first and removed at the end."""
        if self._scratch is None:
            folder = Path(tempfile.mkdtemp(prefix="labkit-judge-"))
            self._resources.callback(remove, folder)
            self._scratch = Workspace.open(folder / "w")
        return self._scratch

    def data(self, relative: str, *, limit: int = LIMIT) -> bytes | None:
        """Return a file's content, or None where there is none.

        Args:
            relative: Where it is, below the workspace.
            limit: Bytes that are read at most.

        Raises:
            AnswerUnreadableError: It is not a plain file (a link, a pipe, a folder), lies behind a link, or is too
                large.
        """
        path = self.root
        for part in Path(relative).parts:
            path /= part
            if part == ".." or path.is_symlink():
                raise _unreadable(path, f"{relative} is, or lies behind, a link")
        try:
            # A pipe would hold us for ever without O_NONBLOCK; a link that came in between is caught by O_NOFOLLOW.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, f"{relative} can't be opened ({error.strerror})") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise _unreadable(path, f"{relative} is not a plain file")
        with os.fdopen(handle, "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise _unreadable(path, f"{relative} is larger than {limit} bytes")
        return content

    def text(self, relative: str, *, limit: int = LIMIT) -> str | None:
        """Return a file's text (UTF-8), or None where there is none.

        Raises:
            AnswerUnreadableError: See `data`; or it is not UTF-8.
        """
        content = self.data(relative, limit=limit)
        try:
            return None if content is None else content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _unreadable(self.root / relative, f"{relative} is not UTF-8") from error

    def json(self, relative: str) -> Any:
        """Return what a JSON file holds, or None where there is none.

        Raises:
            AnswerUnreadableError: See `data`; or it is not JSON.
        """
        text = self.text(relative)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _unreadable(self.root / relative, f"{relative} is not JSON") from error

    def copy(self, relative: str, target: str, *, secret: bool = False) -> Path | None:
        """Copy a file into the judge's own workspace; return where it lies there, or None where there is none.

        Raises:
            AnswerUnreadableError: See `data`.
        """
        content = self.data(relative)
        return None if content is None else self.scratch.write(target, content, secret=secret)

    def names(self, folder: str) -> list[str]:
        """Return the names of the plain files in a folder, sorted; none where there is no folder."""
        path = self.root / folder
        found: list[str] = []
        if not path.is_symlink():
            with suppress(OSError):
                found = sorted(
                    entry.name for entry in os.scandir(path) if entry.is_file(follow_symlinks=False)
                )
        return found

    def answer(self, name: str) -> Answer | None:
        """Return a function that was handed in, or None where none was or it is still the stub.

        Raises:
            AnswerUnreadableError: See `data`.
        """
        text = self.text(f"answers/{self.exercise.slug}/{name}.py", limit=1 << 16)
        if text is None or not (answer := Answer(text, name)).written:
            return None
        return answer


def explained(rejected: RejectedError, path: Path) -> NotebookError:
    """Return what a notebook says where somebody tries their files, and a judge would reject them."""
    found = rejected.result
    return NotebookError(f"{found.observed}.", advice=f"{found.advice}.", path=path)


def _unreadable(path: Path, why: str) -> AnswerUnreadableError:
    return AnswerUnreadableError(
        f"{why}.", advice="Hand in plain files that the exercise asks for: run its cells again.", path=path
    )
