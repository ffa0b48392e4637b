"""`labkit broker`: run the broker, look at it, stop it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.brokers import cluster, conform, follow_option, keep
from labkit.cli.console import emit_json, emit_table, json_option, open_store, spoken
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.pki import Store


@click.group()
def broker() -> None:
    """Run the course's broker: Mosquitto with mutual TLS and rules by identity."""


broker.add_command(cluster)
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
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="Its port inside."
)
@click.option("--make", is_flag=True, help="Make an authority where there is none.")
@follow_option
def render(folder: Path, port: int, make: bool, follow: bool) -> None:  # noqa: FBT001
    """Fill FOLDER with what the broker's container mounts at /broker, and nothing else.

    Configuration, rules, the broker's certificate and key, the authorities, the revocation list, and an identity for
    its health check. A second run changes what has changed; the container's broker sees it and reads it again.
    """
    from labkit.scenarios import stack

    store = open_store()
    if make:
        store.ensure_authority()
    if follow:
        keep(folder, store, lambda: stack.render(store, folder.absolute(), port=port))
        return
    stack.render(store, folder.absolute(), port=port)
    click.echo(f"{folder}: what the broker needs, for its owner alone.")


@broker.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="On 127.0.0.1.")
@json_option
def up(port: int, as_json: bool) -> None:  # noqa: FBT001
    """Start the broker of docker/compose.yaml with this workspace's authority, and leave it running.

    It goes by a revocation list. A second time it renders its files again and has the broker read them: after
    `labkit ca revoke`, or after a change of broker/stack/acl.conf in the workspace.
    """
    from labkit.broker.compose import find_compose
    from labkit.scenarios import stack

    click.echo("Rendering, and starting what is needed …", err=True)
    found = stack.up(_store(), find_compose(), port=port)
    if as_json:
        emit_json(found)
    else:
        click.echo(f"The broker's container is on 127.0.0.1:{port} and lets its health check in.")
        click.echo(spoken(f"Try it: labkit probe --port {port}. Stop it: labkit broker down"))


@broker.command()
def down() -> None:
    """Stop and remove the containers of docker/compose.yaml. Its volumes, and your workspace, stay."""
    from labkit.broker.compose import find_compose

    find_compose().down()
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
