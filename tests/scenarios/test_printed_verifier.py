"""The printed verifier: openssl agrees with it, and it takes what our header refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from labkit.firmware.update import Version
from labkit.processes import run
from labkit.scenarios.printed_verifier import ATTACKS, SIGNATURE, Images, Museum, honest, printed_verdict
from tests.firmware.test_release import image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def museum() -> Museum:
    """Return the museum with four images."""
    return Museum(
        Images(
            running=(image(version="1.4.2"), Version(1, 4, 2)),
            newer=(image(version="1.5.0"), Version(1, 5, 0)),
            older=(image(version="1.3.0"), Version(1, 3, 0)),
            foreign=(image("pump-controller", "2.0.0"), Version(2, 0, 0)),
        )
    )


def test_both_take_the_honest_update(museum: Museum) -> None:
    """The positive control: the next version, signed by the house."""
    printed, ours = museum.verdicts(honest(museum))
    assert (True, True) == (printed.accepted, ours.accepted)


@pytest.mark.parametrize(
    ("attack", "printed", "ours"),
    [
        ("one flipped bit", "signature-wrong", "image-digest"),
        ("cut short", "signature-wrong", "image-short"),
        ("one byte more", "signature-wrong", "image-long"),
        ("another key", "signature-wrong", "signature-wrong"),
        ("yesterday's build", "accepted", "version-not-newer"),
        ("another product's image", "accepted", "product-wrong"),
        ("an image of no bytes", "accepted", "header-size"),
    ],
)
def test_what_the_signature_does_not_say(museum: Museum, attack: str, printed: str, ours: str) -> None:
    """Changed bytes are refused by both; what was signed for another day or device only by ours."""
    theirs, mine = museum.verdicts(ATTACKS[attack](museum))
    assert (printed, ours) == (theirs.reason, mine.reason)


def test_every_attack_is_told() -> None:
    """The table above has every attack there is."""
    assert 7 == len(ATTACKS)


def test_less_than_a_signature(museum: Museum) -> None:
    """A file that is shorter than a signature is the one thing that the printed length check refuses."""
    public = museum.printed_key.public
    assert "header-short" == printed_verdict(bytes(SIGNATURE - 1), public).reason  # type: ignore[arg-type]
    assert "signature-wrong" == printed_verdict(bytes(SIGNATURE), public).reason  # type: ignore[arg-type]


@pytest.mark.tool
def test_openssl_makes_and_takes_the_same_file(museum: Museum, openssl: Path, tmp_path: Path) -> None:
    """`openssl dgst -sha256 -sign` writes the same 256 bytes, and `-verify` says yes to ours and no to a changed image."""
    data, _ = museum.images.newer
    key, public, plain, signature = (tmp_path / name for name in ("key", "public", "image", "signature"))
    key.write_bytes(museum.printed_key.pem())
    public.write_bytes(
        museum.printed_key.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    plain.write_bytes(data)
    run([openssl, "dgst", "-sha256", "-sign", key, "-out", signature, plain])
    assert museum.printed(data) == data + signature.read_bytes()
    words = [openssl, "dgst", "-sha256", "-verify", public, "-signature", signature, plain]
    assert "Verified OK" in run(words).output
    plain.write_bytes(data[:-1])
    assert "Verification failure" in run(words, check=False).output
