"""`labkit check` and `labkit submit`: for students."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.cli.console import emit_json, json_option
from labkit.cli.lessons import course_folder
from labkit.errors import ClaimUnknownError, LabError, NotebookError, PackRefusedError
from labkit.workspace import Workspace, make_folder, write_atomic

if TYPE_CHECKING:
    from labkit.course.lesson import Check, CheckResult, Lesson


@click.command()
@click.argument("exercise")
@click.argument("names", nargs=-1)
@click.option("--student", help="Whose variant it is; remembered.")
@json_option
def check(exercise: str, names: tuple[str, ...], student: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Ask the checks of EXERCISE (or only NAMES, such as 3 or mtls-setup.3), without a notebook.

    They look at the files of your workspace, as the grader does. Lessons have checks too: those look at what is running
    as well, so shut the lesson's notebook down first.

    Exit status: 0 if all of them passed, 1 if one did not.
    """
    from labkit.course.catalogue import find_any

    lesson = find_any(exercise)
    chosen = [_find(lesson, name) for name in names] or list(lesson.checks)
    results = _judged(lesson, chosen, student)
    if as_json:
        emit_json([{"check": found.id, **asdict(result)} for found, result in results])
    else:
        from labkit.course.judging import shown

        for found, result in results:
            click.echo(str(shown(found, result)))
            click.echo()
        earned = sum(found.points * result.share for found, result in results)
        click.echo(f"{earned:g} of {sum(found.points for found in chosen):g} points.")
    return 0 if all(result.status == "passed" for _, result in results) else 1


def _judged(lesson: Lesson, chosen: list[Check], student: str | None) -> list[tuple[Check, CheckResult]]:
    from labkit.course.catalogue import whose
    from labkit.course.exercise import Exercise
    from labkit.course.judging import attempt, judged
    from labkit.course.work import Work

    workspace = Workspace.open()
    if isinstance(lesson, Exercise):
        who = whose(workspace, student)
        found = []
        for one in chosen:
            with Work(lesson, workspace.root, who) as work:
                found.append((one, attempt(one, work)))
        return found
    from labkit.course.lab import Lab

    lab = Lab(lesson, workspace, student=student)
    try:
        return [(one, judged(one, lab)) for one in chosen]
    finally:
        lab.close()


def _find(lesson: Lesson, name: str) -> Check:
    for found in lesson.checks:
        if name in {found.id, found.id.rpartition(".")[2]}:
            return found
    known = [found.id for found in lesson.checks]
    raise ClaimUnknownError(
        f"{lesson.slug} has no check {name!r}.",
        advice=f"It has: {', '.join(known)}.",
        claim=name,
        known=known,
    )


@click.command()
@click.argument("exercise")
@click.option(
    "--notebook", type=click.Path(dir_okay=False, path_type=Path), help="Another notebook than the course's."
)
@click.option("--student", help="Who you are: your id, as your instructor knows it; remembered.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the pack.")
@json_option
def submit(
    exercise: str,
    notebook: Path | None,
    student: str | None,
    out: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Pack EXERCISE to hand it in: the notebook, your answers, certificates and configuration.

    Never packed: private keys (an answer that holds one is refused, and named), and outputs of cells, which the grader
    makes again. Save the notebook first. The receipt is the pack's own hash: keep it, it says what you handed in.
    """
    from labkit import __version__
    from labkit.clock import SYSTEM_CLOCK
    from labkit.course import evidence, exercises
    from labkit.course.catalogue import whose
    from labkit.course.exercise import NOBODY
    from labkit.course.grading import packs

    exercises.find(exercise)
    workspace = Workspace.open()
    who = whose(workspace, student)
    if who == NOBODY:
        raise NotebookError(
            "Nobody has said who you are.",
            advice=f"Give your id, as your instructor knows it: labkit submit {exercise} --student ada",
            path=workspace.root,
        )
    path = notebook or _course_notebook(exercise)
    source = _without_outputs(path, exercise)
    files, kept_home = evidence.gather(workspace, exercise)
    packed = SYSTEM_CLOCK.now().isoformat(timespec="seconds")
    data = packs.write(
        exercise=exercise, student=who, packed=packed, version=__version__, notebook=source, evidence=files
    )
    target = out or Path(f"{who}_{exercise}.zip")
    make_folder(target.parent)
    write_atomic(target, data)
    told = {
        "pack": str(target),
        "receipt": packs.receipt(data),
        "student": who,
        "exercise": exercise,
        "packed": packed,
        "files": sorted(files),
        "left out": list(kept_home),
    }
    if as_json:
        emit_json(told)
        return
    click.secho(
        f"Packed {target} ({len(data) / 1024:.0f} KB): the notebook and {len(files)} files.", fg="green"
    )
    if kept_home:
        click.echo(f"Not packed, because it holds a key: {', '.join(kept_home[:5])}")
    click.echo(f"  exercise  {exercise}\n  student   {who}\n  packed    {packed}")
    click.secho(f"  receipt   {told['receipt']}", bold=True)
    click.echo("Hand the file in as it is, and keep the receipt.")


def _course_notebook(exercise: str) -> Path:
    try:
        path = course_folder() / "notebooks" / "exercises" / f"{exercise}.ipynb"
    except LabError:
        path = Path(f"{exercise}.ipynb")
    if not path.is_file():
        raise NotebookError(
            f"There is no {path}.",
            advice=f"Say where yours is: labkit submit {exercise} --notebook FILE",
            path=path,
        )
    return path


def _without_outputs(path: Path, exercise: str) -> bytes:
    from labkit.course.evidence import key_in
    from labkit.course.grading.intake import IntakeError, read

    try:
        found = read(path.read_bytes())
    except IntakeError as error:
        raise NotebookError(
            f"{path} can't be handed in: {error}.", advice="Save it in JupyterLab (File > Save Notebook), and try again.",
            path=path,
        ) from error  # fmt: skip
    if found.exercise and found.exercise != exercise:
        raise NotebookError(
            f"{path} is the notebook of {found.exercise}.",
            advice=f"labkit submit {found.exercise}",
            path=path,
        )
    for number, cell in enumerate(found.cells, start=1):
        if why := key_in(cell.source.encode()):
            raise PackRefusedError(
                f"Not packed: cell {number} of {path.name} holds {why}.",
                advice="Take it out of the cell and save the notebook: keys stay in files.",
                path=path,
                rule="private-key",
            )
    raw = json.loads(path.read_bytes().decode("utf-8-sig"))
    for cell in raw["cells"]:
        if cell.get("cell_type") == "code":
            cell["outputs"], cell["execution_count"] = [], None
        cell.pop("attachments", None)
    return (json.dumps(raw, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")
