"""`labkit ca`: make an authority; issue, show, verify and list certificates."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from labkit.cli import fleet, review
from labkit.cli.console import emit_by_hand, emit_json, emit_table, json_option, open_store, spoken
from labkit.cli.hsm import open_module, present_option, read_pin, token_option

if TYPE_CHECKING:
    from labkit.pki import Store

VARIABLE = "LABKIT_CA_PASSPHRASE"


@click.group()
def ca() -> None:
    """Make a certificate authority; issue, show, verify, revoke and export certificates.

    Each step says how to do the same with the openssl command.

    \b
      labkit ca init                    root, intermediate, and the broker's certificate
      labkit ca issue sensor-001        an identity for a device
      labkit ca show sensor-001         every field that matters
      labkit ca verify sensor-001       does its chain hold? asked of two programs
      labkit ca batch sensor- --count 1000
      labkit ca revoke sensor-001       and sign a new revocation list
      labkit ca lint                    what a reviewer would say of every certificate
    """  # noqa: D301 - click wants the character itself


for _command in (
    fleet.batch, fleet.revoke, fleet.crl, fleet.export, fleet.by_hand_script, review.lint, review.zoo,
):  # fmt: skip
    ca.add_command(_command)


@ca.command()
@click.option("--rsa", is_flag=True, help="RSA-4096 and RSA-2048 keys instead of P-384 and P-256.")
@click.option("--dns", "dns_names", multiple=True, help="A host name of the broker. May be given again.")
@click.option("--ip", "ip_addresses", multiple=True, help="An address of the broker. May be given again.")
@token_option
@present_option
@json_option
def init(  # noqa: PLR0917 - click passes options by name
    rsa: bool,  # noqa: FBT001
    dns_names: tuple[str, ...],
    ip_addresses: tuple[str, ...],
    token: str | None,
    present: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make a root, an intermediate, and the broker's certificate.

    The root's key is encrypted with a passphrase: you are asked for it, or it is taken from LABKIT_CA_PASSPHRASE. With
    --hsm it is made in a hardware module before witnesses and never leaves it; its PIN stands for the passphrase then.
    """
    from labkit.pki import by_hand
    from labkit.pki.profiles import INTERMEDIATE, ROOT, SERVER, choose
    from labkit.pki.store import DNS_NAMES, IP_ADDRESSES

    store = open_store()
    store.refuse_second_authority()
    if token:
        if rsa:
            raise click.UsageError("--hsm makes P-384; it does not go with --rsa.")
        _init_in_module(store, token, present, dns_names, ip_addresses, as_json=as_json)
        return
    passphrase = os.environ.get(VARIABLE) or click.prompt(
        "Passphrase for the root's key", hide_input=True, confirmation_prompt=True, err=True
    )
    store.create(
        passphrase=passphrase.encode(),
        rsa=rsa,
        dns_names=dns_names or DNS_NAMES,
        ip_addresses=ip_addresses or (IP_ADDRESSES if not dns_names else ()),
    )
    if as_json:
        emit_json([entry.to_json() for entry in store.ledger.entries()])
        return
    click.echo(_tree(store))
    names, kinds = store.names, {p.name: choose(p, rsa=rsa) for p in (ROOT, INTERMEDIATE, SERVER)}
    middle = by_hand.intermediate(names.intermediate, profile=kinds["intermediate"], above=kinds["root"])
    emit_by_hand(by_hand.root(names.root, profile=kinds["root"]).then(middle))
    click.echo(spoken(f"In {store.workspace.root}. Next: labkit ca issue sensor-001"))


def _init_in_module(
    store: Store,
    token: str,
    present: tuple[str, ...],
    dns_names: tuple[str, ...],
    ip_addresses: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    from labkit.pki.hsm_root import create_in_module, refuse_without_witnesses
    from labkit.pki.store import DNS_NAMES, IP_ADDRESSES

    refuse_without_witnesses(present)
    create_in_module(
        store,
        open_module(token),
        pin=read_pin(),
        present=present,
        dns_names=dns_names or DNS_NAMES,
        ip_addresses=ip_addresses or (IP_ADDRESSES if not dns_names else ()),
    )
    if as_json:
        emit_json([entry.to_json() for entry in store.ledger.entries()])
        return
    click.echo(_tree(store))
    click.echo(f"The root's key is in the token {token}, and nowhere else.")
    click.echo(spoken("Write the seal on paper: labkit ca ceremony"))


@ca.command()
@click.option("--seal", help="What is on the paper: is this log the one of that day?")
@click.option("--signing", is_flag=True, help="The log of the signing keys instead of the root's.")
@json_option
def ceremony(seal: str | None, signing: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show what was done with keys in a hardware module, and who watched; verify that nobody changed it since."""
    from labkit.firmware.signing_keys import CEREMONY
    from labkit.pki import ceremony as log_of
    from labkit.pki.hsm_root import LOG, Log

    log = Log(open_store().workspace, CEREMONY if signing else LOG).text()
    steps = log_of.verify_log(log, seal=seal)
    if as_json:
        emit_json({"steps": steps, "seal": log_of.seal(log)})
        return
    rows = [(f"{s.at:%Y-%m-%d %H:%M}", s.action, ", ".join(s.present)) for s in steps]
    emit_table(("when", "what", "who watched"), rows)
    click.echo(f"seal: {log_of.seal(log)}" + (" (as on the paper)" if seal else ""))


@ca.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--renew", is_flag=True, help="Issue although a valid certificate exists.")
@click.option("--operator", is_flag=True, help="For a person (admin, operator, auditor), not for a device.")
@json_option
def issue(names: tuple[str, ...], renew: bool, operator: bool, as_json: bool) -> None:  # noqa: FBT001
    """Issue an identity to each of NAMES: a key and a certificate, in devices/."""
    from labkit.pki import by_hand
    from labkit.pki.names import device_id, operator_name

    store = open_store()
    for name in names:  # all of them first, so that a bad one stops before anything is made
        operator_name(name) if operator else device_id(name)
    made = [
        store.issue_operator(name, renew=renew) if operator else store.issue_device(name, renew=renew)
        for name in names
    ]
    if as_json:
        emit_json([{"name": m.name, "certificate": str(m.certificate), "key": str(m.key)} for m in made])
        return
    for files in made:
        click.echo(f"{files.name}: {files.certificate} and {files.key.name} (0600)")
    emit_by_hand(by_hand.device(made[0].name), note="and so on, for each" if len(made) > 1 else "")


@ca.command()
@click.argument("name", default="")
@json_option
def show(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Show who vouches for whom; or, for NAME (root, intermediate, broker, a device), every field that matters."""
    from dataclasses import asdict

    from labkit.pki import by_hand, describe

    store = open_store()
    if not name:
        if as_json:
            emit_json([asdict(branch) for branch in store.tree()])
        else:
            click.echo(_tree(store))
        return
    found = describe(store.certificate(name))
    if as_json:
        emit_json(asdict(found))
    else:
        emit_table(("field", "value"), found.rows())
        emit_by_hand(by_hand.show(_PLACES.get(name, f"devices/{name}.crt")))


_PLACES = {
    "root": "root/ca.crt",
    "intermediate": "intermediate/intermediate.crt",
    "broker": "server/broker.crt",
}


def _tree(store: Store) -> str:
    from labkit.display import chain_tree

    return str(chain_tree(store.tree()))


@ca.command()
@click.argument("name")
@json_option
def verify(name: str, as_json: bool) -> int:  # noqa: FBT001
    """Verify the chain of NAME (broker or a device) with cryptography and with openssl.

    Exit status 1 where one of them refuses it.
    """
    from labkit.clock import SYSTEM_CLOCK
    from labkit.errors import ChainInvalidError
    from labkit.pki import openssl, verify_chain

    store = open_store()
    purpose = "server" if name == "broker" else "client"
    files = store.server() if name == "broker" else store.device(name)
    verdict = openssl.verify(
        files.certificate, trust=store.trust_anchor, untrusted=store.intermediate, purpose=f"ssl{purpose}"
    )
    ours = "OK"
    try:
        verify_chain(
            store.certificate(name), [store.certificate("intermediate")], [store.certificate("root")],
            purpose=purpose, now=SYSTEM_CLOCK.now(), name=_first_name(store) if name == "broker" else None,
        )  # fmt: skip
    except ChainInvalidError as error:
        ours = f"{error.rule}: {error.message}"
    if as_json:
        emit_json(
            {
                "name": name,
                "purpose": purpose,
                "labkit": ours,
                "openssl": str(verdict),
                "command": verdict.command,
            }
        )
    else:
        emit_table(("judge", f"{name} as a {purpose}"), [("labkit", ours), ("openssl", str(verdict))])
        click.echo(f"By hand: {verdict.command}")
    return 0 if verdict.ok and ours == "OK" else 1


def _first_name(store: Store) -> str:
    from labkit.pki import describe

    return describe(store.certificate("broker")).names[0].partition(":")[2]


@ca.command("list")
@json_option
def list_issued(as_json: bool) -> None:  # noqa: FBT001
    """List everything that was issued, from the ledger."""
    from labkit.clock import SYSTEM_CLOCK

    entries = open_store().ledger.entries()
    if as_json:
        emit_json([entry.to_json() for entry in entries])
        return
    now, revoked = SYSTEM_CLOCK.now(), open_store().revocations.revoked()
    rows = [
        (
            e.name,
            e.profile,
            e.issuer,
            f"{e.not_after:%Y-%m-%d}",
            "revoked" if e.serial in revoked else "valid" if e.not_after > now else "expired",
            e.serial,
        )
        for e in entries
    ]
    emit_table(("name", "profile", "issuer", "until", "state", "serial"), rows)
