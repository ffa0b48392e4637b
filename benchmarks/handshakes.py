"""How many full mutual handshakes does the broker do in a second, by kind of key, and who is the bottleneck?

    python -m benchmarks.handshakes

One client, one connection after the other, against Mosquitto. `openssl s_time` is written in C and hangs up after the
handshake; labkit's client goes on to CONNACK and says goodbye. The two take turns. *Busy* is the share of the time in
which the broker's process worked: where it is far from 100 %, the client and the waiting between the two are the limit,
and the broker's own limit on one processor is the rate divided by that share.
"""

from __future__ import annotations

import random
import re
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.processes import run
from labkit.scenarios.handshake_cost import KINDS, VERSIONS, Plant, Way
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECONDS = 2
"""How long each client runs in a round."""

PROBE, S_TIME = "labkit, to CONNACK", "openssl s_time"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        kind: The kind of key of root, intermediate, broker and device.
        version: The version of TLS.
        client: Who connected.
        rate: Connections a second; the median of the rounds.
        cpu: Milliseconds of the broker's processor time for one.
    """

    kind: str
    version: str
    client: str
    rate: float
    cpu: float

    @property
    def busy(self) -> float:
        """The share of the time in which the broker worked."""
        return min(1.0, self.rate * self.cpu / 1000)


def measure(*, kinds: Sequence[str] = KINDS, rounds: int = 3) -> list[Row]:
    """Measure every kind of key and version with both clients, all taking turns."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as held:
        workspace = Workspace.open(Path(scratch) / "w")
        plants = {kind: Plant(workspace, kind, held) for kind in kinds}
        clients: dict[str, Callable[[Plant, Way], int]] = {PROBE: _probe, S_TIME: _s_time}
        cases = [(kind, version, client) for kind in kinds for version in VERSIONS for client in clients]
        found: dict[tuple[str, str, str], list[tuple[float, float]]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case in random.sample(cases, len(cases)):
                kind, version, client = case
                plant = plants[kind]
                before, started = plant.cpu(), time.perf_counter()
                count = clients[client](plant, Way(kind, version, resumed=False))
                seconds = time.perf_counter() - started
                found[case].append((count / seconds, (plant.cpu() - before) * 1000 / count))
    return [
        Row(*case, *(statistics.median(pair[part] for pair in pairs) for part in (0, 1)))
        for case, pairs in found.items()
    ]


def _probe(plant: Plant, way: Way) -> int:
    count, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        plant.visit(way)
        count += 1
    return count


def _s_time(plant: Plant, way: Way) -> int:
    argv = [
        "openssl", "s_time", "-connect", f"{plant.endpoint.host}:{plant.endpoint.port}", "-new", "-time", str(SECONDS),
        "-CAfile", plant.trust, "-cert", plant.identity.certificate, "-key", plant.identity.key, "-verify", "3",
        f"-tls{way.version.replace('.', '_')}",
    ]  # fmt: skip
    said = run(argv, timeout=30).output
    match = re.search(r"(\d+) connections in \d+ real seconds", said)
    assert match, said
    return int(match[1])


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    reference = {(r.kind, r.version): r.rate for r in rows if r.client == S_TIME}
    lines = [
        "| keys | TLS | client | connections/s | of `s_time` | broker CPU, ms | broker busy | limited by |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {r.kind} | {r.version} | {r.client} | {r.rate:,.0f} | {r.rate / reference[r.kind, r.version]:.0%} | "
        f"{r.cpu:.2f} | {r.busy:.0%} | {'the broker' if r.busy > 0.7 else 'client and broker in turn' if r.busy > 0.35 else 'the client'} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
