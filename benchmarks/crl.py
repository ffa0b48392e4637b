"""What does a revocation list cost to make, to check, and to go by?

    python -m benchmarks.crl

Built and signed, and read and verified, by labkit; verified by the `openssl crl` command, which is a process of its own;
and gone by: processor time of the broker for one connection with mutual TLS, the brokers taking turns. The last column
is the floor of that: OpenSSL checks the signature over the whole list at every handshake, and has to hash it for that.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK
from labkit.pki import Reason, Revocation, Store, issue_list, read_list, verify_list
from labkit.pki.template import random_serial
from labkit.processes import run
from labkit.scenarios.list_cost import list_cost
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (1_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        entries: How many certificates are on the list.
        megabytes: Its length (DER).
        build: Seconds to build and sign it.
        check: Seconds to read it and verify its signature.
        openssl: Seconds that `openssl crl -CAfile` takes for it.
        broker: Milliseconds of the broker's processor time for one connection.
        floor: Milliseconds to hash it once.
    """

    entries: int
    megabytes: float
    build: float
    check: float
    openssl: float
    broker: float
    floor: float


def measure(*, sizes: Sequence[int] = SIZES, rounds: int = 30) -> list[Row]:
    """Measure lists of several sizes."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Workspace.open(Path(scratch) / "w"))
        store.ensure_authority()
        broker = {each.entries: each.broker_cpu for each in list_cost(store, sizes, rounds=rounds)}
        return [_row(store, entries, broker[entries]) for entries in sizes]


def _row(store: Store, entries: int, broker: float) -> Row:
    now, authority = SYSTEM_CLOCK.now(), store.authority()
    end = now + dt.timedelta(days=365)
    revoked = [
        Revocation(f"{random_serial():x}", "gone", now, Reason.KEY_COMPROMISE, end) for _ in range(entries)
    ]
    build, listed = _timed(lambda: issue_list(authority, revoked, number=1, now=now))
    pem, der = listed.pem, listed.der
    check, _ = _timed(lambda: verify_list(read_list(pem), authority.certificate, now=SYSTEM_CLOCK.now()))
    path = store.workspace.write("crl.pem", pem)
    argv = ["openssl", "crl", "-in", path, "-noout", "-CAfile", store.trust_bundle]
    openssl, _ = _timed(lambda: run(argv, timeout=120))
    floor = min(_timed(lambda: hashlib.sha256(der).digest())[0] for _ in range(5))
    return Row(entries, len(der) / 1e6, build, check, openssl, broker, floor * 1000)


def _timed(work):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - whatever it returns
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| revoked | MB | build and sign, s | read and verify, s | `openssl crl`, s | broker CPU a connection, ms | times the shortest list | hash alone, ms |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r.entries:,} | {r.megabytes:.2f} | {r.build:.3f} | {r.check:.3f} | {r.openssl:.2f} | {r.broker:.1f} | "
        f"{r.broker / max(rows[0].broker, 0.01):.1f} | {r.floor:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
