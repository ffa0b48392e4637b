"""What operators do with releases: publish, roll out step by step, pause, resume, abort."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.devices import Rollout
from labkit.devices.releases import refused
from labkit.firmware.update import HEADER_LENGTH, parse_header
from labkit.updates.depot import LONGEST_UPDATE, verify_release
from labkit.updates.messages import ReleaseView

if TYPE_CHECKING:
    from collections.abc import Collection

    from labkit.devices import Registry, Release, Transaction
    from labkit.firmware.signing_keys import SigningKeys
    from labkit.updates.depot import Depot


class Operations:
    """What operators do with releases.

    Args:
        registry: Where releases are on record.
        depot: Where their images are.
        keys: Whose signatures count.
    """

    def __init__(self, registry: Registry, depot: Depot, keys: SigningKeys) -> None:
        self.registry = registry
        self._depot = depot
        self._keys = keys

    def publish(self, update: bytes, *, actor: str) -> ReleaseView:
        """Take in an update, if devices would take it; it is held until it is rolled out.

        The image is in its place before the registry speaks of it; cut off in between, the same call goes on.

        Args:
            update: Header and image.
            actor: Who publishes it.

        Raises:
            UpdateRefusedError: See `verify_release`; devices would say the same.
            ReleaseRefusedError: `rule` is `too-long`, `exists`, or `secure-version-older`: devices that run an older
                release of this product could not take it.
        """
        if len(update) > LONGEST_UPDATE:
            raise refused("this update", "", "too-long", f"it has more than {LONGEST_UPDATE} bytes")
        header = verify_release(update, self._keys.trusted())
        product, version = header.product, str(header.version)
        with self.registry.read() as tx:
            known = tx.releases.of(product)
        if any(release.version == version for release in known):
            raise refused(
                product, version, "exists", "it is published already, and a version is published once"
            )
        floor = max((parse_header(r.header).header.secure_version for r in known), default=0)
        if header.secure_version < floor:
            why = f"its secure version is {header.secure_version}, and {floor} was published before"
            raise refused(product, version, "secure-version-older", why)
        self._depot.put(header, update[HEADER_LENGTH:])
        with self.registry.begin() as tx:
            release = tx.releases.publish(
                product, version, update[:HEADER_LENGTH], actor=actor,
                sha256=header.digest.hex(), key_id=header.key_id.hex(),
            )  # fmt: skip
            return _view(tx, release)

    def roll_out(
        self, product: str, version: str, percent: int, *, actor: str, first: Collection[str] | None = None
    ) -> ReleaseView:
        """Offer a release to a share of the fleet: at first, further, or again after a pause.

        Args:
            product: Of which product.
            version: Which version.
            percent: The share; it only grows.
            actor: Who does it.
            first: The ids of devices that get it whatever the share is; those of before without it.

        Raises:
            ReleaseUnknownError: There is none.
            ReleaseRefusedError: `rule` is `move` (it was aborted) or `percent` (it would become smaller: nobody gives an
                update back; pause or abort it).
        """
        with self.registry.begin() as tx:
            release = tx.releases.get(product, version, lock=True)
            if percent < release.percent:
                why = f"it has gone to {release.percent} %, and no device gives it back"
                raise refused(product, version, "percent", why)
            chosen = None if first is None else frozenset(first)
            return _view(
                tx,
                tx.releases.change(
                    release, actor=actor, state=Rollout.RUNNING, percent=percent, first=chosen
                ),
            )

    def pause(self, product: str, version: str, *, actor: str) -> ReleaseView:
        """Offer a release to nobody new, until it is rolled out further.

        Raises:
            ReleaseUnknownError, ReleaseRefusedError: There is none, or it is not running.
        """
        return self._move(product, version, Rollout.PAUSED, actor=actor)

    def abort(self, product: str, version: str, *, actor: str) -> ReleaseView:
        """Take a release back for good; also from those who are fetching it.

        Raises:
            ReleaseUnknownError, ReleaseRefusedError: There is none.
        """
        return self._move(product, version, Rollout.ABORTED, actor=actor)

    def releases(self) -> list[ReleaseView]:
        """Return every release."""
        with self.registry.read() as tx:
            return [_view(tx, release) for release in tx.releases.list()]

    def _move(self, product: str, version: str, state: Rollout, *, actor: str) -> ReleaseView:
        with self.registry.begin() as tx:
            release = tx.releases.get(product, version, lock=True)
            if release.state is not state:
                release = tx.releases.change(release, actor=actor, state=state)
            return _view(tx, release)


def _view(tx: Transaction, release: Release) -> ReleaseView:
    header = parse_header(release.header).header
    return ReleaseView(
        product=release.product,
        version=release.version,
        secure_version=header.secure_version,
        hardware=(header.hardware_min, header.hardware_max),
        size=header.size,
        sha256=header.digest.hex(),
        key_id=header.key_id.hex(),
        state=release.state.value,
        percent=release.percent,
        first=sorted(release.first),
        published_at=release.published_at,
        reported=dict(tx.releases.reported(release)),
    )
