"""labkit.firmware.release: what a file says of itself, and what the header of an image may say."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.errors import ImageFormatError, ImageRefusedError, UpdateRefusedError
from labkit.firmware.description import AppDescription, build_app
from labkit.firmware.image import build_image
from labkit.firmware.release import Release, describe_file, describe_release
from labkit.firmware.update import KeySigner, Version, sign_update
from labkit.pki import Key

DROM = 0x3F400020


def image(project: str = "course-node", version: str = "1.4.2", secure: int = 3) -> bytes:
    """Return an image that describes itself."""
    described = build_app(AppDescription(project, version, secure))
    return build_image([(DROM, described + bytes(1024))], chip_id=0, entry=0x40080400)


def test_an_image_speaks_for_itself() -> None:
    """The header says what the image says; saying the same aloud is no contradiction."""
    wanted = Release("course-node", Version(1, 4, 2), 3)
    assert wanted == describe_release(image())
    assert wanted == describe_release(image(), product="course-node", version="1.4.2", secure_version=3)


def test_an_image_that_says_nothing() -> None:
    """Bytes that are no chip's image are described by whoever signs them."""
    assert Release("pump", Version(2, 0, 0), 0) == describe_release(
        bytes(1024), product="pump", version="2.0.0"
    )


@pytest.mark.parametrize(
    ("data", "said", "rule"),
    [
        (image(), {"product": "pump-controller"}, "description-differs"),
        (image(), {"version": "9.9.9"}, "description-differs"),
        (image(), {"secure_version": 4}, "description-differs"),
        (bytes(1024), {}, "no-description"),
        (bytes(1024), {"product": "pump"}, "no-description"),
        (b"", {"product": "pump", "version": "1.0.0"}, "too-small"),
        (image(project="Course Node"), {}, "product-name"),
        (image(version="v1.4-dirty"), {}, "version"),
    ],
)
def test_what_is_not_signed(data: bytes, said: dict[str, Any], rule: str) -> None:
    """A header that contradicts its image, or says nothing, is not made."""
    with pytest.raises(ImageRefusedError) as caught:
        describe_release(data, **said)
    assert rule == caught.value.rule


def test_a_damaged_image_is_not_signed() -> None:
    """One flipped bit, and an image is no blob that one may describe at will."""
    broken = bytearray(image())
    broken[400] ^= 1
    with pytest.raises(ImageFormatError) as caught:
        describe_release(bytes(broken), product="course-node", version="1.4.2")
    assert "checksum" == caught.value.rule


def test_files_are_told_apart() -> None:
    """An update and an image are known by their first bytes; a damaged image is shown as one, anything else refused."""
    update = sign_update(
        image(),
        product="course-node",
        version=Version(1, 4, 2),
        signer=KeySigner(Key.generate().private),  # type: ignore[arg-type]
    )
    assert ("update", "1.4.2", len(image())) == tuple(
        describe_file(update)[name] for name in ("kind", "version", "bytes behind the header")
    )
    assert ("image", "right", "right", "none") == tuple(
        describe_file(image())[name] for name in ("kind", "checksum", "sha256", "Secure Boot signatures")
    )
    broken = bytearray(image())
    broken[400] ^= 1
    assert ("wrong", "wrong") == tuple(describe_file(bytes(broken))[name] for name in ("checksum", "sha256"))
    with pytest.raises(ImageFormatError):
        describe_file(b"noise" * 100)
    with pytest.raises(UpdateRefusedError):
        describe_file(update[:100])
