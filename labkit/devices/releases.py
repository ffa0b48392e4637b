"""Releases of firmware within a transaction: how far each has been rolled out, and what devices said of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from labkit.devices.rollout import ROLLOUT_MOVES, Release, Rollout, subject_of
from labkit.devices.schema import insert_if_new, releases, reports
from labkit.errors import ReleaseRefusedError, ReleaseUnknownError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from labkit.devices.trail import Trail


_ONE = sa.select(releases).where(
    releases.c.product == sa.bindparam("wanted"), releases.c.version == sa.bindparam("which")
)
_OF = sa.select(releases).where(releases.c.product == sa.bindparam("wanted"))
_INSERT = insert_if_new(releases)


class Releases:
    """The releases within a transaction."""

    def __init__(self, connection: sa.Connection, now: dt.datetime, trail: Trail) -> None:
        self._connection = connection
        self._now = now
        self._trail = trail

    def publish(self, product: str, version: str, header: bytes, *, actor: str, **detail: Any) -> Release:
        """Put a release on record; it is held.

        Raises:
            ReleaseRefusedError: `rule` is `exists`: a version is published once.

        Does not check: the header, and whether the image is there; whoever publishes does.
        """
        row = {
            "product": product, "version": version, "header": header, "published_at": self._now,
            "state": Rollout.HELD.value, "percent": 0, "first": "[]", "changed_at": self._now,
        }  # fmt: skip
        if self._connection.execute(_INSERT[self._connection.dialect.name], row).rowcount != 1:
            raise refused(
                product, version, "exists", "it is published already, and a version is published once"
            )
        self._trail.note(actor, "release-published", subject_of(product, version), **detail)
        return self.get(product, version)

    def get(self, product: str, version: str, *, lock: bool = False) -> Release:
        """Return a release.

        Args:
            product: Of which product.
            version: Which version.
            lock: Let no other transaction change it until this one ends.

        Raises:
            ReleaseUnknownError: There is none.
        """
        chosen = _ONE.with_for_update() if lock else _ONE
        row = self._connection.execute(chosen, {"wanted": product, "which": version}).first()
        if row is None:
            raise ReleaseUnknownError(
                f"There is no release {version[:17]} of {product[:31]}.",
                advice="See what there is: labkit firmware rollout list",
                product=product,
                version=version,
            )
        return _release(row)

    def of(self, product: str) -> list[Release]:
        """Return every release of a product, in no order that means anything."""
        return [_release(row) for row in self._connection.execute(_OF, {"wanted": product})]

    def list(self) -> Sequence[Release]:
        """Return every release, by product, in the order of publication."""
        chosen = sa.select(releases).order_by(releases.c.product, releases.c.published_at)
        return [_release(row) for row in self._connection.execute(chosen)]

    def change(
        self,
        release: Release,
        *,
        actor: str,
        state: Rollout | None = None,
        percent: int | None = None,
        first: frozenset[str] | None = None,
        **detail: Any,
    ) -> Release:
        """Change how a release is rolled out.

        Args:
            release: The release, as it is under the lock of this transaction.
            actor: Who changes it.
            state: Its new state; the present one without it.
            percent: Its new share.
            first: Who gets it first.
            **detail: What else the trail should know.

        Raises:
            ReleaseRefusedError: `rule` is `move`: it can't go into that state.
        """
        wanted = release.state if state is None else state
        if wanted is not release.state and wanted not in ROLLOUT_MOVES[release.state]:
            raise refused(
                release.product, release.version, "move", f"it is {release.state} and can't become {wanted}"
            )
        values = {
            "state": wanted.value,
            "percent": release.percent if percent is None else percent,
            "first": json.dumps(sorted(release.first if first is None else first)),
            "changed_at": self._now,
        }
        where = (releases.c.product == release.product, releases.c.version == release.version)
        self._connection.execute(sa.update(releases).where(*where).values(**values))
        self._trail.note(
            actor,
            f"rollout-{wanted}",
            release.subject,
            percent=values["percent"],
            before=release.state.value,
            **detail,
        )
        return self.get(release.product, release.version)

    def report(self, release: Release, device_id: str, code: str) -> None:
        """Keep what a device said of a release; what it said before is forgotten."""
        where = (
            reports.c.product == release.product,
            reports.c.version == release.version,
            reports.c.device == device_id,
        )
        row = {"product": release.product, "version": release.version, "device": device_id}
        self._connection.execute(sa.delete(reports).where(*where))
        self._connection.execute(sa.insert(reports), {**row, "code": code, "at": self._now})

    def reported(self, release: Release) -> Counter[str]:
        """Return how many devices said what of a release."""
        chosen = (
            sa.select(reports.c.code, sa.func.count().label("devices"))
            .where(reports.c.product == release.product, reports.c.version == release.version)
            .group_by(reports.c.code)
        )
        return Counter({row.code: row.devices for row in self._connection.execute(chosen)})


def refused(product: str, version: str, rule: str, why: str) -> ReleaseRefusedError:
    """Return the refusal of something that is wanted with a release."""
    return ReleaseRefusedError(
        f"{product} {version}: {why}.",
        advice="See how it stands: labkit firmware rollout list",
        product=product,
        version=version,
        rule=rule,
    )


def _release(row: Any) -> Release:
    return Release(
        row.product, row.version, bytes(row.header), row.published_at, Rollout(row.state), row.percent,
        frozenset(json.loads(row.first)), row.changed_at,
    )  # fmt: skip
