"""`labkit site`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from labkit.cli.lessons import course_folder, course_with_sources, progress


@click.group()
def site() -> None:
    """Build the course as a site, with every lesson executed; look at it.

    \b
      labkit site build      pages in build/site/html
      labkit site serve      the same, shown on 127.0.0.1
    """  # noqa: D301 - click wants the character itself


@site.command()
@click.argument("slugs", nargs=-1)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write; build/site in the course without it."
)
def build(slugs: tuple[str, ...], out: Path | None) -> None:
    """Build the site, of all lessons or only of SLUGS. A warning of Sphinx is an error.

    Lessons come as `labkit run` left them in build/run; what is missing there, or older than its source, is
    executed first. The pages load nothing from a network, and can be opened from disk.
    """
    from labkit.cli import cli
    from labkit.course.lessons import find
    from labkit.course.site import build as build_site

    for slug in slugs:
        find(slug)
    started = time.monotonic()
    with progress() as on_event:
        folder = build_site(
            course_with_sources(), cli, out=out and out.absolute(), slugs=slugs, on_event=on_event
        )
    click.echo(f"Read it: {folder / 'index.html'} ({time.monotonic() - started:.0f} s)")


@site.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; a free port without it."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where the site was built; build/site without it."
)
def serve(port: int, out: Path | None) -> None:
    """Show the built site on 127.0.0.1 until Ctrl-C. Nobody else can reach it."""
    from labkit.course.site import serve as serve_site

    folder = (out.absolute() if out else course_folder() / "build" / "site") / "html"
    serve_site(folder, port=port, on_ready=lambda url: click.echo(f"{url}  (Ctrl-C ends it)"))
