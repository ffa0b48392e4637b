"""`labkit run`, `labkit lab`, `labkit notebooks`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.cli.console import emit_json, json_option
from labkit.errors import NotebookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.course.runner import Report


def course_folder() -> Path:
    """Return the course's folder: `LABKIT_COURSE`, or the nearest one around us that holds the notebooks.

    Raises:
        NotebookError: There is none.
    """
    here = Path.cwd()
    chosen = os.environ.get("LABKIT_COURSE")
    for folder in [Path(chosen)] if chosen else [here, *here.parents]:
        notebooks = folder / "notebooks"
        if (notebooks / "source").is_dir() or (notebooks / "00_start-here.ipynb").is_file():
            return folder
    raise NotebookError(
        "The course's notebooks are not here.",
        advice="Go to the course's folder (the one with lab.py), or set LABKIT_COURSE to it.",
        path=here,
    )


def course_with_sources() -> Path:
    """Return the course's folder, which must be one with the sources of the notebooks.

    Raises:
        NotebookError: It is a copy for students, which has none.
    """
    course = course_folder()
    if not (course / "notebooks" / "source").is_dir():
        raise NotebookError(
            "This copy of the course is for students; the sources of the notebooks are not in it.",
            advice="labkit lab opens the notebooks.",
            path=course,
        )
    return course


@click.command()
@click.argument("slugs", nargs=-1)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write; build/run in the course without it."
)
@json_option
def run(slugs: tuple[str, ...], out: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click passes by position
    """Execute every lesson (or only SLUGS) without a person, and write a report.

    Executed notebooks, index.html and report.json go to build/run/. Your own workspace is not touched.

    Exit status: 0 if every claim held, 1 if one did not, 3 if a lesson was skipped, 130 after Ctrl-C.
    """
    from labkit.course.lessons import find
    from labkit.course.runner import run_lessons

    for slug in slugs:
        find(slug)
    course = course_with_sources()
    target = (out or course / "build" / "run").absolute()
    with progress() as on_event:
        report = run_lessons(course / "notebooks" / "source", target, slugs=slugs, on_event=on_event)
    if as_json:
        emit_json(report.to_json())
    else:
        _sum_up(report, target)
    return report.exit_status


@contextmanager
def progress() -> Iterator[Callable[[str, int, int, str], None]]:
    """Tell of lessons that run: a live line on a terminal, plain lines elsewhere. Yields what to call with each event."""
    if not sys.stderr.isatty():
        started = time.monotonic()

        def plain(slug: str, _cell: int, _total: int, what: str) -> None:
            if what in {"starting", "done"}:
                click.echo(f"{time.monotonic() - started:6.1f} s  {slug}: {what}", err=True)

        yield plain
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing")

        def live(slug: str, cell: int, total: int, what: str) -> None:
            where = f"cell {cell} of {total}" if cell else ""
            bar.update(task, description=f"[bold]{slug}[/]  {where}  [dim]{escape(what[:60])}[/]")

        yield live


def _sum_up(report: Report, target: Path) -> None:
    for lesson in report.lessons:
        colour = "green" if lesson.status == "passed" else "red"
        held = sum(claim.held for claim in lesson.claims)
        click.secho(
            f"{lesson.slug}: {lesson.status}, {held} of {len(lesson.claims)} claims held, {lesson.seconds:.1f} s",
            fg=colour,
        )
        for claim in lesson.claims:
            click.echo(f"  {'held' if claim.held else 'DID NOT HOLD':<13}{claim.text}")
            if not claim.held:
                click.echo(f"               {claim.evidence}")
        if lesson.problem:
            click.secho(f"  {lesson.problem}", fg="red")
    click.echo(f"Read it: {target / 'index.html'}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; a container's is another.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def lab(host: str, words: tuple[str, ...]) -> int:
    """Open JupyterLab on the course. WORDS go to JupyterLab, for example --no-browser."""
    course = course_folder()
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    argv = [
        sys.executable, "-m", "jupyterlab", *root, f"--ServerApp.ip={host}", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--ServerApp.root_dir={course / 'notebooks'}", "--LabApp.default_url=/lab/tree/00_start-here.ipynb", *words,
    ]  # fmt: skip
    # A page of settings of our own, read after the user's: no pop-up that asks about news.
    settings = Path(__file__).resolve().parent.parent / "course" / "jupyter"
    paths = [str(settings), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
    # Kernels run it when they begin.
    os.environ.setdefault("PYTHONSTARTUP", str(settings.parent / "startup.py"))
    os.environ.pop("LABKIT_CALLED_AS", None)  # in JupyterLab's terminal it is `labkit`
    if os.name == "posix":
        sys.stdout.flush()
        os.execv(argv[0], argv)  # noqa: S606 - JupyterLab takes our place, signals and all
    return subprocess.run(argv, check=False).returncode


@click.group()
def notebooks() -> None:
    """Make the student copies from notebooks/source, or check that none has drifted."""


def _shelves() -> list[tuple[Path, Path]]:
    """Return where sources are and where their copies go: lessons, then exercises."""
    folder = course_with_sources() / "notebooks"
    return [(folder / "source", folder), (folder / "exercises" / "source", folder / "exercises")]


@notebooks.command()
def build() -> None:
    """Write the student copies: no solutions, no outputs."""
    from labkit.course import notebooks as line

    changed = [path for source, target in _shelves() for path in line.build(source, target)]
    for path in changed:
        click.echo(f"wrote {path.name}")
    click.echo(f"{len(changed)} changed." if changed else "Nothing has changed.")


@notebooks.command()
def check() -> None:
    """Compare the committed copies with their sources; exit status 1 where one has drifted."""
    from labkit.course import notebooks as line

    count = sum(line.check(source, target) for source, target in _shelves())
    click.echo(f"{count} notebooks are what their sources say.")


@notebooks.command()
@click.argument("folder", type=click.Path(path_type=Path))
def solved(folder: Path) -> None:
    """Write solved copies of all lessons into FOLDER, and of exercises below it. They are for you, not for students."""
    from labkit.course import notebooks as line
    from labkit.workspace import make_folder, write_atomic

    for shelf, copies in _shelves():
        within = copies.relative_to(
            course_with_sources() / "notebooks"
        )  # as in the course: links lead from one to another
        make_folder(folder / within)
        for source in line.sources(shelf):
            write_atomic(folder / within / source.notebook_name, line.solved(source))
            click.echo(f"wrote {(within / source.notebook_name).as_posix()}")
