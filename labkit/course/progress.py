"""What a reader has done so far: predictions, claims that held, checks that passed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from labkit.errors import WorkspaceCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.workspace import Workspace

FORMAT = 1
_FILE = "course/progress.json"
_KINDS = ("predictions", "claims", "checks", "hints", "attempts")


class Progress:
    """The progress of one lesson, kept in the workspace.

    Args:
        workspace: Where it is kept.
        slug: The lesson.
    """

    def __init__(self, workspace: Workspace, slug: str) -> None:
        self._workspace = workspace
        self._slug = slug
        self._followers: list[Callable[[], None]] = []

    def get(self, kind: str, name: str) -> Any:
        """Return what was recorded, or None."""
        return self._load()["lessons"].get(self._slug, {}).get(kind, {}).get(name)

    def all(self, kind: str) -> dict[str, Any]:
        """Return everything of a kind that was recorded."""
        return dict(self._load()["lessons"].get(self._slug, {}).get(kind, {}))

    def lessons(self) -> dict[str, Any]:
        """Return everything that was recorded, by lesson, kind and name."""
        return dict(self._load()["lessons"])

    def set(self, kind: str, name: str, value: Any) -> None:
        """Record something; it is on disk when this returns."""
        assert kind in _KINDS  # noqa: S101 - our own words
        with self._workspace.transaction():
            whole = self._load()
            whole["lessons"].setdefault(self._slug, {}).setdefault(kind, {})[name] = value
            self._workspace.write_json(_FILE, whole)
        for follower in self._followers:
            follower()

    def on_set(self, follower: Callable[[], None]) -> None:
        """Call something whenever something was recorded here."""
        self._followers.append(follower)

    def _load(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._workspace.read_json(_FILE)
        except FileNotFoundError:
            return {"format": FORMAT, "lessons": {}}
        if not _whole(found):
            path = self._workspace.path(_FILE)
            raise WorkspaceCorruptError(
                f"{path} does not hold the progress of this course.",
                advice=f"Delete it to forget the progress (nothing else is lost): {path}",
                path=path,
            )
        return found


def _whole(found: Any) -> bool:
    lessons = found.get("lessons") if isinstance(found, dict) and found.get("format") == FORMAT else None
    return isinstance(lessons, dict) and all(
        isinstance(kinds, dict) and all(isinstance(entries, dict) for entries in kinds.values())
        for kinds in lessons.values()
    )


def report_line(value: dict[str, Any]) -> None:
    """Append a line to the report of an unattended run, if this is one."""
    if path := os.environ.get("LABKIT_REPORT"):
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - appended by one process
            file.write(json.dumps(value) + "\n")
