"""`labkit provision`, the device's side: first boot and renewal; and what the other commands of the group share."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.cli.console import Address, emit_json, json_option, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.mqtt import Endpoint
    from labkit.pki import Store
    from labkit.provisioning.client import Client
    from labkit.provisioning.operations import Operations
    from labkit.provisioning.slots import Slot, Slots

PORT = 8443
ACTOR = "operator"
"""Who acts in the trail, for what is typed at this keyboard: whoever has the workspace is an operator."""

registry_option = click.option(
    "--registry",
    envvar="LABKIT_REGISTRY",
    metavar="URL",
    help="A database, such as postgresql+psycopg:///fleet. The workspace has one of its own.",
)
ELSEWHERE = "LABKIT_BROKER_ADDRESS"
"""The variable that names the devices' broker, where that is none of this workspace."""

url_option = click.option(
    "--url", default=f"https://127.0.0.1:{PORT}", show_default=True, help="Where the service is."
)
trust_option = click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The root's certificate; the workspace's own without it.",
)
folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The device's own store; scratch/boards/NAME in the workspace without it.",
)


@contextmanager
def open_operations(registry: str | None, store: Store | None = None) -> Iterator[Operations]:
    """Open the registry, and what operators do with it, for the length of the block."""
    from labkit.devices import Registry
    from labkit.provisioning import Publication
    from labkit.provisioning.office import REGISTRY
    from labkit.provisioning.operations import Operations

    store = store or open_store()
    with Registry.open(registry or store.workspace.path(REGISTRY)) as opened:
        broker = store.workspace.path("broker")
        yield Operations(opened, Publication(opened, store, broker=broker, elsewhere=_elsewhere()))


def _elsewhere() -> Endpoint | None:
    text = os.environ.get(ELSEWHERE)
    try:
        return Address().convert(text, None, None) if text else None
    except click.BadParameter as error:
        error.param_hint = ELSEWHERE
        raise


@click.command()
@click.argument("name")
@click.option("--token", "text", help="The token; without it the one in the device's store.")
@url_option
@trust_option
@folder_option
@json_option
def enrol(  # noqa: PLR0917 - click passes options by name
    name: str,
    text: str | None,
    url: str,
    trust: Path | None,
    folder: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """First boot of the device NAME: make a key, ask for its certificate, erase the token.

    The key never leaves the device's store. Cut off at any point, the same command goes on where it was.

    \b
      labkit provision enrol sensor-001 --token labtok_…
    """  # noqa: D301 - click wants the character itself
    from labkit.provisioning.client import enrol as first_boot

    client, slots = _device(name, url, trust, folder)
    if text:
        slots.put_token(text)
    slot = first_boot(client, slots, name)
    if as_json:
        emit_json(_facts(name, slot))
        return
    click.echo(f"{name} is enrolled until {slot.certificate.not_valid_after_utc:%Y-%m-%d}.")
    click.echo(f"  key and chain: {slot.key}, {slot.chain}")


@click.command()
@click.argument("name")
@click.option("--allow", is_flag=True, help="As an operator: let it renew once before it is due.")
@registry_option
@url_option
@trust_option
@folder_option
@json_option
def renew(  # noqa: PLR0917 - click passes options by name
    name: str,
    allow: bool,  # noqa: FBT001
    registry: str | None,
    url: str,
    trust: Path | None,
    folder: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Renew the device NAME: a new key, its certificate, confirmed; then the old one counts no more.

    A certificate is renewed in its last month. An operator can allow it earlier, once:

    \b
      labkit provision renew sensor-001 --allow
      labkit provision renew sensor-001
    """  # noqa: D301 - click wants the character itself
    from labkit.provisioning.client import renew as rotate

    if allow:
        with open_operations(registry) as operations:
            operations.allow_renewal(name, actor=ACTOR)
        emit_json({"device": name, "allowed": True}) if as_json else click.echo(
            f"{name} may renew once before it is due."
        )
        return
    client, slots = _device(name, url, trust, folder)
    slot = rotate(client, slots)
    if as_json:
        emit_json(_facts(name, slot))
        return
    click.echo(f"{name} is renewed until {slot.certificate.not_valid_after_utc:%Y-%m-%d} (slot {slot.name}).")


def _facts(name: str, slot: Slot) -> dict[str, object]:
    certificate = slot.certificate
    return {
        "device": name,
        "slot": slot.name,
        "serial": f"{certificate.serial_number:x}",
        "not_after": certificate.not_valid_after_utc,
        "key": slot.key,
        "chain": slot.chain,
    }


def _device(name: str, url: str, trust: Path | None, folder: Path | None) -> tuple[Client, Slots]:
    from labkit.pki import names
    from labkit.provisioning.client import Client
    from labkit.provisioning.slots import Slots
    from labkit.workspace import Workspace

    names.device_id(name)
    if trust is None or folder is None:
        workspace = Workspace.open()
        trust = trust or workspace.path("root/ca.crt")
        folder = folder or workspace.path("scratch", "boards", name)
    return Client(url, trust=trust), Slots(folder)
