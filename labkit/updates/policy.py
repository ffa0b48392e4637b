"""Which release a device is offered, and when a roll-out has to stop; values in, values out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.devices.rollout import Release, Rollout
from labkit.firmware.update import Version, parse_header

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from labkit.firmware.update import Header

OK = "ok"
"""What a device reports that has confirmed a release: it reached its broker with it."""

FEWEST_FAILURES = 3
"""Failures that may be anything; from here on they are looked at."""

SHARE_OF_FAILURES = 0.1
"""The share of a release's reports that may be failures before its roll-out is paused."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a device is offered.

    Attributes:
        code: `offered`, or why there is nothing: `nothing-released`, `key-revoked`, `hardware-unsupported`,
            `nothing-newer` or `not-its-turn`.
        release: The release, if it is offered one.
        header: What that says of itself.
    """

    code: str
    release: Release | None = None
    header: Header | None = None


def place(product: str, device_id: str) -> float:
    """Return the place of a device in the order in which a product's fleet is updated, from 0 to below 100.

    It is the same for every release: who got 1.5.0 early and fares badly with it gets 1.5.1 early.
    """
    digest = hashlib.sha256(f"{product}/{device_id}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48 * 100


def reached(release: Release, device_id: str) -> bool:
    """Return whether a roll-out has come to a device, whatever has become of it since."""
    return device_id in release.first or place(release.product, device_id) < release.percent


def covers(release: Release, device_id: str) -> bool:
    """Return whether a device is offered a release now."""
    return release.state is Rollout.RUNNING and reached(release, device_id)


def may_fetch(release: Release, device_id: str) -> bool:
    """Return whether a device may fetch an image: it was offered it, and the release was not aborted.

    A roll-out that is paused lets those finish who have begun; an image that was cut off is no use to anybody.
    """
    return release.state in {Rollout.RUNNING, Rollout.PAUSED} and reached(release, device_id)


def choose(
    releases: Iterable[Release],
    device_id: str,
    *,
    hardware: int | None = None,
    version: Version | None = None,
    revoked: Collection[bytes] = (),
) -> Choice:
    """Return what to offer to a device: the newest release for its hardware that has come to it.

    Args:
        releases: The releases of its product.
        device_id: The device.
        hardware: Its hardware revision, if it said so.
        version: The version that it runs, if it said so.
        revoked: The ids of keys that count no more: what they signed is offered to nobody.

    Does not check: that what the device says is true. It looks at the signed header itself.
    """
    left = [(parse_header(release.header).header, release) for release in releases]
    sieves: tuple[tuple[str, Callable[[Header, Release], bool]], ...] = (
        ("key-revoked", lambda header, _: header.key_id not in revoked),
        ("hardware-unsupported",
         lambda header, _: hardware is None or header.hardware_min <= hardware <= header.hardware_max),
        ("nothing-newer", lambda header, _: version is None or header.version > version),
        ("not-its-turn", lambda _, release: covers(release, device_id)),
    )  # fmt: skip
    code = "nothing-released"
    for name, holds in sieves:
        if not left:
            break
        code, left = name, [pair for pair in left if holds(*pair)]
    if not left:
        return Choice(code)
    header, release = max(left, key=lambda pair: pair[0].version)
    return Choice("offered", release, header)


def too_many_failures(reported: Mapping[str, int]) -> bool:
    """Return whether so many devices failed with a release that its roll-out has to pause until somebody has looked.

    Args:
        reported: How many devices said what; everything but `ok` is a failure.
    """
    total = sum(reported.values())
    failures = total - reported.get(OK, 0)
    return failures >= FEWEST_FAILURES and failures > SHARE_OF_FAILURES * total
