"""Build the site: execute what has to be, lay out the pages, run Sphinx with warnings as errors."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from labkit.course.site.executed import executed_lessons
from labkit.course.site.staging import stage
from labkit.errors import SiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import click


def build(
    course: Path,
    commands: click.Group,
    *,
    out: Path | None = None,
    slugs: Sequence[str] = (),
    on_event: Callable[[str, int, int, str], None] = lambda *_: None,
) -> Path:
    """Build the site.

    Args:
        course: The course's folder.
        commands: The command line, whose help becomes pages.
        out: Where to write; build/site in the course without it.
        slugs: Which lessons to show; all without any.
        on_event: Told of lessons that have to be executed, and of Sphinx.

    Returns:
        The folder of the pages.

    Raises:
        SiteError: Sphinx is not here, a lesson failed, or Sphinx had a warning.
    """
    if importlib.util.find_spec("sphinx") is None or importlib.util.find_spec("myst_nb") is None:
        raise SiteError(
            "Sphinx is not here.",
            advice="python3 lab.py extras site, or: pip install 'labkit[site]'",
            what="sphinx",
        )
    out = out or course / "build" / "site"
    lessons = executed_lessons(course, slugs, on_event=on_event)
    on_event("pages", 0, 0, "laying out")
    stage(course, lessons, commands, out / "source")
    on_event("pages", 0, 0, "Sphinx")
    _sphinx(course, out)
    on_event("pages", 0, 0, "done")
    return out / "html"


def _sphinx(course: Path, out: Path) -> None:
    jobs = (os.cpu_count() or 1) + 1  # Sphinx counts the process that deals them out
    command = [
        sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", f"--jobs={jobs}",
        "-D", f"html_static_path={out / 'source' / '_static'}",  # with what came from npm
        "-b", "html", "-c", str(course / "docs"), "-d", str(out / "doctrees"), str(out / "source"), str(out / "html"),
    ]  # fmt: skip
    # A library that warns at its import is not a fault of the pages.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    child = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = child.communicate()
    except BaseException:
        _end(child)  # its workers too, which would go on without it
        raise
    if child.returncode != 0:
        said = [line for line in errors.splitlines() if line.strip()]
        raise SiteError(
            "Sphinx was not content:\n" + "\n".join(said[-40:]),
            advice="Mend what it names, then: labkit site build",
            what="sphinx",
        )


def _end(child: subprocess.Popen[str]) -> None:
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
