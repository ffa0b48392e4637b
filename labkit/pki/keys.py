"""Private keys: made here, shown never."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from labkit.errors import KeyRefusedError, PassphraseError, WorkspaceCorruptError

if TYPE_CHECKING:
    from pathlib import Path

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

KINDS = ("p256", "p384", "rsa2048", "rsa4096")
"""What `Key.generate` makes."""

MIN_RSA_BITS = 2048
"""Shortest RSA key that policy allows (NIST SP 800-57 part 1, table 2: 112 bits of security)."""

_CURVES: dict[str, type[ec.EllipticCurve]] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1}


class Key:
    """A private key, or anything that implements `cryptography`'s private-key interface.

    `repr` shows kind and fingerprint and nothing else, so a key can stand in a notebook's output.

    Args:
        private: The key. One in a hardware module will do; only `pem` needs its bytes.
    """

    __slots__ = ("_private", "_public")

    def __init__(self, private: PrivateKey) -> None:
        self._private = private
        self._public = private.public_key()

    def __repr__(self) -> str:
        return f"<Key {self.kind} {self.fingerprint[:16]}…>"

    def __reduce__(self) -> str | tuple[object, ...]:
        text = "a private key is not pickled; write it with pem()"
        raise TypeError(text)

    @classmethod
    def generate(cls, kind: str = "p256") -> Key:
        """Make a new key from the system's randomness. There is no seed, on purpose.

        Args:
            kind: One of `KINDS`.
        """
        if kind in _CURVES:
            return cls(ec.generate_private_key(_CURVES[kind]()))
        if kind in KINDS:
            return cls(rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:])))
        text = f"unknown kind of key {kind!r}; there are {', '.join(KINDS)}"
        raise ValueError(text)

    @classmethod
    def load(cls, pem: bytes, *, path: Path, passphrase: bytes | None = None) -> Key:
        """Read a key from PEM.

        Args:
            pem: The text.
            path: Where it came from, for the error.
            passphrase: What opens it, if it is encrypted.

        Raises:
            PassphraseError: The passphrase is missing or wrong.
            WorkspaceCorruptError: The file holds no key that we can read.
            KeyRefusedError: It is a kind of key that policy does not allow.
        """
        encrypted = b"ENCRYPTED" in pem
        try:
            private = serialization.load_pem_private_key(pem, passphrase if encrypted else None)
        except TypeError as error:
            raise _passphrase_error(f"{path} is encrypted and no passphrase was given.", path) from error
        except ValueError as error:
            if encrypted and b"-----END" in pem:
                raise _passphrase_error(f"The passphrase does not open {path}.", path) from error
            raise _unreadable(path) from error
        except UnsupportedAlgorithm as error:
            raise _unreadable(path) from error
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise _refused("kind", f"{path} holds a key that is neither EC nor RSA")
        return cls(private)

    @property
    def private(self) -> PrivateKey:
        """The key itself, for signing."""
        return self._private

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    @property
    def kind(self) -> str:
        """What it is, such as `p256`."""
        return kind_of(self.public)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key (SubjectPublicKeyInfo, DER), in hexadecimal."""
        return fingerprint(self.public)

    def pem(self, passphrase: bytes | None = None) -> bytes:
        """Return the key as PKCS #8 PEM, encrypted where there is a passphrase.

        The caller writes it to a file that only its owner can read.
        """
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            protection = serialization.BestAvailableEncryption(passphrase)
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
        )


def fingerprint(public: PublicKey) -> str:
    """Return SHA-256 of a public key (SubjectPublicKeyInfo, DER), in hexadecimal."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def kind_of(public: PublicKey) -> str:
    """Return what a public key is, such as `p256` or `rsa2048`."""
    if isinstance(public, rsa.RSAPublicKey):
        return f"rsa{public.key_size}"
    names = {"secp256r1": "p256", "secp384r1": "p384"}
    return names.get(public.curve.name, public.curve.name)


def check_policy(public: object) -> PublicKey:
    """Return a public key that we are willing to certify, or refuse it.

    Raises:
        KeyRefusedError: `rule` is `kind` (neither EC nor RSA), `curve` (not P-256 or P-384), `rsa-too-short`
            or `rsa-exponent`.

    Does not check: that somebody has the private key; `read_request` does. That the key is not a known weak
        one, such as those of a bad random generator.
    """
    if isinstance(public, ec.EllipticCurvePublicKey):
        if kind_of(public) not in _CURVES:
            raise _refused("curve", f"the curve is {public.curve.name}; P-256 and P-384 are allowed")
        return public
    if not isinstance(public, rsa.RSAPublicKey):
        raise _refused("kind", "it is neither an EC nor an RSA key")
    if public.key_size < MIN_RSA_BITS:
        raise _refused(
            "rsa-too-short", f"RSA with {public.key_size} bits; at least {MIN_RSA_BITS} are needed"
        )
    # NIST SP 800-56B §6.2: a public exponent below 2^16 has made padding bugs exploitable.
    if public.public_numbers().e < 1 << 16:
        raise _refused("rsa-exponent", f"RSA with the public exponent {public.public_numbers().e}")
    return public


def _refused(rule: str, why: str) -> KeyRefusedError:
    return KeyRefusedError(
        f"This key is not allowed: {why}.",
        advice="Make a P-256 key: openssl ecparam -genkey -name prime256v1",
        rule=rule,
    )


def _passphrase_error(message: str, path: Path) -> PassphraseError:
    return PassphraseError(
        message, advice="Give the passphrase with LABKIT_CA_PASSPHRASE, or at the prompt.", path=path
    )


def _unreadable(path: Path) -> WorkspaceCorruptError:
    return WorkspaceCorruptError(
        f"{path} does not hold a private key in PEM.",
        advice="Go back to a checkpoint (labkit reset --to NAME), or start afresh (labkit reset).",
        path=path,
    )
