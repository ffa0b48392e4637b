"""`labkit nbgrader`: the graded exercises for those who grade with nbgrader."""

from __future__ import annotations

from pathlib import Path

import click

from labkit.cli.lessons import course_with_sources


@click.group()
def nbgrader() -> None:
    r"""Take the graded exercises to nbgrader. `labkit grade` needs none of it, and defends itself better.

    \b
    python3 lab.py extras nbgrader
    labkit nbgrader source ~/class mtls-setup
    cd ~/class && nbgrader generate_assignment mtls-setup --create
    (hand out release/, put what comes back into submitted/STUDENT/mtls-setup/)
    labkit nbgrader clean ~/class mtls-setup
    nbgrader autograde mtls-setup && nbgrader generate_feedback mtls-setup && nbgrader export
    """


@nbgrader.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("slugs", nargs=-1)
def source(folder: Path, slugs: tuple[str, ...]) -> None:
    """Write nbgrader's source notebooks of all exercises (or only SLUGS) into the course folder FOLDER."""
    from labkit.course import notebooks as line
    from labkit.course.exercises import find
    from labkit.course.nbgrader import write_source

    for slug in slugs:
        find(slug)
    for each in line.sources(course_with_sources() / "notebooks" / "exercises" / "source"):
        if not slugs or each.slug in slugs:
            click.echo(f"wrote {write_source(each, folder)}")


@nbgrader.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("slug")
def clean(folder: Path, slug: str) -> None:
    """Mend what makes autograde stop for everybody: unreadable, renamed, duplicated and split. Originals are kept."""
    from labkit.course.nbgrader import clean as cleaned

    mended = cleaned(folder, slug)
    for each in mended:
        click.echo(f"{each.path.relative_to(folder)}: {each.what}")
    click.echo(f"{len(mended)} mended." if mended else "Nothing to mend.")
