"""What a device is known by."""

from __future__ import annotations

import pytest

from labkit.devices import DeviceIdentity, identify, mac_address, serial_number
from labkit.errors import NameRefusedError


def test_an_identity_is_written_in_one_way() -> None:
    """Serial numbers are capitals, MAC addresses small with colons, so that each is found again."""
    found = identify("sensor-001", serial="lab-2026-0001", mac="24-0A-C4-00-01-10")
    assert DeviceIdentity("sensor-001", "LAB-2026-0001", "24:0a:c4:00:01:10") == found
    assert DeviceIdentity("sensor-002") == identify("sensor-002")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24:0a:c4:00:01",
        "24:0a:c4:00:01:1g",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
    ],
)
def test_what_no_station_has_is_refused(text: str) -> None:
    """Group addresses, all zeroes and texts of another form are no station's MAC."""
    with pytest.raises(NameRefusedError) as caught:
        mac_address(text)
    assert ("mac", text) == (caught.value.rule, caught.value.name)


@pytest.mark.parametrize("text", ["", "abc", "-ABCD", "A" * 33, "AB CD", "ÄBCD"])
def test_what_is_no_serial_number_is_refused(text: str) -> None:
    """A serial number has 4 to 32 of A-Z, 0-9 and the dash."""
    with pytest.raises(NameRefusedError) as caught:
        serial_number(text)
    assert "serial" == caught.value.rule


def test_the_id_is_looked_at_like_everywhere() -> None:
    """A device id goes through the one grammar for device ids."""
    with pytest.raises(NameRefusedError) as caught:
        identify("sensor-001/commands")
    assert "separator" == caught.value.rule
