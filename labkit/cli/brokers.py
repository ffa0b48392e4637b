"""`labkit broker conform`, `labkit broker cluster`: other brokers than the lessons' own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.cli.console import emit_json, emit_table, json_option, open_store
from labkit.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.pki import Store
    from labkit.scenarios.conformance import Row

BEGIN, END = "<!-- conformance -->\n", "<!-- /conformance -->\n"

follow_option = click.option(
    "--follow", is_flag=True, help="Stay, and write again whenever list, certificates or rules have changed."
)


@click.command()
@click.option("--only", type=click.Choice(["mosquitto", "rabbitmq"]), help="Just this broker.")
@click.option(
    "--page", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the table into this Markdown file, between its two marks.",
)  # fmt: skip
@json_option
def conform(only: str | None, page: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click passes flags by position
    """Ask Mosquitto and a RabbitMQ cluster the same questions, and print where they differ.

    Who gets in, who may say and hear what, and what the client is told. Both brokers are started for it, on 127.0.0.1,
    with an authority of their own, and stopped again; RabbitMQ's two nodes ask a provisioning service. A minute.

    \b
      labkit broker conform                       both, side by side
      labkit broker conform --only mosquitto      without RabbitMQ (apt install rabbitmq-server)

    Exit status 1 if a broker lets something happen that must not, or the other way round.
    """  # noqa: D301 - click wants the character itself
    from labkit.scenarios.conformance import subjects
    from labkit.scenarios.conformance_questions import ask_all
    from labkit.scenarios.separate import separate_authority

    store = separate_authority(Workspace.open(), "conformance")
    with subjects(store, only=only or "") as brokers:
        rows = ask_all(brokers, progress=lambda text: click.echo(f"  {text}", err=True))
    if as_json:
        emit_json([
            {
                "question": row.question.text,
                "must": row.question.must,
                "answers": {name: {"happened": seen.happened, "told": seen.told} for name, seen in row.answers.items()},
                "held": row.held,
                "differs": row.differs,
            }
            for row in rows
        ])  # fmt: skip
    else:
        emit_table(("question", "must", *rows[0].answers), [row.cells() for row in rows])
    if page:
        put_into(page, markdown(rows))
    return 0 if all(row.held for row in rows) else 1


def keep(folder: Path, store: Store, write: Callable[[], object]) -> None:
    """Keep a broker's folder as the workspace is, until Ctrl-C or SIGTERM."""
    from labkit.scenarios.courier import follow

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an engine's polite stop is a Ctrl-C
    try:
        follow(store, write, say=lambda text: click.echo(f"{folder}: {text}."))
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--service", default="https://provisioning.local:8443", show_default=True,
    help="Where the nodes find the provisioning service.",
)  # fmt: skip
@follow_option
def cluster(folder: Path, service: str, follow: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Write what two RabbitMQ nodes in containers need into FOLDER: configuration, certificates, keys, revocation list.

    docker/compose.cluster.yaml mounts it. A second time renews everything but the secret that the nodes share; after a
    revocation that is all there is to do, as RabbitMQ reads its list at each handshake.
    """
    from labkit.scenarios.container_cluster import NODES, write_cluster

    store = open_store()
    store.ensure_authority()
    if follow:
        keep(folder, store, lambda: write_cluster(store, folder, service=service))
        return
    write_cluster(store, folder, service=service)
    click.echo(f"{folder}: {', '.join(NODES)}.")


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table; where the brokers differ in what happens, the question is in bold."""
    heads = ("question", "must", *rows[0].answers)
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for row in rows:
        text, *rest = row.cells()
        lines.append(f"| {f'**{text}**' if row.differs else text} | {' | '.join(rest)} |")
    return "\n".join(lines) + "\n"


def put_into(page: Path, table: str) -> None:
    """Put a table between a page's marks."""
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise click.UsageError(f"{page} has no marks; it needs the lines {BEGIN.strip()} and {END.strip()}.")
    write_atomic(page, f"{before}{BEGIN}{table}{END}{after}")
