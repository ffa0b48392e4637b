"""How many devices leave the factory line for one second of CPU time?

    python -m benchmarks.factory

Everything that is compared runs in the same minutes on the same machine: each round takes the competitors in an order
of its own, and the medians of the rounds are printed. What counts is CPU time, the operating system's share included.
Files go to a file system in memory where there is one. Rows without a promise do more: with images each device also
gets a CSV and a partition of 24 KiB for its flash; with the registry the certificates are read back and go, with device
and audit entry, into SQLite, and the archive with its manifest is put together. The profile below the table says where the time of that
row goes.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import random
import statistics
import tempfile
import time
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.issuance import MEMORY, limit, script, stored
from labkit.devices import Registry
from labkit.pki import Store
from labkit.processes import require_tool
from labkit.provisioning.factory import Batch, Factory, Order, make_part
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = "the printed way: four openssl processes a device, two files"
FILES = "labkit: two files and a line in the ledger each"
ARCHIVE = "labkit: packed into one archive"
IMAGES = "labkit: one archive, with NVS images"
REGISTRY = "labkit: one archive, with registry rows"
LIMIT = "limit: one key generated, one signature"

FLEET = 10_000
SCRIPTED = 10
PROMISES = {FILES: "200 times the script", ARCHIVE: "45 % of the limit"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        variant: Who made the devices.
        per_cpu_second: Devices for a second of CPU time; the median of the rounds.
        script: How many times what the script did.
        limit: How much of the limit.
    """

    variant: str
    per_cpu_second: float
    script: float
    limit: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All rows, and the profile of the row with the registry: what took how much of the time, the most first."""

    rows: list[Row]
    profile: list[tuple[str, float]]


def measure(*, rounds: int = 5, fleet: int = FLEET, scripted: int = SCRIPTED) -> Measured:
    """Measure all competitors.

    Args:
        rounds: How often each one runs.
        fleet: Devices a round for the archive and the limit; the rows that do more take a fifth of them.
        scripted: Devices a round for the script.

    Raises:
        ToolMissingError: There is no openssl.
    """
    require_tool("openssl")
    some = max(fleet // 5, 1)
    competitors: dict[str, Callable[[Path], float]] = {
        SCRIPT: lambda place: script(place, scripted),
        FILES: lambda place: stored(place, some),
        IMAGES: lambda place: _archive(place, some, flash=True),
        REGISTRY: lambda place: _registry(place, some),
        ARCHIVE: lambda place: _archive(place, fleet),
        LIMIT: lambda _: limit(fleet),
    }
    rates: dict[str, list[float]] = {name: [] for name in competitors}
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    # Nothing is removed before the end, and the first round is a rehearsal.
    with tempfile.TemporaryDirectory(dir=memory) as top:
        for number in range(rounds + 1):
            for name in random.sample(sorted(competitors), len(competitors)):
                rate = competitors[name](Path(tempfile.mkdtemp(dir=top)))
                rates[name] += [rate] if number else []
        profile = _profile(Path(tempfile.mkdtemp(dir=top)), some)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    rows = [
        Row(name, medians[name], medians[name] / medians[SCRIPT], medians[name] / medians[LIMIT])
        for name in competitors
    ]
    return Measured(rows, profile)


def table(measured: Measured) -> str:
    """Return the rows as a table in Markdown, and the profile below them."""
    lines = [
        "| variant | devices per CPU second | times the script | of the limit | promised |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.variant} | {row.per_cpu_second:,.0f} | {row.script:,.0f} | {row.limit:.0%} | "
        f"{PROMISES.get(row.variant, '-')} |"
        for row in measured.rows
    ]
    lines += ["", "| where the time with registry rows goes | share |", "| --- | ---: |"]
    lines += [f"| `{what}` | {share:.0%} |" for what, share in measured.profile]
    return "\n".join(lines)


def _archive(folder: Path, count: int, *, flash: bool = False) -> float:
    """Return the rate of one worker that makes its part, file included."""
    store, path = _store(folder), folder / "workspace"
    order = Order(
        Batch("bench", "bench-", count, part=count, flash=flash),
        0,
        str(folder / "part"),
        str(path / "intermediate/intermediate.crt"),
        str(path / "intermediate/intermediate.key"),
        str(store.trust_anchor),
    )
    started = time.process_time()
    make_part(order)
    rate = count / (time.process_time() - started)
    assert (folder / "part").stat().st_size > 1024 * count
    return rate


def _registry(folder: Path, count: int) -> float:
    """Return the rate of a whole run in one process."""
    store = _store(folder)
    with Registry.open(folder / "fleet.db") as registry:
        started = time.process_time()
        report = Factory(store, registry).run(Batch("bench", "bench-", count), executor=_Here())
        rate = count / (time.process_time() - started)
    assert report.made == count
    return rate


def _profile(folder: Path, count: int) -> list[tuple[str, float]]:
    profiler = cProfile.Profile()
    profiler.enable()
    _registry(folder, count)
    profiler.disable()
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in stats.values())
    shares = {
        f"{Path(file).stem}.{name}" if line else name: entry[2] / total
        for (file, line, name), entry in stats.items()
    }
    return sorted(shares.items(), key=lambda item: -item[1])[:8]


def _store(folder: Path) -> Store:
    store = Store(Workspace.open(folder / "workspace"))
    store.create(passphrase=b"benchmark")
    return store


class _Here(Executor):
    """Work is done at once, so that one process's clock has all of it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Devices per CPU second.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fleet", type=int, default=FLEET)
    parser.add_argument("--scripted", type=int, default=SCRIPTED)
    print(table(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
