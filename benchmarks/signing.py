"""What do a signature and its verification cost beside the hash that both need?

    python -m benchmarks.signing

An image of 4 MB of random bytes. The rows take turns, in an order of their own each round, and each row's best round
counts, because other work on the machine only ever adds: wall time in one process, keys unlocked and loaded before. The hash is what no verifier can do without; `openssl
dgst` is a process of its own and signs the image alone, without a header.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.firmware.signing_keys import SigningKeys, new_passphrase
from labkit.firmware.update import Target, TrustedKeys, Version, sign_update
from labkit.firmware.update_stream import UpdateStream
from labkit.pki import Key
from labkit.processes import require_tool, run
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 4 << 20
HASH = "SHA-256 alone"
PROMISED = (
    "labkit: sign",
    "labkit: verify, whole",
    "labkit: verify, chunks of 64 KiB",
    "labkit: verify, chunks of 4 KiB",
)
PROMISE = 3.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        variant: What was done.
        milliseconds: How long it took.
        times: That, as a multiple of the hash in the same run.
    """

    variant: str
    milliseconds: float
    times: float


def measure(rounds: int = 25, size: int = SIZE, clock: Callable[[], float] = time.perf_counter) -> list[Row]:
    """Time each variant, in rounds that are shuffled; by processor time where a machine is never quiet."""
    with tempfile.TemporaryDirectory(prefix="bench-signing-") as folder:
        works = _works(Path(folder), os.urandom(size))
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name in random.sample(list(works), len(works)):
                started = clock()
                works[name]()
                times[name].append(1000 * (clock() - started))
    best = {name: min(values) for name, values in times.items()}
    return [Row(name, value, value / best[HASH]) for name, value in best.items()]


def table(rows: list[Row]) -> str:
    """Return the measurement as Markdown."""
    lines = ["| variant | ms | times the hash | promised |", "| --- | ---: | ---: | --- |"]
    for row in rows:
        promised = f"at most {PROMISE:g}" if row.variant in PROMISED else "-"
        lines.append(f"| {row.variant} | {row.milliseconds:.2f} | {row.times:.2f} | {promised} |")
    return "\n".join(lines)


def _works(folder: Path, image: bytes) -> dict[str, Callable[[], object]]:
    keys = SigningKeys(Workspace.open(folder / "workspace"))
    passphrase = new_passphrase()
    keys.create(passphrase)
    signer, trusted, target = (
        keys.signer(passphrase),
        keys.trusted(),
        Target("bench", 1, Version(0, 0, 0), slot_size=SIZE),
    )

    def sign() -> bytes:
        return sign_update(image, product="bench", version=Version(1, 0, 0), signer=signer)

    update = sign()
    works: dict[str, Callable[[], object]] = {
        HASH: lambda: hashlib.sha256(image).digest(),
        PROMISED[0]: sign,
        PROMISED[1]: lambda: _verify(update, trusted, target, len(update)),
        PROMISED[2]: lambda: _verify(update, trusted, target, 1 << 16),
        PROMISED[3]: lambda: _verify(update, trusted, target, 1 << 12),
    }
    return works | _processes(folder, image)


def _verify(update: bytes, trusted: TrustedKeys, target: Target, size: int) -> int:
    stream, view = UpdateStream(trusted, target), memoryview(update)
    handed = sum(len(stream.feed(bytes(view[at : at + size]))) for at in range(0, len(view), size))
    stream.finish()
    return handed


def _processes(folder: Path, image: bytes) -> dict[str, Callable[[], object]]:
    openssl = require_tool("openssl")
    key, data, public, signature = (
        folder / name for name in ("key.pem", "image.bin", "public.pem", "image.sig")
    )
    key.write_bytes(Key.generate().pem())
    data.write_bytes(image)
    run([openssl, "pkey", "-in", key, "-pubout", "-out", public])

    def sign() -> None:
        run([openssl, "dgst", "-sha256", "-sign", key, "-out", signature, data])

    sign()
    return {
        "openssl dgst -sign": sign,
        "openssl dgst -verify": lambda: run(
            [openssl, "dgst", "-sha256", "-verify", public, "-signature", signature, data]
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Milliseconds for an image of 4 MB.")
    parser.add_argument("--rounds", type=int, default=25)
    print(table(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
