"""Where to connect, as whom, and whom to believe: one way to build a client's TLS context."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import IdentityRefusedError

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
"""The versions of TLS that the course speaks."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A listener to connect to.

    Attributes:
        host: Its address.
        port: Its TCP port.
        name: The name that its certificate must carry; the address where it is not given.
    """

    host: str
    port: int
    name: str = ""

    @property
    def certified_name(self) -> str:
        """The name that the certificate is checked for."""
        return self.name or self.host


@dataclass(frozen=True, slots=True)
class Identity:
    """A client's certificate and key, as PEM files.

    Attributes:
        certificate: The certificate, alone or followed by its issuers.
        key: The private key.
    """

    certificate: Path
    key: Path


def client_context(
    trust: Path, identity: Identity | None = None, *, tls: str | None = None
) -> ssl.SSLContext:
    """Return a context that verifies the server's chain, dates, purpose and name, always.

    Args:
        trust: The trust anchors.
        identity: Who we are; None shows no certificate.
        tls: `1.2` or `1.3` for exactly that version; otherwise 1.2 or newer.

    Raises:
        IdentityRefusedError: A file is missing or unreadable (`rule` is `unreadable`), certificate and key don't
            belong together (`key-mismatch`), or our own library finds the key too weak (`weak-key`).

    Does not check: revocation.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[tls] if tls else ssl.TLSVersion.TLSv1_2
    if tls:
        context.maximum_version = VERSIONS[tls]
    try:
        context.load_verify_locations(cafile=trust)
    except OSError as error:
        raise _refused(
            trust, "unreadable", f"it can't be read as a list of certificates ({_words(error)})"
        ) from error
    if identity:
        _load(context, identity)
    return context


def _load(context: ssl.SSLContext, identity: Identity) -> None:
    try:
        # Without a password callback OpenSSL would ask at the terminal for an encrypted key.
        context.load_cert_chain(identity.certificate, identity.key, password=lambda: b"")
    except ssl.SSLError as error:
        rules = {"KEY_VALUES_MISMATCH": "key-mismatch", "EE_KEY_TOO_SMALL": "weak-key"}
        rule = rules.get(error.reason or "", "unreadable")
        path = identity.key if rule == "key-mismatch" else identity.certificate
        raise _refused(path, rule, f"certificate and key are not usable: {_words(error)}") from error
    except OSError as error:
        missing = identity.key if identity.certificate.is_file() else identity.certificate
        raise _refused(missing, "unreadable", _words(error)) from error


def _words(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()


def _refused(path: Path, rule: str, why: str) -> IdentityRefusedError:
    return IdentityRefusedError(
        f"{path}: {why}.", advice="Look at the files; issue the identity again: labkit ca issue NAME --renew",
        path=path, rule=rule,
    )  # fmt: skip
