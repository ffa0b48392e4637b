"""labkit.pki.keys: made here, shown never."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from labkit.errors import KeyRefusedError, PassphraseError, WorkspaceCorruptError
from labkit.pki import Key
from labkit.pki.keys import check_policy

HERE = Path("device.key")


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_round_trip(kind: str) -> None:
    """A key survives PEM, plain and encrypted."""
    key = Key.generate(kind)
    assert kind == key.kind
    assert key.fingerprint == Key.load(key.pem(), path=HERE).fingerprint
    assert key.fingerprint == Key.load(key.pem(b"secret"), path=HERE, passphrase=b"secret").fingerprint


def test_repr_shows_no_secret() -> None:
    """A key's repr has kind and fingerprint, and none of its bytes."""
    key = Key.generate()
    assert repr(key) == f"<Key p256 {key.fingerprint[:16]}…>"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


def test_passphrase_is_needed_and_must_fit() -> None:
    """An encrypted key without its passphrase, or with a wrong one, is a passphrase error; the right one opens it."""
    pem = Key.generate().pem(b"right")
    for given in (None, b"wrong"):
        with pytest.raises(PassphraseError) as caught:
            Key.load(pem, path=HERE, passphrase=given)
        assert caught.value.path == HERE
    assert Key.load(pem, path=HERE, passphrase=b"right").kind == "p256"


@pytest.mark.parametrize(
    "pem", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_damaged_files_are_named(pem: bytes) -> None:
    """A file without a key is named in the error."""
    with pytest.raises(WorkspaceCorruptError) as caught:
        Key.load(pem, path=HERE)
    assert caught.value.path == HERE


def test_other_kinds_of_key_are_refused() -> None:
    """A key that is neither EC nor RSA is refused when it is read."""
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(KeyRefusedError) as caught:
        Key.load(pem, path=HERE)
    assert caught.value.rule == "kind"


def test_unknown_kind_is_a_mistake_of_the_caller() -> None:
    """Asking for a kind that there is not is a ValueError, and never a weak key."""
    with pytest.raises(ValueError, match="rsa1024"):
        Key.generate("rsa1024")


@pytest.mark.parametrize(
    ("public", "rule"),
    [
        (rsa.generate_private_key(65537, 1024).public_key(), "rsa-too-short"),
        (rsa.generate_private_key(3, 2048).public_key(), "rsa-exponent"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "curve"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "kind"),
    ],
)
def test_policy_refuses_weak_and_odd_keys(public: object, rule: str) -> None:
    """A key outside the policy is refused by its rule."""
    with pytest.raises(KeyRefusedError) as caught:
        check_policy(public)
    assert rule == caught.value.rule


def test_policy_accepts_ours() -> None:
    """The positive control: what we make is allowed."""
    for kind in ("p256", "p384", "rsa2048"):
        assert check_policy(Key.generate(kind).public)


def test_unknown_kind_of_key_is_damage() -> None:
    """A key of an algorithm that nobody here knows is one that can't be read."""
    der = base64.b64decode(b"".join(Key.generate().pem().splitlines()[1:-1]))
    unknown = der.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f"))
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(unknown) + b"-----END PRIVATE KEY-----\n"
    with pytest.raises(WorkspaceCorruptError):
        Key.load(pem, path=HERE)
