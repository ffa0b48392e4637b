"""How does a broker carry a fleet: 250, 500, 1,000 and 2,000 devices that are connected at once and speak?

    python -m benchmarks.load

Devices come in over full mutual TLS, in steps, and stay; at each step every one of them sends readings with QoS 1 while an
observer listens to all of them with QoS 1. The devices are one lean client program, not the virtual node: a node has a
board with a flash chip and threads of its own, and two thousand of those would measure this program and not the broker.
What they say is the node's own: its topics, its simulated sensor, its telemetry in JSON, counted so that a gap is a loss.
A latency runs from the device's send to the observer's receipt, so it has the client program in it,
which shares the processors with the broker. *Came in* is one device's time from TCP to CONNACK, with 32 at it at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from labkit.devices import Registry, identify
from labkit.mqtt import Endpoint, Identity, client_context, packets
from labkit.mqtt.packets import V311, Kind
from labkit.node import telemetry, topics
from labkit.node.sensor import SimulatedSensor
from labkit.pki import Store
from labkit.pki.identities import save_quickly
from labkit.scenarios.conformance import rabbit_cluster
from labkit.scenarios.mutual_tls import OBSERVER, mutual_tls
from labkit.scenarios.provisioning import provisioning_site
from labkit.workspace import Workspace, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STEPS = (250, 500, 1000, 2000)
READINGS = 6
"""How many readings each device sends at a step."""

INTERVAL = 5.0
"""Seconds between two readings of a device."""

REMEMBER = 60
"""Seconds for which RabbitMQ goes by an answer of the service."""

AT_ONCE = 32
"""How many devices connect at a time; a broker that comes back has its whole fleet before the door."""

PATIENCE = 60.0
"""Seconds without anything after which what is still on its way counts as lost."""

FLEET = 100_000
ASKED = 60
"""A fleet to speak about, and how often each of its devices would send, in seconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen with a number of devices.

    Attributes:
        broker: Which.
        devices: How many were still connected at the end of it.
        failed: How many could not connect so far.
        thrown_out: How many were connected, and the broker hung up on. Real ones would come again; these do not.
        connect: Milliseconds to come in: median, 95th and 99th percentile of those that this step added.
        rate: Devices that came in a second.
        sent: Readings sent.
        lost: Readings that the observer never got.
        twice: Readings that it got more than once.
        latency: Milliseconds from send to receipt: median, 95th and 99th percentile.
        broker_memory: Resident memory of the broker's processes, in MB.
        memory_each: What it grew by for each device since there were none, in KB.
        client_each: The same of the client program.
        connect_cpu: Milliseconds of the broker's processor time for each device that came in.
        message_cpu: The same for each reading.
        asked: Questions to the provisioning service for each device that came in.
        asked_message: The same for each reading.
    """

    broker: str
    devices: int
    failed: int
    thrown_out: int
    connect: tuple[float, float, float]
    rate: float
    sent: int
    lost: int
    twice: int
    latency: tuple[float, float, float]
    broker_memory: float
    memory_each: float
    client_each: float
    connect_cpu: float
    message_cpu: float
    asked: float
    asked_message: float


@dataclass
class Subject:
    """A broker under load.

    Attributes:
        name: Which.
        endpoints: Where devices connect, taking turns.
        store: The authority.
        pids: Its processes.
        decisions: The log of the service that it asks; None where it asks nobody.
    """

    name: str
    endpoints: Sequence[Endpoint]
    store: Store
    pids: Sequence[int]
    decisions: Path | None

    def cpu(self) -> float:
        """Return the seconds that its processes have worked."""
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in self.pids)

    def memory(self) -> float:
        """Return its resident memory in KB."""
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids) / 1024

    def asked(self) -> int:
        """Return how many questions it has asked."""
        if self.decisions is None:
            return 0
        with self.decisions.open("rb") as file:
            return sum(b"/broker-auth/" in line for line in file)


class Peer(asyncio.Protocol):
    """One MQTT session over a transport of asyncio's; what a device and the observer share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.lost = False
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello: the handshake is over."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # A device that says nothing between two steps must not be thrown out.
        self.send(packets.connect(protocol=V311, client_id=self.name, keep_alive=3600))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that it is over."""
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("hung up before CONNACK"))

    def data_received(self, data: bytes) -> None:
        """Cut what was received into packets."""
        packet, self._received = packets.split(self._received + data)
        while packet is not None:
            self.handle(packet)
            packet, self._received = packets.split(self._received)

    def handle(self, packet: packets.Packet) -> None:
        """Take a packet."""
        if packet.kind == Kind.CONNACK and not self.ready.done():
            self.ready.set_result(packets.parse_answer(packet, protocol=V311).code)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Say goodbye."""
        self.send(packets.disconnect())
        if self._transport is not None:
            self._transport.close()


class Device(Peer):
    """A device that sends readings."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sequence = 0
        self._sensor = SimulatedSensor(random.Random(name))  # noqa: S311 - a simulated sensor

    def report(self) -> int | None:
        """Send a reading, and return its number; None where the broker has hung up."""
        if self.lost:
            return None
        self.sequence += 1
        text = telemetry.render(self.name, self._sensor.read(), uptime=self.sequence, sequence=self.sequence)
        packet_id = self.sequence % 65535 + 1
        self.send(
            packets.publish(topics.telemetry(self.name), text.encode(), protocol=V311, packet_id=packet_id)
        )
        return self.sequence


class Observer(Peer):
    """Who listens to all readings, and acknowledges each."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.seen: Counter[tuple[str, int]] = Counter()
        self.at: dict[tuple[str, int], float] = {}
        self._more = asyncio.Event()

    def subscribe(self, pattern: str) -> None:
        """Ask for messages with QoS 1 (MQTT 3.1.1 §3.8)."""
        body = b"\0\1" + len(pattern).to_bytes(2, "big") + pattern.encode() + b"\1"
        self.send(bytes([0x82, len(body)]) + body)

    async def has_seen(self, number: int) -> None:
        """Wait until so many readings have come, or nothing has come for long enough."""
        with contextlib.suppress(TimeoutError):
            while len(self.seen) < number:
                self._more.clear()
                await asyncio.wait_for(self._more.wait(), PATIENCE)

    def handle(self, packet: packets.Packet) -> None:
        """Note a reading, and acknowledge it."""
        super().handle(packet)
        if packet.kind == 9:  # SUBACK
            self.granted.set_result(packet.body[-1])
        if packet.kind != Kind.PUBLISH:
            return
        size = int.from_bytes(packet.body[:2], "big")
        rest = packet.body[2 + size :]
        if packet.flags & 0x06:
            self.send(bytes([Kind.PUBACK << 4, 2]) + rest[:2])
            rest = rest[2:]
        value = json.loads(rest)
        key = (value["device"], value["seq"])
        self.seen[key] += 1
        self.at.setdefault(key, time.perf_counter())
        self._more.set()


def measure(*, steps: Sequence[int] = STEPS, only: Sequence[str] = ("mosquitto",)) -> list[Step]:
    """Put each broker under load, one after the other."""
    found: list[Step] = []
    for kind in only:
        with (
            tempfile.TemporaryDirectory() as scratch,
            _staged(kind, Path(scratch), max(steps)) as (subject, folder),
        ):
            found += asyncio.run(_climb(subject, folder, steps))
    return found


@contextmanager
def _staged(kind: str, scratch: Path, devices: int) -> Iterator[tuple[Subject, Path]]:
    store = Store(Workspace.open(scratch / "w"))
    store.ensure_authority()
    store.revocations.ensure()
    folder = make_folder(scratch / "fleet", private=True)
    names = [f"load-{number:06d}" for number in range(devices)]
    for name, issued in zip(names, store.authority().issue_many(names), strict=True):
        save_quickly(folder, name, issued)
    with ExitStack() as held:
        if kind == "mosquitto":
            site = held.enter_context(mutual_tls(store, crlfile=store.revocations.path))
            name = f"Mosquitto {site.broker.version}"
            yield Subject(name, [site.endpoint], store, [site.broker.pid], None), folder
            return
        office = held.enter_context(provisioning_site(store))
        with Registry.open(office.service.settings.options["registry"]) as registry, registry.begin() as tx:
            tx.fleet.add([identify(name) for name in names], actor="load")
        cluster = held.enter_context(rabbit_cluster(store, office, remember=REMEMBER))
        endpoints = [Endpoint("127.0.0.1", node.port) for node in cluster.nodes]
        pids = [node.pid for node in cluster.nodes]
        name = f"RabbitMQ {cluster.version}, {len(pids)} nodes"
        yield Subject(name, endpoints, store, pids, office.decisions), folder


@dataclass
class _Fleet:
    subject: Subject
    folder: Path
    devices: list[Device] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    failed: int = 0

    async def grow(self, number: int) -> None:
        """Connect devices until there are so many."""
        door = asyncio.Semaphore(AT_ONCE)
        first = len(self.devices) + self.failed
        self.times = []

        async def one(index: int) -> None:
            name = f"load-{index:06d}"
            identity = Identity(self.folder / f"{name}.crt", self.folder / f"{name}.key")
            async with door:
                started = time.perf_counter()
                try:
                    device = await _open(self.subject, Device(name), identity, index)
                except (OSError, TimeoutError) as error:
                    print(f"{name}: {error}", file=sys.stderr)
                    self.failed += 1
                    return
                self.times.append(time.perf_counter() - started)
            assert isinstance(device, Device)
            self.devices.append(device)

        await asyncio.gather(*(one(index) for index in range(first, number)))

    async def speak(self) -> dict[tuple[str, int], float]:
        """Let every device send its readings, and return when each was sent."""
        sent: dict[tuple[str, int], float] = {}

        async def one(device: Device) -> None:
            await asyncio.sleep(random.random() * INTERVAL)  # noqa: S311 - so that not all speak at once
            for _ in range(READINGS):
                if (number := device.report()) is not None:
                    sent[device.name, number] = time.perf_counter()
                await asyncio.sleep(INTERVAL)

        await asyncio.gather(*(one(device) for device in self.devices))
        return sent


async def _open(subject: Subject, peer: Peer, identity: Identity, turn: int) -> Peer:
    endpoint = subject.endpoints[turn % len(subject.endpoints)]
    context = client_context(subject.store.trust_anchor, identity, name=endpoint.certified_name)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        await loop.create_connection(
            lambda: peer, endpoint.host, endpoint.port, ssl=context,
            server_hostname=endpoint.certified_name or endpoint.host, ssl_handshake_timeout=PATIENCE,
        )  # fmt: skip
        if (code := await peer.ready) != 0:
            text = f"refused with {code}"
            raise ConnectionError(text)
    return peer


async def _climb(subject: Subject, folder: Path, steps: Sequence[int]) -> list[Step]:
    files = subject.store.identity(OBSERVER)
    observer = Observer(OBSERVER)
    await _open(subject, observer, Identity(files.certificate, files.key), -1)
    observer.subscribe("devices/+/telemetry/#")
    assert await asyncio.wait_for(observer.granted, PATIENCE) < 0x80, "the observer may not listen"
    fleet, found = _Fleet(subject, folder), []
    start, ours = subject.memory(), _own_memory()
    for step in steps:
        print(f"{subject.name}: {step} devices …", file=sys.stderr)
        found.append(await _step(fleet, observer, step, start, ours))
        observer.seen.clear()
        observer.at.clear()
    for peer in (*fleet.devices, observer):
        peer.close()
    await asyncio.sleep(0.2)
    return found


async def _step(fleet: _Fleet, observer: Observer, number: int, start: float, ours: float) -> Step:
    subject, before = fleet.subject, len(fleet.devices)
    cpu, asked, began = subject.cpu(), subject.asked(), time.perf_counter()
    await fleet.grow(number)
    seconds = time.perf_counter() - began
    came = max(1, len(fleet.devices) - before)
    connect_cpu, questions = (subject.cpu() - cpu) * 1000 / came, (subject.asked() - asked) / came
    cpu, asked = subject.cpu(), subject.asked()
    sent = await fleet.speak()
    await observer.has_seen(len(sent))
    late = [observer.at[key] - at for key, at in sent.items() if key in observer.at]
    devices = max(1, sum(not device.lost for device in fleet.devices))
    return Step(
        broker=subject.name,
        devices=sum(not device.lost for device in fleet.devices),
        failed=fleet.failed,
        thrown_out=sum(device.lost for device in fleet.devices),
        connect=_percentiles(fleet.times),
        rate=came / seconds,
        sent=len(sent),
        lost=len(set(sent) - set(observer.seen)),
        twice=sum(count > 1 for count in observer.seen.values()),
        latency=_percentiles(late),
        broker_memory=subject.memory() / 1024,
        memory_each=(subject.memory() - start) / devices,
        client_each=(_own_memory() - ours) / devices,
        connect_cpu=connect_cpu,
        message_cpu=(subject.cpu() - cpu) * 1000 / max(1, len(sent)),
        asked=questions,
        asked_message=(subject.asked() - asked) / max(1, len(sent)),
    )


def _own_memory() -> float:
    return psutil.Process().memory_info().rss / 1024


def _percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    if len(seconds) < 2:
        return (0.0, 0.0, 0.0)
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return (cuts[49] * 1000, cuts[94] * 1000, cuts[98] * 1000)


def table(steps: Sequence[Step]) -> str:
    """Return the steps as Markdown tables, and what they say about a large fleet."""
    lines = [
        "| broker | devices | failed | thrown out | came in, ms (50/95/99 %) | a second | readings | lost | twice | latency, ms (50/95/99 %) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {s.broker} | {s.devices:,} | {s.failed} | {s.thrown_out} | {_three(s.connect)} | {s.rate:.0f} | {s.sent:,} | {s.lost} | {s.twice} "
        f"| {_three(s.latency)} |"
        for s in steps
    ]
    lines += [
        "",
        "| broker | devices | broker, MB | KB a device | client, KB a device | CPU ms a connection | CPU ms a reading | questions a connection | questions a reading |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {s.broker} | {s.devices:,} | {s.broker_memory:.0f} | {s.memory_each:.0f} | {s.client_each:.0f} | {s.connect_cpu:.1f} "
        f"| {s.message_cpu:.2f} | {s.asked:.1f} | {s.asked_message:.1f} |"
        for s in steps
    ]
    lines += [
        "",
        f"Other programs ran beside it: the load average was {os.getloadavg()[0]:.1f} at the end.",
        "",
    ]
    lines += [_outlook(steps, broker) for broker in dict.fromkeys(s.broker for s in steps)]
    return "\n".join(lines)


def _three(values: tuple[float, float, float]) -> str:
    return " / ".join(f"{value:.0f}" for value in values)


def _outlook(steps: Sequence[Step], broker: str) -> str:
    """Return what the largest step that went well says about a large fleet, and how the curve went on the way there."""
    mine = [s for s in steps if s.broker == broker]
    well = [s for s in mine if not (s.failed or s.thrown_out or s.lost)]
    if not well:
        return f"**{FLEET:,} devices on {broker}**: no step went well, so that nothing follows.\n"
    first, last = well[0], well[-1]
    memory = last.memory_each * FLEET / 1024**2
    rate = FLEET / ASKED
    return (
        f"**{FLEET:,} devices on {broker}, if it went on as with {last.devices:,}** (it was not tried): "
        f"{memory:.1f} GB of memory for sessions, {last.connect_cpu * FLEET / 1000 / 60:.0f} processor minutes for all of them "
        f"to come in, and with a reading every {ASKED} s {rate * last.message_cpu / 1000:.1f} processors for "
        f"{rate:,.0f} readings a second. From {first.devices:,} to {last.devices:,} devices, memory for each went from "
        f"{first.memory_each:.0f} to {last.memory_each:.0f} KB, processor time for a connection from {first.connect_cpu:.1f} to "
        f"{last.connect_cpu:.1f} ms, and for a reading from {first.message_cpu:.2f} to {last.message_cpu:.2f} ms."
        + (f" Questions to the service: {last.asked * FLEET:,.0f} for all to come in." if last.asked else "")
        + "\n"
    )


if __name__ == "__main__":
    print(table(measure(steps=[int(word) for word in sys.argv[1:]] or STEPS)))
