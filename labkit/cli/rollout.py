"""`labkit firmware serve-updates|rollout|fetch`: updates on their way to a fleet, from the server's and the device's side."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import emit_json, emit_table, json_option, open_store, spoken
from labkit.cli.enrolment import ACTOR, registry_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.updates import Operations
    from labkit.updates.messages import ReleaseView

PORT = 8444


@click.command("serve-updates")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@registry_option
def serve_updates(port: int, host: str, workers: int, registry: str | None) -> None:
    """Serve updates until Ctrl-C: devices ask with their certificates, operators with theirs.

    \b
      labkit firmware serve-updates                    in one terminal
      labkit firmware rollout publish app.update       in another
      labkit firmware rollout start course-node 1.5.0 --percent 10
    """  # noqa: D301 - click wants the character itself
    from labkit.serving import RunningService
    from labkit.updates import prepare
    from labkit.updates.service import DECISIONS

    store = open_store()
    settings = prepare(store, registry=registry, port=port, host=host, workers=workers)
    if not host.startswith(("127.", "::1", "localhost")):
        click.secho(
            f"Listening on {host}: others can reach this lab, and its keys are for the lab.",
            fg="yellow",
            err=True,
        )
    with RunningService(settings) as service:
        click.echo(f"Updates at {service.url} (Ctrl-C stops it)")
        click.echo(f"  operators:  certificate {store.workspace.path('operators/admin.crt')}")
        click.echo(f"  decisions:  {store.workspace.path(DECISIONS)}")
        click.echo(spoken("  next:       labkit firmware rollout publish FILE"))
        try:
            service.wait()
        except KeyboardInterrupt:
            click.echo("\nStopped.")


@click.group()
def rollout() -> None:
    """Publish updates, and offer each to a share of the fleet at a time.

    \b
      labkit firmware rollout publish app.update                     on record, offered to nobody
      labkit firmware rollout start course-node 1.5.0 --percent 0 --first sensor-001
      labkit firmware rollout start course-node 1.5.0 --percent 10   further; it only grows
      labkit firmware rollout list                                   how it stands, what devices report
      labkit firmware rollout pause course-node 1.5.0                nobody new; `start` goes on
      labkit firmware rollout abort course-node 1.5.0                taken back, for good

    Which devices come first is fixed by their ids. A roll-out pauses by itself when too many devices report failures.
    """  # noqa: D301 - click wants the character itself


@rollout.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@registry_option
@json_option
def publish(file: Path, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Put the update FILE on record, if devices would take it. It is offered to nobody yet.

    Signature, size and digest are verified as a device does, with the keys of `labkit firmware key list`.
    """
    from labkit.workspace import os_errors

    with os_errors(file):
        update = file.read_bytes()
    with _operations(registry) as operations:
        view = operations.publish(update, actor=ACTOR)
    _emit([view], as_json=as_json)
    if not as_json:
        click.echo(spoken(f"Next: labkit firmware rollout start {view.product} {view.version} --percent 10"))


@rollout.command()
@click.argument("product")
@click.argument("version")
@click.option("--percent", type=click.IntRange(0, 100), required=True, help="The share of the fleet.")
@click.option("--first", multiple=True, metavar="DEVICE", help="A device that gets it whatever the share is.")
@registry_option
@json_option
def start(  # noqa: PLR0917 - click passes options by name
    product: str,
    version: str,
    percent: int,
    first: tuple[str, ...],
    registry: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Offer VERSION of PRODUCT to a share of the fleet: begin, go further, or go on after a pause."""
    from labkit.pki import names

    chosen = [names.device_id(name) for name in first] or None
    with _operations(registry) as operations:
        view = operations.roll_out(product, version, percent, actor=ACTOR, first=chosen)
    _emit([view], as_json=as_json)


@rollout.command()
@click.argument("product")
@click.argument("version")
@registry_option
@json_option
def pause(product: str, version: str, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Offer VERSION of PRODUCT to nobody new; who has begun may go on."""
    with _operations(registry) as operations:
        view = operations.pause(product, version, actor=ACTOR)
    _emit([view], as_json=as_json)


@rollout.command()
@click.argument("product")
@click.argument("version")
@registry_option
@json_option
def abort(product: str, version: str, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Take VERSION of PRODUCT back for good, from those who are fetching it too.

    Devices that run it keep it: nothing goes back to an older version. Publish the next one.
    """
    with _operations(registry) as operations:
        view = operations.abort(product, version, actor=ACTOR)
    _emit([view], as_json=as_json)


@rollout.command("list")
@registry_option
@json_option
def list_(registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """List the releases: how far each has gone, and what devices report."""
    with _operations(registry) as operations:
        found = operations.releases()
    _emit(found, as_json=as_json)
    if not found and not as_json:
        click.echo(spoken("None yet: labkit firmware rollout publish FILE"))


@click.command()
@click.argument("product")
@click.option("--as", "name", required=True, metavar="DEVICE", help="The device that asks; it is enrolled.")
@click.option("--running", metavar="VERSION", default="0.0.0", show_default=True, help="What it runs.")
@click.option(
    "--hardware", type=click.IntRange(0, 65_535), default=0, show_default=True, help="Its revision."
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="PRODUCT.bin without it.")
@click.option("--url", default=f"https://127.0.0.1:{PORT}", show_default=True, help="Where the service is.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The device's own store; scratch/boards/DEVICE in the workspace without it.",
)
@json_option
def fetch(  # noqa: PLR0917 - click passes options by name
    product: str,
    name: str,
    running: str,
    hardware: int,
    output: Path | None,
    url: str,
    folder: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Take the update of PRODUCT as the device DEVICE does: manifest, header, image, all verified while it streams.

    Exit status 1 where there is nothing for it, or where it refuses what there is.
    """
    from labkit.firmware.signing_keys import SigningKeys
    from labkit.firmware.update import Target, Version
    from labkit.firmware.update_stream import UpdateStream
    from labkit.node.manifest import read_manifest
    from labkit.updates import take

    try:
        runs = Version.parse(running)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--running") from error
    client = _device(name, url, folder)
    told = client.manifest(product, hardware=hardware, version=runs)
    if told is None:
        emit_json({"offered": None}) if as_json else click.echo(f"There is nothing for {name} now.")
        return 1
    manifest = read_manifest(told)
    trusted = SigningKeys(open_store().workspace).trusted()
    stream = UpdateStream(trusted, Target(product, hardware, runs), manifest=manifest)
    target = output or Path(f"{product}.bin")
    with (
        _beside(target) as file,
        click.progressbar(length=manifest.header.size, label="Image", file=sys.stderr) as bar,
    ):

        def write(data: bytes) -> None:
            file.write(data)
            bar.update(len(data))

        header = take(client, manifest.path, stream, write)
    if as_json:
        emit_json({"offered": str(header.version), "size": header.size, "file": target})
    else:
        click.echo(f"{product} {header.version}: verified, {header.size} bytes in {target}.")
    return 0


def _emit(found: list[ReleaseView], *, as_json: bool) -> None:
    if as_json:
        emit_json([each.model_dump(mode="json") for each in found])
        return
    rows = [
        (
            each.product,
            each.version,
            each.state,
            f"{each.percent} %",
            ", ".join(each.first),
            ", ".join(f"{number} {code}" for code, number in sorted(each.reported.items())),
        )
        for each in found
    ]
    emit_table(("product", "version", "state", "share", "first", "reported"), rows)


@contextmanager
def _operations(registry: str | None) -> Iterator[Operations]:
    from labkit.devices import Registry
    from labkit.firmware.signing_keys import SigningKeys
    from labkit.updates import Depot, Operations
    from labkit.updates.service import REGISTRY

    workspace = open_store().workspace
    with Registry.open(registry or workspace.path(REGISTRY)) as opened:
        yield Operations(opened, Depot(workspace), SigningKeys(workspace))


def _device(name: str, url: str, folder: Path | None) -> Any:
    from labkit.mqtt import Identity
    from labkit.pki import names
    from labkit.provisioning.slots import Slots
    from labkit.updates import UpdateClient

    names.device_id(name)
    store = open_store()
    current = Slots(folder or store.workspace.path("scratch", "boards", name)).current
    if current is None:
        raise click.UsageError(spoken(f"{name} has no identity yet: labkit provision enrol {name}"))
    identity = Identity(current.chain, current.key)
    return UpdateClient(url, trust=store.trust_anchor, identity=identity)


@contextmanager
def _beside(target: Path) -> Iterator[Any]:
    """Open a file that takes the target's place when all went well, and is gone when it did not."""
    beside = target.with_name(f".{target.name}.part")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
