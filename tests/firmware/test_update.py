"""Updates: signed, streamed, refused for one reason each; the vectors have most of the refusals."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import UpdateRefusedError
from labkit.firmware import update
from labkit.firmware.update import (
    Header,
    KeySigner,
    Manifest,
    Target,
    TrustedKeys,
    Version,
    decide,
    parse_header,
    sign_update,
    verify_signature,
)  # fmt: skip
from labkit.firmware.update_stream import UpdateStream, verify_update
from labkit.node.manifest import read_manifest

KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = KeySigner(KEY)
TRUSTED = TrustedKeys.of([KEY.public_key()])
TARGET = Target("course-node", 1, Version(1, 0, 0))
IMAGE = bytes(range(256)) * 8
UPDATE = sign_update(IMAGE, product="course-node", version=Version(1, 1, 0), signer=SIGNER)


def reason(data: bytes, *, trusted: TrustedKeys = TRUSTED, target: Target = TARGET) -> str:
    """Return why an update is refused, or `ok`."""
    try:
        verify_update(data, trusted, target)
    except UpdateRefusedError as error:
        assert error.rule in update.STAGES[error.stage]
        return error.rule
    return "ok"


def test_an_update_is_taken() -> None:
    """What was signed comes out as it went in."""
    assert IMAGE == verify_update(UPDATE, TRUSTED, TARGET)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=40))
def test_chunks_of_any_size(sizes: list[int]) -> None:
    """In whatever chunks an update comes, the same image is handed on."""
    stream, image, rest = UpdateStream(TRUSTED, TARGET), b"", UPDATE
    while rest:
        for size in sizes:
            image += stream.feed(rest[:size])
            rest = rest[size:]
    assert Version(1, 1, 0) == stream.finish().version
    assert (IMAGE, len(IMAGE)) == (image, stream.received)


def test_nothing_is_handed_on_before_the_header_is_verified() -> None:
    """Up to the header's last byte nothing goes into the slot, and after a refusal nothing does."""
    stream = UpdateStream(TRUSTED, TARGET)
    assert b"" == b"".join(stream.feed(bytes([byte])) for byte in UPDATE[: update.HEADER_LENGTH])
    assert stream.header is not None
    refused = UpdateStream(TRUSTED, replace(TARGET, product="pump"))
    for _ in range(2):
        with pytest.raises(UpdateRefusedError) as caught:
            refused.feed(UPDATE)
        assert "product-wrong" == caught.value.rule
    with pytest.raises(UpdateRefusedError) as caught:
        refused.finish()
    assert ("product-wrong", 0) == (caught.value.rule, refused.received)


@given(st.integers(0, len(UPDATE) * 8 - 1))
def test_each_bit_counts(bit: int) -> None:
    """A flipped bit anywhere is refused."""
    broken = bytearray(UPDATE)
    broken[bit // 8] ^= 1 << bit % 8
    assert reason(bytes(broken)) not in {"ok", "image-short", "image-long"}
    assert "ok" == reason(UPDATE)


@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    """Whatever comes, the answer is a reason, and never another error."""
    assert "ok" != reason(noise)
    assert "ok" != reason(UPDATE[:128] + noise)
    assert "ok" != reason(UPDATE[:40] + noise + UPDATE[40 + len(noise) :]) or noise in UPDATE


def test_keys_follow_each_other() -> None:
    """While one key follows the other both count; a revoked one counts no more, wherever it is listed."""
    second = ec.generate_private_key(ec.SECP256R1())
    later = sign_update(IMAGE, product="course-node", version=Version(1, 2, 0), signer=KeySigner(second))
    assert "key-unknown" == reason(later)
    both = TrustedKeys.of([KEY.public_key(), second.public_key()])
    assert ("ok", "ok") == (reason(UPDATE, trusted=both), reason(later, trusted=both))
    ended = replace(both, revoked=frozenset({SIGNER.key_id}))
    assert ("key-revoked", "ok") == (reason(UPDATE, trusted=ended), reason(later, trusted=ended))


def test_a_key_that_is_listed_under_anothers_id() -> None:
    """The id chooses the key and proves nothing: the signature has to fit."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert "signature-wrong" == reason(UPDATE, trusted=TrustedKeys({SIGNER.key_id: other}))
    assert "ok" == reason(UPDATE)


def test_the_manifest_has_to_agree() -> None:
    """A manifest that promises another image than the header is refused; the same one is not."""
    header = parse_header(UPDATE).header
    honest = Manifest("/updates/course-node/1.1.0.bin", header)
    assert honest == read_manifest(honest.render())
    stream = UpdateStream(TRUSTED, TARGET, manifest=honest)
    assert IMAGE == stream.feed(UPDATE)
    lying = replace(honest, header=replace(header, version=Version(1, 1, 1)))
    with pytest.raises(UpdateRefusedError) as caught:
        UpdateStream(TRUSTED, TARGET, manifest=lying).feed(UPDATE)
    assert ("manifest-differs", "policy") == (caught.value.rule, caught.value.stage)


def test_decisions_are_outcomes() -> None:
    """The policy's answer is an outcome at its stage, with the values that it went by."""
    header = parse_header(UPDATE).header
    assert decide(header, TARGET).accepted
    refused = decide(header, replace(TARGET, secure_version=1))
    assert ("policy", "secure-version-older") == (refused.stage, refused.reason)
    assert {"product": "course-node", "version": "1.1.0"} == refused.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"product": "Course"}, {"product": ""}, {"product": "x" * 32}, {"hardware_min": 2, "hardware_max": 1},
        {"hardware_max": 65_536}, {"version": Version(0, 0, 65_536)}, {"secure_version": 1 << 32}, {"size": 1023},
        {"digest": b""}, {"key_id": b"short"},
    ],
)  # fmt: skip
def test_what_cannot_stand_in_a_header(changes: dict[str, object]) -> None:
    """A header that every device would refuse is not made in the first place."""
    good = parse_header(UPDATE).header
    assert UPDATE[:128] == good.encode()
    with pytest.raises(ValueError, match="can't stand in a header"):
        replace(good, **changes).encode()


def test_versions() -> None:
    """The later version is the greater, by number and not by letter; other texts are none."""
    assert Version.parse("1.10.0") > Version.parse("1.9.9")
    assert "0.0.65535" == str(Version.parse("0.0.65535"))
    for text in ("", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.65536", "1.2.x", "1.2.3\n", "\u0661.2.3"):
        with pytest.raises(ValueError, match="three numbers"):
            Version.parse(text)


def test_keys_on_other_curves_are_our_own_mistake() -> None:
    """Only P-256 has a key id."""
    with pytest.raises(ValueError, match="P-256"):
        TrustedKeys.of([ec.generate_private_key(ec.SECP384R1()).public_key()])
    assert SIGNER.key_id.hex() in repr(SIGNER)


def test_signature_and_header_are_parted() -> None:
    """The signed part, the signature and the values come out of the same bytes."""
    signed = parse_header(UPDATE)
    verify_signature(signed, TRUSTED)
    expected = Header(
        "course-node", 0, 65_535, Version(1, 1, 0), 0, 2048, hashlib.sha256(IMAGE).digest(), SIGNER.key_id
    )
    assert expected == signed.header
    assert UPDATE[: update.HEADER_LENGTH] == signed.signed + signed.signature
