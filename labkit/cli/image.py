"""`labkit image`: what goes into a device's flash, built and read."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import emit_json, emit_table, json_option, spoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.firmware import NvsEntry
    from labkit.firmware.image import Image
    from labkit.firmware.partitions import PartitionTable

CHIPS = ("esp32", "esp32c3")

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_target = click.Path(dir_okay=False, path_type=Path)
output_option = click.option("--output", "-o", "target", type=_target, help="The file that is written.")


@click.group()
def image() -> None:
    """Build and read what goes into a device's flash: images, NVS, partition tables.

    The files are those that a real board takes. Applications of labkit hold no machine code: they are for the virtual
    board.

    \b
      labkit image build --chip esp32 --version 1.0.0 -o app.bin   an application, made by the real esptool
      labkit image build --chip esp32 --bootloader -o boot.bin     and what starts it
      labkit image table -o table.bin                              the course's partition table
      labkit image nvs identity.csv -o nvs.bin                     a device's own values
      labkit image merge 0x1000 boot.bin 0x8000 table.bin 0x20000 app.bin -o flash.bin
      labkit image info flash.bin                                  what somebody finds who reads the chip
    """  # noqa: D301 - click wants the character itself


@image.command()
@click.option("--chip", type=click.Choice(CHIPS), default="esp32", show_default=True, help="For which chip.")
@click.option("--bootloader", is_flag=True, help="A second stage instead of an application.")
@click.option("--project", default="course-node", show_default=True, help="The product's name.")
@click.option("--version", default="1.0.0", show_default=True, help="The version that it says it is.")
@click.option(
    "--secure-version", type=click.IntRange(0), default=0, show_default=True, help="For anti-rollback."
)
@click.option("--behaviour", metavar="JSON", help="What it does on the virtual board, as a JSON object.")
@click.option("--min-revision", type=click.IntRange(0, 65535), default=0, help="301 is v3.1.")
@click.option("--secure-pad", is_flag=True, help="Room for a Secure Boot V2 signature.")
@output_option
@json_option
def build(  # noqa: PLR0917 - click passes options by name
    chip: str,
    bootloader: bool,  # noqa: FBT001
    project: str,
    version: str,
    secure_version: int,
    behaviour: str | None,
    min_revision: int,
    secure_pad: bool,  # noqa: FBT001
    target: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Build an application without ESP-IDF, or a bootloader, with the real esptool.

    Behaviour lies inside the image, where it is hashed and signed. A bootloader knows "rollback" and "anti_rollback",
    true without a word; an application what its node knows, and "nvs": "plain", "keys" or "hmac".
    """
    from labkit.firmware.description import AppDescription
    from labkit.firmware.image import parse_image
    from labkit.firmware.tools import build_app, build_bootloader
    from labkit.workspace import write_atomic

    does = _behaviour(behaviour)
    options: dict[str, Any] = {"min_revision": min_revision, "secure_pad": secure_pad}
    if bootloader:
        data = build_bootloader(chip, None, does, **options)
    else:
        about = AppDescription(project, version, secure_version)
        data = build_app(chip, about, {} if does is None else does, **options)
    path = target or Path("bootloader.bin" if bootloader else "app.bin")
    write_atomic(path, data)
    rows = _image_rows(parse_image(data))
    if as_json:
        emit_json({"file": str(path), **dict(rows)})
        return
    emit_table(("field", "value"), rows)
    where = ("0x1000" if chip == "esp32" else "0x0") if bootloader else "0x20000"
    click.echo(spoken(f"In {path}. Next: esptool write-flash {where} {path}"))


def _behaviour(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint="--behaviour") from error
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object, such as '{\"interval\": 60}'", param_hint="--behaviour")
    return found


# --- info ---------------------------------------------------------------------------------------------------------


@image.command()
@click.argument("file", type=_file)
@json_option
def info(file: Path, as_json: bool) -> None:  # noqa: FBT001
    """Say what FILE is: an image, a partition table, NVS, or a dump of a whole flash; and what is in it.

    A wrong checksum or digest is told, and the exit status is 1.
    """
    from labkit.firmware.flash_image import survey
    from labkit.firmware.image import parse_image
    from labkit.firmware.partitions import parse_table

    data = file.read_bytes()
    kind = _kind(data)
    if kind == "flash":
        found = survey(data)
        parts = [(f"{one.offset:#08x}", f"{one.size:#x}", one.name, one.kind, one.holds) for one in found]
        _emit(found, ("from", "size", "part", "kind", "holds"), parts, as_json=as_json)
    elif kind == "table":
        _emit_partitions(parse_table(data), as_json=as_json)
    elif kind == "nvs":
        _emit_nvs(data, values=False, as_json=as_json)
    else:
        parsed = parse_image(data, verify=False)
        rows = [*_image_rows(parsed), *_signature_rows(data, parsed)]
        _emit(dict(rows), ("field", "value"), rows, as_json=as_json)
        if not _whole(parsed):
            raise SystemExit(1)


def _kind(data: bytes) -> str:
    """Return what a file looks like: `table`, `nvs`, `flash` or `image`."""
    from labkit.errors import FormatError
    from labkit.firmware.image import MAGIC
    from labkit.firmware.nvs import ACTIVE, FULL, PAGE
    from labkit.firmware.partitions import OFFSET, parse_table

    if data.startswith(b"\xaa\x50"):
        return "table"
    if int.from_bytes(data[:4], "little") in {ACTIVE, FULL} and len(data) % PAGE == 0:
        return "nvs"
    if len(data) <= OFFSET:
        return "image"
    try:
        parse_table(data[OFFSET:])
    except FormatError:
        return "image" if data[:1] == bytes([MAGIC]) else "flash"
    return "flash"


def _whole(parsed: Image) -> bool:
    return parsed.checksum[0] == parsed.checksum[1] and parsed.digest in {None, parsed.actual_digest}


def _behaves(parsed: Image) -> str:
    from labkit.firmware.elf import NO_CODE
    from labkit.firmware.image import behaviour_of

    does = behaviour_of(parsed)
    if does is not None:
        return json.dumps(does)
    placeholder = any(NO_CODE in segment.data for segment in parsed.segments)
    return "the virtual board's own; no machine code" if placeholder else "machine code"


def _image_rows(parsed: Image) -> list[tuple[str, object]]:
    from labkit.firmware.memory_map import map_of

    memory = map_of(parsed.chip_id)
    rows: list[tuple[str, object]] = [
        ("chip", memory.name if memory else f"number {parsed.chip_id}"),
        ("revision", f"from v{parsed.min_revision // 100}.{parsed.min_revision % 100}"),
        ("entry", f"{parsed.entry:#010x}"),
        ("length", parsed.length),
    ]
    about, boot = parsed.description, parsed.bootloader
    if about is not None:
        rows += [
            ("project", about.project),
            ("version", about.version),
            ("secure version", about.secure_version),
        ]
        rows += [("ESP-IDF", about.idf_version)]
    if boot is not None:
        rows += [("bootloader", boot.version), ("ESP-IDF", boot.idf_version)]
    rows.append(("behaviour", _behaves(parsed)))
    for number, one in enumerate(parsed.segments):
        place = memory.region(one.address, len(one.data)) if memory else None
        rows.append((f"segment {number}", f"{one.address:#010x} {len(one.data):#x} {place or 'nowhere'}"))
    told, right = parsed.checksum
    rows.append(
        ("checksum", f"{told:#04x}" + (" right" if told == right else f" wrong, {right:#04x} would be"))
    )
    if parsed.digest is None:
        return [*rows, ("SHA-256", "none")]
    verdict = "right" if parsed.digest == parsed.actual_digest else "wrong"
    return [*rows, ("SHA-256", f"{parsed.digest.hex()} {verdict}")]


def _signature_rows(data: bytes, parsed: Image) -> list[tuple[str, object]]:
    """Tell which keys signed an image. Whether they are trusted only a board can say."""
    from labkit.errors import LabError
    from labkit.firmware.secure_boot import BLOCK, MOST_BLOCKS, SECTOR, TrustedKey, parse_block, signed_length
    from labkit.firmware.secure_boot import verify_signatures as verify

    length = signed_length(parsed.length)
    rows: list[tuple[str, object]] = []
    for number in range(MOST_BLOCKS):
        raw = data[length + number * BLOCK : length + (number + 1) * BLOCK]
        try:
            block = parse_block(raw)
            if block is None:
                break
            verify(data[:length], raw, [TrustedKey(block.key_digest)], schemes=[block.scheme], blocks=1)
            verdict = "holds"
        except LabError as error:
            rows.append((f"signature {number}", f"refused: {error.values().get('rule', 'damaged')}"))
            continue
        rows.append((f"signature {number}", f"{block.scheme} {verdict}, key {block.key_digest.hex()}"))
    if rows and len(data) < length + SECTOR:
        rows.append(("signature sector", "cut off"))
    return rows or [("signature", "none")]


def _emit(value: object, columns: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool) -> None:
    emit_json(value) if as_json else emit_table(columns, rows)


# --- partition tables -----------------------------------------------------------------------------------------------


@image.command()
@click.argument("file", type=_file, required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Print it as a partitions.csv of ESP-IDF.")
@output_option
@json_option
def table(file: Path | None, as_csv: bool, target: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show a partition table: FILE (a CSV or the bytes at 0x8000), or the course's own.

    With --output it is written as it lies in flash, byte for byte what ESP-IDF's gen_esp32part.py makes.
    """
    from labkit.firmware.partitions import COURSE_TABLE, build_table, parse_csv, parse_table, render_csv
    from labkit.workspace import write_atomic

    found = COURSE_TABLE
    if file is not None:
        data = file.read_bytes()
        text = file.suffix == ".csv"
        found = parse_csv(data.decode("utf-8", "replace")) if text else parse_table(data)
    if target is not None:
        write_atomic(target, build_table(found))
        click.echo(spoken(f"In {target}. Next: esptool write-flash 0x8000 {target}"))
    elif as_csv:
        click.echo(render_csv(found), nl=False)
    else:
        _emit_partitions(found, as_json=as_json)


def _emit_partitions(found: PartitionTable, *, as_json: bool) -> None:
    rows = [
        (part.label, part.kind, f"{part.offset:#x}", f"{part.size:#x}", "yes" if part.encrypted else "no")
        for part in found
    ]
    _emit(
        found.partitions,
        ("label", "kind", "from", "size", "flash encryption covers it"),
        rows,
        as_json=as_json,
    )


# --- NVS ------------------------------------------------------------------------------------------------------------


@image.command()
@click.argument("file", type=_file)
@click.option(
    "--keys", type=_target, help="A key partition for encrypted NVS; made with --output if it is not there."
)
@click.option("--hmac-key", type=_file, help="The 32 bytes that the ESP32-C3 derives the keys from.")
@click.option("--size", default="0x6000", show_default=True, help="How long the partition is.")
@click.option("--values", is_flag=True, help="Show the values too. Private keys are values.")
@output_option
@json_option
def nvs(  # noqa: PLR0917 - click passes options by name
    file: Path,
    keys: Path | None,
    hmac_key: Path | None,
    size: str,
    values: bool,  # noqa: FBT001
    target: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Build NVS from a CSV (with --output), or read a partition FILE.

    Keys for encryption come from the system's random numbers. Espressif's generator draws its own from a generator that
    was not made for keys.
    """
    from labkit.firmware import build_image, parse_csv
    from labkit.firmware.nvs_encryption import decrypt_image, encrypt_image
    from labkit.workspace import write_atomic

    data = file.read_bytes()
    if target is not None:
        entries = parse_csv(data.decode("utf-8", "replace"))
        made = build_image(entries, size=_number(size))
        key = _key(keys, hmac_key, make=True)
        write_atomic(target, made if key is None else encrypt_image(made, key), secret=True)
        click.echo(f"{len(entries)} values in {target} (0600){'' if key is None else ', encrypted'}.")
        return
    key = _key(keys, hmac_key, make=False)
    _emit_nvs(data if key is None else decrypt_image(data, key), values=values, as_json=as_json)


def _emit_nvs(data: bytes, *, values: bool, as_json: bool) -> None:
    from labkit.firmware import read_image

    rows = [(one.namespace, one.key, one.kind, _shown(one, values=values)) for one in read_image(data)]
    names = ("namespace", "key", "kind", "value")
    told = [dict(zip(names, row, strict=True)) for row in rows]
    _emit(told, (*names[:3], "value" if values else "value, or its length"), rows, as_json=as_json)


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no number", param_hint="--size") from error


def _key(keys: Path | None, hmac_key: Path | None, *, make: bool) -> bytes | None:
    """Return the keys of encrypted NVS; a new key partition is written where there is none yet."""
    from labkit.firmware.nvs_encryption import build_key_partition, derive_keys, parse_key_partition
    from labkit.workspace import write_atomic

    if hmac_key is not None:
        secret = hmac_key.read_bytes()
        if len(secret) != 32:
            raise click.BadParameter(f"32 bytes, not {len(secret)}", param_hint="--hmac-key")
        return derive_keys(secret)
    if keys is None:
        return None
    if make and not keys.exists():
        write_atomic(keys, build_key_partition(secrets.token_bytes(64)), secret=True)
        click.echo(f"New keys in {keys} (0600).")
    return parse_key_partition(keys.read_bytes())


def _shown(entry: NvsEntry, *, values: bool) -> object:
    if isinstance(entry.value, int) or values:
        return entry.value.hex() if isinstance(entry.value, bytes) else entry.value
    return f"{len(entry.value)} {'bytes' if isinstance(entry.value, bytes) else 'characters'}"


# --- merging --------------------------------------------------------------------------------------------------------


@image.command()
@click.argument("parts", nargs=-1, required=True)
@click.option("--fill", is_flag=True, help="All 4 MB, not only up to the last part.")
@output_option
def merge(parts: tuple[str, ...], fill: bool, target: Path | None) -> None:  # noqa: FBT001
    """Merge PARTS, pairs of an address and a file, into one image of a flash, as esptool merge-bin does."""
    from labkit.firmware.flash_image import SIZE, FlashPart
    from labkit.firmware.flash_image import merge as merged
    from labkit.workspace import write_atomic

    if len(parts) % 2:
        raise click.UsageError("parts come in pairs: 0x1000 bootloader.bin 0x8000 table.bin")
    found = []
    for address, name in zip(parts[::2], parts[1::2], strict=True):
        path = Path(name)
        if not path.is_file():
            raise click.UsageError(f"there is no file {name}")
        found.append(FlashPart(_number(address), path.read_bytes(), path.name))
    data = merged(found, size=SIZE if fill else None)
    path = target or Path("flash.bin")
    write_atomic(path, data, secret=True)  # parts may hold a device's private key
    click.echo(spoken(f"{len(data):#x} bytes in {path} (0600). Next: labkit image info {path}"))
