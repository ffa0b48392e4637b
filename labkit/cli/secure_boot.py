"""`labkit board secure-boot`: plan the burning of fuses, burn them with the real espefuse, and look what is burned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.cli.boards import files_of, name_option
from labkit.cli.console import emit_json, emit_table, json_option, spoken

if TYPE_CHECKING:
    from labkit.board.secure_boot_plan import Step
    from labkit.firmware.ports import SerialPort

keys_option = click.option(
    "--key", "keys", multiple=True, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A key that is trusted, private or public, in PEM. The ESP32-C3 takes up to three.",
)  # fmt: skip
lock_option = click.option("--lock", is_flag=True, help="Close debugger and serial loader too.")


@click.group("secure-boot")
def secure_boot() -> None:
    """Make a board start only what your key signed. Fuses are for ever, so plan first.

    \b
      espsecure generate-signing-key --version 2 --scheme rsa3072 key.pem
      espsecure sign-data --version 2 --keyfile key.pem -o boot-signed.bin boot.bin     and the application
      labkit board secure-boot plan --key key.pem       what is burned, why in this order, and what would boot
      labkit board secure-boot burn --key key.pem       with the real espefuse, on the board that runs
      labkit board secure-boot status
    """  # noqa: D301 - click wants the character itself


def _steps(name: str, keys: tuple[Path, ...], *, lock: bool) -> tuple[Step, ...]:
    from labkit.board.secure_boot_plan import plan as planned
    from labkit.firmware.tools import key_digest

    flash, efuses = files_of(name).load()
    return planned(flash, efuses, [key_digest(key) for key in keys], lock=lock)


@secure_boot.command()
@name_option
@keys_option
@lock_option
@json_option
def plan(name: str, keys: tuple[Path, ...], lock: bool, as_json: bool) -> None:  # noqa: FBT001
    """Say what would be burned, in which order, and what the board would say after each step. Nothing is burned.

    Each step is rehearsed on a copy of flash and fuses; so are the usual mistakes.
    """
    from labkit.board.secure_boot_plan import mistakes as tried
    from labkit.firmware.tools import key_digest

    steps = _steps(name, keys, lock=lock)
    flash, efuses = files_of(name).load()
    wrong = tried(flash, efuses, key_digest(keys[0]))
    if as_json:
        told = [
            {"title": s.title, "why": s.why, "espefuse": list(s.words), "after": s.after.to_json()}
            for s in steps
        ]
        bad = [{"title": one.title, "why": one.why, "after": one.after.to_json()} for one in wrong]
        emit_json({"steps": told, "mistakes": bad})
        return
    for number, step in enumerate(steps, 1):
        click.echo(f"{number}. {step.title}: espefuse {' '.join(step.words)}")
        click.echo(f"   {step.why}")
        click.secho(f"   then a reset: {step.after}", fg="green" if step.after.accepted else "red")
    if not steps[-1].after.accepted:
        click.echo(
            "\nNothing was burned, and nothing should be yet: this would brick the board. Next, for bootloader and "
            f"application:\n  espsecure sign-data --version 2 --keyfile {keys[0]} -o SIGNED.bin IMAGE.bin\n"
            "  esptool --port PORT write-flash OFFSET SIGNED.bin"
        )
        return
    click.echo("\nWhat has bricked boards before, tried on a copy of this one:")
    emit_table(("mistake", "a reset then", "because"), [(one.title, one.after, one.why) for one in wrong])
    words = [f"--key {key}" for key in keys] + ["--lock"] * lock
    click.echo(
        spoken(f"\nNothing was burned. Next: labkit board secure-boot burn --name {name} {' '.join(words)}")
    )


@secure_boot.command()
@name_option
@keys_option
@lock_option
@click.option("--port", help="A real board's port. Its steps can't be rehearsed.")
@click.option("--mac", help="The MAC of the real board, typed by you: what is burned stays burned.")
@click.option("--anyway", is_flag=True, help="Burn although the board would not boot after it.")
def burn(  # noqa: PLR0917 - click passes options by name
    name: str, keys: tuple[Path, ...], lock: bool, port: str | None, mac: str | None, anyway: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """Burn the plan's steps with the real espefuse, one after the other.

    The virtual board NAME must run. On a real board, --port names it and --mac proves that you mean it; the steps are
    those of a board like NAME.
    """
    from labkit.errors import BurnRefusedError
    from labkit.firmware.ports import run_on_port

    steps = _steps(name, keys, lock=lock)
    target = _port(name, port, mac)
    if not steps[-1].after.accepted and target.virtual and not anyway:
        raise BurnRefusedError(
            f"After the last step the board would not boot: {steps[-1].after}.",
            advice="Write signed images first; see labkit board secure-boot plan. --anyway burns all the same.",
            rule="would-not-boot",
        )
    chip = files_of(name).card().chip
    with click.progressbar(
        steps, label="Burning", item_show_func=lambda step: step.title if step else ""
    ) as bar:
        for step in bar:
            words = [str(keys[int(word[3:])]) if word.startswith("KEY") else word for word in step.words]
            run_on_port("espefuse", target, "--chip", chip, "--do-not-confirm", *words)
    click.echo(spoken(f"Burned. Look: labkit board secure-boot status --name {name}"))


def _port(name: str, port: str | None, mac: str | None) -> SerialPort:
    from labkit.board import running_at
    from labkit.errors import BoardGoneError
    from labkit.firmware.ports import SerialPort, real_port

    if port is not None:
        found = real_port(port)
        return found.unlock(mac) if mac else found
    ports = running_at(files_of(name).folder).get("ports", {})
    if "socket" not in ports:
        raise BoardGoneError(
            f"The board {name} does not run.", advice=f"Start it: labkit board run --name {name}"
        )
    return SerialPort(ports["socket"], virtual=True)


@secure_boot.command()
@name_option
@json_option
def status(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Say what the board NAME's fuses say: which keys it trusts, and what is still open."""
    from labkit.board.secure_boot_plan import status as told

    found = told(files_of(name).load()[1])
    if as_json:
        emit_json(found)
        return
    rows = [(label, _shown(value)) for label, value in found.items()]
    emit_table(("fuses say", "value"), rows)


def _shown(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
