"""A firmware image with secrets in it, one without, and what somebody reads in a copy of either."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labkit.firmware.description import AppDescription
from labkit.firmware.tools import build_app
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki import Key

if TYPE_CHECKING:
    from collections.abc import Sequence

WIFI_PASSWORD = "plant-wifi-2019"  # noqa: S105 - there to be read
MQTT_PASSWORD = "one-for-all-devices"  # noqa: S105 - there to be read
"""Secrets of these experiments, there to be read."""

_MESSAGES = b"\0".join(
    (b"wifi: connecting to %s", b"mqtt: connected", b"sensor: %.1f C, %.1f %%", b"update: nothing new", b"")
)


def careless_image() -> bytes:
    """Return an image in which somebody has built the passwords, and a private key as text.

    Raises:
        ToolFailedError: esptool said no.
    """
    built_in = b"\0".join(
        (
            f"wifi_password={WIFI_PASSWORD}".encode(),
            f"mqtt_password={MQTT_PASSWORD}".encode(),
            Key.generate().pem(),
            b"",
        )
    )
    return build_app("esp32c3", AppDescription("thermometer", "1.0"), filler=_MESSAGES + built_in)


def clean_image() -> bytes:
    """Return the same application without: it reads what it needs from its device's own partition.

    Raises:
        ToolFailedError: esptool said no.
    """
    return build_app("esp32c3", AppDescription("thermometer", "1.1"), filler=_MESSAGES)


def strings_in(data: bytes, *, least: int = 6) -> list[str]:
    """Return what can be read in some bytes, as the program `strings` does it.

    Args:
        data: The bytes.
        least: How many printable characters in a row make a string.
    """
    return [found.decode("ascii") for found in re.findall(rb"[ -~]{%d,}" % least, data)]


def read_out(data: bytes, words: Sequence[str]) -> Outcome:
    """Try to read secrets in a copy of an image.

    Returns:
        Accepted at stage `image` if one of them can be read, refused as `nothing-found` if none can.

    Does not check: secrets that are there in another shape, such as base64 or a key in binary.
    """
    text = "\n".join(strings_in(data, least=4))
    found = [word for word in words if word in text]
    detail = {"attempt": f"{len(words)} secrets looked for in {len(data):,} bytes, {len(found)} found"}
    return Outcome(
        "image", accepted=bool(found), reason=ACCEPTED if found else "nothing-found", detail=detail
    )
