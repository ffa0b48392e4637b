"""What is there: tools and their versions, files, a running broker."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import __version__, board, broker, processes
from labkit.errors import LabError
from labkit.pki import Store

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Row:
    """One thing and its state."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A program or library that the course uses.

    Attributes:
        name: What it is called.
        found: Whether it is here, and new enough.
        version: Its version.
        where: Where it is, or where it came from.
        purpose: What the course does with it.
        required: Whether lessons can't do without it.
        advice: What to type if it is missing.
    """

    name: str
    found: bool
    version: str
    where: str
    purpose: str
    required: bool
    advice: str = ""


def describe(workspace: Workspace) -> list[Row]:
    """Return the state of a workspace, for a table."""
    rows = [Row("workspace", str(workspace.root)), Row("authority", _authority(workspace))]
    devices = Store(workspace).devices()
    rows.append(
        Row("identities", ", ".join(devices[:8]) + (f" and {len(devices) - 8} more" if devices[8:] else ""))
    )
    brokers, boards = _brokers(workspace), board_folders(workspace)
    # After a few lessons a dozen of them are at rest; what runs must not be lost among them.
    rows += [Row(f"broker in {folder}", text) for folder, text in brokers if text]
    if resting := sum(not text for _, text in brokers):
        rows.append(Row("brokers at rest", str(resting)))
    rows += [Row(f"board {folder.name}", _board(folder)) for folder in boards]
    rows.append(Row("checkpoints", ", ".join(workspace.checkpoints())))
    if holder := workspace.holder():
        rows.append(Row("open in", holder))
    return [row if row.value else Row(row.name, "none") for row in rows]


def _authority(workspace: Workspace) -> str:
    store = Store(workspace)
    if not store.exists:
        return "none yet"
    try:
        names = store.names
    except LabError as error:
        return error.message
    return f"{names.root} > {names.intermediate}"


def _brokers(workspace: Workspace) -> list[tuple[str, str]]:
    places = sorted(path.parent for path in workspace.path("broker").rglob("mosquitto.conf"))
    return [(str(place.relative_to(workspace.root)), _broker(place)) for place in places]


def _broker(folder: Path) -> str:
    try:
        running = broker.attach(folder)
    except LabError:
        return ""
    return f"Mosquitto {running.state.version}, {running.host}:{running.port}, process {running.state.pid}"


def board_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of the workspace's virtual boards."""
    return sorted(path.parent for path in workspace.path("boards").glob("*/board.json"))


def _board(folder: Path) -> str:
    running = board.running_at(folder)
    if not running:
        return "off"
    return f"{running['chip']}, {running['ports']['socket']}, process {running['pid']}"


def versions(*, fetch: bool = False) -> dict[str, str]:
    """Return the versions of what results depend on."""
    found = {tool.name: tool.version for tool in tools(fetch=fetch)}
    return {"labkit": __version__, "platform": platform.platform(terse=True), **found}


def tools(*, fetch: bool) -> list[Tool]:
    """Return the tools of the course and whether they are here.

    Args:
        fetch: Whether Mosquitto may be fetched.
    """
    python = Tool("python", True, platform.python_version(), sys.executable, "everything", required=True)  # noqa: FBT003
    return [
        python,
        _mosquitto(fetch=fetch),
        _openssl(),
        *map(_library, ("cryptography", "paho-mqtt", "esptool")),
    ]


def _mosquitto(*, fetch: bool) -> Tool:
    purpose = "the broker of every lesson"
    try:
        found = broker.find_mosquitto(fetch=fetch)
    except LabError as error:
        return Tool("mosquitto", False, "-", "missing", purpose, required=True, advice=error.advice)  # noqa: FBT003
    where = f"{found.path} ({found.source})"
    return Tool("mosquitto", True, found.version_text, where, purpose, required=True)  # noqa: FBT003


def _openssl() -> Tool:
    path = processes.find_tool("openssl")
    purpose = "the second opinion on certificates"
    if path is None:
        advice = f"Install it: {processes.install_line('openssl')}"
        return Tool("openssl", False, "-", "missing", purpose, required=True, advice=advice)  # noqa: FBT003
    words = processes.run([path, "version"], check=False).stdout.split()
    return Tool("openssl", True, words[1] if len(words) > 1 else "?", str(path), purpose, required=True)  # noqa: FBT003


def _library(name: str) -> Tool:
    purposes = {
        "cryptography": "keys and certificates",
        "paho-mqtt": "MQTT sessions",
        "esptool": "ESP32 boards, real and virtual",
    }
    return Tool(name, True, importlib.metadata.version(name), "in .lab", purposes[name], required=True)  # noqa: FBT003
