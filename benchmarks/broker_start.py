"""How long until a broker is ready, and what our guard adds to it?

    python -m benchmarks.broker_start

Both start the same configuration; ready means that Mosquitto's log says so. The two take turns, and the medians count.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.broker import Broker, LogFile, find_mosquitto
from labkit.pki import Store
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.broker import BrokerConfig, Mosquitto


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        variant: What was started.
        ready: Milliseconds until it was ready; the median.
        stopped: Milliseconds until it was gone; the median.
    """

    variant: str
    ready: float
    stopped: float


def measure(*, rounds: int = 9) -> list[Row]:
    """Measure a bare Mosquitto and ours, in turns."""
    mosquitto = find_mosquitto()
    with tempfile.TemporaryDirectory() as top:
        store = Store(Workspace.open(Path(top) / "workspace"))
        store.create(passphrase=b"benchmark")
        home = store.workspace.path("broker")

        def make_config(port: int) -> BrokerConfig:
            return configuration(store, home, port=port)

        with Broker(home, make_config, mosquitto=mosquitto):
            pass  # writes the files that the bare one is started with; warms the disk's cache for both
        competitors: dict[str, Callable[[], tuple[float, float]]] = {
            "mosquitto, started by hand": lambda: _bare(mosquitto, home),
            "labkit: guard, control socket, checks": lambda: _ours(mosquitto, home, make_config),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in competitors}
        for _ in range(rounds):
            for name in random.sample(sorted(competitors), len(competitors)):
                times[name].append(competitors[name]())
    return [
        Row(name, *(statistics.median(pair[part] for pair in found) * 1000 for part in (0, 1)))
        for name, found in times.items()
    ]


def _ours(
    mosquitto: Mosquitto, home: Path, make_config: Callable[[int], BrokerConfig]
) -> tuple[float, float]:
    broker = Broker(home, make_config, mosquitto=mosquitto)
    started = time.monotonic()
    broker.start()
    ready = time.monotonic()
    broker.stop()
    return ready - started, time.monotonic() - ready


def _bare(mosquitto: Mosquitto, home: Path) -> tuple[float, float]:
    log = LogFile(home / "bare.log")
    log.path.unlink(missing_ok=True)
    started = time.monotonic()
    with log.path.open("wb") as file:
        argv = [str(mosquitto.path), "-c", str(home / "mosquitto.conf")]
        child = subprocess.Popen(argv, stdout=file, stderr=file, env={**mosquitto.env} or None)
    log.wait_for(lambda event: event.kind == "running", timeout=10)
    ready = time.monotonic()
    child.terminate()
    child.wait()
    return ready - started, time.monotonic() - ready


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| variant | ready after ms | stopped after ms |", "| --- | ---: | ---: |"]
    lines += [f"| {row.variant} | {row.ready:,.0f} | {row.stopped:,.0f} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
