"""What a device is known by: the id that we give it, the serial number on its label, the MAC address in its chip."""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.errors import NameRefusedError
from labkit.pki import names

_SERIAL = re.compile(r"[A-Z0-9][A-Z0-9-]{3,31}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who a device is. Build one with `identify`, which looks at each part.

    Attributes:
        device_id: The id that stands in its certificate and in its topics.
        serial: The maker's serial number, if known.
        mac: The MAC address that was burnt into the chip, if known.
    """

    device_id: str
    serial: str | None = None
    mac: str | None = None


def identify(device_id: str, *, serial: str | None = None, mac: str | None = None) -> DeviceIdentity:
    """Return a device's identity, or refuse a part of it.

    Args:
        device_id: See `pki.names.device_id`.
        serial: 4 to 32 of A-Z, 0-9 and `-`; small letters are made capital.
        mac: Six octets with colons or dashes between them; written small.

    Raises:
        NameRefusedError: `rule` is one of `pki.names.device_id`, or `serial`, or `mac`.

    Does not check: that the chip has this MAC. Anybody can claim one; it is a label, never a proof.
    """
    return DeviceIdentity(
        names.device_id(device_id),
        None if serial is None else serial_number(serial),
        None if mac is None else mac_address(mac),
    )


def serial_number(text: str) -> str:
    """Return a maker's serial number in capitals, or refuse it.

    Raises:
        NameRefusedError: `rule` is `serial`.
    """
    wanted = text.upper()
    if _SERIAL.fullmatch(wanted) is None:
        raise NameRefusedError(
            f"{text[:40]!r} is not a serial number.",
            advice="Use 4 to 32 of A-Z, 0-9 and -, beginning with a letter or digit, for example LAB-2026-0001.",
            name=text,
            rule="serial",
        )
    return wanted


def mac_address(text: str) -> str:
    """Return a MAC address as `24:0a:c4:00:01:10`, or refuse it.

    Raises:
        NameRefusedError: `rule` is `mac`: no six octets, or a group address, which no station has (IEEE 802 §8.2).
    """
    wanted = text.lower().replace("-", ":")
    # The lowest bit of the first octet says that it is a group's; all zeroes are a chip that was never programmed.
    if _MAC.fullmatch(wanted) is None or int(wanted[:2], 16) & 1 or not wanted.strip("0:"):
        raise NameRefusedError(
            f"{text[:40]!r} is not the MAC address of a station.",
            advice="Read it off the chip (esptool read-mac) and write it like 24:0a:c4:00:01:10.",
            name=text,
            rule="mac",
        )
    return wanted
