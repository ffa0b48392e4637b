"""The judge's own broker and board: a student's flash boots there, with the broker's address and root changed.

Key, chain, interval and image stay the student's. The broker believes the student's root and nothing between, so a
device has to send its whole chain.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

from labkit.clock import Deadline
from labkit.course.lesson import RejectedError
from labkit.firmware import NvsEntry, build_image
from labkit.node import layout
from labkit.node.codes import CODES, parse_line
from labkit.pki import IdentityFiles, Store
from labkit.scenarios import device_files
from labkit.scenarios.device_boot import CONNECTION, Bench, device_bench
from labkit.scenarios.mutual_tls import OBSERVER, mutual_tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from labkit.course.exercises.sensor_node_flash import Flash, Identity
    from labkit.course.work import Work
    from labkit.outcome import Outcome

PATIENCE = 12.0
"""Seconds to wait for a reading; the board's time runs sixty times faster than ours."""

TRIES_ON = {"renew-expired"}
"""Errors after which the node goes on: that its certificate has run out is for the broker to say."""

KEPT = {(layout.IDENTITY, name) for name in (layout.DEVICE_ID, *layout.SLOTS["a"])} | {
    (layout.SETTINGS, layout.INTERVAL)
}
"""What the judge's board takes over of a student's values; addresses of services are not among it."""


class Judge:
    """A broker and a board. Get one from `judge`.

    Attributes:
        bench: The board, beside the broker.
        device: Whose it is.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.device = bench, bench.device

    def put(self, flash: Flash, values: Mapping[tuple[str, str], NvsEntry] | None = None) -> None:
        """Write a student's flash onto the board, and let it start.

        Args:
            flash: The flash.
            values: What its own partition holds instead.
        """
        chosen = flash.values if values is None else values
        site = self.bench.site
        own = [entry for name, entry in chosen.items() if name in KEPT]
        trust = NvsEntry(layout.IDENTITY, layout.ROOT, "string", site.store.trust_anchor.read_text())
        partition = build_image(_grouped([*own, trust, *device_files.addresses(site)]), size=flash.part.size)
        start, end = flash.part.offset, flash.part.end
        self.bench.program(0, flash.data[:start] + partition + flash.data[end:])

    def started(self) -> None:
        """See that the board has come as far as the course's node.

        Raises:
            RejectedError: `does-not-boot`, `no-node`.
        """
        outcome = self.bench.boot()
        if not outcome.accepted:
            raise RejectedError(
                "does-not-boot",
                f"the board ends at {outcome.stage}: {outcome.reason}; {outcome.detail.get('board', '')}"[
                    :300
                ],
                expected="ROM, bootloader, table, image, application",
                advice="bench.console(until='E (') shows what your own board says; which file lies where?",
            )
        found = self.bench.board.last_boot
        behaviour = found.behaviour if found else None
        if behaviour is not None and behaviour.get("application") != device_files.PRODUCT:
            raise RejectedError(
                "no-node",
                f"the image is not the sensor node's: {str(behaviour)[:80]}",
                expected="the course's node",
                advice="bench.make_firmware(version) builds it.",
            )

    def connected(self) -> Outcome:
        """Return how the board's first attempt to connect ended.

        Raises:
            RejectedError: `gives-up`: the node stopped before.
        """
        deadline = Deadline(PATIENCE)
        while not deadline.passed:
            codes = [found[0] for line in self.bench.said() if (found := parse_line(line))]
            if CONNECTION.intersection(codes):
                return self.bench.connection()
            if any(CODES[code].level == "error" and code not in TRIES_ON for code in codes):
                break
            deadline.pause(0.05)
        raise RejectedError(
            "gives-up",
            f"the node ends before it connects: {(self.bench.said() or ('nothing is said',))[-1]}"[:300],
            expected="a session with the broker",
            advice="Your own board says the same on its console: bench.console(until='lab_node: code=').",
        )

    @property
    def version(self) -> str:
        """The version of the image that the board runs; empty where it says none."""
        found = self.bench.board.last_boot
        described = found.image.description if found and found.image else None
        return described.version if described else ""

    def borrow_client_id(self) -> None:
        """Connect as another device, under the device's client id and under one that looks like a line of the log."""
        site = self.bench.site
        for client in (self.device, f"x (p5, c1, k60, u'{self.device}')."):
            site.attempt(site.identity("visitor-7"), client_id=client)

    def readings(self, count: int) -> list[tuple[str, Any]]:
        """Return what the broker delivers of the device's readings: topic and content.

        Args:
            count: How many; fewer where they don't come.
        """
        found: list[tuple[str, Any]] = []
        with self.bench.site.session(OBSERVER) as observer:
            observer.subscribe(f"devices/{self.device}/telemetry/#")
            deadline = Deadline(PATIENCE)
            while len(found) < count and not deadline.passed:
                message = observer.wait_for("#", timeout=deadline.left)
                if message is not None:
                    found.append((message.topic, _object(message.payload)))
        return found


def _object(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


def _grouped(entries: list[NvsEntry]) -> list[NvsEntry]:
    return sorted(entries, key=lambda entry: entry.namespace)


def judge(work: Work, identity: Identity) -> Judge:
    """Return the judge's broker and board for an identity's root; one for all checks of a work."""
    root = identity.root.public_bytes(serialization.Encoding.PEM)
    return work.once("judge", lambda: work.enter(_judge(work, root)))


@contextmanager
def _judge(work: Work, root: bytes) -> Iterator[Judge]:
    store = Store(work.scratch)
    store.ensure_authority()
    trusted = work.scratch.write("trusted.crt", store.trust_bundle.read_bytes() + root)
    with ExitStack() as stack:
        # Client ids are not bound here, so that a line of the log can have a borrowed one in it.
        site = stack.enter_context(mutual_tls(store, cafile=trusted, bind_client_id=False))
        bench = stack.enter_context(device_bench(site, work.variant.device, chip=work.variant.chip))
        yield Judge(bench)


def try_identity(judge: Judge, identity: Identity) -> Outcome:
    """Let a student's identity knock at the judge's broker, without any board."""
    site = judge.bench.site
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in identity.chain)
    key = identity.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    space = site.store.workspace
    files = IdentityFiles(
        judge.device, space.write("their.crt", chain), space.write("their.key", key, secret=True)
    )
    return site.attempt(files)
