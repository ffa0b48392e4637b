"""`labkit ca`, second half: many devices at once, revocation, and what leaves the workspace."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import emit_by_hand, emit_json, emit_table, json_option, open_store, spoken
from labkit.workspace import os_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.pki import Register, RevocationList, Store

REASONS = (
    "unspecified", "key-compromise", "ca-compromise", "affiliation-changed", "superseded", "cessation-of-operation",
    "certificate-hold", "privilege-withdrawn",
)  # fmt: skip


@click.command()
@click.argument("name")
@click.option("--reason", type=click.Choice(REASONS), default="unspecified", show_default=True, help="Why.")
@click.option("--serial", help="Only the certificate with this serial number (hexadecimal).")
@click.option("--release", is_flag=True, help="Take a certificate off hold again; needs --serial.")
@json_option
def revoke(name: str, reason: str, serial: str | None, release: bool, as_json: bool) -> None:  # noqa: FBT001
    """Revoke every valid certificate of NAME, and sign a new list.

    A running broker learns of it from `labkit broker reload`. A session that is open goes on until
    `labkit broker deny NAME`.
    """
    from labkit.pki import Reason, by_hand

    if release and not serial:
        raise click.UsageError("--release needs --serial: labkit ca crl shows them.")
    store = open_store()
    common = _common_name(store, name)
    register = store.revocations
    before = register.revoked()
    listed = (
        register.release(serial) if release and serial else register.revoke(common, reason, serial=serial)
    )
    gone = [each for number, each in register.revoked().items() if number not in before]
    if as_json:
        emit_json({"revoked": [each.to_json() for each in gone], **_facts(listed, register)})
        return
    for each in gone:
        click.echo(f"{each.name}: serial {each.serial} revoked ({each.reason}).")
    if release:
        click.echo(f"{name}: serial {serial} released.")
    click.echo(f"List number {listed.number}: {register.path}")
    file = "server/broker.crt" if name == "broker" else f"devices/{name}.crt"
    emit_by_hand(by_hand.revoke(file, Reason(reason)).then(by_hand.revocation_list()))
    click.echo(spoken(f"Next: labkit broker reload, labkit broker deny {name}"))


@click.command()
@click.option("--new", is_flag=True, help="Sign a new list, although the present one is fresh.")
@json_option
def crl(new: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show the revocation list; sign a new one where there is none, where it is due, or with --new.

    A list that is not renewed in time locks every device out, so run this from a timer.
    """
    from labkit.pki import by_hand

    register = open_store().revocations
    listed = register.publish() if new else register.ensure()
    if as_json:
        emit_json({**_facts(listed, register), "entries": _entries(register)})
        return
    emit_table(("field", "value"), [*listed.rows(), ("file", register.path)])
    if rows := [tuple(each.values()) for each in _entries(register)]:
        click.echo()
        emit_table(("name", "serial", "reason", "revoked at", "on the list"), rows)
    emit_by_hand(by_hand.revocation_list())


@click.command()
@click.argument("prefix", required=False)
@click.option("--count", type=click.IntRange(1, 1_000_000), help="How many devices.")
@click.option("--start", type=click.IntRange(0), default=1, show_default=True, help="The first number.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with one id a line.",
)
@click.option("--skip-existing", is_flag=True, help="Go on where an earlier batch stopped.")
@click.option(
    "--csv",
    "manifest",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write id, serial, fingerprint and end of each.",
)
@json_option
def batch(  # noqa: PLR0917 - click passes options by name
    prefix: str | None,
    count: int | None,
    start: int,
    source: Path | None,
    skip_existing: bool,  # noqa: FBT001
    manifest: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Issue identities to many devices at once, PREFIX001, PREFIX002, … or from a file.

    \b
      labkit ca batch sensor- --count 1000
      labkit ca batch --from ids.txt --csv fleet.csv

    Numbers have the width of the last one, at least three digits. A batch that was stopped has issued whole identities
    only; --skip-existing goes on.
    """  # noqa: D301 - click wants the character itself
    from labkit.pki import by_hand
    from labkit.pki.names import device_id, numbered

    if (source is None) == (prefix is None or count is None):
        raise click.UsageError("Give a PREFIX and --count, or --from FILE.")
    ids = numbered(prefix or "", count or 0, start=start) if source is None else _read_ids(source)
    for name in ids:
        device_id(name)
    store = open_store()
    store.authority()
    known = set(store.devices()) if skip_existing else set()
    wanted = [name for name in ids if name not in known]
    with _bar(len(wanted)) as progress:
        done = store.issue_devices(wanted, progress=progress)
    if manifest:
        _write_manifest(store, set(ids), manifest)
    if as_json:
        emit_json(
            {
                "issued": done,
                "skipped": len(ids) - len(wanted),
                "folder": str(store.workspace.path("devices")),
            }
        )
        return
    click.echo(
        f"{done} identities issued, {len(ids) - len(wanted)} skipped: {store.workspace.path('devices')}"
    )
    if wanted:
        emit_by_hand(by_hand.device(wanted[0]), note="and so on, for each device")


@click.command()
@click.argument("name")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for client.key, client.crt and ca.crt.",
)
@click.option(
    "--p12", type=click.Path(dir_okay=False, path_type=Path), help="One PKCS #12 file, under a passphrase."
)
@click.option("--replace", is_flag=True, help="Write over what is there.")
@json_option
def export(name: str, folder: Path | None, p12: Path | None, replace: bool, as_json: bool) -> None:  # noqa: FBT001
    """Copy the identity of NAME out of the workspace, for a device or for another program.

    The passphrase of a PKCS #12 file is asked for, or taken from LABKIT_EXPORT_PASSPHRASE.
    """
    from labkit.pki import by_hand
    from labkit.pki.bundle import export_files, export_pkcs12

    if (folder is None) == (p12 is None):
        raise click.UsageError("Say where to: --to FOLDER or --p12 FILE.")
    store = open_store()
    if p12:
        passphrase = os.environ.get("LABKIT_EXPORT_PASSPHRASE") or click.prompt(
            "Passphrase for the file", hide_input=True, confirmation_prompt=True, err=True
        )
        paths: tuple[Path, ...] = (
            export_pkcs12(store, name, p12, passphrase=passphrase.encode(), replace=replace),
        )
    else:
        assert folder is not None  # noqa: S101 - one of the two is there
        paths = export_files(store, name, folder, replace=replace)
    if as_json:
        emit_json([str(path) for path in paths])
        return
    for path in paths:
        click.echo(path)
    emit_by_hand(by_hand.export(name, str(p12 or f"{name}.p12")))


@click.command("by-hand")
@click.argument(
    "step", type=click.Choice(("root", "intermediate", "broker", "device", "revoke", "crl", "export"))
)
@click.argument("name", default="sensor-001")
def by_hand_script(step: str, name: str) -> None:
    """Print a step as a shell script with openssl: configuration files and commands, to paste and to read.

    \b
      labkit ca by-hand device sensor-002
    """  # noqa: D301 - click wants the character itself
    from labkit.pki import Reason, by_hand
    from labkit.pki.store import DNS_NAMES, IP_ADDRESSES, Names

    names = Names()
    recipes: dict[str, Callable[[], by_hand.Recipe]] = {
        "root": lambda: by_hand.root(names.root),
        "intermediate": lambda: by_hand.intermediate(names.intermediate),
        "broker": lambda: by_hand.server(DNS_NAMES, IP_ADDRESSES),
        "device": lambda: by_hand.device(name),
        "revoke": lambda: by_hand.revoke(f"devices/{name}.crt", Reason.KEY_COMPROMISE),
        "crl": by_hand.revocation_list,
        "export": lambda: by_hand.export(name, f"{name}.p12"),
    }
    click.echo(str(recipes[step]()))


def _common_name(store: Store, name: str) -> str:
    from labkit.pki.template import common_name

    return common_name(store.certificate("broker").subject) if name == "broker" else name


def _facts(listed: RevocationList, register: Register) -> dict[str, Any]:
    return {
        "number": listed.number,
        "this_update": listed.this_update,
        "next_update": listed.next_update,
        "file": str(register.path),
    }


def _entries(register: Register) -> list[dict[str, str]]:
    listed = register.ensure()
    return [
        {
            "name": each.name,
            "serial": each.serial,
            "reason": each.reason.value,
            "revoked_at": f"{each.at:%Y-%m-%d %H:%M}",
            "on_list": "yes" if int(each.serial, 16) in listed else "no: it has run out",
        }
        for each in register.revoked().values()
    ]


def _read_ids(source: Path) -> list[str]:
    try:
        with os_errors(source):
            lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{source} is not text in UTF-8.") from error
    ids = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if twice := [name for name, times in Counter(ids).items() if times > 1]:
        raise click.BadParameter(f"{source} has {twice[0]} twice.")
    return ids


def _write_manifest(store: Store, ids: set[str], path: Path) -> None:
    latest = {entry.name: entry for entry in store.ledger.entries() if entry.name in ids}
    lines = [("id", "serial", "fingerprint", "not_after")]
    lines += [(e.name, e.serial, e.fingerprint, e.not_after.isoformat()) for e in latest.values()]

    class _Text(list[str]):
        write = list[str].append

    text = _Text()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomic(path.absolute(), "".join(text))


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty() or not total:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("issuing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda done: shown.update(task, completed=done)
