"""The files that go into a device's flash: firmware, partition table, otadata, and the identity of one device."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from labkit import processes
from labkit.firmware import NvsEntry, render_csv
from labkit.firmware.description import AppDescription
from labkit.firmware.otadata import build_entry
from labkit.firmware.partitions import COURSE_TABLE, OFFSET, build_table
from labkit.firmware.tools import build_app, build_bootloader
from labkit.node import layout
from labkit.provisioning.factory import nvs_values
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from labkit.pki import IdentityFiles
    from labkit.scenarios.mutual_tls import Site

PRODUCT = "sensor-node"
BEHAVIOUR = {"application": PRODUCT}
"""What the image does on the virtual board: it starts the node."""

BOOTLOADER, TABLE, OTADATA, IDENTITY = (
    "bootloader.bin",
    "partition-table.bin",
    "ota_data_initial.bin",
    "fctry.bin",
)
GENERATOR = "esp_idf_nvs_partition_gen"


@functools.cache
def application_image(chip: str, version: str, *, embedded: bytes = b"", nvs: str = "") -> bytes:
    """Return the node's application image.

    Args:
        chip: `esp32` or `esp32c3`.
        version: What it says of itself.
        embedded: Files that are linked into it, as ESP-IDF's `EMBED_TXTFILES` does.
        nvs: How its values are protected, `keys` or `hmac`, where the image insists on it.
    """
    behaviour = {**BEHAVIOUR, **({"nvs": nvs} if nvs else {})}
    return build_app(chip, AppDescription(PRODUCT, version), behaviour, filler=embedded)


@functools.cache
def bootloader_image(chip: str) -> bytes:
    """Return the second-stage bootloader."""
    return build_bootloader(chip)


def write_firmware(
    folder: Path, chip: str, version: str = "1.0.0", *, embedded: bytes = b"", nvs: str = ""
) -> Path:
    """Write what every device of a kind has: bootloader, partition table, otadata, application.

    Args:
        folder: Where to.
        chip: `esp32` or `esp32c3`.
        version: The application's version.
        embedded: See `application_image`.
        nvs: See `application_image`.

    Returns:
        The application's file.
    """
    write_atomic(folder / BOOTLOADER, bootloader_image(chip))
    write_atomic(folder / TABLE, build_table(COURSE_TABLE))
    write_atomic(folder / OTADATA, b"\xff" * 0x2000)
    path = folder / f"node-{version}.bin"
    write_atomic(path, application_image(chip, version, embedded=embedded, nvs=nvs))
    return path


def otadata_for(slot: int) -> bytes:
    """Return an otadata partition that says which of two slots boots."""
    sequence = slot + 1
    return build_entry(sequence, 0xFFFFFFFF).ljust(0x1000, b"\xff") + b"\xff" * 0x1000


def identity_values(site: Site, device: str, files: IdentityFiles | None = None) -> list[NvsEntry]:
    """Return what a device from the line finds in its own partition: who it is, whom it believes, where the broker is.

    Args:
        site: The broker.
        device: The device's id.
        files: Its certificate and key; issued where there are none.
    """
    files = files or site.identity(device)
    return [
        *nvs_values(device, files.certificate.read_text(), files.key.read_text(), site.trust.read_text()),
        *addresses(site),
    ]


def first_boot_values(site: Site, device: str, token: str, url: str) -> list[NvsEntry]:
    """Return what a device finds that is to enrol at its first boot: a token in place of key and certificate.

    Args:
        site: The broker.
        device: The device's id.
        token: Its token.
        url: Where the provisioning service is.
    """
    texts = {layout.DEVICE_ID: device, layout.TOKEN: token, layout.ROOT: site.trust.read_text()}
    return [
        *(NvsEntry(layout.IDENTITY, key, "string", text) for key, text in texts.items()),
        *addresses(site),
        NvsEntry(layout.SERVICE, layout.PROVISION_URL, "string", url),
    ]


def addresses(site: Site) -> list[NvsEntry]:
    """Return where the broker is, as the device stores it."""
    return [
        NvsEntry(layout.SERVICE, layout.BROKER_HOST, "string", site.host),
        NvsEntry(layout.SERVICE, layout.BROKER_PORT, "u16", site.port),
    ]


def write_identity(folder: Path, values: Sequence[NvsEntry], name: str = IDENTITY) -> processes.Completed:
    """Write a device's values as a CSV, and have Espressif's generator make a partition of it.

    Args:
        folder: Where to.
        values: The values.
        name: The partition's file; the CSV is called alike.

    Returns:
        What the generator said.

    Raises:
        NvsRefusedError: NVS can't hold the values.
        ToolFailedError: The generator refused, or is not here.
    """
    source = f"{name.removesuffix('.bin')}.csv"
    write_atomic(folder / source, render_csv(values), secret=True)
    return _generate(folder, "generate", source, name, hex(_size()))


def write_sealed_by_hmac(folder: Path, values: Sequence[NvsEntry], key: str) -> processes.Completed:
    """Write a device's values encrypted with keys that a chip's HMAC unit will derive.

    Args:
        folder: Where to.
        values: The values.
        key: The file with the HMAC key, in the folder.

    Returns:
        What the generator said.

    Raises:
        NvsRefusedError: NVS can't hold the values.
        ToolFailedError: The generator refused, or is not here.
    """
    write_atomic(folder / "sealed.csv", render_csv(values), secret=True)
    words = ["--keygen", "--key_protect_hmac", "--kp_hmac_inputkey", key, "--keyfile", "derived.bin"]
    return _generate(folder, "encrypt", "sealed.csv", IDENTITY, hex(_size()), *words)


def _generate(folder: Path, *words: str) -> processes.Completed:
    write_atomic(folder / words[2], b"", secret=True)  # the generator keeps the file's mode
    return processes.run([sys.executable, "-m", GENERATOR, *words], cwd=folder, timeout=60)


def _size() -> int:
    part = COURSE_TABLE.find(layout.PARTITION)
    assert part is not None  # noqa: S101 - of the course's own table
    return part.size


def flash_words(bootloader_offset: int, application: str, *, identity: bool = True) -> list[str]:
    """Return what `esptool write-flash` is told for a whole device: offsets and files.

    Args:
        bootloader_offset: Where the chip looks for its bootloader.
        application: The application's file.
        identity: Whether the device's own partition is among it.
    """
    places = {part.label: part.offset for part in COURSE_TABLE}
    plan = [
        (bootloader_offset, BOOTLOADER),
        (OFFSET, TABLE),
        (places["otadata"], OTADATA),
        (places[layout.PARTITION], IDENTITY),
        (places["ota_0"], application),
    ]
    return [word for offset, name in plan if identity or name != IDENTITY for word in (hex(offset), name)]
