"""Espressif's own programs, run as programs."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from labkit import processes
from labkit.errors import ToolFailedError
from labkit.firmware.nvs import checksum
from labkit.firmware.nvs_csv import render_csv
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.firmware.nvs import NvsEntry

GENERATOR = "esp_idf_nvs_partition_gen"


def nvs_key_partition(key: bytes) -> bytes:
    """Return a partition of the type `nvs_keys` (ESP-IDF programming guide, "NVS Encryption").

    Args:
        key: 64 bytes from `secrets.token_bytes`: the two keys of XTS-AES-256. The generator could draw them too, but
            takes them from a random number generator that was not made for keys.
    """
    if len(key) != 64:
        text = "the keys of an encrypted NVS partition have 64 bytes"
        raise ValueError(text)
    return (key + struct.pack("<I", checksum(key))).ljust(4096, b"\xff")


def encrypt_nvs(values: Sequence[NvsEntry], key: bytes, *, size: int = 0x6000) -> bytes:
    """Return an encrypted NVS partition, made by Espressif's generator.

    Args:
        values: What is in it.
        key: See `nvs_key_partition`; on a board it lies in a partition that flash encryption protects.
        size: The partition's size.

    Raises:
        NvsRefusedError: NVS can't hold the values.
        ToolFailedError: The generator refused, or is not here.
    """
    with TemporaryDirectory(prefix="labkit-nvs-") as folder:
        source, keys, target = (Path(folder, name) for name in ("values.csv", "keys.bin", "nvs.bin"))
        write_atomic(source, render_csv(values), secret=True)
        write_atomic(keys, nvs_key_partition(key), secret=True)
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
