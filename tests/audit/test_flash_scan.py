"""What a thief finds first: keys, tokens and passwords in bytes, however they are packed; and nothing that is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from labkit.audit.flash_scan import MOST, secrets_in
from labkit.audit.flashes import look_into
from labkit.devices import new_token
from labkit.pki import Key
from labkit.pki.keys import fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

KEYS = {"p256": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}
FORMATS = {"sec1": PrivateFormat.TraditionalOpenSSL, "pkcs8": PrivateFormat.PKCS8}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["pem", "der"])
def test_private_keys_are_found(kind: str, form: str, encoding: Encoding) -> None:
    """EC and RSA keys are found in both formats and encodings, at their place, with the key's fingerprint."""
    key: PrivateKeyTypes = KEYS[kind]
    data = os.urandom(1000) + key.private_bytes(encoding, FORMATS[form], NoEncryption()) + os.urandom(1000)
    found = [secret for secret in secrets_in(data, "dump", start=0x10000) if secret.key]
    wanted = fingerprint(key.public_key())  # type: ignore[arg-type]
    assert [(0x10000 + 1000, wanted)] == [(secret.offset, secret.key) for secret in found]


def test_an_encrypted_key_is_found_too() -> None:
    """A key with a passphrase is no better to find: passphrases are guessed at leisure."""
    pem = KEYS["p256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert ["private key (PEM)"] == [secret.kind for secret in secrets_in(pem, "dump")]


def test_tokens_and_passwords_are_found() -> None:
    """Tokens, passwords in addresses and passwords beside their names are found; formats for logging are not."""
    data = b"\0".join(
        [
            new_token().encode(),
            b"mqtt://plant:hunter2hunter2@broker.local",
            b'"mqtt_password": "correct-horse"',
            b"API_KEY=0123456789abcdef",
            b"password=%s",
            b"wifi:new password: <not set>",
            b"the word password in a sentence",
        ]
    )
    kinds = [secret.kind for secret in secrets_in(data, "image")]
    assert ["provisioning token", "password", "password", "password"] == kinds


def test_nothing_that_was_found_is_shown() -> None:
    """A finding has a kind, a place and a digest, and never the secret."""
    pem, token = Key.generate().pem(), new_token()
    for secret in secrets_in(pem + b"\0" + token.encode() + b"\0password=hunter2hunter2", "dump"):
        shown = repr(secret)
        assert token[7:] not in shown
        assert "hunter2" not in shown
        assert pem.split(b"\n")[1].decode() not in shown


@given(st.binary(max_size=3000))
def test_noise_holds_no_keys(data: bytes) -> None:
    """Random bytes hold no key, and whatever they are, looking into them raises nothing."""
    assert not any(secret.key for secret in secrets_in(data, "noise"))
    assert "noise" == look_into(data, "noise").name


@given(st.integers(0, 120), st.binary(max_size=200))
def test_half_a_key_raises_nothing(cut: int, tail: bytes) -> None:
    """A key that is cut off or damaged anywhere raises nothing."""
    der = KEYS["p256"].private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert isinstance(secrets_in(der[:cut] + tail, "dump"), list)


def test_findings_are_bounded() -> None:
    """A dump full of tokens does not fill a report."""
    data = b"\0".join(new_token().encode() for _ in range(2 * MOST))
    assert MOST == len(secrets_in(data, "dump"))


def test_shared_secrets_have_one_digest() -> None:
    """The same secret in two places has the same digest, another one does not."""
    one, other = new_token().encode(), new_token().encode()
    first, second, third = (secrets_in(each, "x")[0].digest for each in (one, b"pad\0" + one, other))
    assert first == second != third
