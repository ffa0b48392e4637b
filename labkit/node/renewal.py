"""Whether the certificate is to be renewed now.

The service decides in the end (`provisioning.policy.renewal_opens`) and tells the device from when on it may come. Where the
device has not been told, it reckons in the same way with a share of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY = 86_400
WINDOW, JITTER = 30 * DAY, 5 * DAY
"""Seconds before the end from which on a device renews, and by how much more at most."""

EARLIEST = 1_767_225_600
"""The first second of 2026: a clock that shows less was never set. ESP-IDF's begins in 1970."""

Verdict = Literal["clock-unset", "renew-not-yet-valid", "wait", "renew-due", "renew-expired"]


@dataclass(frozen=True, slots=True)
class Validity:
    """What is known of a certificate, in seconds since 1970.

    Attributes:
        not_before: The first second of its validity.
        not_after: The last.
        renew_after: From when on the service lets it be renewed; 0 where it has not said.
    """

    not_before: int
    not_after: int
    renew_after: int = 0


def opens(validity: Validity, share: int) -> int:
    """Return from when on the certificate is to be renewed.

    Args:
        validity: The certificate's.
        share: 32 bits that are this device's own, drawn once and kept.
    """
    if validity.not_before <= validity.renew_after <= validity.not_after and validity.renew_after:
        return validity.renew_after
    early = WINDOW + ((share * JITTER) >> 32)
    return validity.not_after - min(early, (validity.not_after - validity.not_before) // 3)


def decide(now: int, validity: Validity, *, share: int = 0) -> Verdict:
    """Return what to do about a certificate at a time.

    Args:
        now: Seconds since 1970, or less than `EARLIEST` where the clock is not set.
        validity: The certificate's.
        share: See `opens`.

    Does not check: revocation. A revoked certificate is refused by the broker, and no renewal mends that.
    """
    if now < EARLIEST:
        return "clock-unset"
    if now < validity.not_before:
        return "renew-not-yet-valid"
    if now > validity.not_after:
        return "renew-expired"
    return "renew-due" if now >= opens(validity, share) else "wait"
