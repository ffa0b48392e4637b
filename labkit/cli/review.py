"""`labkit ca lint` and `labkit ca zoo`: what reviewers say of certificates, good and bad."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import emit_json, emit_table, json_option, open_store, spoken

if TYPE_CHECKING:
    from labkit.outcome import Finding
    from labkit.pki import Store

ROLES = ("root", "intermediate", "server", "device", "operator")


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--role", type=click.Choice(ROLES), help="What a file is for; without it its extensions decide."
)
@json_option
def lint(names: tuple[str, ...], role: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Say what is wrong with certificates: of NAMES, of files, or of everything in the workspace.

    \b
      labkit ca lint                        root, intermediate, broker and every device
      labkit ca lint sensor-001
      labkit ca lint ~/old-ca/root.crt --role root

    Exit status 1 where there is an error. Warnings alone give 0.
    """  # noqa: D301 - click wants the character itself
    from labkit.clock import SYSTEM_CLOCK
    from labkit.pki.lint import lint as judge

    now = SYSTEM_CLOCK.now()
    rows: list[tuple[str, Finding]] = []
    cases = _cases(names, role)
    for label, data, meant in cases:
        rows += [(label, found) for found in judge(data, role=meant, now=now)]
    if as_json:
        emit_json([{"certificate": label, **found.to_json()} for label, found in rows])
    elif rows:
        emit_table(
            ("certificate", "severity", "rule", "what is wrong", "what to do"),
            [(label, f.severity.value, f.rule, f.message, spoken(f.advice)) for label, f in rows],
        )
    else:
        click.echo(f"{len(cases)} certificates, and nothing to find fault with.")
    return 1 if any(found.severity.value == "error" for _, found in rows) else 0


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write them there, to try other programs on.",
)
@json_option
def zoo(folder: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Make thirty certificates with one thing wrong each, and show them to three judges.

    They come from an authority of their own, which is thrown away afterwards. The judges are our linter, openssl verify,
    and a real broker (or a client, for those that pretend to be a server).
    """
    from labkit.scenarios.zoo import visit_zoo
    from labkit.workspace import Workspace, write_atomic

    with tempfile.TemporaryDirectory(prefix="labkit-zoo-") as scratch:
        workspace = Workspace.open(Path(scratch) / "w")
        visits = visit_zoo(workspace)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(workspace.path("scratch/zoo/intruders").iterdir()):
                write_atomic(folder.absolute() / path.name, path.read_bytes(), secret=path.suffix == ".key")
    if as_json:
        emit_json([_facts(visit) for visit in visits])
        return
    emit_table(("specimen", "lint", "openssl verify", "peer"), [_row(visit) for visit in visits])
    click.echo(
        spoken(
            "Each is explained in the lesson about the certificate authority. In your own files: labkit ca lint FILE"
        )
    )


def _row(visit: Any) -> tuple[str, str, str, str]:
    return (visit.specimen.name, *visit.row()[1:])


def _facts(visit: Any) -> dict[str, Any]:
    return {
        "name": visit.specimen.name,
        "defect": visit.specimen.defect,
        "lint": list(visit.rules),
        "openssl": visit.openssl_words,
        "peer": visit.peer,
        "note": visit.specimen.note,
    }


def _cases(names: tuple[str, ...], role: str | None) -> list[tuple[str, bytes, str]]:
    files = [name for name in names if "/" in name or "." in name or Path(name).is_file()]
    cases = [(name, _read(Path(name)), role or _guess(_read(Path(name)))) for name in files]
    wanted = [name for name in names if name not in files]
    if wanted or not names:
        store = open_store()
        store.authority()  # says what to type if there is none
        cases += [
            _named(store, name) for name in wanted or ["root", "intermediate", "broker", *store.devices()]
        ]
    return cases


def _named(store: Store, name: str) -> tuple[str, bytes, str]:
    from cryptography.hazmat.primitives.serialization import Encoding

    from labkit.pki.names import OPERATORS

    roles = {"root": "root", "intermediate": "intermediate", "broker": "server"}
    role = roles.get(name, "operator" if name in OPERATORS else "device")
    return name, store.certificate(name).public_bytes(Encoding.PEM), role


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise click.BadParameter(f"There is no file {path}.") from error


def _guess(data: bytes) -> str:
    from labkit.errors import FormatError
    from labkit.pki import describe
    from labkit.pki.lint import load

    certificate = load(data)
    if certificate is None:
        return "device"  # whatever it was meant for, it is no certificate
    try:
        found = describe(certificate).role
    except FormatError:
        return "device"
    return found if found in ROLES else "device"
