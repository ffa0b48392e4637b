"""Many at once, and the power cut in the middle: each token is worth one certificate, whatever happens."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import sqlalchemy as sa

from labkit.clock import Deadline
from labkit.devices import Registry, identify
from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.pki import Key, Store, make_request
from labkit.provisioning import prepare
from labkit.provisioning.client import Client
from labkit.scenarios.provisioning import NAME, ProvisioningSite, provisioning_site
from labkit.serving import RunningService
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

UNLIMITED = {"requests_per_minute": 0.0, "failures_per_minute": 0.0}
CLIENTS = 8


def fleet_of(url: str, count: int) -> dict[str, str]:
    """Take devices in and return their tokens, straight from the registry."""
    with Registry.open(url) as registry, registry.begin() as tx:
        names = [f"race-{number:04d}" for number in range(count)]
        tx.fleet.add([identify(name) for name in names], actor="test")
        return dict(tx.tokens.issue(names, lifetime=dt.timedelta(hours=1), actor="test"))


def books(url: str) -> dict[str, Any]:
    """Return what must agree whatever happened: certificates, spent tokens, and lines of the trail."""
    with Registry.open(url) as registry, registry.read() as tx:
        rows = tx.connection.execute(
            sa.text("SELECT serial, name FROM certificates WHERE name LIKE 'race-%'")
        ).all()
        spent = tx.connection.execute(
            sa.text("SELECT certificate, device FROM tokens WHERE used_at IS NOT NULL")
        ).all()
        lines = tx.connection.execute(
            sa.text("SELECT subject FROM trail WHERE action IN ('enrolled', 'reenrolled')")
        ).scalars()
        enrolled = tx.connection.execute(sa.text("SELECT id FROM devices WHERE state = 'enrolled'")).scalars()
        return {
            "certificates": sorted(map(tuple, rows)),
            "spent": sorted(map(tuple, spent)),
            "trail": sorted(lines),
            "enrolled": sorted(enrolled),
        }


def assert_books_agree(url: str) -> int:
    """Assert that every spent token has its certificate, its line and its device, and return how many there are."""
    found = books(url)
    assert found["certificates"] == found["spent"]
    names = sorted(name for _, name in found["spent"])
    assert names == found["trail"] == found["enrolled"]
    return len(names)


@pytest.mark.parametrize("tokens", [60, pytest.param(1000, marks=pytest.mark.slow(share=0.1))])
def test_each_token_is_worth_one_certificate(database: str, tmp_path: Path, tokens: int) -> None:
    """Each of many tokens is raced by eight clients over four processes: as many certificates as tokens come out."""
    store = Store(Workspace.open(tmp_path / "workspace"))
    with provisioning_site(store, registry=database, workers=4, limits=UNLIMITED) as office:
        made = fleet_of(database, tokens)
        barrier = threading.Barrier(CLIENTS)

        def race(_: int) -> Counter[str]:
            found: Counter[str] = Counter()
            for name, token in made.items():
                barrier.wait(60)
                found[ask(office, token, Key.generate(), name)] += 1
            return found

        with ThreadPoolExecutor(CLIENTS) as pool:
            total = sum(pool.map(race, range(CLIENTS)), Counter[str]())
    assert tokens == total["issued"]
    assert {"issued", "token-spent"} == set(total)
    assert tokens == assert_books_agree(database)


def ask(office: ProvisioningSite, token: str, key: Key, name: str) -> str:
    """Ask for a certificate and return the verdict in a word."""
    try:
        told = office.anyone.provision(token, make_request(key, name))
    except RefusedError as error:
        return error.code
    return "repeated" if told["repeated"] else "issued"


@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_kill_leaves_nothing_half_done(database: str, tmp_path: Path, rounds: int) -> None:
    """Processes are killed at any moment: books agree afterwards, and who asks again with their key gets theirs."""
    store = Store(Workspace.open(tmp_path / "workspace"))
    settings = prepare(store, registry=database, workers=2, limits=UNLIMITED)
    made = fleet_of(database, 40 * rounds)
    keys = {name: Key.generate() for name in made}
    chance = random.Random(rounds)
    given: dict[str, str] = {}

    def once(client: Client, name: str) -> None:
        told = client.provision(made[name], make_request(keys[name], name))
        assert given.setdefault(name, told["certificate"]) == told["certificate"]

    def worker(client: Client, names: list[str]) -> None:
        for name in names:
            try:
                once(client, name)
            except ServiceUnreachableError:
                return

    waiting = list(made)
    for _ in range(rounds):
        with RunningService(settings) as service:
            client = Client(service.url, trust=store.trust_anchor, name=NAME)
            names = chance.sample(waiting, 60 if rounds > 2 else 40)
            with ThreadPoolExecutor(4) as pool:
                shares = [pool.submit(worker, client, names[start::4]) for start in range(4)]
                deadline = Deadline(chance.uniform(0.01, 0.25))
                while not deadline.passed:
                    deadline.pause(0.005)
                service.kill()
                for share in shares:
                    share.result()
        assert_books_agree(database)
    with RunningService(settings) as service:
        client = Client(service.url, trust=store.trust_anchor, name=NAME)
        for name in waiting:
            once(client, name)
    assert len(made) == assert_books_agree(database) == len(given)


def test_a_service_goes_when_its_parent_does(tmp_path: Path) -> None:
    """A service whose starter was killed ends by itself, so that nothing is left behind."""
    code = (
        "import sys, time\n"
        "from labkit.pki import Store\nfrom labkit.workspace import Workspace\n"
        "from labkit.scenarios.provisioning import provisioning_site\n"
        "with provisioning_site(Store(Workspace.open(sys.argv[1])), workers=2) as office:\n"
        "    print(*office.service.pids, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "workspace")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        pids = [int(word) for word in starter.stdout.readline().split()]
        assert 2 == len(pids)
        starter.kill()
    deadline = Deadline(10)
    while any(map(psutil.pid_exists, pids)) and not deadline.passed:
        deadline.pause()
    assert not any(map(psutil.pid_exists, pids))
