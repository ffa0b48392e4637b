"""labkit.scenarios.firmware_update: a fleet that takes updates over a real broker and service, and comes back from bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.pki import Store
from labkit.scenarios.firmware_update import Fleet, updating_fleet
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto

pytestmark = pytest.mark.broker

NAMES = ("sensor-001", "sensor-002", "sensor-003")


@pytest.fixture(scope="module")
def fleet(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return a fleet of three boards."""
    del mosquitto
    store = Store(Workspace.open(tmp_path_factory.mktemp("fleet") / "w"))
    store.create(passphrase=b"correct horse")
    with updating_fleet(store, *NAMES, image=None, speed=600) as running:
        yield running


@pytest.fixture(scope="module")
def released(fleet: Fleet) -> str:
    """Return a release that went to the first device, and is offered to it alone."""
    version = fleet.publish(fleet.house.image("1.5.0"))
    fleet.roll_out(version, 0, first=["sensor-001"])
    return version


def test_first_one_and_then_all(fleet: Fleet, released: str) -> None:
    """The first device takes the release and confirms it at the broker; the others are offered it when it is their turn."""
    found = fleet.update("sensor-001", "sensor-002")
    assert ("trial", True) == (found["sensor-001"].stage, found["sensor-001"].accepted)
    assert "update-none" == found["sensor-002"].reason
    assert {"sensor-001": "1.5.0", "sensor-002": "1.4.2", "sensor-003": "1.4.2"} == fleet.versions()
    assert {"ok": 1} == fleet.release(released).reported
    fleet.roll_out(released, 100)
    assert fleet.update("sensor-002")["sensor-002"].accepted
    assert {"ok": 2} == fleet.release(released).reported


@pytest.mark.parametrize(("version", "fault"), [("1.6.0", "crash"), ("1.7.0", "mute")])
def test_an_image_that_bricks_goes_back(fleet: Fleet, released: str, version: str, fault: str) -> None:
    """Signed, whole and no good: the device is back on the image before, says so, and does not take it again."""
    del released
    before = fleet.version("sensor-001")
    fleet.roll_out(fleet.publish(fleet.house.image(version, fault=fault)), 0, first=["sensor-001"])
    found = fleet.update("sensor-001")["sensor-001"]
    assert ("trial", "boot-rolled-back", before) == (found.stage, found.reason, fleet.version("sensor-001"))
    assert {"boot-rolled-back": 1} == fleet.release(version).reported
    again = fleet.update("sensor-001")["sensor-001"]
    assert ("version-rolled-back", "0") == (again.reason, again.detail["flashed"])
    fleet.withdraw(version)


def test_the_power_goes_in_the_middle(fleet: Fleet, released: str) -> None:
    """Wherever the power goes while the image is written, the old one boots, and the next try succeeds."""
    fleet.roll_out(released, 100)
    fleet.cut_power("sensor-003")
    assert "power-cut" == fleet.update("sensor-003")["sensor-003"].reason
    boot = fleet.power_up("sensor-003")
    assert (True, "1.4.2") == (boot.accepted, boot.detail["version"])
    assert fleet.update("sensor-003")["sensor-003"].accepted
    assert not [line for line in fleet.boards["sensor-001"].console.lines if "power failed" in line]


def test_a_server_that_was_broken_into(fleet: Fleet, released: str) -> None:
    """One bit of the image on the server is another: it is flashed and not booted; mended, it is taken."""
    del released
    image = fleet.house.image("1.8.0")
    fleet.roll_out(fleet.publish(image), 100)
    before = fleet.version("sensor-002")
    fleet.tamper(image)
    found = fleet.update("sensor-002")["sensor-002"]
    assert ("image", "image-digest", before) == (found.stage, found.reason, fleet.version("sensor-002"))
    assert str(len(image)) == found.detail["flashed"]
    fleet.tamper(image)
    assert fleet.update("sensor-002")["sensor-002"].accepted
    assert {"image-digest": 0, "ok": 1} == {"image-digest": 0, **fleet.release("1.8.0").reported}
