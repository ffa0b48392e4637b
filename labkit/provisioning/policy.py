"""When a certificate may be renewed, and which settings a fleet has; values in, values out."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.pki import Request
    from labkit.pki.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Policy:
    """What the service goes by.

    Attributes:
        window: How long before its end a certificate may be renewed.
        jitter: By how much more at most, so that devices that were made on one day don't all come on one day.
        token_lifetime: How long a token counts where nobody says otherwise.
    """

    window: dt.timedelta = dt.timedelta(days=30)
    jitter: dt.timedelta = dt.timedelta(days=5)
    token_lifetime: dt.timedelta = dt.timedelta(hours=24)


def renewal_opens(
    device_id: str, not_before: dt.datetime, not_after: dt.datetime, policy: Policy
) -> dt.datetime:
    """Return from when on a certificate may be renewed.

    The jitter comes from the device's id, so that a device gets the same answer each time. A certificate that lives
    shorter than three windows is renewed in the last third of its life.

    Args:
        device_id: Whose.
        not_before: First moment of its validity.
        not_after: Last moment of its validity.
        policy: The window.
    """
    life = not_after - not_before
    share = int.from_bytes(hashlib.sha256(device_id.encode()).digest()[:4]) / 2**32
    early = min(policy.window + share * policy.jitter, life / 3)
    return (not_after - early).replace(microsecond=0)


def for_devices(public: PublicKey) -> bool:
    """Return whether a key is of a kind that devices get certificates for: P-256, or RSA.

    Does not check: the length of an RSA key; `pki.keys.check_policy` does, and lets P-384 through for authorities.
    """
    return isinstance(public, rsa.RSAPublicKey) or isinstance(public.curve, ec.SECP256R1)


def subject_differs(request: Request, certificate: x509.Certificate, *, strict: bool) -> bool:
    """Return whether a request for renewal asks for another name than the certificate has (RFC 7030 §4.2.2).

    Args:
        request: The request.
        certificate: What is to be renewed.
        strict: Want the same subject and the same alternative names, as EST does; otherwise the common name must be
            there, and nothing that the certificate does not have.
    """
    wanted, present = list(request.subject), list(certificate.subject)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if strict:
        return wanted != present or request.alternatives not in {None, names}
    has_name = any(attribute.oid == x509.NameOID.COMMON_NAME for attribute in wanted)
    stray = any(attribute not in present for attribute in wanted)
    return not has_name or stray or request.alternatives not in {None, names}


def topics_of(device_id: str) -> Mapping[str, str]:
    """Return where a device publishes, and what it listens to; the broker's rules allow just these."""
    return {
        "telemetry": f"devices/{device_id}/telemetry",
        "status": f"devices/{device_id}/status",
        "commands": f"devices/{device_id}/commands/#",
    }
