"""Where decisions on updates fall: which device is offered what, and who may fetch an image. No HTTP here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from labkit.devices import Rollout, standing
from labkit.errors import RefusedError
from labkit.firmware.update import Header, Manifest, Version, parse_header
from labkit.updates.messages import PROBLEMS
from labkit.updates.policy import Choice, choose, may_fetch, reached, too_many_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from labkit.devices import Device, Registry, Release, Transaction
    from labkit.updates.depot import Depot

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Image:
    """An update that a device may fetch.

    Attributes:
        device_id: Which device.
        header: The signed header, which is sent first.
        path: Where the image lies, which is sent behind it.
        size: How many bytes both have.
    """

    device_id: str
    header: bytes
    path: Path
    size: int

    @property
    def tag(self) -> str:
        """A strong validator (RFC 9110 §8.8.1): the header has the image's digest in it, so it stands for all bytes."""
        return f'"{hashlib.sha256(self.header).hexdigest()}"'


class Desk:
    """Decides on what devices ask.

    Args:
        registry: The fleet, and the releases.
        depot: The images.
        revoked: Returns the serial numbers that the authority's own register has as revoked.
        dead_keys: Returns the ids of signing keys that were revoked.
    """

    def __init__(
        self,
        registry: Registry,
        depot: Depot,
        *,
        revoked: Callable[[], Collection[str]] = set,
        dead_keys: Callable[[], Collection[bytes]] = set,
    ) -> None:
        self.registry = registry
        self._depot = depot
        self._revoked = revoked
        self._dead_keys = dead_keys

    def manifest(
        self, der: bytes, product: str, *, hardware: int | None = None, version: Version | None = None
    ) -> tuple[Choice, bytes]:
        """Return what a device is offered, and its manifest; no bytes where it is offered nothing.

        Args:
            der: The certificate that was presented in the TLS handshake.
            product: Its product, as it says.
            hardware: Its hardware revision, if it says so.
            version: The version that it runs, if it says so.

        Raises:
            RefusedError: `code` is one of `serving.problems.WHO`, or `product-unknown`.

        Does not check: that the device is of this product. What it gets is for everybody who has one, and its own
            verifier refuses another product's image.
        """

        def decide(tx: Transaction, device: Device) -> Choice:
            return choose(
                self._known(tx, product), device.device_id, hardware=hardware, version=version,
                revoked=self._dead_keys(),
            )  # fmt: skip

        choice = self._decide(der, decide)
        if choice.header is None:
            return choice, b""
        header = choice.header
        return choice, Manifest(f"/updates/{product}/{header.version}.bin", header).render()

    def image(self, der: bytes, product: str, version: Version) -> Image:
        """Return an image that a device may fetch now.

        Raises:
            RefusedError: `code` is one of `serving.problems.WHO`, or `release-unknown`, `rollout-aborted`,
                `not-its-turn` or `image-missing`.
        """

        def decide(tx: Transaction, device: Device) -> Image:
            release = self._release(tx, product, version)
            header = parse_header(release.header).header
            if release.state is Rollout.ABORTED or header.key_id in self._dead_keys():
                raise refused("rollout-aborted")
            if not may_fetch(release, device.device_id):
                raise refused("not-its-turn")
            if not self._depot.holds(header):
                raise refused("image-missing")
            size = len(release.header) + header.size
            return Image(device.device_id, release.header, self._depot.path(header), size)

        return self._decide(der, decide)

    def aborted(self, product: str, version: Version) -> bool:
        """Return whether a release was aborted; asked while its image is on its way."""
        with self.registry.read() as tx:
            return self._release(tx, product, version).state is Rollout.ABORTED

    def report(self, der: bytes, product: str, version: Version, code: str) -> tuple[str, Rollout]:
        """Keep what became of a release on a device; return the device's id and how the roll-out stands now.

        When too many devices fail, the roll-out is paused until a person has looked.

        Raises:
            RefusedError: `code` is one of `serving.problems.WHO`, or `release-unknown` or `not-its-turn`.

        Does not check: that the device says the truth. A stolen one can report failures for itself, and for no other;
            several of them can pause a roll-out, and nothing worse.
        """

        def decide(tx: Transaction, device: Device) -> tuple[str, Rollout]:
            release = self._release(tx, product, version, lock=True)
            if not reached(release, device.device_id):
                raise refused("not-its-turn")
            tx.releases.report(release, device.device_id, code)
            reported = tx.releases.reported(release)
            if release.state is Rollout.RUNNING and too_many_failures(reported):
                release = tx.releases.change(
                    release, actor="service", state=Rollout.PAUSED, why="failures", reported=dict(reported)
                )
            return device.device_id, release.state

        return self._decide(der, decide, write=True)

    def _decide(self, der: bytes, decide: Callable[[Transaction, Device], _T], *, write: bool = False) -> _T:
        opened = self.registry.begin() if write else self.registry.read()
        with opened as tx:
            found = standing.present(tx, der, self._revoked(), lock=write)
            if isinstance(found, str):
                raise refused(found)
            return decide(tx, found[1])

    @staticmethod
    def _known(tx: Transaction, product: str) -> list[Release]:
        found = tx.releases.of(product) if Header.product_is_one(product) else []
        if not found:
            raise refused("product-unknown")
        return found

    @staticmethod
    def _release(tx: Transaction, product: str, version: Version, *, lock: bool = False) -> Release:
        if not Header.product_is_one(product):
            raise refused("release-unknown")
        return tx.releases.get(product, str(version), lock=lock)


def refused(code: str, detail: str = "") -> RefusedError:
    """Return the refusal of a code."""
    kind = PROBLEMS[code]
    return RefusedError(f"{kind.title}. {detail}".strip(), advice=kind.advice, code=code)
