"""Certificates broken on purpose, for experiments against our own broker. One function a defect, name = defect.

Each is right in everything but its defect, so that a refusal can have one reason only. Nothing here is put on the
lab's ledger: these are an intruder's. What a certificate builder refuses to make is made in `flawed_bytes`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.pki.authority import Authority, Issued
from labkit.pki.flawed_bytes import SUBJECT, resign, subject
from labkit.pki.keys import Key
from labkit.pki.profiles import DEVICE, INTERMEDIATE, SERVER
from labkit.pki.template import (
    Template,
    common_name,
    device_names,
    organisation,
    random_serial,
    subject_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.pki.profiles import Profile


def expired(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that the authority signed and that ran out a day ago."""
    return craft(authority, name, profile=replace(DEVICE, days=1), start=clock.now() - 2 * DAY)


def not_yet_valid(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that the authority signed and whose validity begins tomorrow."""
    return craft(authority, name, profile=replace(DEVICE, days=30), start=clock.now() + DAY)


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


def wrong_purpose(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a device's identity whose certificate is for servers."""
    return craft(authority, name, profile=replace(DEVICE, purposes=SERVER.purposes), start=clock.now())


def no_purpose(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that names no purpose, which counts as every purpose."""
    return craft(authority, name, profile=replace(DEVICE, purposes=()), start=clock.now())


def any_purpose(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity for clients *and* servers."""
    both = replace(DEVICE, purposes=(*DEVICE.purposes, *SERVER.purposes))
    return craft(authority, name, profile=both, start=clock.now())


def leaf_as_authority(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that a device signed, with its own perfectly good certificate above it."""
    device = craft(authority, "sensor-099", start=clock.now())
    return _below(device, name, clock)


def path_length_exceeded(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity from an authority below an intermediate that may have none below it."""
    deputy = craft(authority, "Deputy CA", profile=INTERMEDIATE, start=clock.now(), names=False)
    return _below(deputy, name, clock)


def authority_on_a_leaf(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a device's identity whose certificate says that it is an authority."""
    return craft(authority, name, profile=replace(DEVICE, ca=True, path_length=0), start=clock.now())


def weak_key(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity with an RSA key of 1,024 bits."""
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is its defect
    return craft(authority, name, start=clock.now(), key=Key(weak))


def sha1_signature(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that was signed over SHA-1."""
    good = craft(authority, name, start=clock.now())
    return replace(good, certificate=resign(good.certificate, authority.key, digest="sha1"))


def two_common_names(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity with two common names, the second one `admin`."""
    return _renamed(authority, [name, "admin"], clock)


def empty_common_name(authority: Authority, _name: str = "", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity whose common name is empty."""
    return _renamed(authority, [""], clock)


def over_long_name(authority: Authority, _name: str = "", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity whose common name has 200 characters."""
    return _renamed(authority, ["x" * 200], clock)


def slash_in_name(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity whose name is a path into another device's commands."""
    return _renamed(authority, [f"{name}/commands"], clock)


def wildcard_name(authority: Authority, _name: str = "", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity whose name stands for all names in a topic filter."""
    return _renamed(authority, ["+"], clock)


def reserved_name(authority: Authority, name: str = "admin", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a device's identity with an operator's name."""
    return craft(authority, name, start=clock.now())


def named(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity with any common name whatever."""
    return _renamed(authority, [name], clock)


def mismatched_key(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a certificate together with somebody else's key."""
    return replace(craft(authority, name, start=clock.now()), key=Key.generate(DEVICE.key_kind))


def sibling_intermediate(root: Authority, name: str = "admin", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity from another intermediate under the same root: the office's, made for other things."""
    office = craft(root, "Office VPN CA", profile=INTERMEDIATE, start=clock.now(), names=False)
    return _below(office, name, clock)


def long_validity(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that is valid for four years."""
    return craft(authority, name, profile=replace(DEVICE, days=4 * 365), start=clock.now())


def short_serial(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity with a serial number of two bytes, which anybody can guess."""
    return craft(authority, name, start=clock.now(), serial=0x01A3)


def no_basic_constraints(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return an identity that does not say that it is no authority."""
    return craft(authority, name, start=clock.now(), without=(x509.BasicConstraints.oid,))


def authority_not_critical(authority: Authority, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return the certificate of an authority whose basicConstraints may be passed over."""
    return craft(
        authority,
        name,
        profile=INTERMEDIATE,
        start=clock.now(),
        names=False,
        lenient=(x509.BasicConstraints.oid,),
    )


def no_san(authority: Authority, name: str = "localhost", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a server's identity whose host name is in the common name only."""
    return craft(authority, name, profile=SERVER, start=clock.now(), names=False)


def wrong_san(authority: Authority, name: str = "localhost", *, clock: Clock = SYSTEM_CLOCK) -> Issued:
    """Return a server's identity for another host, with ours in the common name."""
    return craft(authority, name, profile=SERVER, start=clock.now(), san=["elsewhere.example"])


DAY = dt.timedelta(days=1)


def craft(
    authority: Authority,
    name: str,
    *,
    start: dt.datetime,
    profile: Profile = DEVICE,
    key: Key | None = None,
    serial: int | None = None,
    san: Sequence[str] = (),
    names: bool = True,
    without: Sequence[x509.ObjectIdentifier] = (),
    lenient: Sequence[x509.ObjectIdentifier] = (),
) -> Issued:
    """Return an identity that the authority signed, without any of its rules.

    Args:
        authority: Who signs; the ledger learns nothing of it.
        name: The common name.
        start: Five minutes after the beginning of its validity, as with everything that is issued.
        profile: What kind it is.
        key: Its key; a new one without it.
        serial: Its serial number; a random one without it.
        san: DNS names for the subject alternative name; the common name without them.
        names: Whether there is a subject alternative name at all.
        without: Extensions to leave out.
        lenient: Extensions that are not critical though they should be.
    """
    key = key or Key.generate(profile.key_kind)
    issuer: x509.Name = authority.certificate.subject
    template = Template(profile, issuer=issuer, signer=authority.key, now=start, limit=None)
    alternatives = (
        x509.SubjectAlternativeName([x509.DNSName(each) for each in san or [name]]) if names else None
    )
    certificate = template.sign(
        template.subject(name), key.public, random_serial() if serial is None else serial, alternatives,
        without=without, lenient=lenient,
    )  # fmt: skip
    return Issued(certificate, key, authority.presented)


def _below(above: Issued, name: str, clock: Clock) -> Issued:
    """Return what the holder of an identity signs, whether or not it may."""
    assert above.key is not None  # noqa: S101 - just made
    template = Template(
        DEVICE, issuer=above.certificate.subject, signer=above.key, now=clock.now(), limit=None
    )
    key = Key.generate(DEVICE.key_kind)
    certificate = template.sign(template.subject(name), key.public, random_serial(), device_names(name))
    return Issued(certificate, key, (above.certificate, *above.chain))


def _renamed(authority: Authority, common_names: list[str], clock: Clock) -> Issued:
    good = craft(authority, "sensor-001", start=clock.now())
    changed = resign(good.certificate, authority.key, replace={SUBJECT: subject(common_names)})
    return replace(good, certificate=changed)
