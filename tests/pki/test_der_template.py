"""The fast path for fleets, held against the builder."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from labkit.clock import FixedClock
from labkit.errors import IssuanceRefusedError
from labkit.pki import DEVICE, INTERMEDIATE, ROOT, Authority, Key
from labkit.pki.der_template import FleetTemplate, pem_of
from labkit.pki.lint import lint
from labkit.pki.template import Template, device_names

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def issuer() -> Authority:
    """Return an intermediate with a P-256 key."""
    return Authority.new_root("Fleet Root", clock=FixedClock(NOW)).new_intermediate("Fleet CA")


def built(issuer: Authority, name: str, public: object, serial: int) -> bytes:
    """Return what the builder would have had signed."""
    limit = issuer.certificate.not_valid_after_utc
    template = Template(DEVICE, issuer=issuer.certificate.subject, signer=issuer.key, now=NOW, limit=limit)
    made = template.sign(template.subject(name), public, serial, device_names(name))  # type: ignore[arg-type]
    return made.tbs_certificate_bytes


@pytest.mark.parametrize("length", [1, 2, 10, 30, 55, 63])
def test_every_byte_is_the_builders(issuer: Authority, length: int) -> None:
    """Whatever the length of the ids, what is signed is byte for byte what the builder has signed."""
    template = FleetTemplate(issuer, length, now=NOW)
    for number in range(25):
        name = f"{number:0{length}d}"[:length]
        made = template.make(name)
        found = x509.load_der_x509_certificate(made.certificate)
        assert built(issuer, name, found.public_key(), found.serial_number) == found.tbs_certificate_bytes
        found.verify_directly_issued_by(issuer.certificate)
        key = serialization.load_pem_private_key(made.key_pem, None)
        assert key.public_key() == found.public_key()


def test_lint_finds_nothing(issuer: Authority) -> None:
    """Our own linter has nothing against what the fast path makes."""
    made = FleetTemplate(issuer, 10, now=NOW).make("sensor-001")
    found = lint(made.certificate, role="device", now=NOW)
    assert [] == [finding.rule for finding in found if finding.severity != "info"]


def test_the_pem_is_what_others_write(issuer: Authority) -> None:
    """PEM comes out as `cryptography` writes it, for every length of the last line."""
    template = FleetTemplate(issuer, 10, now=NOW)
    for _ in range(50):
        der = template.make("sensor-001").certificate
        theirs = x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
        assert theirs == pem_of(der)


def test_serial_numbers_are_positive_and_differ(issuer: Authority) -> None:
    """Whatever comes out of the source, a serial number is positive and has sixteen octets."""
    for raw in (b"\x00" * 16, b"\xff" * 16, b"\x80" + b"\x00" * 15):
        made = FleetTemplate(issuer, 10, now=NOW, serials=lambda _, raw=raw: raw).make("sensor-001")  # type: ignore[misc]
        serial = x509.load_der_x509_certificate(made.certificate).serial_number
        assert 126 < serial.bit_length() <= 127
    template = FleetTemplate(issuer, 10, now=NOW)
    serials = {
        x509.load_der_x509_certificate(template.make("sensor-001").certificate).serial_number
        for _ in range(200)
    }
    assert 200 == len(serials)


def test_who_may_not_sign_here(issuer: Authority) -> None:
    """A root, another kind of key, and an authority that has run out are refused, each for its reason."""
    root = Authority.new_root("Root", profile=ROOT.with_key("p256"), clock=FixedClock(NOW))
    wide = Authority.new_root("Wide", clock=FixedClock(NOW)).new_intermediate(
        "CA", profile=INTERMEDIATE.with_key("p384")
    )
    for authority, now, rule in (
        (root, NOW, "root-key"),
        (wide, NOW, "signer-kind"),
        (issuer, NOW + dt.timedelta(days=9000), "authority-expired"),
    ):
        with pytest.raises(IssuanceRefusedError) as caught:
            FleetTemplate(authority, 10, now=now)
        assert rule == caught.value.rule
    with pytest.raises(ValueError, match="this template 10"):
        FleetTemplate(issuer, 10, now=NOW).make("sensor-0001")


def test_a_key_is_not_shown(issuer: Authority) -> None:
    """The representation of what was made has the id and no key."""
    made = FleetTemplate(issuer, 10, now=NOW).make("sensor-001")
    assert "<Made sensor-001>" == repr(made)
    assert Key.load(made.key_pem, path=__import__("pathlib").Path("x")).kind == "p256"
