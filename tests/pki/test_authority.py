"""labkit.pki.authority: the only code that signs certificates."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.clock import FixedClock
from labkit.errors import AlreadyIssuedError, IssuanceRefusedError, NameRefusedError
from labkit.pki import DEVICE, Authority, Issued, Key, MemoryLedger, make_request, read_request, verify_chain

NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)


@pytest.fixture
def clock() -> FixedClock:
    """Return a clock that stands at noon."""
    return FixedClock(NOW)


@pytest.fixture
def root(clock: FixedClock) -> Authority:
    """Return a root."""
    return Authority.new_root("Root", ledger=MemoryLedger(), clock=clock)


@pytest.fixture
def middle(root: Authority) -> Authority:
    """Return an intermediate."""
    return root.new_intermediate("Middle")


def extension(
    certificate: x509.Certificate, kind: type[x509.ExtensionType]
) -> x509.Extension[x509.ExtensionType]:
    """Return an extension with its criticality."""
    return certificate.extensions.get_extension_for_class(kind)  # type: ignore[return-value]


def assert_is_ca(certificate: x509.Certificate, path_length: int | None) -> None:
    """Assert that a certificate may sign others, with both extensions critical."""
    constraints, usage = (extension(certificate, kind) for kind in (x509.BasicConstraints, x509.KeyUsage))
    assert (constraints.critical, usage.critical) == (True, True)
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (
        True,
        True,
        False,
    )


def assert_is_leaf(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> None:
    """Assert that a certificate is for exactly one purpose and signs nothing."""
    constraints, usage = (extension(certificate, kind) for kind in (x509.BasicConstraints, x509.KeyUsage))
    assert (constraints.critical, usage.critical) == (True, True)
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)
    assert [purpose] == list(extension(certificate, x509.ExtendedKeyUsage).value)


def test_root_and_intermediate_are_cas(root: Authority, middle: Authority) -> None:
    """Root and intermediate carry critical constraints; the intermediate may sign no authority."""
    assert_is_ca(root.certificate, None)
    assert_is_ca(middle.certificate, 0)
    assert isinstance(root.certificate.public_key(), ec.EllipticCurvePublicKey)
    assert root.certificate.public_key().curve.name == "secp384r1"
    assert middle.certificate.public_key().curve.name == "secp256r1"


def test_leaves_have_one_purpose(middle: Authority) -> None:
    """A server certificate is for servers, a device's and an operator's for clients."""
    assert_is_leaf(middle.issue_server(["localhost"], ["::1"]).certificate, ExtendedKeyUsageOID.SERVER_AUTH)
    assert_is_leaf(middle.issue_device("sensor-001").certificate, ExtendedKeyUsageOID.CLIENT_AUTH)
    assert_is_leaf(middle.issue_operator("admin").certificate, ExtendedKeyUsageOID.CLIENT_AUTH)


def test_server_names(middle: Authority) -> None:
    """A server has every name and address it was asked for, and the first as its common name."""
    issued = middle.issue_server(["localhost", "broker.local"], ["127.0.0.1", "::1"])
    names = extension(issued.certificate, x509.SubjectAlternativeName).value
    assert ["localhost", "broker.local"] == names.get_values_for_type(x509.DNSName)
    assert ["127.0.0.1", "::1"] == [str(a) for a in names.get_values_for_type(x509.IPAddress)]
    assert issued.name == "localhost"


def test_validity_is_clipped_to_the_issuer(clock: FixedClock, root: Authority, middle: Authority) -> None:
    """Nothing outlives its issuer, and everything begins a little in the past."""
    early = middle.issue_device("sensor-001").certificate
    assert early.not_valid_before_utc == NOW - dt.timedelta(minutes=5)
    assert early.not_valid_after_utc == early.not_valid_before_utc + dt.timedelta(days=365)
    clock.advance(dt.timedelta(days=5 * 365 - 10))
    late = middle.issue_device("sensor-002").certificate
    assert middle.certificate.not_valid_after_utc == late.not_valid_after_utc


def test_serials_are_random_and_positive(middle: Authority) -> None:
    """Serial numbers have 128 random bits, are positive and never the same."""
    serials = [issued.certificate.serial_number for issued in middle.issue_many(f"d-{n}" for n in range(200))]
    assert len(set(serials)) == 200
    assert all(0 < serial < 1 << 128 for serial in serials)
    assert max(serials).bit_length() > 120


def test_a_second_certificate_needs_renew(middle: Authority) -> None:
    """An id with a valid certificate gets another only on purpose; the ledger keeps both."""
    first = middle.issue_device("sensor-001")
    before = middle.ledger.entries()
    with pytest.raises(AlreadyIssuedError) as caught:
        middle.issue_device("sensor-001")
    assert caught.value.serial == f"{first.certificate.serial_number:x}"
    assert before == middle.ledger.entries()
    middle.issue_device("sensor-001", renew=True)
    assert len(middle.ledger.entries()) == len(before) + 1


def test_an_expired_id_is_free_again(clock: FixedClock, middle: Authority) -> None:
    """Once a certificate has run out, its id is issued again without more ado."""
    middle.issue_device("sensor-001")
    clock.advance(dt.timedelta(days=366))
    assert middle.issue_device("sensor-001").name == "sensor-001"


def test_device_and_operator_names_are_kept_apart(middle: Authority) -> None:
    """No device gets an operator's name, and no operator a device's."""
    for issue, name in ((middle.issue_device, "admin"), (middle.issue_operator, "sensor-001")):
        with pytest.raises(NameRefusedError):
            issue(name)
    assert middle.issue_operator("admin").name == "admin"


def test_request_contributes_its_key_alone(middle: Authority) -> None:
    """The subject comes from the caller, whatever the request says; the private key never was here."""
    key = Key.generate()
    issued = middle.issue_device("sensor-001", request=read_request(make_request(key, "admin")))
    assert issued.name == "sensor-001"
    assert key.public == issued.certificate.public_key()
    with pytest.raises(ValueError, match="never here"):
        assert issued.key_pem


def test_one_key_is_for_one_name(middle: Authority) -> None:
    """A public key that belongs to one device is refused to another, and may be renewed for its own."""
    request = read_request(make_request(Key.generate(), "x"))
    middle.issue_device("sensor-001", request=request)
    with pytest.raises(IssuanceRefusedError) as caught:
        middle.issue_device("sensor-002", request=request)
    assert caught.value.rule == "key-reused"
    middle.issue_device("sensor-001", request=request, renew=True)


def test_serial_is_never_used_twice(clock: FixedClock) -> None:
    """A broken source of serial numbers is noticed by the ledger."""
    root = Authority.new_root("Root", clock=clock, serials=iter([1, 2, 2]).__next__)
    middle = root.new_intermediate("Middle")
    with pytest.raises(IssuanceRefusedError) as caught:
        middle.issue_device("sensor-001")
    assert caught.value.rule == "serial-reused"


def test_path_length_is_kept(middle: Authority) -> None:
    """An intermediate with path length 0 makes no authority, and still issues to devices."""
    with pytest.raises(IssuanceRefusedError) as caught:
        middle.new_intermediate("Below")
    assert caught.value.rule == "path-length"
    assert middle.issue_device("sensor-001")


def test_authority_is_rebuilt_from_its_certificate(middle: Authority, clock: FixedClock) -> None:
    """An authority made from certificate and key has the limits that the certificate says."""
    again = Authority(middle.certificate, middle.key, clock=clock)
    assert again.path_length == 0
    with pytest.raises(IssuanceRefusedError):
        again.new_intermediate("Below")


def test_leaf_and_foreign_key_make_no_authority(middle: Authority) -> None:
    """Neither a leaf's certificate nor another's key makes an authority."""
    leaf = middle.issue_device("sensor-001")
    assert leaf.key
    cases = ((leaf.certificate, leaf.key, "not-a-ca"), (middle.certificate, Key.generate(), "key-mismatch"))
    for certificate, key, rule in cases:
        with pytest.raises(IssuanceRefusedError) as caught:
            Authority(certificate, key)
        assert rule == caught.value.rule


def test_expired_authority_signs_nothing(clock: FixedClock, middle: Authority) -> None:
    """After its own end an authority refuses to sign."""
    clock.advance(dt.timedelta(days=6 * 365))
    with pytest.raises(IssuanceRefusedError) as caught:
        middle.issue_device("sensor-001")
    assert caught.value.rule == "authority-expired"


def test_bulk_equals_single(middle: Authority) -> None:
    """A certificate from a batch differs from a single one in name, key, serial and dates alone."""
    single = middle.issue_device("sensor-001").certificate
    (bulk,) = middle.issue_many(["sensor-002"])
    kinds = [e.oid for e in single.extensions]
    assert kinds == [e.oid for e in bulk.certificate.extensions]
    for kind in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.AuthorityKeyIdentifier):
        assert extension(single, kind) == extension(bulk.certificate, kind)
    assert single.issuer == bulk.certificate.issuer


def test_refused_batch_leaves_earlier_batches(middle: Authority) -> None:
    """A name that is refused stops its own batch whole; those before it are issued."""
    done: list[Issued] = []
    with pytest.raises(NameRefusedError):
        done.extend(middle.issue_many(["a", "b", "c", "d/e"], batch=2))
    names = [e.name for e in middle.ledger.entries() if e.profile == DEVICE.name]
    assert names == ["a", "b"]


def test_duplicate_in_one_batch_is_refused(middle: Authority) -> None:
    """The same id twice in one batch is refused like the same id twice."""
    with pytest.raises(AlreadyIssuedError):
        list(middle.issue_many(["a", "a"]))


def test_chain_verifies(root: Authority, middle: Authority) -> None:
    """Every leaf verifies for its purpose with the library's own verifier."""
    device = middle.issue_device("sensor-001")
    server = middle.issue_server(["localhost"])
    roots = [root.certificate]
    verify_chain(device.certificate, device.chain, roots, purpose="client", now=NOW)
    verify_chain(server.certificate, server.chain, roots, purpose="server", now=NOW, name="localhost")


def test_names_that_do_not_fit_are_refused(middle: Authority) -> None:
    """A common name has at most 64 characters; a longer host name can stand second, without one."""
    long = f"{'a' * 60}.local"
    before = middle.ledger.entries()
    for refused in (lambda: Authority.new_root("R" * 65), lambda: middle.issue_server([long])):
        with pytest.raises(NameRefusedError) as caught:
            refused()
        assert caught.value.rule == "too-long"
    assert before == middle.ledger.entries()
    assert middle.issue_server(["broker.local", long]).name == "broker.local"


def test_organisation_is_handed_down(clock: FixedClock) -> None:
    """Everything below a root is of the root's organisation."""
    middle = Authority.new_root("Root", organisation="Somebody", clock=clock).new_intermediate("Middle")
    subjects = [
        c.subject.rfc4514_string() for c in (middle.certificate, middle.issue_device("d-1").certificate)
    ]
    assert subjects == ["CN=Middle,O=Somebody", "CN=d-1,O=Somebody"]


def test_everything_is_in_the_ledger(middle: Authority) -> None:
    """Single, bulk, authority and request: each certificate that exists has its line, with its own fingerprint."""
    request = read_request(make_request(Key.generate(), "x"))
    issued = [
        middle.issue_device("a"),
        middle.issue_device("b", request=request),
        *middle.issue_many(["c", "d"]),
    ]
    known = {entry.fingerprint: entry.name for entry in middle.ledger.entries()}
    assert ["Root", "Middle"] == list(known.values())[:2]
    assert ["a", "b", "c", "d"] == [
        known[each.certificate.fingerprint(hashes.SHA256()).hex()] for each in issued
    ]


def test_certificate_without_extensions_is_no_authority(middle: Authority) -> None:
    """A self-signed certificate without basicConstraints, as bare tools make it, signs nothing here."""
    key, name = Key.generate(), middle.certificate.subject
    builder = x509.CertificateBuilder(name, name, key.public, 1, NOW, NOW + dt.timedelta(days=1))
    with pytest.raises(IssuanceRefusedError) as caught:
        Authority(builder.sign(key.private, hashes.SHA256()), key)
    assert caught.value.rule == "not-a-ca"


def test_repr_shows_name_and_kind(middle: Authority) -> None:
    """An authority in a notebook's output shows what it is called and what kind of key it has."""
    assert repr(middle) == "<Authority 'Middle' p256>"
