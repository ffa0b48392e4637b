"""`labkit status`, `labkit reset`, `labkit doctor`."""

from __future__ import annotations

import click

from labkit.cli.console import emit_json, emit_table, json_option, spoken
from labkit.workspace import Workspace


@click.command()
@json_option
def status(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Show what the lab holds and what is running."""
    from labkit.course import state

    found = state.describe(Workspace.open())
    if as_json:
        emit_json(found)
        return
    emit_table(("what", "state"), [(row.name, row.value) for row in found])


@click.command()
@click.option(
    "--to", "checkpoint", metavar="NAME", help="Go back to this checkpoint instead of starting over."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(checkpoint: str | None, yes: bool) -> None:  # noqa: FBT001
    """Start over: stop the broker, remove keys, certificates and progress. Your own files stay.

    \b
      labkit reset                start over
      labkit reset --to start     go back to the checkpoint `start`
    """  # noqa: D301 - click wants the character itself
    from contextlib import ExitStack

    from labkit import broker
    from labkit.board.virtual_board import alone
    from labkit.course.state import board_folders

    workspace = Workspace.open()
    with workspace.hold("labkit reset"), ExitStack() as boards:
        for folder in board_folders(workspace):
            boards.enter_context(alone(folder))  # a board that runs would write its state into what is gone
        if not yes:
            lost = len(workspace.files())
            click.confirm(f"{workspace.root}: {lost} files that the lab made will go. Continue?", abort=True)
        broker.stop_all(workspace.path("broker"))
        if checkpoint:
            workspace.restore(checkpoint)
            click.echo(f"Back at {checkpoint}.")
        else:
            workspace.reset()
            click.echo(spoken("Empty again. Next: labkit ca init, or open a lesson."))


@click.command()
@click.option("--no-fetch", is_flag=True, help="Only look; download nothing.")
@json_option
def doctor(no_fetch: bool, as_json: bool) -> int:  # noqa: FBT001
    """Look for every tool the course uses and say what is missing, and how to get it.

    Mosquitto is fetched without root on Debian and Ubuntu when it is missing. Exit status 1 if a tool is
    missing that a lesson can't do without.
    """
    from labkit.course import state

    tools = state.tools(fetch=not no_fetch)
    if as_json:
        emit_json(tools)
    else:
        emit_table(
            ("tool", "version", "where", "for"), [(t.name, t.version, t.where, t.purpose) for t in tools]
        )
        for tool in tools:
            if tool.advice:
                click.secho(f"{tool.name}: {tool.advice}", fg="yellow")
    if any(tool.required and not tool.found for tool in tools):
        return 1
    return 0
