"""Whether a certificate that was presented counts now, and whose it is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from labkit.devices.certificates import Status
from labkit.devices.lifecycle import IN_LIFE, State
from labkit.errors import DeviceUnknownError
from labkit.pki import Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from labkit.devices.certificates import Certificate
    from labkit.devices.fleet import Device
    from labkit.devices.registry import Transaction


def find(tx: Transaction, der: bytes, *, lock: bool = True) -> tuple[Certificate, Device] | str:
    """Return a certificate that was presented, and its device; or `certificate-unknown` or `not-a-device`.

    Args:
        tx: The transaction; one that writes, if `lock` is set.
        der: The certificate.
        lock: Let no other transaction change the device until this one ends.

    Does not check: whether it counts; `objection` does.
    """
    digest = hashlib.sha256(der).hexdigest()
    certificate = tx.certificates.by_fingerprint(digest)
    if certificate is None:
        return "certificate-unknown"
    try:
        device = tx.fleet.get(certificate.entry.name, lock=lock)
    except DeviceUnknownError:
        return "not-a-device"
    # Looked at again: while we waited for the device, another transaction may have ended its certificate.
    return (tx.certificates.by_fingerprint(digest) or certificate) if lock else certificate, device


def objection(
    tx: Transaction, certificate: Certificate, device: Device, revoked: Collection[str]
) -> str | None:
    """Return why a certificate does not count now, as a code; None if it does.

    Args:
        tx: The transaction; its time counts.
        certificate: The certificate.
        device: Whose it is.
        revoked: The serial numbers that the authority's own register has as revoked.

    Does not check: that the certificate's chain leads anywhere; TLS did. Dates and revocation it does check, because a
        session that was resumed presents a certificate that TLS has not looked at again.
    """
    if device.state not in IN_LIFE:
        return "device-quarantined" if device.state is State.QUARANTINED else "device-revoked"
    if certificate.entry.not_after <= tx.now:
        return "certificate-expired"
    if certificate.status is Status.ENDED:
        superseded = certificate.reason is Reason.SUPERSEDED
        return "certificate-superseded" if superseded else "certificate-revoked"
    return "certificate-revoked" if certificate.entry.serial in revoked else None


def present(
    tx: Transaction, der: bytes, revoked: Collection[str], *, lock: bool = True
) -> tuple[Certificate, Device] | str:
    """Return the certificate and the device that present themselves, or why they don't count; see `find` and `objection`."""
    found = find(tx, der, lock=lock)
    return found if isinstance(found, str) else objection(tx, *found, revoked) or found
