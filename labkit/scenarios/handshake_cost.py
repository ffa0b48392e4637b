"""What a handshake costs, by kind of key and version, full and resumed: bytes, time, and the broker's processor."""

from __future__ import annotations

import random
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from cryptography.hazmat.primitives.serialization import Encoding

from labkit import broker as brokers
from labkit.broker import Broker
from labkit.broker.guarded import RESUMABLE_CONF
from labkit.mqtt import Endpoint, Identity, Relay, Returner, read_handshake
from labkit.pki import Authority
from labkit.pki.profiles import DEVICE, INTERMEDIATE, ROOT, SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from labkit.broker import BrokerConfig
    from labkit.outcome import Outcome
    from labkit.workspace import Workspace

KINDS = ("p256", "p384", "rsa2048")
"""The kinds of key that are compared; root, intermediate, broker and device have the same."""

VERSIONS = ("1.2", "1.3")


@dataclass(frozen=True, slots=True)
class HandshakeCost:
    """What one way to connect costs, MQTT's CONNECT and CONNACK included.

    Attributes:
        kind: The kind of key.
        version: The version of TLS.
        resumed: Whether an earlier session was resumed.
        sent: Bytes that the client sent.
        received: Bytes that the server sent.
        round_trips: How often the client waited before it could send data.
        milliseconds: From the first packet to CONNACK, the median of the rounds.
        broker_cpu: Milliseconds of the broker's processor time a connection, the mean of the rounds. The operating
            system counts in steps of ten, so few rounds say little.
    """

    kind: str
    version: str
    resumed: bool
    sent: int
    received: int
    round_trips: int
    milliseconds: float
    broker_cpu: float

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{self.kind}, TLS {self.version}, {'resumed' if self.resumed else 'full'}"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to connect: kind of key, version of TLS, and whether a session is resumed."""

    kind: str
    version: str
    resumed: bool


def handshake_cost(
    workspace: Workspace, *, kinds: Sequence[str] = KINDS, rounds: int = 20
) -> list[HandshakeCost]:
    """Measure every way to connect, each kind of key with a broker of its own, all ways taking turns.

    Args:
        workspace: The lab's; files go to `scratch/cost`.
        kinds: The kinds of key.
        rounds: How many connections each way gets.

    Raises:
        ToolMissingError, BrokerStartError: See `Broker.start`.
        RuntimeError: A connection failed, or was not what it should be, so that the numbers would be of something else.
    """
    with ExitStack() as held:
        plants = {kind: Plant(workspace, kind, held) for kind in kinds}
        ways = [
            Way(kind, version, resumed) for kind in kinds for version in VERSIONS for resumed in (False, True)
        ]
        sizes = {way: plants[way.kind].recorded(way) for way in ways}
        taken: dict[Way, list[float]] = {way: [] for way in ways}
        used = dict.fromkeys(ways, 0.0)
        for _ in range(rounds):
            for way in random.sample(ways, len(ways)):
                plant = plants[way.kind]
                before, started = plant.cpu(), time.perf_counter()
                plant.visit(way)
                taken[way].append(time.perf_counter() - started)
                used[way] += plant.cpu() - before
    return [
        HandshakeCost(
            way.kind, way.version, way.resumed, *sizes[way],
            milliseconds=statistics.median(taken[way]) * 1000, broker_cpu=used[way] * 1000 / rounds,
        )
        for way in ways
    ]  # fmt: skip


class Plant:
    """A broker and a device whose keys are all of one kind.

    Args:
        workspace: The lab's; files go to `scratch/cost`.
        kind: The kind of key.
        held: What stops the broker.
    """

    def __init__(self, workspace: Workspace, kind: str, held: ExitStack) -> None:
        self._write, self._folder = workspace.write, f"scratch/cost/{kind}"
        root = Authority.new_root("Cost Root CA", profile=ROOT.with_key(kind))
        middle = root.new_intermediate("Cost CA", profile=INTERMEDIATE.with_key(kind))
        server = middle.issue_server(["localhost"], ["127.0.0.1"], profile=SERVER.with_key(kind))
        device = middle.issue_device("sensor-001", profile=DEVICE.with_key(kind))
        bundle = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in (middle, root))
        self.trust = self._put("bundle.crt", bundle)
        self._chain, self._key = (
            self._put("server.crt", server.chain_pem),
            self._put("server.key", server.key_pem),
        )
        self.identity = Identity(
            self._put("device.crt", device.certificate_pem), self._put("device.key", device.key_pem)
        )
        home = workspace.path(f"{self._folder}/broker")
        self.broker = held.enter_context(
            Broker(home, lambda port: self._config(port, home), openssl_conf=RESUMABLE_CONF)
        )
        self._clients = {version: self._client(version) for version in VERSIONS}
        self._process = psutil.Process(self.broker.pid)

    def _put(self, name: str, data: bytes) -> Path:
        return self._write(f"{self._folder}/{name}", data, secret=name.endswith(".key"))

    def _config(self, port: int, home: Path) -> BrokerConfig:
        return brokers.mutual_tls(
            port=port, cafile=self.trust, certfile=self._chain, keyfile=self._key, acl_file=home / "acl.conf"
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return Endpoint(self.broker.host, self.broker.port)

    def _client(self, version: str) -> Returner:
        client = Returner(self.endpoint, trust=self.trust, identity=self.identity, tls=version)
        client.visit()
        return client

    def cpu(self) -> float:
        """Return the seconds of processor time that the broker has used."""
        spent = self._process.cpu_times()
        return float(spent.user + spent.system)

    def visit(self, way: Way) -> None:
        """Connect in one way, and raise if it was another."""
        _expect(self._clients[way.version].visit(resume=way.resumed), way)

    def recorded(self, way: Way) -> tuple[int, int, int]:
        """Return bytes sent and received, and round trips, from a recording."""
        with Relay(self.endpoint) as relay:
            client = Returner(relay.endpoint, trust=self.trust, identity=self.identity, tls=way.version)
            if way.resumed:
                client.visit()
            _expect(client.visit(resume=way.resumed), way)
            seen = read_handshake(relay.last())
        return seen.bytes_sent["client"], seen.bytes_sent["server"], seen.round_trips or 0


def _expect(outcome: Outcome, way: Way) -> None:
    if not outcome.accepted or outcome.detail["resumed"] != way.resumed:
        text = f"{way} became {outcome}"
        raise RuntimeError(text)
