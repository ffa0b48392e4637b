"""labkit.pki.describe: what a certificate says, whoever made it."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from labkit.clock import FixedClock
from labkit.errors import FormatError
from labkit.pki import Authority, describe, describe_tree, flawed

NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)
CLOCK = FixedClock(NOW)
ROOT = Authority.new_root("Root", clock=CLOCK)
MIDDLE = ROOT.new_intermediate("Middle")
DEVICE = MIDDLE.issue_device("sensor-001").certificate
SERVER = MIDDLE.issue_server(["localhost"], ["127.0.0.1"]).certificate


def foreign(key: object, *extensions: x509.ExtensionType) -> x509.Certificate:
    """Return a certificate as others make them: their key, their extensions, no common name."""
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + dt.timedelta(days=1))  # type: ignore[attr-defined]
    for value in extensions:
        builder = builder.add_extension(value, critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest)  # type: ignore[arg-type]


def test_device_in_full() -> None:
    """Every field of a device's certificate is told in the words of the standard."""
    found = describe(DEVICE)
    assert (found.name, found.role, found.key, found.signature) == ("sensor-001", "device", "p256", "sha256")
    assert found.basic_constraints == "CA:FALSE (critical)"
    assert found.key_usage == ("digitalSignature",)
    assert found.purposes == ("clientAuth",)
    assert found.names == ("DNS:sensor-001",)
    assert found.not_after == DEVICE.not_valid_after_utc


def test_roles_come_from_the_extensions() -> None:
    """Root, intermediate, server and device are told apart by what they may do."""
    chain = (ROOT.certificate, MIDDLE.certificate, SERVER, DEVICE)
    assert [describe(c).role for c in chain] == ["root", "intermediate", "server", "device"]
    assert describe(MIDDLE.certificate).basic_constraints == "CA:TRUE, pathlen:0 (critical)"
    assert describe(ROOT.certificate).key_usage == ("keyCertSign", "cRLSign")
    assert describe(SERVER).names == ("DNS:localhost", "IP:127.0.0.1")


def test_rows_are_for_a_table() -> None:
    """The rows name each field once, and say nothing with a dash."""
    rows = dict(describe(foreign(ec.generate_private_key(ec.SECP256R1()))).rows())
    assert len(rows) == 12
    assert {rows[field] for field in ("basic constraints", "key usage", "extended key usage")} == {"-"}


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (rsa.generate_private_key(65537, 1024), "rsa1024"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
    ],
)
def test_keys_that_policy_refuses_are_described(key: object, word: str) -> None:
    """A certificate with a weak or foreign key is described like any other."""
    assert word == describe(foreign(key)).key


def test_unusual_extensions_are_described() -> None:
    """A purpose that we have no word for shows its number, a name of another kind says so."""
    odd = foreign(
        ec.generate_private_key(ec.SECP256R1()),
        x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4")]),
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:x")]),
        x509.BasicConstraints(ca=False, path_length=None),
    )
    found = describe(odd)
    assert (found.role, found.purposes, found.names) == ("unknown", ("1.2.3.4",), ("other:urn:x",))
    assert found.basic_constraints == "CA:FALSE"


@given(st.data())
def test_damaged_certificates_end_in_format_errors(data: st.DataObject) -> None:
    """A certificate with a byte changed is described, or refused as one that does not parse."""
    der = bytearray(DEVICE.public_bytes(Encoding.DER))
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        certificate = x509.load_der_x509_certificate(bytes(der))
    except (ValueError, x509.InvalidVersion):
        return
    try:
        assert describe(certificate).rows()
    except FormatError as error:
        assert error.what == "certificate"


def test_tree_hangs_by_signatures() -> None:
    """Leaves hang below the key that signed them; a rogue of the same name stands on its own."""
    rogue = flawed.rogue(MIDDLE, "sensor-001", clock=CLOCK).certificate
    trees = describe_tree([DEVICE, ROOT.certificate, MIDDLE.certificate, SERVER, rogue])
    root, stranger = sorted(trees, key=lambda tree: tree.certificate.name)
    assert (root.certificate.name, stranger.certificate.fingerprint) == ("Root", describe(rogue).fingerprint)
    (middle,) = root.below
    assert ["sensor-001", "localhost"] == [leaf.certificate.name for leaf in middle.below]
    assert stranger.below == ()


def test_unknown_signature_is_said() -> None:
    """A signature by an algorithm that nobody here knows is called unknown."""
    der = DEVICE.public_bytes(Encoding.DER)
    ecdsa_sha256 = bytes.fromhex("06082a8648ce3d040302")
    assert der.count(ecdsa_sha256) == 2
    certificate = x509.load_der_x509_certificate(der.replace(ecdsa_sha256, ecdsa_sha256[:-1] + b"\x7f"))
    assert describe(certificate).signature == "unknown"


def test_unreadable_extension_is_a_format_error() -> None:
    """An extension whose content does not parse is said, not guessed at."""
    junk = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\xff")
    with pytest.raises(FormatError) as caught:
        describe(foreign(ec.generate_private_key(ec.SECP256R1()), junk))
    assert caught.value.what == "certificate"
