"""Fixtures for boards: keys that are made once."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa


@pytest.fixture(scope="session")
def boot_keys() -> list[rsa.RSAPrivateKey]:
    """Return three keys for Secure Boot V2."""
    return [rsa.generate_private_key(public_exponent=65537, key_size=3072) for _ in range(3)]
