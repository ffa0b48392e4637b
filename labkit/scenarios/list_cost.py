"""What a revocation list costs the broker at each handshake, measured on this machine."""

from __future__ import annotations

import datetime as dt
import random
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from labkit.clock import SYSTEM_CLOCK
from labkit.mqtt import Identity, probe
from labkit.pki import Reason, Revocation, issue_list
from labkit.pki.template import random_serial
from labkit.scenarios.mutual_tls import VICTIM, mutual_tls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from labkit.pki import RevocationList, Store
    from labkit.scenarios.mutual_tls import Site

_YEAR = dt.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class ListCost:
    """What a list of one size costs.

    Attributes:
        entries: How many certificates are on it.
        size: Its length in bytes (DER).
        build: Seconds to build and sign it.
        handshake: Milliseconds from the first packet to the broker's CONNACK, the median of the rounds.
        broker_cpu: Milliseconds of the broker's processor time for one connection, the mean of the rounds.
    """

    entries: int
    size: int
    build: float
    handshake: float
    broker_cpu: float


def list_cost(store: Store, sizes: Sequence[int], *, rounds: int = 20) -> list[ListCost]:
    """Measure lists of several sizes, each in a broker of its own, the brokers taking turns.

    Args:
        store: The authority; its own list is left alone.
        sizes: How many certificates are on each.
        rounds: How many connections each broker gets.

    Raises:
        ToolMissingError, BrokerStartError: See `mutual_tls`.
        RuntimeError: A broker does not let the device in, so that there is nothing to measure.
    """
    device = store.identity(VICTIM)
    who = Identity(device.certificate, device.key)
    with ExitStack() as held:
        built = [_built(store, entries) for entries in sizes]
        sites = [held.enter_context(_staged(store, listed)) for listed, _ in built]
        taken: list[list[float]] = [[] for _ in sizes]
        before = [_cpu(site) for site in sites]
        for _ in range(rounds):
            for number in random.sample(range(len(sites)), len(sites)):
                started = time.perf_counter()
                outcome = probe(sites[number].endpoint, trust=store.trust_anchor, identity=who)
                taken[number].append(time.perf_counter() - started)
                if not outcome.accepted:
                    text = f"the broker with {sizes[number]} entries says: {outcome}"
                    raise RuntimeError(text)
        used = [_cpu(site) - start for site, start in zip(sites, before, strict=True)]
    return [
        ListCost(entries, len(listed.der), build, statistics.median(times) * 1000, cpu * 1000 / rounds)
        for entries, (listed, build), times, cpu in zip(sizes, built, taken, used, strict=True)
    ]


def _built(store: Store, entries: int) -> tuple[RevocationList, float]:
    now, authority = SYSTEM_CLOCK.now(), store.authority()
    revoked = [
        Revocation(f"{random_serial():x}", "gone", now, Reason.KEY_COMPROMISE, now + _YEAR)
        for _ in range(entries)
    ]
    started = time.perf_counter()
    listed = issue_list(authority, revoked, number=1, now=now)
    return listed, time.perf_counter() - started


def _staged(store: Store, listed: RevocationList) -> AbstractContextManager[Site]:
    folder = f"broker/list-{len(listed)}"
    path: Path = store.workspace.write(f"{folder}/crl.pem", listed.pem)
    return mutual_tls(store, folder=folder, crlfile=path)


def _cpu(site: Site) -> float:
    spent = psutil.Process(site.broker.pid).cpu_times()
    return float(spent.user + spent.system)
