"""What a notebook says when something goes wrong that happens to everybody."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOADED = time.time()

_ABOVE = "Run ▸ Run All Above Selected Cell"


def install() -> None:
    """Show our own errors in this kernel as message and advice, and help with names that are not there yet.

    Harmless outside of IPython, and when done twice. `LABKIT_DEBUG` leaves IPython's own tracebacks in place.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None or os.environ.get("LABKIT_DEBUG"):
        return

    def handler(
        shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: int | None = None
    ) -> list[str]:
        if isinstance(error, LabError):
            lines = [f"{type(error).__name__}: {error.message}", f"  {error.advice}"]
        else:
            lines = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
            lines += ["", about_name(getattr(error, "name", None), shell.user_ns)]
        # IPython leaves showing to the handler. This way it is an error to every front end, not words on stderr.
        shell._showtraceback(kind, error, lines)  # noqa: SLF001 - the hook that kernels themselves override
        return lines

    shell.set_custom_exc((LabError, NameError), handler)


def about_name(name: str | None, known: Mapping[str, Any]) -> str:
    """Return what to do about a name that a notebook does not know.

    Args:
        name: The name, if the error has one.
        known: What the notebook knows.
    """
    if "lab" not in known:
        return f"The lab is not open in this kernel, which is new or was restarted. Run the cells above: {_ABOVE}."
    return (
        f"Is {name or 'it'} made in a cell further up that has not run since the kernel began? {_ABOVE}. "
        "If not: is it spelt as it is there?"
    )


def outdated(package: Path, since: float) -> bool:
    """Return whether a package's files were changed after a time, so that what is in memory may be older.

    Args:
        package: Its folder.
        since: Seconds since 1970.
    """
    return any(path.stat().st_mtime > since for path in package.rglob("*.py"))


def kernel_is_old() -> bool:
    """Return whether the course was brought up to date after this kernel loaded it."""
    return outdated(Path(__file__).parents[1], _LOADED)
