"""`labkit board`: the virtual ESP32 that the real tools work on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.boards import files_of, folder_of, name_option
from labkit.cli.console import emit_json, emit_table, json_option, spoken
from labkit.cli.secure_boot import secure_boot
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.board import VirtualBoard
    from labkit.board.efuse import Efuses

CHIPS = ("esp32", "esp32c3")


@click.group()
def board() -> None:
    """Run a virtual ESP32 or ESP32-C3. It is a model of a board and runs no machine code.

    Unmodified esptool and espefuse work on it, and what they write is what boots. In a second terminal:

    \b
      labkit board run                                   prints its port and keeps it running
      esptool --port socket://127.0.0.1:PORT flash-id
      espefuse --port socket://127.0.0.1:PORT summary
      labkit board new                                   when it is bricked
    """  # noqa: D301 - click wants the character itself


def _revision(text: str | None) -> int | None:
    if text is None:
        return None
    major, _, minor = text.lower().removeprefix("v").partition(".")
    if not (major.isdigit() and (minor or "0").isdigit()):
        raise click.BadParameter(f"{text!r} is no revision; write it as v3.1", param_hint="--revision")
    return 100 * int(major) + int(minor or 0)


@board.command()
@name_option
@click.option("--chip", type=click.Choice(CHIPS), help="What a new board is; esp32 without it.")
@click.option("--revision", metavar="vX.Y", help="Its revision, where it is new: v3.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="The TCP port; a free one without it.")
@click.option(
    "--pty", type=click.Path(path_type=Path), help="Also a pseudo-terminal; the link to it goes here."
)
@click.option("--rfc2217", is_flag=True, help="Also a telnet port with reset lines, which is slow.")
@click.option(
    "--speed",
    type=click.FloatRange(1, 3600),
    default=1.0,
    show_default=True,
    help="How fast the node's time runs.",
)
@click.option("--no-application", is_flag=True, help="Boot, and start nothing then.")
@json_option
def run(  # noqa: PLR0917 - click passes options by name
    name: str, chip: str | None, revision: str | None, port: int | None, pty: Path | None,
    rfc2217: bool, speed: float, no_application: bool, as_json: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """Give a board power, and print its console until Ctrl-C. It listens on 127.0.0.1 only.

    Opening the port and saying SYNC, as esptool does, is holding BOOT and pressing RESET. Closing it is RESET. What
    boots after that runs the course's sensor node.
    """
    from labkit.board import VirtualBoard
    from labkit.node.application import Options, application

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is a Ctrl-C, in a script too
    node = None if no_application else application(Options(speed=speed))
    opened = VirtualBoard.open(
        folder_of(name), chip=chip, revision=_revision(revision), application=node,
        port=port or 0, terminal=pty.absolute() if pty else None, rfc2217=rfc2217,
    )  # fmt: skip
    with opened as running:
        try:
            _introduce(running, as_json=as_json)
            _print_console(running, quiet=as_json)
        except KeyboardInterrupt:
            click.echo("Power off.", err=True)


def _introduce(running: VirtualBoard, *, as_json: bool) -> None:
    if as_json:
        emit_json(
            {"chip": running.chip.name, "mac": running.mac, "ports": running.ports, "folder": running.folder}
        )
        return
    click.echo(
        f"A virtual {running.chip.title}, MAC {running.mac}. It runs no machine code. Stop it with Ctrl-C."
    )
    for url in running.ports.values():
        click.echo(f"  esptool --port {url} flash-id")


def _print_console(running: VirtualBoard, *, quiet: bool) -> None:
    shown = 0
    while True:
        for line in running.console.since(shown):
            shown += 1
            if not quiet:
                click.echo(line)
        running.check()
        threading.Event().wait(0.1)


@board.command()
@name_option
@click.option(
    "--chip", type=click.Choice(CHIPS), help="What it is; what the old one was, or esp32, without it."
)
@click.option("--revision", metavar="vX.Y", help="Its revision: v3.1.")
@json_option
def new(name: str, chip: str | None, revision: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Take a new board: blank flash, factory fuses, another MAC. Snapshots of the old one stay.

    On a real bench this costs a board. Here a brick is a lesson.
    """
    from labkit.board.board_files import BoardFiles
    from labkit.board.chips import find_chip
    from labkit.board.virtual_board import alone

    files = BoardFiles(folder_of(name))
    with alone(files.folder):
        chosen = chip or (files.card().chip if files.exists else "esp32")
        files.create(find_chip(chosen), revision=_revision(revision))
    card = files.card()
    if as_json:
        emit_json(card)
    else:
        click.echo(
            spoken(
                f"A new {find_chip(card.chip).title}, MAC {card.mac}. Run it: labkit board run --name {name}"
            )
        )


@board.command()
@name_option
@click.argument("snapshot_name", metavar="[SNAPSHOT]", required=False)
@click.option("--restore", is_flag=True, help="Bring the board back to SNAPSHOT.")
@json_option
def snapshot(name: str, snapshot_name: str | None, restore: bool, as_json: bool) -> None:  # noqa: FBT001
    """Keep the board's flash and fuses as SNAPSHOT, or go back to one; without a name, list them.

    An older snapshot of the same name is replaced. The board must not run meanwhile.
    """
    from labkit.board.virtual_board import alone

    files = files_of(name)
    if snapshot_name is None:
        found = files.snapshots()
        emit_json(found) if as_json else click.echo("\n".join(found) or "No snapshots yet.")
        return
    with alone(files.folder):
        if restore:
            files.restore(snapshot_name)
        else:
            try:
                files.snapshot(snapshot_name)
            except ValueError as error:
                raise click.BadParameter(str(error)) from error
    done = "is back at" if restore else "is kept as"
    emit_json({"board": name, "snapshot": snapshot_name}) if as_json else click.echo(
        f"{name} {done} {snapshot_name}."
    )


@board.command("efuse-map")
@name_option
@click.option("--all", "everything", is_flag=True, help="Fields that are zero, too.")
@json_option
def efuse_map(name: str, everything: bool, as_json: bool) -> None:  # noqa: FBT001
    """Print which fuses are burned, and which can still be read or burned.

    Keys are shown by how many of their fuses are burned, never by their bits.
    """
    from labkit import display

    efuses = files_of(name).load()[1]
    rows = [_row(efuses, number) for number in range(len(efuses.fields))]
    rows = [row for row in rows if everything or row["value"]]
    if as_json:
        emit_json(rows)
        return
    click.echo(str(display.efuse_map(efuses)))
    click.echo()
    flags = [(row["name"], row["value"], row["readable"], row["writable"]) for row in rows]
    emit_table(("field", "value", "a program can read it", "can be burned"), flags)


def _row(efuses: Efuses, number: int) -> dict[str, Any]:
    field = efuses.fields[number]
    value = efuses.field(field.name)
    secret = field.length > 128
    shown = f"{value.bit_count()} of {field.length} fuses" if secret and value else hex(value) if value else 0
    return {
        "name": field.name,
        "value": shown,
        "readable": "yes" if efuses.readable(field.block) & field.mask else "no",
        "writable": "yes" if efuses.writable(field.block) & field.mask else "no",
    }


@board.command()
@json_option
def ports(as_json: bool) -> None:  # noqa: FBT001
    """List the boards of the workspace, and the ports of those that run."""
    from labkit.board import running_at
    from labkit.board.board_files import BoardFiles

    boards = Workspace.open().path("boards")
    found = []
    for folder in sorted(boards.iterdir()) if boards.is_dir() else []:
        files = BoardFiles(folder)
        if files.exists:
            card = files.card()
            found.append(
                {
                    "name": folder.name,
                    "chip": card.chip,
                    "mac": card.mac,
                    "ports": running_at(folder).get("ports", {}),
                }
            )
    if as_json:
        emit_json(found)
        return
    rows = [
        (one["name"], one["chip"], one["mac"], "  ".join(one["ports"].values()) or "off") for one in found
    ]
    if not rows:
        click.echo(spoken("No boards yet. Make one, and give it power: labkit board run"))
        return
    emit_table(("board", "chip", "MAC", "ports"), rows)


@board.command()
@name_option
def console(name: str) -> None:
    """Follow what a running board says, from its last reset on, until Ctrl-C or until it stops."""
    from labkit.board.follow import follow

    try:
        for line in follow(files_of(name).folder):
            click.echo(line)
    except KeyboardInterrupt:
        return
    click.echo("The board was switched off.", err=True)


board.add_command(secure_boot)
