"""Mosquitto's configuration as data: one renderer, one parser, unknown words refused.

Only options that 2.0 and 2.1 share are used (`man mosquitto.conf`). A parser that refuses what it does not know is a
safety measure: a configuration can load plugins and include other files.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from labkit.errors import BrokerConfigError

AEAD_TLS12 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""TLS 1.2 suites with forward secrecy and authenticated encryption; everything else gets alert 40."""

AEAD_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384")
"""The TLS 1.3 suites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port that the broker listens on; field names are Mosquitto's words.

    Attributes:
        port: The TCP port.
        host: The address; loopback unless you say otherwise.
        cafile: Whom the broker believes: intermediate and root, so that devices may send their leaf alone.
        capath: The same as a folder of files, named by `openssl rehash`.
        certfile: What the broker presents: its certificate and the intermediate.
        keyfile: The broker's private key.
        tls_version: The *lowest* version; 2.x reads it as a minimum.
        ciphers: Suites of TLS 1.2.
        ciphers_tls13: Suites of TLS 1.3 (`ciphers_tls1.3` in the file).
        crlfile: Certificates that were revoked.
        require_certificate: Ask each client for a certificate, and hang up on those without.
        use_identity_as_username: Take the user name from the certificate's CN.
        use_username_as_clientid: Take the client id from it too, so that nobody can push another off the line.
    """

    port: int
    host: str = "127.0.0.1"
    cafile: Path | None = None
    capath: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    tls_version: str | None = None
    ciphers: tuple[str, ...] = ()
    ciphers_tls13: tuple[str, ...] = ()
    crlfile: Path | None = None
    require_certificate: bool | None = None
    use_identity_as_username: bool | None = None
    use_username_as_clientid: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """A whole configuration; field names are Mosquitto's words.

    Attributes:
        listeners: Where it listens.
        allow_anonymous: Whether clients without a user name may do anything.
        acl_file: The rules of who may read and write what.
        password_file: User names and hashed passwords.
        user: Whom to become when started as root. Without it Mosquitto becomes `mosquitto`, who can't read 0600 keys.
        set_tcp_nodelay: Send small packets at once. Without it Nagle's algorithm holds back half of each TLS 1.3
            handshake: 21 connections a second instead of 253.
        persistence: Whether it writes its state to disk.
        log_dest: Where the log goes.
        log_type: Which kinds of line; denied messages are `debug`, so only `all` shows them.
        log_timestamp_format: strftime format of the time in each line.
        connection_messages: Whether connections are logged.
    """

    listeners: tuple[Listener, ...]
    allow_anonymous: bool = False
    acl_file: Path | None = None
    password_file: Path | None = None
    user: str | None = None
    set_tcp_nodelay: bool = True
    persistence: bool = False
    log_dest: str = "stderr"
    log_type: str = "all"
    log_timestamp_format: str = "%Y-%m-%dT%H:%M:%S"
    connection_messages: bool = True


def mutual_tls(
    *,
    port: int,
    cafile: Path,
    certfile: Path,
    keyfile: Path,
    acl_file: Path,
    crlfile: Path | None = None,
    require_certificate: bool = True,
    user: str | None = None,
) -> BrokerConfig:
    """Return the configuration that lets in who can prove who they are.

    Args:
        port: The TCP port on 127.0.0.1.
        cafile: Intermediate and root.
        certfile: The broker's certificate and the intermediate.
        keyfile: The broker's key.
        acl_file: The access rules.
        crlfile: The revocation list.
        require_certificate: False shows what goes wrong then.
        user: `root` when we are root, so that it keeps the right to read our keys.

    Does not check: that the files exist or belong together; the broker does when it starts.
    """
    listener = Listener(
        port=port,
        cafile=cafile,
        certfile=certfile,
        keyfile=keyfile,
        crlfile=crlfile,
        tls_version="tlsv1.2",
        ciphers=AEAD_TLS12,
        ciphers_tls13=AEAD_TLS13,
        require_certificate=require_certificate,
        use_identity_as_username=True,
        use_username_as_clientid=True,
    )
    return BrokerConfig(listeners=(listener,), acl_file=acl_file, user=user)


BLANKS = " \t\n\v\f\r"
"""What C calls space (isspace(3)); Python's own idea of it is wider."""

_WORDS = {"ciphers_tls13": "ciphers_tls1.3"}
_FIELDS = {word: field for field, word in _WORDS.items()}
_GLOBAL = {field.name for field in fields(BrokerConfig)} - {"listeners"}
_LISTENER = {field.name for field in fields(Listener)} - {"port", "host"}
_PATHS = {"cafile", "capath", "certfile", "keyfile", "crlfile", "acl_file", "password_file"}
_LISTS = {"ciphers", "ciphers_tls13"}
_FLAGS = {
    "require_certificate",
    "use_identity_as_username",
    "use_username_as_clientid",
    "allow_anonymous",
    "set_tcp_nodelay",
    "persistence",
    "connection_messages",
}


def vocabulary() -> list[str]:
    """Return every word that a configuration of ours can begin a line with; `docker/broker/words` holds them too."""
    return sorted(_WORDS.get(name, name) for name in {"listener", *_GLOBAL, *_LISTENER})


def render(config: BrokerConfig) -> str:
    """Return the configuration file.

    Raises:
        BrokerConfigError: A value is not one line; with a line feed in it, it would smuggle in other options.
    """
    lines = [_line(name, getattr(config, name)) for name in _ordered(BrokerConfig, _GLOBAL)]
    for listener in config.listeners:
        lines += ["", _line("listener", f"{listener.port} {listener.host}")]
        lines += [_line(name, getattr(listener, name)) for name in _ordered(Listener, _LISTENER)]
    return "\n".join(line for line in lines if line is not None) + "\n"


def _ordered(kind: type[Any], names: set[str]) -> list[str]:
    return [field.name for field in fields(kind) if field.name in names]


def _line(name: str, value: object) -> str | None:
    if value is None or value == ():
        return None
    text = ":".join(value) if isinstance(value, tuple) else str(value)
    if isinstance(value, bool):
        text = str(value).lower()
    return f"{_WORDS.get(name, name)} {one_line(name, text)}"


def _is_one_line(text: str) -> bool:
    # Mosquitto cuts blanks off both ends, and takes neither control characters nor halves of surrogate pairs (which
    # is how Python writes a file name that is not UTF-8).
    control = any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in text)
    return bool(text) and text == text.strip(BLANKS) and not control


def parse(text: str) -> BrokerConfig:
    """Read a configuration file.

    Args:
        text: The file.

    Raises:
        BrokerConfigError: A word is unknown, stands twice, stands before its listener, or has a bad value.
    """
    general: dict[str, Any] = {}
    listeners: list[dict[str, Any]] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip(BLANKS).lstrip(" ")
        if not line or raw.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        name, value = _FIELDS.get(word, word), rest.strip(BLANKS)
        if name == "listener":
            listeners.append(_listener(value, number))
            continue
        target = _target(name, number, general, listeners)
        if name in target:
            raise _bad(number, word, "it stands twice")
        target[name] = _value(name, value, number)
    if not listeners:
        raise _bad(0, "listener", "there is none")
    return BrokerConfig(listeners=tuple(Listener(**each) for each in listeners), **general)


def _target(
    name: str, number: int, general: dict[str, Any], listeners: list[dict[str, Any]]
) -> dict[str, Any]:
    if name in _GLOBAL:
        return general
    if name not in _LISTENER:
        raise _bad(number, name, "it is not an option that this course uses")
    if not listeners:
        raise _bad(number, name, "it belongs below a listener")
    return listeners[-1]


def _listener(value: str, number: int) -> dict[str, Any]:
    port, _, host = value.partition(" ")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536) or " " in host.strip(BLANKS):
        raise _bad(number, "listener", "it takes a port from 1 to 65535 and an address")
    return {"port": int(port), "host": host.strip(BLANKS) or "0.0.0.0"}  # noqa: S104 - what Mosquitto does without one


def _value(name: str, text: str, number: int) -> object:
    if not text:
        raise _bad(number, name, "it has no value")
    if name in _FLAGS:
        if text not in {"true", "false", "1", "0"}:
            raise _bad(number, name, "it takes true or false")
        return text in {"true", "1"}
    if name in _PATHS:
        return Path(text)
    return tuple(text.split(":")) if name in _LISTS else text


def _bad(number: int, key: str, why: str) -> BrokerConfigError:
    return BrokerConfigError(
        f"Line {number} of the configuration: {key}: {why}.",
        advice="Compare with: labkit broker config",
        line=number,
        key=key,
    )


def mutual_listener(config: BrokerConfig, broker: str) -> Listener:
    """Return the one listener of a configuration that is to be rendered for another broker.

    Raises:
        BrokerConfigError: It has another number of listeners, passwords, or anything but mutual TLS with names from
            certificates: it would come out weaker than it went in.
    """
    if len(config.listeners) != 1:
        raise cannot(broker, "listener", "it gets exactly one from us")
    listener = config.listeners[0]
    missing = [name for name in ("cafile", "certfile", "keyfile") if getattr(listener, name) is None]
    for name in ("require_certificate", "use_identity_as_username"):
        missing += [] if getattr(listener, name) else [name]
    if config.allow_anonymous or config.password_file:
        missing.append("allow_anonymous" if config.allow_anonymous else "password_file")
    if missing:
        raise cannot(
            broker, missing[0], "it is rendered for mutual TLS with names from certificates, and nothing else"
        )
    return listener


def one_line(name: str, text: str) -> str:
    """Return a value that is to stand on a line of some configuration.

    Raises:
        BrokerConfigError: It is empty, or would smuggle in other lines.
    """
    if not _is_one_line(text):
        raise BrokerConfigError(
            f"The value of {name} is empty, or has control characters or blanks at its ends: {text!r}.",
            advice="A value is one line of UTF-8. Look at where it comes from; rename the folder if it is a path.",
            line=0,
            key=name,
        )
    return text


def cannot(broker: str, key: str, why: str) -> BrokerConfigError:
    """Return the error for a configuration that another broker can't have."""
    return BrokerConfigError(
        f"{broker} can't be configured like that: {key}: {why}.",
        advice="Compare with: labkit broker config",
        line=0,
        key=key,
    )
