"""Where a lab keeps its state, and how it writes there.

One folder holds everything that a lab makes, laid out as in the lesson (`root/ intermediate/ server/ devices/`).
Files appear whole or not at all, secrets are readable by their owner alone, and only one lab works in a folder
at a time. Checkpoints are copies that a lesson can start from.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from filelock import FileLock, Timeout

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import (
    CheckpointMissingError,
    DiskFullError,
    WorkspaceBusyError,
    WorkspaceCorruptError,
    WorkspaceUnwritableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 1
"""Version of the layout, kept in `workspace.json`."""

CONTENT = (
    "root",
    "intermediate",
    "server",
    "devices",
    "operators",
    "registry",
    "factory",
    "signing",
    "updates",
    "hsm",
    "boards",
    "intruders",
    "answers",
    "broker",
    "scratch",
    "audit",
    "course",
    "ledger.jsonl",
)
"""What a lab makes: the entries that checkpoints copy and that reset removes. Anything else is the user's."""

RUNTIME = frozenset({"state.json", "control.sock", ".lock"})
"""Files about running processes; a copy of them would be a lie, so checkpoints leave them out."""

_MARKER = "workspace.json"
_LOCKS = ".locks"
_CHECKPOINTS = "checkpoints"
_INCOMING = ".restore"
_JOURNAL = ".restore.json"
_PATIENCE = 30.0


def default_path() -> Path:
    """Return where the lab lives when nobody says otherwise.

    `LABKIT_WORKSPACE` wins; then `workspace/` in the course folder (`LABKIT_COURSE`, or the nearest parent that
    holds `lab.py`); then `workspace/` here.
    """
    if chosen := os.environ.get("LABKIT_WORKSPACE"):
        return Path(chosen).expanduser().absolute()
    if course := os.environ.get("LABKIT_COURSE"):
        return Path(course).absolute() / "workspace"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "lab.py").is_file() and (folder / "labkit").is_dir():
            return folder / "workspace"
    return here / "workspace"


class Workspace:
    """The folder of one lab. Get one from `Workspace.open`.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.root = root
        self._clock = clock
        self._write_lock = FileLock(root / _LOCKS / "write.lock", timeout=_PATIENCE)

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    @classmethod
    def open(cls, path: Path | str | None = None, *, clock: Clock = SYSTEM_CLOCK) -> Workspace:
        """Open a lab's folder, and make it where there is none.

        Args:
            path: The folder; `default_path()` without one.
            clock: What time it is.

        Raises:
            WorkspaceCorruptError: The folder holds other things, or a marker of another format.
            WorkspaceUnwritableError: We may not write there.
            DiskFullError: No space is left.
        """
        root = Path(path).expanduser().absolute() if path else default_path()
        workspace = cls(root, clock=clock)
        marker = root / _MARKER
        if marker.exists():
            workspace._check_marker()
        else:
            workspace._refuse_foreign_folder()
            make_folder(root, private=True)
            born = clock.now().isoformat(timespec="seconds")
            write_atomic(marker, json.dumps({"format": FORMAT, "created": born}) + "\n")
        workspace._finish_restore()
        return workspace

    def _check_marker(self) -> None:
        found = self.read_json(_MARKER)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            path = self.root / _MARKER
            raise WorkspaceCorruptError(
                f"{path} is not a workspace of this course (format {FORMAT}).",
                advice="Choose another folder with LABKIT_WORKSPACE=…, or move this one away.",
                path=path,
            )

    def _refuse_foreign_folder(self) -> None:
        # Reset deletes below this folder, so it must never be one that somebody filled with other things.
        if self.root.is_file() or (self.root.is_dir() and any(self.root.iterdir())):
            raise WorkspaceCorruptError(
                f"{self.root} exists and is not a workspace of this course.",
                advice="Choose an empty or new folder: LABKIT_WORKSPACE=~/my-lab",
                path=self.root,
            )

    def path(self, *parts: str) -> Path:
        """Return a path below the workspace.

        Raises:
            ValueError: The parts lead out of the workspace.
        """
        joined = self.root.joinpath(*parts)
        normal = Path(os.path.normpath(joined))
        if normal != self.root and self.root not in normal.parents:
            text = f"{joined} is outside the workspace"
            raise ValueError(text)
        return normal

    def write(self, relative: str, data: bytes | str, *, secret: bool = False) -> Path:
        """Write a file whole or not at all; see `write_atomic`."""
        target = self.path(relative)
        make_folder(target.parent, private=True)
        return write_atomic(target, data, secret=secret)

    def write_json(self, relative: str, value: Any) -> Path:
        """Write a value as JSON, whole or not at all."""
        return self.write(relative, json.dumps(value, indent=2, sort_keys=True) + "\n")

    def read_json(self, relative: str) -> Any:
        """Read a JSON file.

        Raises:
            WorkspaceCorruptError: It does not hold JSON.
            FileNotFoundError: There is no such file.
        """
        path = self.path(relative)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise WorkspaceCorruptError(
                f"{path} is damaged: {error}",
                advice="Go back to a checkpoint (labkit reset --to NAME) or start afresh (labkit reset).",
                path=path,
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the short lock under which files are read, changed and written back. It may be nested.

        Raises:
            WorkspaceBusyError: Another process held it for half a minute.
        """
        make_folder(self.root / _LOCKS, private=True)
        try:
            with self._write_lock:
                yield
        except Timeout as error:
            raise self._busy("another command") from error

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Keep the workspace for one lab as long as the block lasts, or the process lives.

        The operating system drops the lock when the process dies, however it dies.

        Args:
            owner: Who holds it, in words that help the next one who asks.

        Raises:
            WorkspaceBusyError: Another lab holds it; the error names it.
        """
        make_folder(self.root / _LOCKS, private=True)
        lock = FileLock(self.root / _LOCKS / "session.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise self._busy(self.holder() or "another process") from error
        try:
            since = self._clock.now().isoformat(timespec="seconds")
            self.write_json(f"{_LOCKS}/session.json", {"pid": os.getpid(), "owner": owner, "since": since})
            yield
        finally:
            (self.root / _LOCKS / "session.json").unlink(missing_ok=True)
            lock.release()

    def holder(self) -> str | None:
        """Return in words who holds the workspace, as far as they wrote it down."""
        try:
            found = self.read_json(f"{_LOCKS}/session.json")
            return f"{found['owner']} (process {found['pid']}, since {found['since']})"
        except (FileNotFoundError, WorkspaceCorruptError, KeyError, TypeError):
            return None

    def _busy(self, holder: str) -> WorkspaceBusyError:
        return WorkspaceBusyError(
            f"{self.root} is in use by {holder}.",
            advice="Shut that notebook's kernel down (Kernel > Shut Down Kernel), or work in a folder of "
            "your own: LABKIT_WORKSPACE=~/second-lab",
            path=self.root,
            holder=holder,
        )

    def checkpoints(self) -> list[str]:
        """Return the names of the checkpoints, sorted."""
        folder = self.root / _CHECKPOINTS
        return sorted(entry.name for entry in folder.glob("[!.]*")) if folder.is_dir() else []

    def checkpoint(self, name: str) -> None:
        """Keep a copy of the lab as it is; a checkpoint of that name is replaced.

        Raises:
            DiskFullError: No space is left; an older checkpoint of that name is unchanged.
        """
        folder = self.root / _CHECKPOINTS
        make_folder(folder, private=True)
        with self.transaction(), os_errors(folder):
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            try:
                _copy_content(self.root, fresh)
                shutil.rmtree(folder / name, ignore_errors=True)
                fresh.rename(folder / name)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)

    def restore(self, name: str) -> None:
        """Bring the lab back to a checkpoint.

        The copy is complete before anything is removed, and an interrupted swap is finished at the next open.

        Raises:
            CheckpointMissingError: There is none of that name.
            DiskFullError: No space is left; the lab is unchanged.
        """
        source = self.root / _CHECKPOINTS / name
        if name not in self.checkpoints():
            known = ", ".join(self.checkpoints()) or "none yet"
            raise CheckpointMissingError(
                f"There is no checkpoint {name!r}.",
                advice=f"Checkpoints here: {known}.",
                path=source,
                name=name,
            )
        with self.transaction(), os_errors(self.root):
            incoming = self.root / _INCOMING
            shutil.rmtree(incoming, ignore_errors=True)
            incoming.mkdir(mode=0o700)
            _copy_content(source, incoming)
            write_atomic(
                self.root / _JOURNAL, json.dumps(sorted(path.name for path in incoming.iterdir())) + "\n"
            )
        self._finish_restore()

    def _finish_restore(self) -> None:
        journal = self.root / _JOURNAL
        if not journal.exists():
            return
        with self.transaction(), os_errors(self.root):
            promised = self.read_json(_JOURNAL)
            for entry in CONTENT:
                arrived = self.root / _INCOMING / entry
                if arrived.exists() or entry not in promised:
                    _remove(self.root / entry)
                if arrived.exists():
                    arrived.rename(self.root / entry)
            shutil.rmtree(self.root / _INCOMING, ignore_errors=True)
            journal.unlink(missing_ok=True)

    def reset(self) -> None:
        """Remove everything that the lab made. Checkpoints and foreign files stay."""
        with self.transaction(), os_errors(self.root):
            for entry in CONTENT:
                _remove(self.root / entry)

    def files(self) -> list[Path]:
        """Return the lab's files, sorted, for a table of state."""
        entries = (self.root / entry for entry in CONTENT)
        found = (path for entry in entries for path in ([entry] if entry.is_file() else entry.rglob("*")))
        return sorted(path for path in found if path.is_file())


def make_folder(path: Path, *, private: bool = False) -> Path:
    """Make a folder and its parents.

    Args:
        path: The folder.
        private: Closed to everybody but its owner, where the system knows owners.

    Raises:
        WorkspaceUnwritableError: We may not write there.
        DiskFullError: No space is left.
    """
    with os_errors(path):
        path.mkdir(mode=0o700 if private else 0o755, parents=True, exist_ok=True)
    return path


def write_atomic(path: Path, data: bytes | str, *, secret: bool = False, durable: bool = True) -> Path:
    """Write a file whole or not at all, and replace what was there in one step.

    Args:
        path: The file. Its folder must exist.
        data: What it will hold; text is written as UTF-8 with plain line feeds.
        secret: Readable by the owner alone (0600) from its first byte on; otherwise 0644.
        durable: Wait until it is on the disk. Bulk work may do without and sync once.

    Returns:
        The path.

    Raises:
        WorkspaceUnwritableError: We may not write there; nothing has changed.
        DiskFullError: No space is left; nothing has changed.
    """
    with os_errors(path):
        name = _write_beside(path, data, secret=secret, durable=durable)
        try:
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return path


def write_together(files: Sequence[tuple[Path, bytes, bool]]) -> None:
    """Write several files that belong together: all of them are on the disk before the first one gets its name.

    Args:
        files: Path, content, and whether it is a secret.

    Raises:
        WorkspaceUnwritableError, DiskFullError: Nothing has changed.
    """
    fresh: list[tuple[str, Path]] = []
    with os_errors(files[0][0]):
        try:
            for path, data, secret in files:
                fresh.append((_write_beside(path, data, secret=secret), path))
            for name, path in fresh:
                Path(name).replace(path)
        except BaseException:
            for name, _ in fresh:
                Path(name).unlink(missing_ok=True)
            raise


def _write_beside(path: Path, data: bytes | str, *, secret: bool, durable: bool = True) -> str:
    payload = data.encode() if isinstance(data, str) else data
    # mkstemp makes the file 0600, so a secret is never readable by others, not even for a moment.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if not secret:
            Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return name


def _copy_content(source: Path, target: Path) -> None:
    for entry in CONTENT:
        if (source / entry).is_dir():
            shutil.copytree(source / entry, target / entry, ignore=lambda _, names: RUNTIME & set(names))
        elif (source / entry).is_file():
            shutil.copy2(source / entry, target / entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turn what the system says of a full disk or a closed folder into our errors.

    Args:
        path: What is being read or written, for the message.

    Raises:
        DiskFullError: No space is left.
        WorkspaceUnwritableError: We may not.
    """
    try:
        yield
    except OSError as error:
        _raise_for(error, path)


def _raise_for(error: OSError, path: Path) -> NoReturn:
    # copytree collects its errors in one shutil.Error, which has texts and no number.
    full = isinstance(error, shutil.Error) and os.strerror(errno.ENOSPC) in str(error)
    if full or error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        raise DiskFullError(
            f"No space is left to write {path}. What was there before is unchanged.",
            advice="Free some space (df -h shows where) and run the same command again.",
            path=path,
        ) from error
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
        raise WorkspaceUnwritableError(
            f"{path} can't be written: {error.strerror}.",
            advice="Choose a folder that you own: LABKIT_WORKSPACE=~/my-lab",
            path=path,
        ) from error
    raise error
