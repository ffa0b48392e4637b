"""A plant's broker: configuration and rules, sound or with faults in them."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.broker import DEVICE_ACL, Acl, Listener, Rule
from labkit.broker.config import AEAD_TLS12
from labkit.broker.passwords import password_file
from labkit.clock import SYSTEM_CLOCK
from labkit.pki import Revocation
from labkit.pki.revocation import Schedule, issue_list
from labkit.ports import reserve_port
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import BrokerConfig
    from labkit.pki import Store

LEGACY_SUITE = "ECDHE-ECDSA-AES128-SHA"


def broker_rules(faults: frozenset[str]) -> Acl:
    """Return the access rules."""
    rules = DEVICE_ACL.rules
    if "wide-rules" in faults:
        rules += (Rule("write", "devices/#", pattern=True),)
    if "nosy-rules" in faults:
        rules += (Rule("read", "devices/+/telemetry/#", pattern=True),)
    return Acl(rules)


def broker_config(store: Store, folder: Path, faults: frozenset[str], *, port: int) -> BrokerConfig:
    """Return the configuration.

    Args:
        store: The devices' authority.
        folder: Where a revocation list that is late is written.
        faults: Names of faults.
        port: The TLS port.
    """
    home = store.workspace.path("broker")
    config = configuration(store, home, port=port, crlfile=_list(store, folder, faults))
    first = config.listeners[0]
    if "legacy-suites" in faults:
        first = replace(first, ciphers=(*AEAD_TLS12, LEGACY_SUITE))
    config = replace(config, listeners=(first,))
    if "plain-door" in faults:
        door = Listener(port=_free_port())
        config = replace(config, allow_anonymous=True, listeners=(*config.listeners, door))
    if faults & {"password-door", "token-door"}:
        config = _with_passwords(config, home, first, guessable="password-door" in faults)
    return replace(config, log_type="information") if "quiet-log" in faults else config


def _with_passwords(config: BrokerConfig, home: Path, first: Listener, *, guessable: bool) -> BrokerConfig:
    door = Listener(
        port=_free_port(), certfile=first.certfile, keyfile=first.keyfile, tls_version="tlsv1.2",
        ciphers=first.ciphers, ciphers_tls13=first.ciphers_tls13,
    )  # fmt: skip
    password = "admin" if guessable else secrets.token_urlsafe(15)
    users = make_folder(home, private=True) / "passwords"
    write_atomic(users, password_file({"admin": password}), secret=True)
    return replace(config, listeners=(*config.listeners, door), password_file=users)


def _list(store: Store, folder: Path, faults: frozenset[str]) -> Path | None:
    if "no-list" in faults:
        return None
    register = store.revocations
    listed = register.ensure()
    if "late-list" not in faults:
        return register.path
    now = SYSTEM_CLOCK.now()
    short = Schedule(valid_for=dt.timedelta(hours=3), renew_after=dt.timedelta(hours=1))
    later = now + dt.timedelta(days=365)
    again = [Revocation(f"{serial:x}", "", at, reason, later) for serial, at, reason in listed]
    late = issue_list(store.authority(), again, number=listed.number + 1, now=now, schedule=short)
    return write_atomic(folder / "late.crl", late.pem)


def _free_port() -> int:
    with reserve_port() as port:
        return port
