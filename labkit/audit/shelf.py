"""Where reports are kept: JSON files in the workspace, named by their time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.audit.report import Report
from labkit.errors import ReportUnreadableError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from labkit.workspace import Workspace

FOLDER = "audit"


def save(workspace: Workspace, report: Report) -> Path:
    """Keep a report, and return its file."""
    folder = make_folder(workspace.path(FOLDER))
    stem, number = f"{report.at:%Y%m%d-%H%M%S}", 0
    path = folder / f"{stem}.json"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    return write_report(path, report)


def write_report(path: Path, report: Report) -> Path:
    """Write a report to a file."""
    return write_atomic(path.absolute(), json.dumps(report.to_json(), indent=2) + "\n")


def newest(workspace: Workspace, count: int) -> list[Path]:
    """Return the newest reports that were kept, oldest first.

    Raises:
        ReportUnreadableError: There are fewer.
    """
    folder = workspace.path(FOLDER)
    found = (
        sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        if folder.is_dir()
        else []
    )
    if len(found) < count:
        raise ReportUnreadableError(
            f"{folder} has {len(found)} reports, and {count} are needed.",
            advice="Audit first: labkit audit run",
            path=folder,
        )
    return found[-count:]


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        ReportUnreadableError: It is none.
    """
    try:
        return Report.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise ReportUnreadableError(
            f"{path} is no report of an audit: {error}.",
            advice="Make one: labkit audit run",
            path=Path(path),
        ) from error
