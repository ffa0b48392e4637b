"""Where to connect, as whom, and whom to believe: one way to build a client's TLS context."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.errors import IdentityRefusedError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
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
        dial: How to get there, where an ordinary connection doesn't lead there (from another network namespace): is
            given address and timeout, and returns a connected socket.
    """

    host: str
    port: int
    name: str = ""
    dial: Callable[[tuple[str, int], float], socket.socket] | None = field(
        default=None, compare=False, repr=False
    )

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


class _ClosingSocket(ssl.SSLSocket):
    """A socket that is closed when its handshake fails; who wraps it may have no name for it yet."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class ClientContext(ssl.SSLContext):
    """A context that can hold the name to check, for libraries that would check the address.

    Attributes:
        certified_name: The name that the server's certificate must carry; the caller's choice where it is empty.
    """

    sslsocket_class = _ClosingSocket
    certified_name: str = ""

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap a socket as the standard library does, and check for our name."""
        if self.certified_name:
            options["server_hostname"] = self.certified_name
        return super().wrap_socket(sock, *args, **options)


def client_context(
    trust: Path,
    identity: Identity | None = None,
    *,
    tls: str | None = None,
    name: str = "",
    keylog: Path | None = None,
    ciphers: str = "",
) -> ClientContext:
    """Return a context that verifies the server's chain, dates, purpose and name, always.

    Args:
        trust: The trust anchors.
        identity: Who we are; None shows no certificate.
        tls: `1.2` or `1.3` for exactly that version; otherwise 1.2 or newer.
        name: The name that the certificate must carry, where the caller of the context would give another.
        keylog: A file that the secrets of each session are added to, for reading our own recordings; see `key_log`.
        ciphers: TLS 1.2 suites in OpenSSL's words, for lessons about weak ones. Anything but a lesson leaves it empty.

    Raises:
        IdentityRefusedError: A file is missing or unreadable (`rule` is `unreadable`), certificate and key don't
            belong together (`key-mismatch`), or our own library finds the key too weak (`weak-key`).
        ValueError: There is no such version of TLS, or not here.

    Does not check: revocation. A server's certificate without any extended key usage passes (RFC 5280 §4.2.1.12).
    """
    if tls is not None and tls not in VERSIONS:
        text = f"tls is one of {', '.join(VERSIONS)}, not {tls!r}"
        raise ValueError(text)
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[tls] if tls else ssl.TLSVersion.TLSv1_2
    if tls:
        context.maximum_version = VERSIONS[tls]
    # A device's common name is no host name (RFC 9525 §6.3): a device called localhost must not pass for the broker.
    context.hostname_checks_common_name = False
    context.certified_name = name
    if keylog:
        context.keylog_filename = str(keylog)
    if ciphers:
        context.set_ciphers(ciphers)
    _load_trust(context, trust)
    if identity:
        _load(context, identity)
    return context


def _load_trust(context: ssl.SSLContext, trust: Path) -> None:
    try:
        context.load_verify_locations(cafile=trust)
    except OSError as error:
        raise _refused(
            trust, "unreadable", f"it can't be read as a list of certificates ({_words(error)})"
        ) from error


def _load(context: ssl.SSLContext, identity: Identity) -> None:
    try:
        # Without a password callback OpenSSL would ask at the terminal for an encrypted key.
        context.load_cert_chain(identity.certificate, identity.key, password=lambda: b"")
    except ssl.SSLError as error:
        rules = {"KEY_VALUES_MISMATCH": "key-mismatch", "EE_KEY_TOO_SMALL": "weak-key"}
        rule = rules.get(error.reason or "", "unreadable")
        blamed = identity.certificate
        if rule == "key-mismatch" or (rule == "unreadable" and _holds_certificates(identity.certificate)):
            blamed = identity.key
        raise _refused(blamed, rule, f"certificate and key are not usable: {_words(error)}") from error
    except OSError as error:
        missing = identity.key if identity.certificate.is_file() else identity.certificate
        raise _refused(missing, "unreadable", _words(error)) from error


def _holds_certificates(path: Path) -> bool:
    with suppress(OSError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        return True
    return False


def _words(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()


def _refused(path: Path, rule: str, why: str) -> IdentityRefusedError:
    return IdentityRefusedError(
        f"{path}: {why}.", advice="Look at the files; issue the identity again: labkit ca issue NAME --renew",
        path=path, rule=rule,
    )  # fmt: skip
