"""Certificates broken on purpose, for experiments against our own broker. One function a defect, name = defect.

Each is right in everything but its defect, so that a refusal can have one reason only. Nothing here is put on the
lab's ledger: these are an intruder's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.pki.authority import Authority, Issued
from labkit.pki.keys import Key
from labkit.pki.profiles import DEVICE
from labkit.pki.template import (
    Template,
    common_name,
    device_names,
    organisation,
    random_serial,
    subject_of,
)

if TYPE_CHECKING:
    from cryptography import x509

    from labkit.pki.profiles import Profile


def expired(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that the authority signed and that ran out a day ago."""
    start = clock.now() - dt.timedelta(days=2)
    return _signed(authority, name, replace(DEVICE, days=1), start)


def not_yet_valid(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that the authority signed and whose validity begins tomorrow."""
    start = clock.now() + dt.timedelta(days=1)
    return _signed(authority, name, replace(DEVICE, days=30), start)


def rogue_authority(authority: Authority, *, clock: Clock = SYSTEM_CLOCK) -> Authority:
    """Return an authority with the given one's names, and its root's, but with other keys."""
    above = authority.certificate.issuer
    root = Authority.new_root(common_name(above), organisation=organisation(above), clock=clock)
    return root.new_intermediate(authority.name)


def rogue(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity from an authority of the same name with another key."""
    return rogue_authority(authority, clock=clock).issue_device(name)


def self_signed(name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a device certificate that its own key signed."""
    key, subject = Key.generate(DEVICE.key_kind), subject_of(name)
    template = Template(DEVICE, issuer=subject, signer=key, now=clock.now(), limit=None)
    return Issued(template.sign(subject, key.public, random_serial(), device_names(name)), key, ())


def _signed(authority: Authority, name: str, profile: Profile, start: dt.datetime) -> Issued:
    # Straight from the template: the authority itself would rightly refuse these dates.
    issuer: x509.Name = authority.certificate.subject
    template = Template(profile, issuer=issuer, signer=authority.key, now=start, limit=None)
    key = Key.generate(profile.key_kind)
    certificate = template.sign(template.subject(name), key.public, random_serial(), device_names(name))
    return Issued(certificate, key, authority.presented)
