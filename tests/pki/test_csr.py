"""labkit.pki.csr: key and proof, nothing else."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import KeyRefusedError, RequestRefusedError
from labkit.pki import Key, make_request, read_request
from labkit.pki.keys import fingerprint

KEY = Key.generate()
GOOD = make_request(KEY, "sensor-001")


def test_key_and_proof_are_read() -> None:
    """A good request gives its key, and what it asked for is reported as ignored."""
    request = read_request(GOOD)
    assert KEY.fingerprint == fingerprint(request.public_key)
    assert request.ignored == ("subject CN=sensor-001",)


def test_wishes_are_reported_and_ignored() -> None:
    """A request for a CA certificate is a request with a key, and its wishes are listed."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    wishful = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = wishful.sign(KEY.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert read_request(pem).ignored == ("subject (empty)", "basicConstraints")


def broken_proof() -> bytes:
    """Return a request whose signature was spoilt."""
    der = bytearray(x509.load_pem_x509_csr(GOOD).public_bytes(serialization.Encoding.DER))
    der[-4] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("pem", "rule"),
    [
        (b"", "not-one-request"),
        (b"hello", "not-one-request"),
        (GOOD + GOOD, "not-one-request"),
        (GOOD + KEY.pem(), "not-one-request"),
        (KEY.pem(), "not-one-request"),
        (GOOD[:200], "unreadable"),
        (GOOD.replace(b"\nMI", b"\nAA", 1), "unreadable"),
        (GOOD + b" " * 20_000, "too-long"),
        (broken_proof(), "no-proof"),
    ],
    # The key is another one each time, and the name of a test must not be.
    ids=["empty", "words", "two", "and-a-key", "a-key", "torn", "no-sequence", "padded", "no-proof"],
)
def test_what_is_not_one_good_request_is_refused(pem: bytes, rule: str) -> None:
    """Each malformed request is refused by its rule."""
    with pytest.raises(RequestRefusedError) as caught:
        read_request(pem)
    assert rule == caught.value.rule


def test_weak_key_is_refused() -> None:
    """A request with RSA-1024 is refused because of its key."""
    weak = Key(rsa.generate_private_key(65537, 1024))
    with pytest.raises(KeyRefusedError) as caught:
        read_request(make_request(weak, "sensor-001"))
    assert caught.value.rule == "rsa-too-short"


@given(st.binary(max_size=300), st.integers(0, len(GOOD)))
def test_hostile_bytes_end_in_a_refusal(junk: bytes, position: int) -> None:
    """Whatever is pasted into a request, it is read or refused, and nothing else happens."""
    try:
        read_request(GOOD[:position] + junk + GOOD[position:])
    except (RequestRefusedError, KeyRefusedError) as error:
        assert error.rule


def test_extensions_that_do_not_parse_are_ignored_too() -> None:
    """What a request asks for plays no part, so it does not matter that it can't be read."""
    key = Key.generate()
    junk = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\xff")
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(junk, critical=True)
    pem = builder.sign(key.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert "extensions that do not parse" in read_request(pem).ignored
