"""`labkit hsm`: tokens in a hardware module; and what `labkit ca` and `labkit firmware` share of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from labkit.cli.console import emit_json, emit_table, json_option, spoken
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.pki.hsm import HardwareModule

PIN = "LABKIT_HSM_PIN"

token_option = click.option(
    "--hsm",
    "token",
    metavar="TOKEN",
    help="Make the key in this token of a hardware module (see labkit hsm).",
)
present_option = click.option(
    "--present", multiple=True, metavar="NAME", help="Who watches the ceremony; give it at least twice."
)


@click.group()
def hsm() -> None:
    """Keep the root's key, or a signing key, in a hardware module (PKCS #11).

    SoftHSM2 stands in for a module: the same commands, keys that can't be read out through them, and no hardware.
    LABKIT_PKCS11_MODULE names the library of a real one. The PIN is asked for, or taken from LABKIT_HSM_PIN.

    \b
      labkit hsm init ceremony                                  a token in SoftHSM2
      labkit ca init --hsm ceremony --present Ada --present Grace
      labkit ca ceremony                                        what was done, and who watched
      labkit firmware key new --hsm ceremony --present Ada --present Grace
    """  # noqa: D301 - click wants the character itself


@hsm.command()
@click.argument("token")
@json_option
def init(token: str, as_json: bool) -> None:  # noqa: FBT001
    """Make the token TOKEN in SoftHSM2. A real module's token is made with its maker's tools."""
    from labkit.pki.hsm import find_module, new_softhsm_token

    prepare()
    new_softhsm_token(token, read_pin(confirm=True))
    if as_json:
        emit_json({"token": token, "module": find_module()})
        return
    click.echo(f"The token {token} is made. SoftHSM2 keeps it in files: it stands in for a module.")
    click.echo(spoken(f"Next: labkit ca init --hsm {token} --present NAME --present NAME"))


@hsm.command("list")
@json_option
def list_(as_json: bool) -> None:  # noqa: FBT001
    """List the tokens in the module, and which keys of this workspace are in them."""
    from labkit.pki.hsm import SUFFIX, Reference, find_module, tokens

    workspace = prepare()
    known = [Reference.read(path) for path in sorted(workspace.root.rglob(f"*{SUFFIX}"))]
    found = {label: [each.key for each in known if each.token == label] for label in tokens()}
    if as_json:
        emit_json({"module": find_module(), "tokens": found})
        return
    emit_table(
        ("token", "keys that this workspace uses"),
        [(label, ", ".join(keys)) for label, keys in found.items()],
    )


def prepare() -> Workspace:
    """Let SoftHSM2 keep its tokens in the workspace, and return that."""
    from labkit.pki.hsm import use_softhsm

    workspace = Workspace.open()
    use_softhsm(workspace.path("hsm"))
    return workspace


def open_module(token: str) -> HardwareModule:
    """Return the module with a token."""
    from labkit.pki.hsm import HardwareModule

    prepare()
    return HardwareModule(token)


def read_pin(*, confirm: bool = False) -> bytes:
    """Return the PIN, from the environment or from whoever sits there."""
    given = os.environ.get(PIN) or click.prompt(
        "PIN of the token", hide_input=True, confirmation_prompt=confirm, err=True
    )
    return str(given).encode()
