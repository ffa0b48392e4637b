"""Fetch Mosquitto from the distribution's own archive, without root and without touching the system.

apt downloads and checks the packages (signed lists, hashes) into a private state; dpkg unpacks them into a folder.
Nothing is installed: the program runs from the folder, with the libraries beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import processes
from labkit.errors import ToolFailedError, ToolTimeoutError
from labkit.workspace import make_folder, os_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOOLS = ("apt-get", "dpkg", "dpkg-deb")
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A program that runs from a folder of ours.

    Attributes:
        program: Where it is.
        env: What its process needs to find its libraries.
    """

    program: Path
    env: Mapping[str, str]


def home() -> Path:
    """Return where downloads are kept: `LABKIT_HOME`, or the user's cache."""
    if chosen := os.environ.get("LABKIT_HOME"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "labkit"


def fetched(folder: Path) -> Fetched | None:
    """Return the Mosquitto that was fetched into the folder before, or None."""
    tree = folder / "mosquitto"
    program = tree / "usr" / "sbin" / "mosquitto"
    if not os.access(program, os.X_OK):
        return None
    libraries = {str(path.parent) for path in tree.rglob("*.so*")}
    return Fetched(program, {"LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))})


def fetch_mosquitto(folder: Path) -> Fetched | None:
    """Fetch Mosquitto into a folder, or unpack the packages of an offline kit.

    Args:
        folder: Where downloads are kept.

    Returns:
        The program; None where this system has no apt, or the archive can't be reached.

    Raises:
        WorkspaceUnwritableError: We may not write there.
        DiskFullError: No space is left.
    """
    if sys.platform != "linux" or not all(shutil.which(tool) for tool in _TOOLS):
        return None
    make_folder(folder)
    kit = os.environ.get("LABKIT_KIT")
    with os_errors(folder), tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        debs = Path(kit, "debs") if kit else Path(scratch)
        try:
            if not kit:
                _say("Fetching Mosquitto from your distribution's archive (no root needed) …")
                fetch_debs(debs)
            _unpack(sorted(debs.glob("*.deb")), Path(scratch, "tree"))
        except (ToolFailedError, ToolTimeoutError) as error:
            _say(f"Mosquitto could not be fetched: {error.message}")
            return None
        shutil.rmtree(folder / "mosquitto", ignore_errors=True)
        Path(scratch, "tree").rename(folder / "mosquitto")
    return fetched(folder)


def fetch_debs(folder: Path) -> list[Path]:
    """Download Mosquitto's package and every package that it needs and this system lacks.

    Args:
        folder: Where to put them.

    Returns:
        The packages' files.

    Raises:
        ToolFailedError: apt can't reach the archive, or doesn't know the package.
        ToolTimeoutError: It took too long.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-apt-") as scratch:
        options = _private_state(Path(scratch))
        apt: list[str | Path] = ["apt-get", *options]
        processes.run([*apt, "update"], timeout=_PATIENCE)
        planned = processes.run([*apt, "-s", "install", "--no-install-recommends", "mosquitto"]).stdout
        # On a machine where it is installed the plan is empty; the kit still wants the package itself.
        needed = {"mosquitto", *re.findall(r"^Inst (\S+)", planned, re.MULTILINE)}
        processes.run([*apt, "download", *sorted(needed)], timeout=_PATIENCE, cwd=folder)
    return sorted(folder.glob("*.deb"))


def _private_state(scratch: Path) -> Sequence[str]:
    for part in ("lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    return (
        "-o", f"Dir::State::lists={scratch / 'lists'}",
        "-o", f"Dir::Cache={scratch / 'cache'}",
        "-o", "Dir::State::status=/var/lib/dpkg/status",
        "-o", "Debug::NoLocking=1",
        "-o", "APT::Sandbox::User=",
        "-q",
    )  # fmt: skip


def _unpack(debs: Sequence[Path], tree: Path) -> None:
    for deb in debs:
        processes.run(["dpkg-deb", "-x", deb, tree], timeout=60)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
