"""`labkit firmware build|flash|monitor`: the firmware in `firmware/`, built by ESP-IDF, on a real board."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from labkit.cli.console import spoken
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.firmware.ports import SerialPort

_target = click.option(
    "--target", default="esp32c3", show_default=True, help="esp32, esp32c3, esp32s3 or linux."
)
_configuration = click.option(
    "--for", "configuration", default="plain", show_default=True, type=click.Choice(["plain", "secure", "qemu"]),
    help="A lab's board, a device that leaves the house, or QEMU.",
)  # fmt: skip
_port = click.option(
    "--port", required=True, help="The board's port, such as /dev/ttyUSB0. Nobody looks for one."
)


@click.command()
@_target
@_configuration
@click.option("--no-trust", is_flag=True, help="Leave firmware/trust as it is.")
def build(target: str, configuration: str, no_trust: bool) -> None:  # noqa: FBT001
    """Build the firmware with ESP-IDF, or in its container where idf.py is not on PATH.

    Whom the image trusts is put into firmware/trust first: the workspace's authority, and the public keys that sign
    updates. No secret goes into an image.
    """
    from labkit.firmware.idf import attach, build_folder, build_words, find_builder, project_folder

    project = project_folder()
    try:
        words = build_words(target, configuration)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    builder = find_builder()
    if not no_trust:
        _put_trust(project)
    argv = builder.command(project, *words)
    click.echo(" ".join(argv), err=True)
    attach(argv, cwd=project)
    click.echo(f"Built: firmware/{build_folder(target, configuration)}")
    if target != "linux":
        click.echo(spoken(f"Next: labkit firmware flash --port PORT --target {target}"))


def _put_trust(project: Path) -> None:
    from labkit.firmware.idf import render_trust
    from labkit.firmware.signing_keys import SigningKeys
    from labkit.pki import Store
    from labkit.workspace import make_folder, write_atomic

    workspace = Workspace.open()
    store = Store(workspace)
    store.authority()  # says what to type if there is none
    trusted = SigningKeys(workspace).trusted()
    folder = make_folder(project / "trust")
    for name, text in render_trust(store.trust_anchor.read_text(encoding="ascii"), trusted).items():
        write_atomic(folder / name, text)
    if not trusted.keys:
        click.echo(
            spoken("There is no signing key yet: this image takes no updates. labkit firmware key new"),
            err=True,
        )


@click.command()
@_port
@_target
@_configuration
@click.option("--mac", help="The board's MAC, typed by you: needed where something can't be undone.")
def flash(port: str, target: str, configuration: str, mac: str | None) -> None:
    """Write what was built to the board on PORT, with the real esptool.

    The partition fctry, with the device's identity, is left alone; an image for it comes from labkit image nvs.
    Images of the configuration "secure" burn eFuses at their first start, which can't be undone: they want --mac.
    """
    from labkit.firmware.idf import build_folder, project_folder, read_flash_plan
    from labkit.firmware.ports import run_on_port

    plan = read_flash_plan(project_folder() / build_folder(target, configuration))
    found = _board(port, mac, burns=configuration == "secure")
    run_on_port("esptool", found, *plan.words(), timeout=600)
    for offset, path in plan.files:
        click.echo(f"{offset:#9x}  {path.name}")
    click.echo(spoken(f"Written. labkit firmware monitor --port {port}"))


def _board(port: str, mac: str | None, *, burns: bool) -> SerialPort:
    from labkit.errors import PortRefusedError
    from labkit.firmware.ports import real_port

    found = real_port(port)
    if mac is not None:
        return found.unlock(mac)
    if burns:
        raise PortRefusedError(
            f"Nothing was written to {port}: this image burns eFuses when it starts, and that can't be undone.",
            advice="Type the MAC that stands on the board: --mac 24:dc:c3:…",
            port=port,
            rule="mac-not-typed",
        )
    return found


@click.command()
@_port
def monitor(port: str) -> None:
    """Show what the board on PORT says, until Ctrl-C: by idf.py where it is, by pyserial's terminal otherwise.

    Ctrl-] ends either of them.
    """
    from labkit.firmware.idf import attach, project_folder
    from labkit.firmware.ports import real_port
    from labkit.processes import find_tool

    name = real_port(port).name
    idf = find_tool("idf.py")
    plain = [sys.executable, "-m", "serial.tools.miniterm", "--raw", name, "115200"]
    attach([str(idf), "-p", name, "monitor"] if idf else plain, cwd=project_folder())
