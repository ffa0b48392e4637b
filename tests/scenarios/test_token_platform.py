"""Id and token beside certificates: what a thief gets, and what taking back takes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from labkit.errors import FormatError
from labkit.firmware.nvs_encryption import build_key_partition
from labkit.firmware.tools import encrypt_nvs
from labkit.scenarios.provisioning import provisioning_site
from labkit.scenarios.token_platform import flash_with_certificate, read_flash, token_platform

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.pki import Store

pytestmark = pytest.mark.broker


def test_a_token_travels(mosquitto: Mosquitto, store: Store) -> None:
    """A token that was read out of a flash opens the door from anywhere; taken back, it does not, and others' do."""
    with token_platform(store, ["sensor-001", "sensor-002"]) as platform:
        stolen = read_flash(platform.flash_of("sensor-001"))["token"]
        topic = "devices/sensor-001/telemetry/temperature"
        assert platform.attempt("sensor-001", stolen, publish=topic).accepted
        platform.forget("sensor-001")
        assert "not-authorised" == platform.attempt("sensor-001", stolen).reason
        assert platform.attempt("sensor-002", platform.tokens["sensor-002"]).accepted
        assert "not-authorised" == platform.attempt("sensor-002", "wrong").reason


def test_a_certificates_door_takes_no_token(mosquitto: Mosquitto, store: Store) -> None:
    """Each door wants its own: no certificate at one, no password at the other."""
    with token_platform(store, ["sensor-001"]) as platform:
        assert "no-certificate" == platform.site.attempt(
            None, username="sensor-001"
        ).reason  # fmt: skip
        assert platform.site.attempt(store.identity("sensor-001")).accepted


def test_a_fleet_moves_over_device_by_device(mosquitto: Mosquitto, store: Store) -> None:
    """Each device enrols, connects with its certificate, loses its token, and the others go on meanwhile."""
    fleet = ["sensor-001", "sensor-002", "sensor-003"]
    with token_platform(store, fleet) as platform, provisioning_site(store) as office:
        for number, name in enumerate(fleet):
            slot = office.enrolled(name).current
            assert slot
            assert platform.site.attempt(slot.files(name), publish=f"devices/{name}/status").accepted
            token = platform.tokens[name]
            platform.forget(name)
            assert not platform.attempt(name, token).accepted
            for other in fleet[number + 1 :]:
                assert platform.attempt(
                    other, platform.tokens[other], publish=f"devices/{other}/status"
                ).accepted
        assert {} == platform.tokens


@pytest.mark.tool
def test_an_encrypted_flash_tells_nothing(store: Store, mosquitto: Mosquitto) -> None:
    """The same values in an encrypted partition are no values to whoever has only the dump."""
    with provisioning_site(store) as office:
        slot = office.enrolled("sensor-001").current
        assert slot
        values = flash_with_certificate("sensor-001", slot)
        key = secrets.token_bytes(64)
        dump = encrypt_nvs(values, key)
        from labkit.firmware import build_image

        assert slot.key.read_text() == read_flash(build_image(values))["key"]
        assert b"PRIVATE KEY" in build_image(values)
        assert b"PRIVATE KEY" not in dump
        assert b"sensor-001" not in dump
        with pytest.raises(FormatError):
            read_flash(dump)


def test_the_key_partition_is_checked() -> None:
    """The keys stand at the beginning, their checksum behind them, and the rest is empty; other lengths are refused."""
    made = build_key_partition(b"k" * 64)
    assert (4096, b"k" * 64, b"\xff" * 4028) == (len(made), made[:64], made[68:])
    with pytest.raises(ValueError, match="64 bytes"):
        build_key_partition(b"short")
