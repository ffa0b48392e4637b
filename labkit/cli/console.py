"""What commands share: tables for people, JSON for programs, one way to print an error."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.errors import LabError
    from labkit.mqtt import Endpoint
    from labkit.outcome import Outcome
    from labkit.pki import Store
    from labkit.pki.by_hand import Recipe

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


class Address(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic from click 8.3 on
    """HOST:PORT, as an `Endpoint`."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """Return where a text leads to."""
        from labkit.mqtt import Endpoint

        host, _, port = str(value).rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is no HOST:PORT, such as broker.local:8883.", param, ctx)
        return Endpoint(host.strip("[]"), int(port))


def emit_json(value: Any) -> None:
    """Print a value as JSON; paths and times become text."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return str(value)


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns, wide enough and no wider."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(columns), *texts]) for n in range(len(columns))]
    for line in [list(columns), ["-" * width for width in widths], *texts]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def emit_by_hand(recipe: Recipe, *, note: str = "") -> None:
    """Print the openssl commands that do the same; `labkit ca by-hand` prints their configuration files too."""
    click.secho("By hand" + (f" ({note})" if note else "") + ":", dim=True)
    for command in recipe.commands:
        click.secho(f"  {shlex.join(command)}", dim=True)


def open_store() -> Store:
    """Return the authority of the workspace that we work in."""
    from labkit.pki import Store

    return Store(Workspace.open())


def emit_outcome(outcome: Outcome) -> None:
    """Print an outcome: the verdict in words, then each witness."""
    colour = "green" if outcome.accepted else "red"
    click.secho(str(outcome), fg=colour, bold=True)
    labels = {
        "diagnosis": "because",
        "alert": "the wire said",
        "client_error": "the client said",
        "tls_version": "TLS version",
        "cipher": "cipher suite",
        "openssl": "openssl verify",
    }
    for key, label in labels.items():
        if outcome.detail.get(key):
            click.echo(f"  {label + ':':<16} {outcome.detail[key]}")
    for line in outcome.detail.get("broker_log", ()):
        click.echo(f"  {'the broker said:':<16} {line}")


def print_error(error: LabError, *, as_json: bool) -> None:
    """Print what is wrong and what to type next; to standard error, so that output stays clean."""
    if as_json:
        value = {"error": type(error).__name__, "message": error.message, "advice": error.advice}
        click.echo(json.dumps(value, indent=2, default=_plain), err=True)
        return
    click.secho(f"labkit: {error.message}", fg="red", err=True)
    click.echo(f"  {spoken(error.advice)}", err=True)


def spoken(text: str) -> str:
    """Return a text in which our commands are spelt as the user called us: `labkit …` or `python3 lab.py …`."""
    called = os.environ.get("LABKIT_CALLED_AS", "labkit")
    return re.sub(r"\blabkit (?=[a-z])", lambda _: f"{called} ", text)
