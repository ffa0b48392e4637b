"""`labkit grade` and `labkit release`: for who teaches the course."""

from __future__ import annotations

import datetime as dt
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import emit_json, emit_table, json_option, spoken
from labkit.cli.lessons import course_folder
from labkit.errors import GraderFaultError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.course.grading.reporting import Graded

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("submissions", type=_FOLDER)
@click.option("--csv", "table", type=_FILE, help="Write the table here (grades.csv without it).")
@click.option("--html", "pages", type=_FOLDER, help="Write feedback here: a page a student and exercise.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), help="Submissions at a time; as many as cores without it."
)
@click.option("--exercise", "exercises", multiple=True, help="Grade only this one; may be given again.")
@click.option(
    "--roster", type=_FILE, help="Who is in the class: a CSV file with columns student,name,email,number."
)
@click.option("--extra-checks", "extra", type=_FOLDER, help="Checks of your own, which students never get.")
@click.option("--regrade", is_flag=True, help="Judge again without executing again: a check was mended.")
@click.option("--fresh", is_flag=True, help="Execute again what was executed before.")
@click.option("--rubrics", type=_FILE, help="The sheet of written answers, with your points in it.")
@click.option("--deadline", metavar="ISO", help="Such as 2026-12-01T12:00+01:00; the file's own time counts.")
@click.option(
    "--late-penalty",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Part of the points a begun day takes: 0.1",
)
@click.option("--lms", type=click.Choice(["moodle", "canvas"]), help="Write a table for this platform too.")
@click.option("--keep", type=_FOLDER, help="Where executed work is kept (SUBMISSIONS.graded without it).")
@click.option(
    "--sandbox", "wanted", default="auto", type=click.Choice(["auto", "bubblewrap", "podman", "docker", "none"]),
    help="What confines notebooks.",
)  # fmt: skip
@click.option(
    "--cell-timeout", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds a cell."
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=600.0, show_default=True, help="Seconds a notebook."
)
@click.option(
    "--check-timeout", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds a check."
)
@click.option("--memory", type=click.IntRange(256), default=1024, show_default=True, help="MB a submission.")
@json_option
def grade(**options: Any) -> int:
    """Grade a folder of SUBMISSIONS: packs of `labkit submit` and bare notebooks, in any usual layout.

    Each notebook is executed in a fresh folder, confined, by nbclient; everything that came of it is ended; then another
    process judges the files that it left. What a notebook prints, or says of itself, earns nothing. Nobody's submission
    can stop the batch: whatever it does, it ends in a row with a reason.

    \b
      labkit grade submissions/ --csv grades.csv --html feedback/
      labkit grade submissions/ --regrade            a check was mended: judge again, execute nothing
      labkit grade submissions/ --rubrics rubrics.csv    add the points that a person gave

    Written answers are for a person: fill the points in the rubrics.csv that stands beside the table, and name it with
    --rubrics. After Ctrl-C the same command goes on where it stopped. What was executed is kept in SUBMISSIONS.graded/,
    which holds students' work: keep it private, and delete it when the term is over.

    Exit status: 0 if every submission has a row that stands, 1 if the grader itself failed on one, 130 after Ctrl-C.
    """  # noqa: D301 - click wants the character itself
    from labkit.course.grading.reporting import grade_folder

    sandbox = _sandbox(options["wanted"])
    with _progress() as on_event:
        try:
            graded = grade_folder(
                options["submissions"],
                table=options["table"] or Path("grades.csv"),
                pages=options["pages"],
                keep=options["keep"],
                roster=options["roster"],
                filled=options["rubrics"],
                only=_known(options["exercises"]),
                penalty=options["late_penalty"],
                lms=options["lms"],
                rules=_rules(options, sandbox),
                on_event=on_event,
            )
        except KeyboardInterrupt:
            click.echo("Stopped; nothing runs any more. The same command goes on where it stopped.", err=True)
            return 130
    if options["as_json"]:
        emit_json(graded.to_json())
    else:
        _sum_up(graded)
    return 1 if graded.faults else 0


def _sandbox(wanted: str) -> Any:
    from labkit.course.grading.sandbox import choose

    sandbox = choose(wanted)
    if sandbox.confines:
        click.echo(f"Sandbox: {sandbox.why}.", err=True)
    elif wanted in {"auto", "none"}:
        click.secho(
            f"NO SANDBOX: {sandbox.why}.\n  Notebooks run as you: they can read your files, the solutions and other "
            "submissions, and change what they like.\n  Grade only work of people you trust so, or on a machine that "
            "has nothing else (Linux with bubblewrap).",
            fg="yellow",
            err=True,
        )
    else:
        raise GraderFaultError(
            f"{wanted} can't be used: {sandbox.why}.", advice="labkit grade … --sandbox auto", place=wanted
        )
    return sandbox


def _rules(options: dict[str, Any], sandbox: Any) -> Any:
    from labkit.course.grading.batch import Rules, require_extra
    from labkit.course.grading.confined import Limits
    from labkit.course.grading.execution import Patience

    if options["extra"]:
        require_extra(options["extra"])
    patterns = _patterns()
    return Rules(
        sandbox=sandbox,
        patience=Patience(options["cell_timeout"], options["timeout"], options["check_timeout"]),
        limits=Limits(memory=options["memory"] << 20),
        jobs=options["jobs"] or min(os.cpu_count() or 2, 16),
        deadline=_moment(options["deadline"]),
        extra=options["extra"],
        patterns=patterns,
        fresh=options["fresh"],
        rejudge=options["regrade"],
    )


def _patterns() -> Path | None:
    try:
        return course_folder() / "notebooks" / "exercises"
    except LabError:
        return None  # labkit without the course's folder: nothing is known of what was given


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; such as 2026-12-01T12:00+01:00", param_hint="--deadline"
        ) from None
    return moment.astimezone()  # without an offset it is the time of this machine


def _known(slugs: tuple[str, ...]) -> tuple[str, ...]:
    from labkit.course.exercises import find

    for slug in slugs:
        find(slug)
    return slugs


@contextmanager
def _progress() -> Iterator[Callable[[str, str, str, int, int], None]]:
    if not sys.stderr.isatty():

        def plain(student: str, exercise: str, what: str, done: int, of: int) -> None:
            if what in {"done", "kept"}:
                click.echo(f"{done} of {of}  {student}  {exercise}  {what}", err=True)

        yield plain
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        busy: dict[tuple[str, str], str] = {}

        def live(student: str, exercise: str, what: str, done: int, of: int) -> None:
            busy[student, exercise] = what
            if what in {"done", "kept"}:
                del busy[student, exercise]
            names = ", ".join(f"{who} {word}" for (who, _), word in list(busy.items())[:4])
            bar.update(task, completed=done, total=of, description=f"[dim]{escape(names[:80])}[/]")

        yield live


def _sum_up(graded: Graded) -> None:
    rows = [
        (
            result.student, result.exercise or "?", result.status,
            "" if result in graded.faults else f"{mark.total:g} of {mark.most:g}",
            (result.reason or "; ".join(result.notes))[:70],
        )
        for result, mark in graded.rows
    ]  # fmt: skip
    emit_table(("student", "exercise", "status", "points", "reason"), rows)
    waiting = sum(len(mark.waiting) for _, mark in graded.rows)
    if waiting:
        click.echo(
            f"{waiting} written answers wait for a person: fill {graded.written[1]}, then --rubrics it."
        )
    for path in graded.written:
        click.echo(f"Wrote {path}")
    if graded.faults:
        click.secho(
            spoken(f"The grader failed on {len(graded.faults)}; the same command tries those again."),
            fg="red",
        )


@click.command()
@click.argument("folder", type=_FOLDER)
def release(folder: Path) -> None:
    """Export the course into FOLDER (new or empty), as students get it.

    Left out: the sources of the notebooks with their solutions, the tests, sample answers, the instructor's guide. The
    copy runs by itself: python3 lab.py lab. Variants, not secrecy, carry a grade: checks are part of labkit, and open.
    """
    from labkit.course.grading.release import export

    count = export(course_folder(), folder)
    click.echo(
        f"{count} files in {folder}. Put it under version control, or zip it; then:  python3 lab.py doctor"
    )
