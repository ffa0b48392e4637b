"""labkit.pki.flawed_bytes: DER that is taken apart and put together again."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError
from labkit.pki import Authority
from labkit.pki.flawed_bytes import SUBJECT, element, elements, inside, resign, rsa_512, subject

MIDDLE = Authority.new_root("Root").new_intermediate("CA")
GOOD = MIDDLE.issue_device("sensor-001").certificate


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_what_is_put_together_comes_apart(contents: list[bytes]) -> None:
    """Elements of any length come back in order, and so does what is in them."""
    made = [element(0x04, content) for content in contents]
    assert made == elements(b"".join(made))
    assert contents == [inside(each) for each in made]
    assert inside(element(0x30, *made)) == b"".join(made)


@given(st.binary(max_size=60))
def test_hostile_lengths_are_refused(data: bytes) -> None:
    """Whatever the bytes, they come apart completely or FormatError is raised."""
    try:
        found = elements(data)
    except FormatError as error:
        assert 0 <= error.offset <= len(data)
        return
    assert b"".join(found) == data


@pytest.mark.parametrize(
    "data", [b"\x30", b"\x30\x05a", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80\x00\x00", b"\x30\x89"]
)
def test_lies_about_lengths_are_named(data: bytes) -> None:
    """A length that is cut off, too long or indefinite is refused, never followed."""
    with pytest.raises(FormatError) as caught:
        elements(data)
    assert caught.value.what == "DER"


def test_signing_again_changes_what_was_asked_and_nothing_else() -> None:
    """The new subject is there, the issuer's key signed it, and the rest is as it was."""
    changed = resign(GOOD, MIDDLE.key, replace={SUBJECT: subject(["a", "b"])})
    changed.verify_directly_issued_by(MIDDLE.certificate)
    names = [a.value for a in changed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    assert ["a", "b"] == names
    assert (GOOD.serial_number, GOOD.issuer, list(GOOD.extensions)) == (
        changed.serial_number, changed.issuer, list(changed.extensions),
    )  # fmt: skip


def test_an_rsa_authority_can_sign_again_too() -> None:
    """The algorithm is that of the signer's key."""
    from labkit.pki.profiles import INTERMEDIATE

    middle = Authority.new_root("Root").new_intermediate("CA", profile=INTERMEDIATE.with_key("rsa2048"))
    changed = resign(middle.issue_device("sensor-001").certificate, middle.key)
    changed.verify_directly_issued_by(middle.certificate)
    with pytest.raises((InvalidSignature, ValueError, TypeError)):
        changed.verify_directly_issued_by(MIDDLE.certificate)


def test_rsa_512_is_a_key() -> None:
    """Both halves belong together, and it has 512 bits."""
    info, private = rsa_512()
    (algorithm, bits) = elements(inside(info))
    modulus, exponent = elements(inside(inside(bits)[1:]))
    assert algorithm == bytes.fromhex("300d06092a864886f70d0101010500")
    n, e = int.from_bytes(inside(modulus), "big"), int.from_bytes(inside(exponent), "big")
    assert (512, 65537) == (n.bit_length(), e)
    assert private.startswith(b"-----BEGIN RSA ")
