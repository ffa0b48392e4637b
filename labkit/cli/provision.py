"""`labkit provision`: the service, the fleet, and the device's side of both."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import Address, emit_json, emit_table, json_option, open_store, spoken
from labkit.cli.enrolment import ACTOR, ELSEWHERE, PORT, enrol, open_operations, registry_option, renew

if TYPE_CHECKING:
    from labkit.devices import Registry
    from labkit.mqtt import Endpoint

REASONS = ("unspecified", "key-compromise", "superseded", "cessation-of-operation", "privilege-withdrawn")


@click.group()
def provision() -> None:
    """Give devices their certificates: factory line, first boot, renewal, decommissioning.

    \b
    A first round, in two terminals:
      labkit provision serve                        the service; stop it with Ctrl-C
      labkit provision token sensor-001             in the second: take it in, make a token
      labkit provision enrol sensor-001 --token …   the device's first boot
      labkit provision show sensor-001              what the registry says of it
      labkit provision decommission sensor-001      and it is out of service

    The registry lies in the workspace; --registry or LABKIT_REGISTRY names another.
    """  # noqa: D301 - click wants the character itself


provision.add_command(enrol)
provision.add_command(renew)


@provision.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option(
    "--broker",
    "elsewhere",
    type=Address(),
    envvar=ELSEWHERE,
    show_envvar=True,
    help="Where the devices' broker is, if none of this workspace: devices are told so, and sessions are cut there.",
)
@registry_option
def serve(port: int, host: str, workers: int, registry: str | None, elsewhere: Endpoint | None) -> None:
    """Run the service until Ctrl-C. What is missing is made: authorities, certificates, tables."""
    from labkit.provisioning import prepare
    from labkit.provisioning.office import DECISIONS
    from labkit.serving import RunningService

    store = open_store()
    settings = prepare(store, registry=registry, port=port, host=host, workers=workers, elsewhere=elsewhere)
    if not host.startswith(("127.", "::1", "localhost")):
        click.secho(
            f"Listening on {host}: others can reach this lab, and its keys are for the lab.",
            fg="yellow",
            err=True,
        )
    with RunningService(settings) as service:
        click.echo(f"Provisioning at {service.url} (Ctrl-C stops it)")
        click.echo(f"  operators:  certificate {store.workspace.path('operators/admin.crt')}")
        click.echo(f"  decisions:  {store.workspace.path(DECISIONS)}")
        click.echo(spoken("  next:       labkit provision token sensor-001"))
        try:
            service.wait()
        except KeyboardInterrupt:
            click.echo("\nStopped.")


@provision.command()
@click.argument("name")
@click.option("--serial", help="The maker's serial number.")
@click.option("--mac", help="The MAC address in its chip.")
@registry_option
def add(name: str, serial: str | None, mac: str | None, registry: str | None) -> None:
    """Take the device NAME into the registry."""
    from labkit.devices import identify

    with open_operations(registry) as operations:
        operations.add([identify(name, serial=serial, mac=mac)], actor=ACTOR)
    click.echo(f"{name} is in the registry.")


@provision.command()
@click.argument("names", nargs=-1)
@click.option("--batch", "of", metavar="BATCH", help="For every device of this factory batch.")
@click.option("--prefix", help="For devices that are called PREFIX001 and so on; see --count.")
@click.option("--count", type=click.IntRange(1, 1_000_000), help="How many of those.")
@click.option("--start", type=click.IntRange(0), default=1, show_default=True, help="The first number.")
@click.option(
    "--hours",
    type=click.FloatRange(0, 720, min_open=True),
    default=24.0,
    show_default=True,
    help="How long they count.",
)
@click.option("--revoke", is_flag=True, help="Take back the tokens of these devices instead.")
@click.option(
    "--csv", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write them to a file (0600)."
)
@registry_option
@json_option
def token(  # noqa: PLR0917 - click passes options by name
    names: tuple[str, ...],
    of: str | None,
    prefix: str | None,
    count: int | None,
    start: int,
    hours: float,
    revoke: bool,  # noqa: FBT001
    target: Path | None,
    registry: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make a token for each device NAMES; devices that the registry does not have are taken in.

    A token is shown this once. It lets its device ask for one certificate, once.

    \b
      labkit provision token sensor-001
      labkit provision token --prefix node- --count 1000 --csv tokens.csv
      labkit provision token --batch spring --revoke
    """  # noqa: D301 - click wants the character itself
    from labkit.workspace import write_atomic

    with open_operations(registry) as operations:
        chosen = _chosen(names, of, prefix, count, start, operations.registry)
        if revoke:
            numbers = {name: operations.revoke_tokens(name, actor=ACTOR) for name in chosen}
            emit_json(numbers) if as_json else emit_table(
                ("device", "tokens taken back"), list(numbers.items())
            )
            return
        made = operations.issue_tokens(chosen, lifetime=dt.timedelta(hours=hours), actor=ACTOR, add=True)
    if target:
        lines = "device_id,token\n" + "".join(f"{name},{text}\n" for name, text in made.items())
        write_atomic(target, lines, secret=True)
        click.echo(f"{len(made)} tokens in {target}, for {hours:g} hours.")
    elif as_json:
        emit_json(dict(made))
    else:
        emit_table(("device", f"token, for {hours:g} hours"), list(made.items()))
        click.echo(spoken(f"Next: labkit provision enrol {chosen[0]} --token …"))


def _chosen(  # noqa: PLR0917 - as they were typed
    names: tuple[str, ...],
    of: str | None,
    prefix: str | None,
    count: int | None,
    start: int,
    registry: Registry,
) -> list[str]:
    """Return the ids that were meant: by name, by batch, or by number."""
    from labkit.pki import names as grammar
    from labkit.provisioning.factory import Batch

    if bool(names) + (of is not None) + (count is not None) != 1 or (prefix is None) != (count is None):
        raise click.UsageError("Give NAMES, or --batch, or --prefix with --count.")
    if of is not None:
        with registry.read() as tx:
            found = [each.device_id for each in tx.fleet.list(batch=of, limit=1_000_000)]
        if not found:
            raise click.UsageError(f"No device is of the batch {of}.")
        return found
    if prefix is not None and count is not None:
        return Batch("tokens", prefix, count, start=start, part=count).ids(0)
    return [grammar.device_id(name) for name in names]


@provision.command()
@click.argument("name")
@click.option(
    "--reason", type=click.Choice(REASONS), default="cessation-of-operation", show_default=True, help="Why."
)
@click.option("--quarantine", is_flag=True, help="Lock it out only until somebody has looked at it.")
@click.option("--release", is_flag=True, help="Let it out of quarantine; it needs a fresh token.")
@click.option(
    "--erased", is_flag=True, help="Note that it was erased or destroyed after its decommissioning."
)
@registry_option
@json_option
def decommission(  # noqa: PLR0917 - click passes options by name
    name: str,
    reason: str,
    quarantine: bool,  # noqa: FBT001
    release: bool,  # noqa: FBT001
    erased: bool,  # noqa: FBT001
    registry: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Take the device NAME out of service: on the list, the broker told, its session cut."""
    from labkit.pki import Reason

    if quarantine + release + erased > 1:
        raise click.UsageError("Choose one of --quarantine, --release and --erased.")
    with open_operations(registry) as operations:
        if release:
            operations.release(name, actor=ACTOR)
            done = ["released from quarantine; it needs a fresh token"]
        elif erased:
            operations.erase(name, actor=ACTOR)
            done = ["gone"]
        elif quarantine:
            done = operations.quarantine(name, actor=ACTOR)
        else:
            done = operations.decommission(name, Reason(reason), actor=ACTOR)
    if as_json:
        emit_json({"device": name, "done": done})
        return
    for each in done:
        click.echo(f"{name}: {each}.")


@provision.command("list")
@click.option(
    "--state",
    type=click.Choice(["made", "shipped", "enrolled", "quarantined", "revoked", "gone"]),
    help="Only those in this state.",
)
@click.option("--batch", "of", help="Only those of this factory batch.")
@click.option("--find", help="Only those whose id, serial number or MAC is this.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many."
)
@registry_option
@json_option
def list_(  # noqa: PLR0917 - click passes options by name
    state: str | None,
    of: str | None,
    find: str | None,
    limit: int,
    registry: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """List the devices of the registry."""
    from labkit.devices import State

    with open_operations(registry) as operations, operations.registry.read() as tx:
        found = tx.fleet.list(state=State(state) if state else None, batch=of, find=find, limit=limit)
        counts = {key.value: number for key, number in tx.fleet.count().items()}
    rows = [
        (
            d.device_id,
            d.state.value,
            d.serial or "",
            d.mac or "",
            d.batch or "",
            f"{d.moved_at:%Y-%m-%d %H:%M}",
        )
        for d in found
    ]
    columns = ("device", "state", "serial", "mac", "batch", "since")
    if as_json:
        emit_json({"devices": [dict(zip(columns, row, strict=True)) for row in rows], "counts": counts})
        return
    emit_table(columns, rows)
    click.echo(
        ", ".join(f"{number} {key}" for key, number in counts.items())
        or spoken("None yet: labkit provision add NAME")
    )


@provision.command()
@click.argument("name")
@registry_option
@json_option
def show(name: str, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the device NAME: its state, its certificates, its tokens, what happened to it."""
    with open_operations(registry) as operations:
        found = operations.dossier(name)
    if as_json:
        emit_json(_plain(found))
        return
    device = found.device
    emit_table(
        ("field", "value"),
        [("device", device.device_id), ("state", device.state.value), ("serial", device.serial or ""),
         ("mac", device.mac or ""), ("batch", device.batch or ""), ("settings", dict(device.settings))],
    )  # fmt: skip
    click.echo()
    emit_table(
        ("certificate", "status", "reason", "until"),
        [
            (c.entry.serial, c.status.value, c.reason or "", f"{c.entry.not_after:%Y-%m-%d %H:%M}")
            for c in found.certificates
        ],
    )
    click.echo()
    _emit_events(found.events)


@provision.command()
@click.argument("name")
@click.option("--prefix", help="What the ids begin with; NAME- without it.")
@click.option("--count", type=click.IntRange(1, 1_000_000), required=True, help="How many devices.")
@click.option("--start", type=click.IntRange(0), default=1, show_default=True, help="The first number.")
@click.option("--flash", is_flag=True, help="Also a CSV and a flash-ready NVS image for each device.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; one a processor without it.")
@registry_option
@json_option
def batch(  # noqa: PLR0917 - click passes options by name
    name: str,
    prefix: str | None,
    count: int,
    start: int,
    flash: bool,  # noqa: FBT001
    workers: int | None,
    registry: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make the factory batch NAME: keys, certificates and registry rows for many devices, in one archive.

    Stopped or killed, it goes on where it was when it is run again.

    \b
      labkit provision batch spring --prefix sensor- --count 1000
      labkit provision batch spring --prefix sensor- --count 1000 --flash
    """  # noqa: D301 - click wants the character itself
    from labkit.provisioning.factory import Batch, Factory

    store = open_store()
    store.ensure_authority()
    wanted = Batch(name, prefix or f"{name}-", count, start=start, flash=flash)
    with (
        open_operations(registry, store) as operations,
        click.progressbar(length=count, label="Devices", file=sys.stderr, show_pos=True) as bar,
    ):
        last = [0]

        def progress(number: int) -> None:
            bar.update(number - last[0])
            last[0] = number

        report = Factory(store, operations.registry).run(wanted, workers=workers, progress=progress)
    if as_json:
        emit_json(report)
        return
    click.echo(f"{report.made} made, {report.found} were there already.")
    click.echo(f"  archive:  {report.archive}  (it holds private keys)")
    click.echo(f"  manifest: {report.manifest}")


@provision.command("audit-log")
@click.argument("name", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="The newest lines."
)
@registry_option
@json_option
def audit_log(name: str | None, limit: int, registry: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show who did what, when; of the device NAME alone if one is given. Nobody can change a line of it."""
    with open_operations(registry) as operations, operations.registry.read() as tx:
        events = tx.trail.events(name, limit=limit)
    if as_json:
        emit_json([_plain(each) for each in events])
        return
    _emit_events(events)


def _emit_events(events: Any) -> None:
    rows = [(f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, e.action, e.subject, _short(e.detail)) for e in events]
    emit_table(("when", "who", "what", "device", "more"), rows)


def _short(detail: Any) -> str:
    text = ", ".join(f"{key} {value}" for key, value in detail.items() if value not in (None, "", []))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(value: Any) -> Any:
    """Return a value without the bytes of certificates."""
    from dataclasses import fields, is_dataclass

    if is_dataclass(value):
        return {
            each.name: _plain(getattr(value, each.name))
            for each in fields(value)
            if each.name not in {"der", "digest"}
        }
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
