"""`labkit broker`: run the broker, look at it, stop it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.brokers import conform
from labkit.cli.console import emit_json, emit_table, json_option, spoken
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki import Store


@click.group()
def broker() -> None:
    """Run the course's broker: Mosquitto with mutual TLS and rules by identity."""


broker.add_command(conform)


def _store() -> Store:
    from labkit.pki import Store

    store = Store(Workspace.open())
    store.authority()  # says what to type if there is none
    return store


@broker.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The port; a free one without it.")
@json_option
def run(port: int | None, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Start the broker and keep it until Ctrl-C. It listens on 127.0.0.1 only.

    Where a revocation list was made, it goes by it.
    """
    from labkit.scenarios import mutual_tls

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is a Ctrl-C, in a script too
    store = _store()
    with mutual_tls(store, port=port, crlfile=_list(store)) as site:
        facts = {
            "host": site.host,
            "port": site.port,
            "pid": site.broker.pid,
            "log": str(site.broker.log.path),
        }
        if as_json:
            emit_json(facts)
        else:
            click.echo(f"Mosquitto {site.broker.version} on {site.host}:{site.port}. Stop it with Ctrl-C.")
            click.echo(spoken(f"Its log: {site.broker.log.path}. In a second terminal: labkit probe"))
        try:
            while site.broker.alive:
                site.broker.log.wait_for(lambda event: event.kind == "terminating", timeout=1.0)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            return
        if any(event.kind == "terminating" for event in site.broker.log.since(0)[-3:]):
            click.echo("Stopped by another command.", err=True)
            return
        site.broker.check()


@broker.command()
@json_option
def config(as_json: bool) -> None:  # noqa: FBT001
    """Print the configuration that `run` writes, for port 8883."""
    from dataclasses import asdict

    from labkit.broker.config import render
    from labkit.scenarios.mutual_tls import configuration

    store = _store()
    found = configuration(store, store.workspace.path("broker"), port=8883, crlfile=_list(store))
    if as_json:
        emit_json(asdict(found))
    else:
        click.echo(render(found), nl=False)


@broker.command()
@json_option
def status(as_json: bool) -> None:  # noqa: FBT001
    """Say which broker runs in this workspace, whoever started it."""
    from dataclasses import asdict

    running = _running()
    found = {**asdict(running.state), **running.status()}
    found.pop("token")
    if as_json:
        emit_json(found)
    else:
        emit_table(("what", "value"), list(found.items()))


@broker.command()
def reload() -> None:
    """Have the running broker read its rules, its certificate and its revocation list again.

    They are tried on a second broker first. Rules that can't be read leave the old ones in force.
    """
    running, store = _running(), _store()
    listed = _list(store)
    running.reload()
    click.echo("It has read its rules again.")
    if listed and str(listed) not in (running.folder / "mosquitto.conf").read_text(encoding="utf-8"):
        click.echo(
            spoken(
                "It was started before there was a revocation list and does not go by it: labkit broker stop, then run"
            ),
            err=True,
        )


@broker.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Give NAME its rights back.")
def deny(name: str, undo: bool) -> None:  # noqa: FBT001
    """Take every right from NAME at once, in a session that is open too; its connection stays.

    Revocation keeps a device from coming back. This is for one that is here.
    """
    running = _running()
    changed = running.allow(name) if undo else running.deny(name)
    words = {(True, False): "may do nothing any more", (False, False): "could do nothing already",
             (True, True): "has its rights back", (False, True): "was not denied"}  # fmt: skip
    click.echo(f"{name} {words[changed, undo]}.")


@broker.command()
def stop() -> None:
    """Stop the broker that runs in this workspace."""
    _running().stop()
    click.echo("Stopped.")


@broker.command()
@click.option("--base", help="Build on this image instead of the course's choice.")
def build(base: str | None) -> None:
    """Build the broker's image, `docker/broker`, with docker or podman; its base is fetched.

    With LABKIT_BROKER=docker the lessons use it, and build it themselves where it is missing.
    """
    from labkit.broker import container

    name, engine = container.find_engine(container.wanted() or container.ENGINES)
    click.echo(f"{name} builds {container.IMAGE} …")
    container.build_image(engine, base=base)
    click.echo(f"Built. Its size: {container.image_size(engine) / 1e6:.0f} MB.")


def _list(store: Store) -> Path | None:
    """Return the revocation list, renewed where it is due, or None where none was ever made."""
    register = store.revocations
    if not register.path.exists():
        return None
    register.ensure()
    return register.path


def _running() -> Any:
    from labkit.broker import attach

    return attach(Workspace.open())
