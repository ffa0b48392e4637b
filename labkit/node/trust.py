"""Whose updates an image takes: the public keys stand in the image itself, so that an update brings the next ones.

On the virtual board they are part of the image's behaviour, `{"updates": {"trust": [SPKI in base64], "revoked": [key id]}}`,
inside of what is hashed and signed; in the C firmware they are compiled in.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.firmware.update import KEY_ID_LENGTH, TrustedKeys
from labkit.node.codes import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELD = "updates"
MOST_KEYS = 4
MOST_REVOKED = 16


def render_trust(trusted: TrustedKeys) -> dict[str, Any]:
    """Return what goes into an image's behaviour.

    Raises:
        ValueError: There are more keys than an image holds.
    """
    if len(trusted.keys) > MOST_KEYS or len(trusted.revoked) > MOST_REVOKED:
        text = f"an image holds {MOST_KEYS} keys and {MOST_REVOKED} that were revoked"
        raise ValueError(text)
    keys = [
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for public in trusted.keys.values()
    ]
    return {
        FIELD: {
            "trust": [base64.b64encode(key).decode() for key in keys],
            "revoked": sorted(one.hex() for one in trusted.revoked),
        }
    }


def read_trust(behaviour: Mapping[str, Any] | None) -> TrustedKeys:
    """Return whom an image trusts; nobody where it says nothing.

    Raises:
        MessageRefusedError: `trust-missing`: what it says makes no sense.

    Does not check: the image. Whoever can change it can change whom it trusts, so it has to be signed itself.
    """
    said = (behaviour or {}).get(FIELD, {})
    try:
        keys = [_key(text) for text in said.get("trust", [])]
        revoked = [bytes.fromhex(text) for text in said.get("revoked", [])]
        if any(len(one) != KEY_ID_LENGTH for one in revoked):
            raise refused("trust-missing", "a revoked key has no key id")
        return TrustedKeys.of(keys, revoked=revoked)
    except (AttributeError, TypeError, ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise refused("trust-missing", "the image's keys can't be read") from error


def _key(text: str) -> ec.EllipticCurvePublicKey:
    public = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise refused("trust-missing", "a key is not on P-256")
    return public
