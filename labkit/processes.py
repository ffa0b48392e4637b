"""Child processes: find a program, run it with a time limit, and say clearly what went wrong.

Programs are given argument lists, never a shell line. What they print is captured. esptool and espefuse are
GPL programs and are only ever run this way, never imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import ToolFailedError, ToolMissingError, ToolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Completed:
    """A child process that has ended.

    Attributes:
        argv: What was run.
        returncode: Its exit status.
        stdout: What it printed, decoded leniently.
        stderr: What it complained about, decoded leniently.
        seconds: How long it took.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """Everything it said, complaints last."""
        return "\n".join(part for part in (self.stdout.strip(), self.stderr.strip()) if part)


def find_tool(name: str, *, folders: Sequence[Path | str] = (), variable: str | None = None) -> Path | None:
    """Find a program: first an environment variable, then our own Python's scripts, PATH, and more folders.

    Args:
        name: The program's name without extension.
        folders: Where to look after PATH.
        variable: An environment variable that overrides the search when it is set.

    Returns:
        The program's path, or None.
    """
    if variable and (chosen := os.environ.get(variable)):
        return Path(chosen) if os.access(chosen, os.X_OK) else None
    scripts = str(Path(sys.executable).parent)
    places = [scripts, *os.environ.get("PATH", os.defpath).split(os.pathsep), *map(str, folders)]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else None


def require_tool(name: str, *, folders: Sequence[Path | str] = (), variable: str | None = None) -> Path:
    """Find a program like `find_tool`, and insist.

    Raises:
        ToolMissingError: It is not on this machine; the advice is the install line for this system.
    """
    found = find_tool(name, folders=folders, variable=variable)
    if found is None:
        raise ToolMissingError(
            f"{name} is not on this machine.", advice=f"Install it: {install_line(name)}", tool=name
        )
    return found


def install_line(package: str) -> str:
    """Return the command that installs a package on the system at hand."""
    if sys.platform == "darwin":
        return f"brew install {package}"
    if sys.platform == "win32":
        return f"winget install {package}"
    managers = {
        "apt-get": f"sudo apt install {package}",
        "dnf": f"sudo dnf install {package}",
        "pacman": f"sudo pacman -S {package}",
        "zypper": f"sudo zypper install {package}",
        "apk": f"sudo apk add {package}",
    }
    for manager, line in managers.items():
        if shutil.which(manager):
            return line
    return f"install the package {package} of your system"


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float = 30.0,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: The program and its arguments.
        timeout: Seconds until it is killed.
        stdin: What it reads. There is never a terminal, so nothing can stop to ask.
        env: Environment variables added to ours. Never put a secret on `argv`: others can read it.
        cwd: Where it runs.
        check: Raise when it exits with anything but 0.

    Returns:
        What it said.

    Raises:
        ToolMissingError: There is no such program.
        ToolTimeoutError: It took too long and was killed.
        ToolFailedError: It exited with a status other than 0 and `check` is set.
    """
    words = tuple(str(word) for word in argv)
    tool = Path(words[0]).name
    started = time.monotonic()
    try:
        ended = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolMissingError(
            f"{tool} is not on this machine.", advice=f"Install it: {install_line(tool)}", tool=tool
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolTimeoutError(
            f"{tool} did not finish in {timeout:g} s and was stopped.",
            advice="Try again; if the machine is busy, close other programs first.",
            tool=tool,
            argv=words,
            seconds=timeout,
        ) from error
    completed = Completed(
        words,
        ended.returncode,
        ended.stdout.decode(errors="replace"),
        ended.stderr.decode(errors="replace"),
        time.monotonic() - started,
    )
    if check and completed.returncode != 0:
        raise ToolFailedError(
            f"{tool} ended with status {completed.returncode}: {_last_line(completed.output)}",
            advice=f"Its whole output is in the error's `output`. It was run as: {' '.join(words)}",
            tool=tool,
            argv=words,
            returncode=completed.returncode,
            output=completed.output,
        )
    return completed


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
