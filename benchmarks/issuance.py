"""How many devices get a key and a certificate for one second of CPU time?

    python -m benchmarks.issuance

Everything that is compared runs in the same minutes on the same machine: each round takes the competitors in an order
of its own, and the medians of the rounds are printed. The issuer has a P-256 key throughout. What counts is CPU time,
the operating system's share included, because a fleet is issued by as many workers as there are processors. Files go to
a file system in memory where there is one. The line with the disk is apart, because what a new file costs there is the
disk's own story: ext4 was seen to take from 30 µs to more than 1 ms of CPU time for each, depending on how many files
had been deleted in the minutes before.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from labkit.pki import Authority, Key, Store
from labkit.processes import require_tool, run
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCRIPT = "four openssl processes a device"
STORED = "labkit: key file, certificate file, ledger, all in memory"
ON_DISK = "labkit: key file, certificate file, ledger, on a disk"
UNSTORED = "labkit: no files"
LIMIT = "limit: one key generated, one signature"

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
"""Where Linux keeps a file system in memory."""

FLEET = 2000
"""Devices a round for labkit: long enough for the clock of CPU time, short enough for many rounds."""

SCRIPTED = 10
"""Devices a round for the script, which takes as long for them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        variant: Who issued.
        per_cpu_second: Certificates for a second of CPU time; the median of the rounds.
        ratio: How many times what the script did.
    """

    variant: str
    per_cpu_second: float
    ratio: float


def measure(
    *, rounds: int = 5, fleet: int = FLEET, scripted: int = SCRIPTED, folder: Path | None = None
) -> list[Row]:
    """Measure all competitors.

    Args:
        rounds: How often each one runs.
        fleet: Devices a round for labkit.
        scripted: Devices a round for the script.
        folder: A folder on the disk; the system's place for temporary files without it.

    Returns:
        One row a competitor, slowest first.

    Raises:
        ToolMissingError: There is no openssl.
    """
    require_tool("openssl")
    competitors: dict[str, Callable[[Path], float]] = {
        SCRIPT: lambda place: script(place, scripted),
        ON_DISK: lambda _: stored(Path(tempfile.mkdtemp(dir=disk)), fleet),
        STORED: lambda place: stored(place, fleet),
        UNSTORED: lambda _: _unstored(fleet),
        LIMIT: lambda _: limit(fleet),
    }
    rates: dict[str, list[float]] = {name: [] for name in competitors}
    memory = MEMORY if os.access(MEMORY, os.W_OK) else folder
    # Nothing is removed before the end, and the first round is a rehearsal.
    with tempfile.TemporaryDirectory(dir=memory) as top, tempfile.TemporaryDirectory(dir=folder) as disk:
        for number in range(rounds + 1):
            for name in random.sample(sorted(competitors), len(competitors)):
                rate = competitors[name](Path(tempfile.mkdtemp(dir=top)))
                rates[name] += [rate] if number else []
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return [Row(name, medians[name], medians[name] / medians[SCRIPT]) for name in competitors]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| variant | certificates per CPU second | times the script |", "| --- | ---: | ---: |"]
    lines += [f"| {row.variant} | {row.per_cpu_second:,.0f} | {row.ratio:,.0f} |" for row in rows]
    return "\n".join(lines)


def script(folder: Path, count: int) -> float:
    """Return the rate of one openssl process a step: key, request, certificate, and its verification.

    Only the children's time counts: what it costs to start them from here, or from a shell, is not charged.
    """
    _script_authority(folder)
    before = _children()
    for number in range(count):
        _script_device(folder, f"bench-{number:04d}")
    return count / (_children() - before)


def _script_authority(folder: Path) -> None:
    issuer = Authority.new_root("Bench Root").new_intermediate("Bench Issuer")
    (folder / "ca.key").write_bytes(issuer.key.pem())
    (folder / "ca.crt").write_bytes(issuer.certificate.public_bytes(Encoding.PEM))
    (folder / "device.cnf").write_text(
        "basicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=clientAuth\n"
        "subjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid\n"
    )


def _script_device(folder: Path, device: str) -> None:
    key, request, certificate = (f"{device}.{suffix}" for suffix in ("key", "csr", "crt"))
    wanted = "-days 365 -sha256 -extfile device.cnf"
    for line in (
        f"ecparam -genkey -name prime256v1 -noout -out {key}",
        f"req -new -key {key} -subj /CN={device} -out {request}",
        f"x509 -req -in {request} -CA ca.crt -CAkey ca.key -CAcreateserial {wanted} -out {certificate}",
        f"verify -partial_chain -CAfile ca.crt {certificate}",
    ):
        run(["openssl", *line.split()], cwd=folder)
    (folder / request).unlink()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stored(folder: Path, count: int) -> float:
    """Return labkit's rate with all that it leaves on disk: two files a device, and the ledger."""
    store = Store(Workspace.open(folder / "workspace"))
    store.create(passphrase=b"benchmark")
    started = time.process_time()
    store.issue_devices(f"bench-{number:04d}" for number in range(count))
    rate = count / (time.process_time() - started)
    assert len(list(store.workspace.path("devices").iterdir())) == 2 * count, "every device has its two files"
    assert len(store.ledger.entries()) == count + 3, "and its line in the ledger"
    return rate


def _unstored(count: int) -> float:
    """Return labkit's rate with the ledger in memory."""
    issuer = Authority.new_root("Bench Root").new_intermediate("Bench Issuer")
    started = time.process_time()
    for issued in issuer.issue_many(f"bench-{number:04d}" for number in range(count)):
        assert issued.key
    return count / (time.process_time() - started)


def limit(count: int) -> float:
    """Return what the curve alone allows: signing as `openssl speed` counts it, key generation in a bare loop here.

    `openssl speed` has no figure for key generation on P-256 in the versions that are in use.
    """
    told = run(["openssl", "speed", "-mr", "-seconds", "1", "ecdsap256"], timeout=60).stdout
    found = re.search(r"^\+F4:\d+:256:([0-9.]+):", told, re.MULTILINE)
    assert found, "openssl speed -mr tells signatures a second, then verifications a second"
    started = time.process_time()
    for _ in range(count):
        Key.generate()
    return 1 / (1 / float(found[1]) + (time.process_time() - started) / count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Certificates per CPU second.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fleet", type=int, default=FLEET)
    parser.add_argument("--scripted", type=int, default=SCRIPTED)
    parser.add_argument("--folder", type=Path, help="where on the disk to write")
    print(table(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
