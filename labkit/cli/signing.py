"""`labkit firmware key|sign|verify|inspect|manifest`: signatures of updates, and their keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import emit_json, emit_table, json_option, spoken
from labkit.cli.hsm import open_module, prepare, present_option, read_pin, token_option
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.firmware.signing_keys import SigningKey, SigningKeys
    from labkit.firmware.update import Header, Target, TrustedKeys
    from labkit.outcome import Outcome

CHUNK = 1 << 16

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def _keys() -> SigningKeys:
    from labkit.firmware.signing_keys import SigningKeys

    return SigningKeys(Workspace.open())


def _passphrase(*, confirm: bool = False) -> bytes:
    from labkit.firmware.signing_keys import VARIABLE

    given = os.environ.get(VARIABLE) or click.prompt(
        "Passphrase of the signing key", hide_input=True, confirmation_prompt=confirm, err=True
    )
    return str(given).encode()


# --- keys ---------------------------------------------------------------------------------------------------------


@click.group()
def key() -> None:
    """Make signing keys, let one follow the other, and end those that were lost.

    \b
    A key follows the other in three steps, with an update between them:
      labkit firmware key new           devices are to trust both: build and sign with the old one
      labkit firmware key promote ID    once they do: the new one signs
      labkit firmware key retire ID     a later image leaves the old one out; revoke says that somebody has it
    """  # noqa: D301 - click wants the character itself


@key.command("new")
@token_option
@present_option
@json_option
def new_key(token: str | None, present: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Make a signing key (ECDSA, P-256), encrypted with a passphrase.

    You are asked for it, or it is taken from LABKIT_SIGNING_PASSPHRASE. The first key signs at once; a later one is
    trusted first and signs when it is promoted. With --hsm it is made in a hardware module before witnesses and never
    leaves it; the token's PIN opens it then.
    """
    keys = _keys()
    if token:
        made = keys.create(read_pin(), module=open_module(token), present=present)
    else:
        made = keys.create(_passphrase(confirm=True))
    _emit_keys((made,), as_json=as_json)
    if not as_json:
        click.echo(f"The public half is {keys.path(made, 'pub')}")


@key.command("list")
@json_option
def list_keys(as_json: bool) -> None:  # noqa: FBT001
    """List the signing keys and what each is for."""
    _emit_keys(_keys().all(), as_json=as_json)


@key.command("log")
@json_option
def key_log(as_json: bool) -> None:  # noqa: FBT001
    """Show what the keys signed, and what became of them: what you need on the day on which one is lost."""
    lines = _keys().log()
    if as_json:
        emit_json(lines)
        return
    if not lines:
        click.echo(spoken("Nothing was signed yet: labkit firmware key new"))
        return
    rows = [
        (one["time"], one["action"], one.get("key_id", ""), one.get("product", ""), one.get("version", ""))
        for one in lines
    ]
    emit_table(("time", "what", "key", "product", "version"), rows)


@key.command()
@click.argument("key_id")
@json_option
def promote(key_id: str, as_json: bool) -> None:  # noqa: FBT001
    """Let the key KEY_ID sign from now on; the one that did stays trusted."""
    _emit_keys((_keys().promote(key_id),), as_json=as_json)


@key.command()
@click.argument("key_id")
@json_option
def retire(key_id: str, as_json: bool) -> None:  # noqa: FBT001
    """Leave the key KEY_ID out of images that are built from now on."""
    _emit_keys((_keys().retire(key_id),), as_json=as_json)


@key.command("revoke")
@click.argument("key_id")
@json_option
def revoke_key(key_id: str, as_json: bool) -> None:  # noqa: FBT001
    """Say in images that are built from now on that the key KEY_ID counts no more: somebody has it."""
    _emit_keys((_keys().revoke(key_id),), as_json=as_json)


def _emit_keys(found: tuple[SigningKey, ...], *, as_json: bool) -> None:
    if as_json:
        emit_json(list(found))
        return
    if not found:
        click.echo(spoken("No signing key yet: labkit firmware key new"))
        return
    rows = [(one.key_id, one.state, one.since, one.made) for one in found]
    emit_table(("key", "state", "since", "made"), rows)


# --- updates ------------------------------------------------------------------------------------------------------


def _revisions(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError as error:
        why = f"{text!r} is no range like 1-3"
        raise click.BadParameter(why) from error
    if not 0 <= low <= high <= 65_535:
        why = f"{text!r} is not within 0-65535, or goes backwards"
        raise click.BadParameter(why)
    return low, high


@click.command()
@click.argument("image", type=_file)
@click.option("--product", help="For which product; the image's own word without it.")
@click.option("--version", help="Which version, like 1.5.0; the image's own word without it.")
@click.option(
    "--hardware", callback=_revisions, default="0-65535", show_default=True, help="Hardware revisions."
)
@click.option("--secure-version", type=click.IntRange(0, 0xFFFFFFFF), help="The image's own without it.")
@click.option("--key", "key_id", default="", help="The id of the key; the current one without it.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="IMAGE.update without it.")
@json_option
def sign(  # noqa: PLR0917 - click passes options by name
    image: Path,
    product: str | None,
    version: str | None,
    hardware: tuple[int, int],
    secure_version: int | None,
    key_id: str,
    output: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Sign IMAGE: write the signed header with the image behind it.

    Product, version and secure version are what the image says of itself. Saying something else is refused: the header
    is what devices decide by, and the image is what they run.

    \b
      labkit firmware sign app.bin --hardware 1-3
      labkit firmware sign blob.bin --product course-node --version 1.5.0      an image that says nothing
    """  # noqa: D301 - click wants the character itself
    from labkit.firmware.release import describe_release
    from labkit.firmware.update import parse_header, sign_update
    from labkit.workspace import write_atomic

    data = image.read_bytes()
    release = describe_release(data, product=product, version=version, secure_version=secure_version)
    keys = _keys()
    if keys.in_module(key_id):
        prepare()
    signer = keys.signer(read_pin() if keys.in_module(key_id) else _passphrase(), key_id)
    update = sign_update(
        data,
        product=release.product,
        version=release.version,
        hardware=hardware,
        secure_version=release.secure_version,
        signer=signer,
    )
    target = output or image.with_suffix(".update")
    write_atomic(target, update)
    _emit_header(parse_header(update).header, as_json=as_json, where=target)
    if not as_json:
        click.echo(spoken(f"Next: labkit firmware verify {target}"))


def _emit_header(header: Header, *, as_json: bool, where: Path, **more: Any) -> None:
    values = {
        "file": str(where),
        "product": header.product,
        "version": str(header.version),
        "hardware": f"{header.hardware_min}-{header.hardware_max}",
        "secure_version": header.secure_version,
        "size": header.size,
        "sha256": header.digest.hex(),
        "key_id": header.key_id.hex(),
        **more,
    }
    if as_json:
        emit_json(values)
    else:
        emit_table(("field", "value"), [(name.replace("_", " "), value) for name, value in values.items()])


@click.command()
@click.argument("file", type=_file)
@json_option
def inspect(file: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show what FILE says of itself: an update, or an image. Nothing is verified; see `verify` for that."""
    from labkit.firmware.release import describe_file

    values = describe_file(file.read_bytes())
    if as_json:
        emit_json({"file": str(file), **values})
        return
    emit_table(("field", "value"), list(values.items()))


@click.command()
@click.argument("file", type=_file)
@click.option("--trust", multiple=True, type=_file, help="A public key (PEM) instead of the workspace's.")
@click.option("--product", help="The device's product; the update's own without it, so that it fits.")
@click.option("--running", metavar="VERSION", default="0.0.0", show_default=True, help="What it runs.")
@click.option("--hardware", type=click.IntRange(0, 65_535), help="Its revision; one that fits without it.")
@click.option("--secure-version", type=click.IntRange(0, 0xFFFFFFFF), default=0, help="The lowest it takes.")
@click.option("--slot-size", type=int, default=0x1E0000, show_default=True, help="Bytes of its slot.")
@json_option
def verify(  # noqa: PLR0917 - click passes options by name
    file: Path,
    trust: tuple[Path, ...],
    product: str | None,
    running: str,
    hardware: int | None,
    secure_version: int,
    slot_size: int,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Verify the update FILE as a device does that streams it: header, signature, policy, and then the image.

    Exit status 1 where the device would refuse it; the reason is one of docs/formats/update.md.

    \b
      labkit firmware verify app.update
      labkit firmware verify app.update --product course-node --running 1.4.2 --hardware 2
    """  # noqa: D301 - click wants the character itself
    from labkit.errors import UpdateRefusedError
    from labkit.firmware.update import Target, Version
    from labkit.outcome import ACCEPTED, Outcome

    try:
        runs = Version.parse(running)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--running") from error
    try:
        header = _peek(file)
        target = Target(
            product or header.product,
            header.hardware_min if hardware is None else hardware,
            runs,
            secure_version,
            slot_size,
        )
        _stream(file, _trusted(trust), target)
    except UpdateRefusedError as error:
        outcome = Outcome(error.stage, accepted=False, reason=error.rule, detail={"file": str(file)})
    else:
        said = {"file": str(file), "product": header.product, "version": str(header.version)}
        outcome = Outcome("image", accepted=True, reason=ACCEPTED, detail=said)
    if as_json:
        emit_json(outcome.to_json())
    else:
        _emit_verdict(file, outcome)
    return 0 if outcome.accepted else 1


def _emit_verdict(file: Path, outcome: Outcome) -> None:
    from labkit.node.codes import CODES

    click.secho(str(outcome), fg="green" if outcome.accepted else "red", bold=True)
    if outcome.accepted:
        return
    if outcome.reason in CODES:
        click.echo(f"  {CODES[outcome.reason].meaning}")
    if outcome.reason == "header-magic":
        click.echo(spoken(f"  An image becomes an update by: labkit firmware sign {file}"))


def _peek(file: Path) -> Header:
    from labkit.firmware.update import HEADER_LENGTH, parse_header

    with file.open("rb") as stream:
        return parse_header(stream.read(HEADER_LENGTH)).header


def _stream(file: Path, trusted: TrustedKeys, target: Target) -> None:
    from labkit.firmware.update_stream import UpdateStream

    verifier = UpdateStream(trusted, target)
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            verifier.feed(chunk)
    verifier.finish()


def _trusted(paths: tuple[Path, ...]) -> TrustedKeys:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from labkit.firmware.update import TrustedKeys

    if not paths:
        return _keys().trusted()
    publics = []
    for path in paths:
        try:
            public = load_pem_public_key(path.read_bytes())
        except (ValueError, UnsupportedAlgorithm) as error:
            why = f"{path} holds no public key in PEM"
            raise click.BadParameter(why, param_hint="--trust") from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            why = f"{path} holds no key on P-256"
            raise click.BadParameter(why, param_hint="--trust")
        publics.append(public)
    return TrustedKeys.of(publics)


@click.command()
@click.argument("update", type=_file)
@click.option("--path", "where", help="Where devices find it; /updates/PRODUCT/VERSION.bin without it.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file.")
def manifest(update: Path, where: str | None, output: Path | None) -> None:
    """Print the manifest of UPDATE: the JSON in which an update server tells devices what there is.

    It is not signed and believed in nothing; the header that it announces decides.
    """
    from labkit.firmware.update import Manifest
    from labkit.workspace import write_atomic

    header = _peek(update)
    text = Manifest(where or f"/updates/{header.product}/{header.version}.bin", header).render()
    if output:
        write_atomic(output, text)
        click.echo(spoken(f"{output} says what {update} is."))
    else:
        click.echo(text.decode(), nl=False)
