"""Espressif's own programs, run as programs: esptool, espefuse, espsecure and the NVS generator.

They are never imported; esptool is under the GPL, and a program that is run stays a program of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from labkit import processes
from labkit.errors import ToolFailedError
from labkit.firmware.description import ELF_DIGEST_OFFSET, AppDescription, BootloaderDescription
from labkit.firmware.elf import build_bootloader_elf, build_elf
from labkit.firmware.nvs_csv import render_csv
from labkit.firmware.nvs_encryption import build_key_partition
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.firmware.nvs import NvsEntry

_OWN_SETTINGS = {
    # What the reader's shell says about boards is for the reader's own commands: a real board may hang on that port.
    "ESPTOOL_PORT": "",
    "ESPTOOL_CHIP": "auto",
    "ESPTOOL_BAUD": "115200",
    "ESPTOOL_BEFORE": "default-reset",
    "ESPTOOL_AFTER": "hard-reset",
    "ESPTOOL_CFGFILE": "",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "COLUMNS": "200",
}


def run_tool(
    program: str, *words: str | Path, cwd: Path | None = None, timeout: float = 60.0, check: bool = True
) -> processes.Completed:
    """Run esptool, espefuse or espsecure; a port is only what `words` say.

    Args:
        program: Which of them.
        words: Its arguments.
        cwd: Where it runs.
        timeout: Seconds until it is killed.
        check: Raise when it says no.

    Raises:
        ToolMissingError: It is not here.
        ToolFailedError: It said no.
    """
    found = processes.require_tool(program)
    return processes.run([found, *words], cwd=cwd, timeout=timeout, check=check, env=_OWN_SETTINGS)


def elf2image(
    elf: bytes,
    chip_name: str,
    *,
    app: bool = True,
    min_revision: int = 0,
    max_revision: int = 0xFFFF,
    secure_pad: bool = False,
) -> bytes:
    """Return the image that esptool makes of an ELF file.

    Args:
        elf: See `elf`.
        chip_name: `esp32` or `esp32c3`.
        app: Put the digest of the ELF file into the description, which a bootloader has no place for.
        min_revision: The oldest revision of the chip that may run it, major times 100 plus minor.
        max_revision: The newest.
        secure_pad: Pad it so that a Secure Boot V2 signature begins a page of the flash cache.

    Raises:
        ToolFailedError: esptool said no.
    """
    with TemporaryDirectory(prefix="labkit-image-") as folder:
        source, target = Path(folder, "in.elf"), Path(folder, "out.bin")
        source.write_bytes(elf)
        words = ["--flash-mode", "dio", "--flash-freq", "40m", "--flash-size", "4MB"]
        words += ["--min-rev-full", str(min_revision), "--max-rev-full", str(max_revision)]
        words += ["--elf-sha256-offset", hex(ELF_DIGEST_OFFSET)] if app else []
        words += ["--secure-pad-v2"] if secure_pad else []
        run_tool("esptool", "--chip", chip_name, "elf2image", *words, "--output", target, source)
        return target.read_bytes()


def build_app(
    chip_name: str,
    description: AppDescription,
    behaviour: Mapping[str, Any] | None = None,
    *,
    filler: bytes = b"",
    **options: Any,
) -> bytes:
    """Return an application image without ESP-IDF: our ELF file, made an image by the real esptool.

    Args:
        chip_name: `esp32` or `esp32c3`.
        description: What it says of itself.
        behaviour: What it does on the virtual board.
        filler: More data, to make it longer.
        **options: See `elf2image`.

    Raises:
        ImageRefusedError: See `elf.build_elf`.
        ToolFailedError: esptool said no.
    """
    return elf2image(build_elf(chip_name, description, behaviour, filler=filler), chip_name, **options)


def build_bootloader(
    chip_name: str,
    description: BootloaderDescription | None = None,
    behaviour: Mapping[str, Any] | None = None,
    **options: Any,
) -> bytes:
    """Return a second-stage bootloader look-alike; arguments as in `build_app`."""
    elf = build_bootloader_elf(chip_name, description or BootloaderDescription(1), behaviour)
    return elf2image(elf, chip_name, app=False, **options)


def sign_image(data: bytes, *keys: Path) -> bytes:
    """Return an image with a Secure Boot V2 signature sector, made by espsecure.

    Args:
        data: The image.
        keys: Up to three private keys in PEM; the ESP32 takes one.

    Raises:
        ToolFailedError: espsecure said no.
    """
    with TemporaryDirectory(prefix="labkit-sign-") as folder:
        source, target = Path(folder, "in.bin"), Path(folder, "out.bin")
        source.write_bytes(data)
        named = [word for key in keys for word in ("--keyfile", key)]
        run_tool("espsecure", "sign-data", "--version", "2", *named, "--output", target, source)
        return target.read_bytes()


def merge_parts(parts: Sequence[tuple[int, bytes]], chip_name: str) -> bytes:
    """Return one image of parts of a flash, merged by esptool; gaps are FF.

    Raises:
        ToolFailedError: esptool said no.
    """
    with TemporaryDirectory(prefix="labkit-merge-") as folder:
        words: list[str | Path] = []
        for number, (offset, data) in enumerate(parts):
            part = Path(folder, f"{number}.bin")
            part.write_bytes(data)
            words += [hex(offset), part]
        target = Path(folder, "merged.bin")
        run_tool("esptool", "--chip", chip_name, "merge-bin", "--output", target, *words)
        return target.read_bytes()


GENERATOR = "esp_idf_nvs_partition_gen"


def encrypt_nvs(values: Sequence[NvsEntry], key: bytes, *, size: int = 0x6000) -> bytes:
    """Return an encrypted NVS partition, made by Espressif's generator.

    Args:
        values: What is in it.
        key: See `nvs_encryption.build_key_partition`; on a board it lies in a partition that flash encryption protects.
        size: The partition's size.

    Raises:
        NvsRefusedError: NVS can't hold the values.
        ToolFailedError: The generator refused, or is not here.
    """
    with TemporaryDirectory(prefix="labkit-nvs-") as folder:
        source, keys, target = (Path(folder, name) for name in ("values.csv", "keys.bin", "nvs.bin"))
        write_atomic(source, render_csv(values), secret=True)
        write_atomic(keys, build_key_partition(key), secret=True)
        argv = [
            sys.executable,
            "-m",
            GENERATOR,
            "encrypt",
            str(source),
            str(target),
            hex(size),
            "--inputkey",
            str(keys),
        ]
        ended = processes.run(argv, cwd=Path(folder), timeout=60)
        if not target.exists():
            raise ToolFailedError(
                f"{GENERATOR} wrote no partition: {ended.output.strip()[-200:]}",
                advice="Look at its words. It is installed with: pip install esp-idf-nvs-partition-gen",
                tool=GENERATOR,
                argv=argv,
                returncode=ended.returncode,
                output=ended.output,
            )
        return target.read_bytes()


def key_digest(key: Path) -> bytes:
    """Return the digest by which a chip knows a Secure Boot V2 key, as espsecure computes it.

    Args:
        key: The private or public key in PEM.

    Raises:
        ToolFailedError: espsecure said no.
    """
    with TemporaryDirectory(prefix="labkit-digest-") as folder:
        target = Path(folder, "digest.bin")
        run_tool("espsecure", "digest-sbv2-public-key", "--keyfile", key, "--output", target)
        return target.read_bytes()
