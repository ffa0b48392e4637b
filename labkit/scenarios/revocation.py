"""Revoked and turned away: a list that the broker goes by, and the switch for sessions that live on."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK, Deadline
from labkit.errors import NotIssuedError, NotRefusedError
from labkit.mqtt import Identity, Returner
from labkit.pki import DEVICE, IdentityFiles, Issued, Key, read_list, verify_list
from labkit.pki.identities import read_certificate
from labkit.pki.template import Template, device_names, random_serial
from labkit.scenarios.mutual_tls import OBSERVER, Site, mutual_tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.outcome import Outcome
    from labkit.pki import Reason, RevocationList, Store

CANARY = "revocation-canary"
"""A device that exists only to be revoked, and to be refused for it."""

_LEAST = dt.timedelta(hours=1)


@contextmanager
def revoking_broker(store: Store, *, folder: str = "broker", resumption: bool = False) -> Iterator[Site]:
    """Stage a broker with mutual TLS that goes by the authority's own revocation list.

    A list that is due is published anew first, because a stale one locks everybody out.

    Args:
        store: The authority, which must have been made.
        folder: The broker's folder in the workspace.
        resumption: Hand out tickets; see `mutual_tls`.

    Raises:
        ToolMissingError, BrokerStartError, PortTakenError, BrokerRunningError: See `mutual_tls`.
    """
    register = store.revocations
    register.ensure()
    with mutual_tls(store, folder=folder, crlfile=register.path, resumption=resumption) as site:
        yield site


def enforce(site: Site) -> RevocationList:
    """Have the broker read its list again, and see with our own eyes that it goes by it.

    Before the broker reads the list we verify it; afterwards a canary that was revoked must be refused as revoked, and
    the operator must be let in.

    Returns:
        The list that is in force now.

    Raises:
        RevocationListError, FormatError: The list must not be used; the broker was not told.
        ReloadRefusedError: The broker refused it, or does not go by it; the error says which.
        ValueError: The broker goes by no list.
    """
    if site.crlfile is None:
        text = "this broker goes by no list; start it with revoking_broker"
        raise ValueError(text)
    canary = _canary(site.store)
    listed = read_list(site.crlfile.read_bytes())
    verify_list(listed, site.store.certificate("intermediate"), now=SYSTEM_CLOCK.now())
    site.broker.reload(confirm=lambda: _confirm(site, canary))
    return listed


def revoke(site: Site, name: str, reason: Reason | str) -> RevocationList:
    """Take a device out of service: on the list, the list in force, and its live session silenced.

    Args:
        site: The broker, from `revoking_broker`.
        name: The device.
        reason: Why.

    Raises:
        NotIssuedError, RevocationRefusedError: See `Register.revoke`; nothing has changed.
        ReloadRefusedError: The device is on the list, and the broker does not know it.
    """
    site.store.revocations.revoke(name, reason)
    listed = enforce(site)
    silence(site, name)
    return listed


def silence(site: Site, name: str) -> None:
    """Take every right from a device at once, its live session included; its connection stays open.

    A list is looked at when a session begins. Rules are looked at for each message.
    """
    site.reload(site.broker.acl.denying(name))


def ending_soon(store: Store, name: str, *, seconds: float) -> IdentityFiles:
    """Return an identity that the authority signed and that runs out in a moment.

    Args:
        store: The authority.
        name: The device.
        seconds: From now on, at least; certificates know whole seconds.
    """
    authority, profile = store.authority(), replace(DEVICE, days=1)
    end = SYSTEM_CLOCK.now() + dt.timedelta(seconds=seconds + 1)
    # Straight from the template: no profile is that short.
    template = Template(
        profile,
        issuer=authority.certificate.subject,
        signer=authority.key,
        now=end,
        limit=end.replace(microsecond=0),
    )
    key = Key.generate(profile.key_kind)
    certificate = template.sign(template.subject(name), key.public, random_serial(), device_names(name))
    return store.save_intruder("ending-soon", Issued(certificate, key, authority.presented))


def wait_until_expired(identity: IdentityFiles, *, patience: float = 30.0) -> dt.datetime:
    """Wait until an identity has run out, and return when it did.

    Raises:
        ValueError: It has longer to live than we have patience.
    """
    end = read_certificate(identity.certificate).not_valid_after_utc
    deadline = Deadline(patience)
    while SYSTEM_CLOCK.now() <= end + dt.timedelta(seconds=1):  # OpenSSL counts whole seconds
        if deadline.passed:
            text = f"{identity.name} lives until {end:%Y-%m-%d %H:%M} UTC"
            raise ValueError(text)
        deadline.pause(0.05)
    return end


def returner(site: Site, identity: IdentityFiles, *, tls: str | None = None) -> Returner:
    """Return a client that keeps its TLS session and comes back with it."""
    who = Identity(identity.certificate, identity.key)
    return Returner(site.endpoint, trust=site.trust, identity=who, tls=tls)


def _canary(store: Store) -> IdentityFiles:
    with suppress(NotIssuedError):
        files = store.device(CANARY)
        certificate = read_certificate(files.certificate)
        listed = store.revocations.ensure()
        if (
            certificate.serial_number in listed
            and certificate.not_valid_after_utc > SYSTEM_CLOCK.now() + _LEAST
        ):
            return files
    files = store.issue_device(CANARY, renew=True)
    store.revocations.revoke(CANARY, "cessation-of-operation")
    return files


def _confirm(site: Site, canary: IdentityFiles) -> None:
    site.close()  # the control takes the observer's client id
    control, refused = site.attempt(site.identity(OBSERVER)), site.attempt(canary)
    if not control.accepted:
        raise _not_in_force("accepted", control, f"the broker refuses {OBSERVER} too")
    if refused.reason != "certificate-revoked":
        raise _not_in_force(
            "certificate-revoked", refused, "a certificate on the list was not refused for that"
        )


def _not_in_force(expected: str, outcome: Outcome, why: str) -> NotRefusedError:
    return NotRefusedError(
        f"{why} ({outcome})",
        advice="The broker does not go by its list. Stop it: labkit broker stop",
        expected=expected,
        outcome=outcome,
    )
