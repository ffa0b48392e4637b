"""Find Mosquitto's program. The lessons are about the real one, so there is no imitation to fall back to."""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import processes
from labkit.broker.fetch import fetch_mosquitto, fetched, home
from labkit.errors import LabError, ToolMissingError, ToolTimeoutError, ToolVersionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OLDEST = (2, 0)
VARIABLE = "LABKIT_MOSQUITTO"

_FOLDERS = (
    "/usr/sbin",  # Debian and Ubuntu put it where a plain user's PATH does not lead
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
    "/opt/homebrew/opt/mosquitto/sbin",
    r"C:\Program Files\mosquitto",
)
_CONDA = ("sbin", "bin", "Library/sbin", "Library/bin")


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """The broker's program.

    Attributes:
        path: Where it is.
        version: Its version, as numbers.
        env: What its process needs in the environment beyond ours.
        source: How it was found, in words.
        patience: Seconds that a start may take where that is more than for a program.
    """

    path: Path
    version: tuple[int, ...]
    source: str
    env: Mapping[str, str] = field(default_factory=dict)
    patience: float = 0.0

    @property
    def version_text(self) -> str:
        """The version as it is written."""
        return ".".join(map(str, self.version))

    def command(self, config_file: Path, openssl_conf: Path) -> list[str]:
        """Return the command line that serves a configuration, until its process is told to stop.

        Args:
            config_file: The configuration.
            openssl_conf: OpenSSL's settings, which a program on this machine finds in its environment.
        """
        del openssl_conf
        return [str(self.path), "-c", str(config_file)]


def find_program(*, fetch: bool = True) -> Mosquitto:
    """Find the broker's program on this machine.

    The order: `LABKIT_MOSQUITTO`, a conda environment, PATH, the folders where packages put it, one that was fetched
    before, and at last fetching it (Debian and Ubuntu, without root).

    Args:
        fetch: Whether it may be fetched.

    Raises:
        ToolMissingError: It is nowhere; the advice is the install line for this system.
        ToolVersionError: The one that was found is older than 2.0, whose defaults let everybody in.
    """
    if chosen := os.environ.get(VARIABLE):
        return _checked(Path(chosen), VARIABLE, {})
    unfit: LabError | None = None
    for path, source, env in _candidates():
        try:
            return _checked(path, source, env)
        except (ToolMissingError, ToolVersionError) as error:
            unfit = unfit or error  # an old one may stand before a newer one
    if fetch and (found := fetch_mosquitto(home())):
        return _checked(found.program, "fetched without root", found.env)
    if unfit:
        raise unfit
    line = {"win32": "winget install EclipseFoundation.Mosquitto"}.get(
        sys.platform, processes.install_line("mosquitto")
    )
    raise ToolMissingError(
        "Mosquitto, the MQTT broker of these lessons, is not on this machine.",
        advice=f"Install it: {line}   (or point {VARIABLE} at its program)",
        tool="mosquitto",
    )


def find_client(name: str) -> tuple[Path, Mapping[str, str]]:
    """Find one of Mosquitto's own clients: where programs are, or beside the broker.

    Args:
        name: `mosquitto_pub` or `mosquitto_sub`.

    Returns:
        The program, and what its process needs in the environment beyond ours.

    Raises:
        ToolMissingError: It is nowhere. Some systems have the clients in a package of their own.
    """
    if found := processes.find_tool(name):
        return found, {}
    with suppress(LabError):  # without a broker of this machine's own it is not beside it
        broker = find_program()
        beside = (broker.path.parent, broker.path.parent.parent / "bin")
        if found := processes.find_tool(name, folders=beside):
            return found, broker.env
    package = "mosquitto-clients" if shutil.which("apt-get") else "mosquitto"
    raise ToolMissingError(
        f"{name}, a client of Mosquitto's own, is not on this machine.",
        advice=f"Install it: {processes.install_line(package)}",
        tool=name,
    )


def _candidates() -> Iterator[tuple[Path, str, Mapping[str, str]]]:
    if prefix := os.environ.get("CONDA_PREFIX"):
        folders = os.pathsep.join(str(Path(prefix, part)) for part in _CONDA)
        if found := shutil.which("mosquitto", path=folders):
            yield Path(found), "conda", {}
    if found := shutil.which("mosquitto"):
        yield Path(found), "PATH", {}
    if found := shutil.which("mosquitto", path=os.pathsep.join(_FOLDERS)):
        yield Path(found), "system package", {}
    if before := fetched(home()):
        yield before.program, "fetched before", before.env


def _checked(path: Path, source: str, env: Mapping[str, str]) -> Mosquitto:
    try:
        said = processes.run([path, "-h"], env=env, check=False, timeout=10).output
    except (OSError, ToolMissingError, ToolTimeoutError) as error:
        raise ToolMissingError(
            f"{path} (from {source}) is not a program that can be run.",
            advice=f"Point {VARIABLE} at mosquitto's program, or unset it.",
            tool="mosquitto",
        ) from error
    version = read_version(said, str(path), advice=f"Install a newer one, or point {VARIABLE} at it.")
    return Mosquitto(path, version, source, dict(env))


def read_version(said: str, what: str, *, advice: str) -> tuple[int, ...]:
    """Return the version that `mosquitto -h` tells.

    Args:
        said: Its output.
        what: What was asked, for the error.
        advice: What to do about an old one.

    Raises:
        ToolVersionError: It is older than 2.0, or tells none.
    """
    match = re.search(r"mosquitto version (\d+(?:\.\d+)+)", said)
    version = tuple(int(part) for part in match[1].split(".")) if match else ()
    if version < OLDEST:
        raise ToolVersionError(
            f"{what} is Mosquitto {match[1]}; 2.0 or newer is needed."
            if match
            else f"{what} does not say which Mosquitto it is: {(said.splitlines() or ['it said nothing'])[0]}",
            advice=advice,
            tool="mosquitto",
            found=match[1] if match else "unknown",
            needed="2.0",
        )
    return version
