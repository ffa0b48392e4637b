"""How much CPU time does one enrolment take?

    python -m benchmarks.provisioning

Each request is a TLS connection of its own with a full handshake, a token of its own and a key of its own; eight clients
ask at once. Requests are made beforehand, and only the servers' CPU time counts. The floor is a loop in Python that does
what nobody can leave out: TLS, reading the request and verifying its signature, signing a certificate, and a durable
commit to SQLite; it parses no HTTP, checks no token's device, keeps no trail and writes no log.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import socket
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from labkit.clock import SYSTEM_CLOCK
from labkit.devices import Registry, identify
from labkit.pki import DEVICE, Key, Store, make_request, read_request
from labkit.pki.template import Template, device_names, random_serial
from labkit.scenarios.printed_provisioning import PrintedService, printed_service
from labkit.scenarios.provisioning import provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OURS = "labkit's service, one process"
PRINTED = "the printed server, with its openssl processes"
FLOOR = "floor: TLS, verify, sign, durable commit"
CLIENTS = 8
LIMIT = 2.6
"""Times the floor that labkit may take, at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        variant: Who answered.
        milliseconds: CPU time a request; the median of the rounds.
        ratio: How many times the floor.
    """

    variant: str
    milliseconds: float
    ratio: float


def measure(*, rounds: int = 5, requests: int = 240, printed: int = 24) -> list[Row]:
    """Measure all three, in a new order each round.

    Args:
        rounds: How often each one is asked; a rehearsal comes before.
        requests: Requests a round.
        printed: Requests a round for the printed server, which takes as long for them.

    Returns:
        One row each, the floor first.
    """
    with tempfile.TemporaryDirectory() as top, ExitStack() as running:
        store = Store(Workspace.open(Path(top) / "workspace"))
        limits = {"requests_per_minute": 0.0, "failures_per_minute": 0.0}
        office = running.enter_context(provisioning_site(store, limits=limits))
        museum = running.enter_context(printed_service(store))
        floor = running.enter_context(_floor(store, Path(top)))
        ours = [psutil.Process(pid) for pid in office.service.pids]
        (theirs,) = [p for p in psutil.Process().children() if "printed_server" in " ".join(p.cmdline())]
        competitors: dict[str, Callable[[], float]] = {
            OURS: lambda: _rate(ours, office.service.port, _ours(store, requests), store),
            PRINTED: lambda: _rate([theirs], museum.port, _theirs(museum, printed), None),
            FLOOR: lambda: _rate([psutil.Process(floor[0])], floor[1], _bare(requests), store),
        }
        found: dict[str, list[float]] = {name: [] for name in competitors}
        for number in range(rounds + 1):
            for name in random.sample(sorted(competitors), len(competitors)):
                used = competitors[name]()
                found[name] += [used] if number else []
    medians = {name: statistics.median(values) * 1000 for name, values in found.items()}
    return [Row(name, medians[name], medians[name] / medians[FLOOR]) for name in (FLOOR, OURS, PRINTED)]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| who answers | CPU ms a request | times the floor | promise |", "| --- | ---: | ---: | --- |"]
    promise = {OURS: f"at most {LIMIT}"}
    lines += [
        f"| {row.variant} | {row.milliseconds:.2f} | {row.ratio:.1f} | {promise.get(row.variant, '')} |"
        for row in rows
    ]
    return "\n".join(lines)


def _rate(servers: list[psutil.Process], port: int, bodies: list[bytes], store: Store | None) -> float:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if store is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(store.trust_anchor)

    def ask(body: bytes) -> None:
        head = "POST /provision HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = b""
            while chunk := secure.recv(65536):
                answer += chunk
        # The printed server falls over its own list of tokens now and then; what it answers then counts as an answer.
        assert b" 200 " in answer[:20] or store is None, answer[:300]

    before = _used(servers)
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, bodies))
    return (_used(servers) - before) / len(bodies)


def _used(servers: list[psutil.Process]) -> float:
    times = [server.cpu_times() for server in servers]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def _body(token: str, name: str) -> bytes:
    return json.dumps({"token": token, "csr": make_request(Key.generate(), name).decode()}).encode()


def _ours(store: Store, count: int) -> list[bytes]:
    names = [f"bench-{random.getrandbits(60):016x}" for _ in range(count)]
    with Registry.open(store.workspace.path("registry/fleet.db")) as registry, registry.begin() as tx:
        tx.fleet.add([identify(name) for name in names], actor="benchmark")
        tokens = tx.tokens.issue(names, lifetime=dt.timedelta(hours=1), actor="benchmark")
    return [_body(token, name) for name, token in tokens.items()]


def _theirs(museum: PrintedService, count: int) -> list[bytes]:
    # Eight at once have torn its list of tokens for good, often enough.
    (museum.folder / "tokens.json").write_text("{}")
    # One name each: with one for all, its requests would fall over each other's files.
    names = [f"bench-{random.getrandbits(60):016x}" for _ in range(count)]
    return [_body(museum.token(name), name) for name in names]


def _bare(count: int) -> list[bytes]:
    return [_body("none", f"bench-{random.getrandbits(60):016x}") for _ in range(count)]


class _floor:  # noqa: N801 - used as a function
    """The floor, in a process of its own; gives its pid and port."""

    def __init__(self, store: Store, folder: Path) -> None:
        argv = [
            sys.executable,
            "-m",
            "benchmarks.provisioning",
            "--floor",
            str(store.workspace.root),
            str(folder),
        ]
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> tuple[int, int]:
        assert self._child.stdout
        return self._child.pid, int(self._child.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()


def _serve_floor(workspace: str, folder: str) -> None:
    store = Store(Workspace.open(workspace))
    issuer = store.authority()
    path = store.workspace.path
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server/provisioning.crt"), path("server/provisioning.key"))
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    db = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE certificates (serial TEXT PRIMARY KEY, der BLOB)")
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listening.getsockname()[1], flush=True)
    while True:
        plain, _ = listening.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_side=True) as secure:
            data = b""
            while b"}" not in data:
                data += secure.recv(65536)
            told = json.loads(data[data.index(b"{") :])
            request = read_request(told["csr"].encode())
            template = Template(
                DEVICE,
                issuer=issuer.certificate.subject,
                signer=issuer.key,
                now=SYSTEM_CLOCK.now(),
                limit=issuer.certificate.not_valid_after_utc,
            )
            name = "bench"
            serial = random_serial()
            made = template.sign(template.subject(name), request.public_key, serial, device_names(name))
            der = made.public_bytes(_der())
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO certificates VALUES (?, ?)", (f"{serial:x}", der))
            db.execute("COMMIT")
            secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + der)


def _der() -> object:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU time of an enrolment.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=240)
    parser.add_argument("--floor", nargs=2, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.floor:
        _serve_floor(*words.floor)
    else:
        print(table(measure(rounds=words.rounds, requests=words.requests)))


if __name__ == "__main__":
    main()
