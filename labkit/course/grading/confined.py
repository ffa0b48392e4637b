"""Start a confined process, watch what it takes, and end it and everything that came of it."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from labkit.clock import Deadline
from labkit.course.grading.keeper import PR_SET_CHILD_SUBREAPER, family
from labkit.course.grading.sandbox import BWRAP, DOCKER, PODMAN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from labkit.course.grading.sandbox import Sandbox, View

_KEEPER = Path(__file__).with_name("keeper.py")
TICK = 0.2
PR_GET_CHILD_SUBREAPER = 37


@dataclass(frozen=True, slots=True)
class Limits:
    """What a confined process, and all that comes of it, may take together.

    Attributes:
        memory: Bytes of memory.
        disk: Bytes in the folders that it may write to.
        files: How many files there.
        processes: How many processes.
        spoken: Bytes that it may say on its standard output.
    """

    memory: int = 1 << 30
    disk: int = 512 << 20
    files: int = 20_000
    processes: int = 150
    spoken: int = 48 << 20

    def of_each(self) -> dict[str, int]:
        """Return what each single process holds itself to, by the names of setrlimit(2)."""
        return {
            "RLIMIT_CORE": 0,
            "RLIMIT_DATA": self.memory,
            "RLIMIT_FSIZE": self.disk // 2,
            "RLIMIT_NOFILE": 1024,
        }


_running: set[Confined] = set()


def end_all() -> None:
    """End everything that is confined by this process now."""
    for confined in list(_running):
        confined.exceeded = confined.exceeded or "the grader was stopped"
        confined.end()


class Confined:
    """A process in a sandbox; use it in `with`. At the end nothing of it is left.

    Args:
        sandbox: What confines it.
        view: What it sees.
        inner: The command.
        limits: What it may take.
        spec: What it reads on standard input.

    Attributes:
        exceeded: Why it was ended by us, in a sentence; empty if it was not.
    """

    def __init__(
        self, sandbox: Sandbox, view: View, inner: list[str], *, limits: Limits, spec: bytes = b""
    ) -> None:
        self.sandbox, self.view, self.limits = sandbox, view, limits
        self.exceeded = ""
        self._spec = spec
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        argv = sandbox.command(inner, view)
        self._alone = sandbox.kind == BWRAP  # whose first process takes all others along
        if not sandbox.confines:
            argv = [sys.executable, "-I", "-S", str(_KEEPER), uuid.uuid4().hex, *argv]
        self._argv = argv

    def __enter__(self) -> Self:
        self._adopted_before, self._before = False, set[int]()
        if not self.sandbox.confines:
            self._adopted_before, self._before = adopt_orphans(wanted=True), _children()
        env = dict(self.view.env) if not self.sandbox.confines else None
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("LABKIT_DEBUG") else subprocess.DEVNULL,
            env=env,
            cwd=None if self.sandbox.confines else self.view.cwd,
            start_new_session=True,
        )
        _running.add(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._watcher_stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            stdin.write(self._spec)
            stdin.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if not self.sandbox.confines:
            adopt_orphans(wanted=self._adopted_before)
        _running.discard(self)
        self._watcher_stop.set()
        self._watcher.join()
        self._reader.join(5)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self._process.stdout.close()

    def lines(self, seconds: float) -> Iterator[bytes]:
        """Yield what it says, line by line, until it ends or the time is up.

        Args:
            seconds: How long from now; then it is ended, and `exceeded` says so.
        """
        deadline = Deadline(seconds)
        while True:
            line = self.line(deadline.left)
            if line is None:
                return
            yield line

    def line(self, seconds: float) -> bytes | None:
        """Return the next line that it says, or None at its end; in time, or it is ended."""
        deadline = Deadline(seconds)
        while True:
            try:
                return self._lines.get(timeout=max(0.001, min(deadline.left, 0.5)))
            except queue.Empty:
                if self._process.poll() is not None:
                    self.end()  # what is left of it may hold the pipe, and then there is no end to wait for
                if deadline.passed:
                    self._exceed("it was not done in time")
                    return None

    def end(self) -> None:
        """End it and everything that came of it. Harmless when it has ended."""
        process = self._process
        if process.poll() is None:
            if self.sandbox.kind in {PODMAN, DOCKER}:
                argv = [self.sandbox.program, "kill", "--signal", "KILL", self.view.name]
                subprocess.run(argv, capture_output=True, check=False, timeout=30)
            elif self._alone:
                # The first process of its own namespace: the kernel ends all others with it, and waits for them.
                for pid in family(process.pid)[:1] or [process.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            else:
                process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not self.sandbox.confines:
            self._end_strays()

    def _end_strays(self) -> None:
        """End what came to us because a notebook killed its keeper."""
        deadline = Deadline(10)
        while (strays := _children() - self._before - {self._process.pid}) and not deadline.passed:
            for pid in {*strays, *(child for stray in strays for child in descendants(stray))}:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for pid in strays:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)
            deadline.pause()

    def _exceed(self, why: str) -> None:
        self.exceeded = self.exceeded or why
        self.end()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it is a pipe
        spoken = 0
        try:
            while line := stdout.readline(self.limits.spoken + 1):
                spoken += len(line)
                if spoken > self.limits.spoken:
                    threading.Thread(target=self._exceed, args=("it said too much",), daemon=True).start()
                    break
                self._lines.put(line)
        except ValueError:  # closed under our hands
            pass
        self._lines.put(None)

    def _watch(self) -> None:
        round_number = 0
        while not self._watcher_stop.wait(TICK) and self._process.poll() is None:
            round_number += 1
            if why := self._too_much(look_at_disk=round_number % 3 == 0):
                self._exceed(why)
                return

    def _too_much(self, *, look_at_disk: bool) -> str:
        pids = descendants(self._process.pid)
        if len(pids) > self.limits.processes:
            return f"it started more than {self.limits.processes} processes"
        if memory(pids) > self.limits.memory:
            return f"it took more than {_size(self.limits.memory)} of memory"
        if look_at_disk:
            files, taken = stored(self.view.writable.values())
            if files > self.limits.files:
                return f"it made more than {self.limits.files} files"
            if taken + unlinked(pids) > self.limits.disk:
                return f"it wrote more than {_size(self.limits.disk)} to the disk"
        return ""


def adopt_orphans(*, wanted: bool) -> bool:
    """Let orphans of our descendants come to us, or to whoever they went to before; return how it was.

    It is the whole process's, so it is put back: nobody here waits for orphans that others make (prctl(2),
    PR_SET_CHILD_SUBREAPER). Elsewhere than on Linux nothing happens.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    libc, before = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
    return bool(before.value)


def _children() -> set[int]:
    """Return our own children, where orphans are among them."""
    if sys.platform != "linux":
        return set()
    return {child.pid for child in psutil.Process().children()}


def descendants(pid: int) -> list[int]:
    """Return a process's descendants."""
    if Path("/proc/self/task").is_dir():
        return family(pid)
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def memory(pids: list[int]) -> int:
    """Return the bytes of memory that processes take together; shared pages are counted in parts if that matters."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            total += psutil.Process(pid).memory_info().rss
    if total > 512 << 20 and sys.platform == "linux":
        return sum(_proportional(pid) for pid in pids)
    return total


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        lines = [line.split() for line in text.splitlines() if line.startswith(("Pss:", "Swap:"))]
        return sum(int(words[1]) << 10 for words in lines)
    return 0


def stored(folders: object) -> tuple[int, int]:
    """Return how many files there are in folders, and the bytes they take on the disk."""
    files = taken = 0
    waiting = [str(folder) for folder in folders]  # type: ignore[attr-defined]
    while waiting and files < 100_000:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        taken += entry.stat(follow_symlinks=False).st_blocks * 512
    return files, taken


def unlinked(pids: list[int]) -> int:
    """Return the bytes of files that processes hold open and that have no name any more."""
    seen: dict[tuple[int, int], int] = {}
    for pid in pids if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found = handle.stat()
                    if found.st_nlink == 0:
                        seen[found.st_dev, found.st_ino] = getattr(found, "st_blocks", 0) * 512
    return sum(seen.values())


def _size(count: int) -> str:
    return f"{count >> 20} MB"


def fresh_name() -> str:
    """Return a name for a container that nobody else has."""
    return f"labkit-grade-{secrets.token_hex(6)}"
