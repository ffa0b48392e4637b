"""`labkit probe`: one connection attempt and what all witnesses say of it."""

from __future__ import annotations

from pathlib import Path

import click

from labkit.cli.console import emit_json, emit_outcome, json_option
from labkit.workspace import Workspace


@click.command()
@click.option("--as", "name", metavar="NAME", help="The device or operator to be; nobody without it.")
@click.option("--cert", type=click.Path(path_type=Path), help="A certificate from elsewhere, with --key.")
@click.option("--key", type=click.Path(path_type=Path), help="Its private key.")
@click.option("--tls", type=click.Choice(["1.2", "1.3"]), help="Exactly this version of TLS.")
@click.option("--publish", metavar="TOPIC", help="Also try to publish there.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port; that of the running broker without it."
)
@json_option
def probe(  # noqa: PLR0917 - click passes by name
    name: str | None,
    cert: Path | None,
    key: Path | None,
    tls: str | None,
    publish: str | None,
    port: int | None,
    as_json: bool,  # noqa: FBT001 - click passes flags by position
) -> int:
    """Try one connection to the broker on this computer: how far it came, and why no further.

    \b
      labkit probe                                     nobody: no certificate at all
      labkit probe --as sensor-001                     a device of yours
      labkit probe --as sensor-001 --publish devices/sensor-002/status
      labkit probe --cert intruder.crt --key intruder.key

    Exit status 0 if it was accepted, 1 if it was refused.
    """  # noqa: D301 - click wants the character itself
    if bool(cert) != bool(key) or (cert and name):
        raise click.UsageError("Give --cert and --key together, or --as, or none of them.")
    from labkit.broker import attach
    from labkit.mqtt import Endpoint, Identity
    from labkit.mqtt import probe as try_it
    from labkit.pki import Store, openssl
    from labkit.scenarios import diagnose

    store = Store(Workspace.open())
    running = None if port else attach(store.workspace)
    files = store.device(name) if name else None
    certificate, private = (files.certificate, files.key) if files else (cert, key)
    identity = Identity(certificate, private) if certificate and private else None
    mark = running.log.mark() if running else 0
    outcome = try_it(
        Endpoint("127.0.0.1", running.port if running else port or 0),
        trust=store.trust_anchor, identity=identity, tls=tls, publish=publish,
    )  # fmt: skip
    lines = running.log.story_of(outcome.detail.get("local_port", 0), since=mark) if running else []
    verdict = None
    if certificate:
        verdict = openssl.verify(
            certificate, trust=store.trust_anchor, untrusted=store.intermediate, purpose="sslclient"
        )
    outcome = diagnose(outcome, broker_lines=lines, verdict=verdict)
    if as_json:
        emit_json(outcome.to_json())
    else:
        emit_outcome(outcome)
    return 0 if outcome.accepted else 1
