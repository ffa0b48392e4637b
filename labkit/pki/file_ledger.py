"""The ledger of a workspace: a file that only grows."""

from __future__ import annotations

import json
import os
from io import FileIO
from typing import TYPE_CHECKING

from labkit.errors import WorkspaceCorruptError
from labkit.pki.ledger import Entry, Index
from labkit.workspace import os_errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from labkit.workspace import Workspace

LEDGER = "ledger.jsonl"


class FileLedger:
    """The ledger of a workspace: one JSON line a certificate, appended and never changed.

    A transaction is the workspace's lock around reading what others appended, checking, and one append that is
    synced to disk. If we die in the middle of the append, the last line has no line feed; nothing in it was handed
    out, and the next transaction cuts it off.

    Args:
        workspace: Where it lives.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._path = workspace.path(LEDGER)
        self._forget()

    def record(self, entries: Sequence[Entry], *, now: dt.datetime, renew: bool = False) -> None:
        """Record entries, all or none; see `Index.check` for what is refused.

        Raises:
            WorkspaceCorruptError: A line of the ledger is damaged.
            DiskFullError: No space is left; nothing was recorded.
        """
        lines = "".join(json.dumps(entry.to_json()) + "\n" for entry in entries).encode()
        with self._workspace.transaction():
            self._catch_up()
            self._index.check(entries, now=now, renew=renew)
            try:
                self._append(lines)
                self._take_in(entries, lines)
            except BaseException:  # a full disk, or Ctrl-C between two of our steps
                self._forget()
                raise

    def entries(self) -> list[Entry]:
        """Return everything that was issued, oldest first.

        Raises:
            WorkspaceCorruptError: A line of the ledger is damaged.
        """
        with self._workspace.transaction():
            self._catch_up()
        return list(self._index.all)

    def _forget(self) -> None:
        self._index = Index()
        self._read_to = 0
        self._last = b""

    def _take_in(self, entries: Sequence[Entry], lines: bytes) -> None:
        for entry in entries:
            self._index.add(entry)
        self._read_to += len(lines)
        self._last = lines[lines.rfind(b"\n", 0, -1) + 1 :] or self._last

    def _catch_up(self) -> None:
        fresh = self._read()
        # The last line that we know ends in random digits. Where it is not in its place, a checkpoint or a reset
        # has put another ledger here, however long.
        if not fresh.startswith(self._last):
            self._forget()
            fresh = self._read()
        fresh = fresh[len(self._last) :]
        lines = fresh[: fresh.rfind(b"\n") + 1]
        first = len(self._index.all) + 1
        found = [self._parse(line, first + n) for n, line in enumerate(lines.split(b"\n")[:-1])]
        self._take_in(found, lines)

    def _read(self) -> bytes:
        try:
            with os_errors(self._path), self._path.open("rb") as file:
                file.seek(self._read_to - len(self._last))
                return file.read()
        except FileNotFoundError:
            return b""

    def _parse(self, line: bytes, number: int) -> Entry:
        try:
            return Entry.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise WorkspaceCorruptError(
                f"{self._path}, line {number}, is not a ledger entry.",
                advice="Go back to a checkpoint (labkit reset --to NAME); the line is as it was, for you to look at.",
                path=self._path,
            ) from error

    def _append(self, lines: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with os_errors(self._path), FileIO(os.open(self._path, flags, 0o600), "r+b") as file:
            file.truncate(self._read_to)  # a torn last line, if there is one
            file.seek(self._read_to)
            try:
                rest = memoryview(lines)
                while rest:  # a disk that fills up takes a part and says so only at the next write
                    rest = rest[file.write(rest) or 0 :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(self._read_to)
                raise
