"""What can be read in a copy of a firmware image."""

from __future__ import annotations

from labkit.audit.flash_scan import secrets_in
from labkit.firmware.image import parse_image
from labkit.scenarios.image_strings import (
    MQTT_PASSWORD,
    WIFI_PASSWORD,
    careless_image,
    clean_image,
    read_out,
    strings_in,
)

WORDS = [WIFI_PASSWORD, MQTT_PASSWORD]


def test_secrets_are_read_and_the_clean_image_has_none() -> None:
    """The careless image tells both passwords and has a key; the clean one has the same messages and none of them."""
    careless, clean = careless_image(), clean_image()
    assert ("image", "accepted") == ((found := read_out(careless, WORDS)).stage, found.reason)
    assert ("image", "nothing-found") == ((missed := read_out(clean, WORDS)).stage, missed.reason)
    assert {"password", "private key (PEM)"} == {each.kind for each in secrets_in(careless, "image")}
    assert [] == secrets_in(clean, "image")
    assert all("wifi: connecting to %s" in strings_in(image) for image in (careless, clean))


def test_both_are_images() -> None:
    """The parser of images takes both: they are what esptool makes, and not only bytes with words in them."""
    assert {"thermometer"} == {
        parse_image(image).description.project for image in (careless_image(), clean_image())
    }  # type: ignore[union-attr]


def test_each_careless_image_has_a_key_of_its_own() -> None:
    """The key in it is made afresh, so that nobody's real one lies about."""
    assert careless_image() != careless_image()


def test_strings_are_those_of_the_program() -> None:
    """Only runs of printable characters count, and only long ones."""
    assert ["abcdef", "ghi jkl"] == strings_in(b"\0abcdef\x01abc\xffghi jkl\n")
    assert ["abc"] == strings_in(b"\0abc", least=3)
