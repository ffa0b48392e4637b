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

from filelock import FileLock

from labkit import processes
from labkit.errors import ToolError, ToolFailedError, ToolTimeoutError, WorkspaceUnwritableError
from labkit.workspace import make_folder, os_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOOLS = ("apt-get", "dpkg", "dpkg-deb")
_PACKAGES = ("mosquitto", "mosquitto-clients")
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
    """Fetch Mosquitto into a folder, or unpack the packages of an offline kit (`LABKIT_KIT`).

    What was fetched before is replaced. Two processes that want it at the same time take turns.

    Args:
        folder: Where downloads are kept.

    Returns:
        The program; None where this system has no apt, the archive can't be reached, or the packages are for another
        system.

    Raises:
        WorkspaceUnwritableError: We may not write there.
        DiskFullError: No space is left.
    """
    if sys.platform != "linux" or not all(shutil.which(tool) for tool in _TOOLS):
        return None
    try:
        make_folder(folder)
        with os_errors(folder), FileLock(folder / ".fetch.lock"):
            return _fetch_into(folder)
    except WorkspaceUnwritableError as error:
        error.advice = "Choose a folder for downloads that you own: LABKIT_HOME=~/labkit"
        raise


def _fetch_into(folder: Path) -> Fetched | None:
    if (there := fetched(folder)) and _runs(there):
        return there  # somebody else was quicker
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        try:
            debs = _kit() or _download(Path(scratch))
            for deb in debs:
                processes.run(["dpkg-deb", "-x", deb, Path(scratch, "mosquitto")], timeout=60)
        except (ToolFailedError, ToolTimeoutError) as error:
            _say(f"Mosquitto could not be fetched: {error.message}")
            return None
        fresh = fetched(Path(scratch))
        if fresh is None or not _runs(fresh):
            _say("Mosquitto could not be fetched: the packages are for another system.")
            return None
        shutil.rmtree(folder / "mosquitto", ignore_errors=True)
        Path(scratch, "mosquitto").rename(folder / "mosquitto")
    return fetched(folder)


def _kit() -> list[Path]:
    kit = os.environ.get("LABKIT_KIT")
    return sorted(Path(kit, "debs").glob("*.deb")) if kit else []


def _download(folder: Path) -> list[Path]:
    _say("Fetching Mosquitto from your distribution's archive (no root needed) …")
    return fetch_debs(folder, complete=False)


def _runs(program: Fetched) -> bool:
    try:
        said = processes.run([program.program, "-h"], env=program.env, check=False, timeout=10).output
    except (OSError, ToolError):
        return False
    return said.startswith("mosquitto version")


def fetch_debs(folder: Path, *, complete: bool = True) -> list[Path]:
    """Download Mosquitto's packages, broker and clients, and the libraries that they need, and let apt check their signatures and hashes.

    Args:
        folder: Where to put them.
        complete: Every library, for a machine of which nothing is known; otherwise those that this system lacks.

    Returns:
        The packages' files.

    Raises:
        ToolFailedError: apt can't reach the archive, or doesn't know the package.
        ToolTimeoutError: It took too long.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-apt-") as scratch:
        apt: list[str | Path] = ["apt-get", *_private_state(Path(scratch), empty=complete)]
        processes.run([*apt, "update"], timeout=_PATIENCE)
        plan = [*apt, "-s", "install", "--no-install-recommends", *_PACKAGES]
        planned = re.findall(r"^Inst (\S+)", processes.run(plan, timeout=_PATIENCE).stdout, re.MULTILINE)
        # The C library must be the one that the system's own loader belongs to (ld.so(8)), so it is never ours.
        libraries = {name for name in planned if name.startswith("lib") and name != "libc6"}
        processes.run([*apt, "download", *sorted({*_PACKAGES, *libraries})], timeout=_PATIENCE, cwd=folder)
    return sorted(folder.glob("*.deb"))


def _private_state(scratch: Path, *, empty: bool) -> Sequence[str]:
    for part in ("lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    (scratch / "status").touch()
    status = scratch / "status" if empty else "/var/lib/dpkg/status"
    return (
        "-o", f"Dir::State::lists={scratch / 'lists'}",
        "-o", f"Dir::Cache={scratch / 'cache'}",
        "-o", f"Dir::State::status={status}",
        "-o", "Debug::NoLocking=1",
        "-o", "APT::Sandbox::User=",
        "-q",
    )  # fmt: skip


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
