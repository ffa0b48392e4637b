"""labkit.node.enrolment: a board's first boot and its renewals, with the power cut at every write."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from labkit.clock import SYSTEM_CLOCK, FixedClock
from labkit.firmware import NvsEntry
from labkit.node import layout
from labkit.node.application import Options, application
from labkit.node.credentials import BoardSlots, Values
from labkit.pki import Key, make_request
from labkit.provisioning.client import Client
from labkit.scenarios.revocation import revoking_broker
from tests.provisioning.conftest import office
from tests.simulators.node_board import MemoryBoard, Powered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.scenarios import Site
    from labkit.scenarios.provisioning import ProvisioningSite

__all__ = ["office"]

pytestmark = pytest.mark.broker

FAST = Options(speed=60)


@pytest.fixture(scope="module")
def broker(office: ProvisioningSite) -> Iterator[Site]:
    """Return the broker beside the service."""
    with revoking_broker(office.store) as running:
        yield running


def shipped(office: ProvisioningSite, broker: Site, device: str, token: str | None = None) -> MemoryBoard:
    """Return a board as it leaves the factory for a first boot in the field."""
    text = {
        layout.DEVICE_ID: device,
        layout.TOKEN: token or office.token(device),
        layout.ROOT: office.store.trust_anchor.read_text(),
    }
    return MemoryBoard.with_values(
        *[NvsEntry(layout.IDENTITY, key, "string", value) for key, value in text.items()],
        NvsEntry(layout.SERVICE, layout.PROVISION_URL, "string", office.service.url),
        NvsEntry(layout.SERVICE, layout.BROKER_HOST, "string", broker.host),
        NvsEntry(layout.SERVICE, layout.BROKER_PORT, "u16", broker.port),
    )


def again(board: MemoryBoard) -> MemoryBoard:
    """Return the board after its power came back."""
    return MemoryBoard(board.partitions)


def key_in_use(board: MemoryBoard, folder: Path) -> str:
    """Return the fingerprint of the key that the board works with."""
    slot = BoardSlots(Values(board), folder).current
    assert slot
    return str(Key.load(slot.key.read_bytes(), path=slot.key).fingerprint)


def test_a_first_boot(office: ProvisioningSite, broker: Site) -> None:
    """With a token the board comes by its certificate, erases the token, and connects; the next boot skips all that."""
    board = shipped(office, broker, "sensor-301")
    with Powered(board, application(FAST)):
        board.wait_for("mqtt-connected")
    assert ["boot-unprovisioned", "enrol-done", "config-done", "mqtt-connected"] == board.codes()[:4]
    assert (None, "a") == (board.value(layout.TOKEN), board.value(layout.IN_USE))
    assert ("enrolled", 60) == (office.show("sensor-301")["state"], board.value(layout.INTERVAL))
    asked = len(office.dossier("sensor-301").certificates)
    with Powered(next_boot := again(board), application(FAST)):
        next_boot.wait_for("mqtt-connected")
    assert (["boot-provisioned", "mqtt-connected"], asked) == (
        next_boot.codes()[:2],
        len(office.dossier("sensor-301").certificates),
    )


def test_a_spent_token_is_refused_for_good(office: ProvisioningSite, broker: Site) -> None:
    """A board with somebody else's spent token logs the refusal once, keeps its state, and stops."""
    first = shipped(office, broker, "sensor-302")
    token = str(first.value(layout.TOKEN))
    with Powered(first, application(FAST)):
        first.wait_for("enrol-done")
    second = shipped(office, broker, "sensor-302", token)
    with Powered(second, application(FAST)):
        second.wait_for("service-refused")
    assert ["boot-unprovisioned", "service-refused"] == second.codes()
    assert any("why=token-spent" in line for line in second.lines)
    assert token == second.value(layout.TOKEN)


def test_a_service_that_is_not_there_is_asked_again(office: ProvisioningSite, broker: Site) -> None:
    """Without an answer the board keeps its token and asks again, and again."""
    board = shipped(office, broker, "sensor-303")
    url = NvsEntry(layout.SERVICE, layout.PROVISION_URL, "string", "https://127.0.0.1:9")
    Values(board).put(url)
    with Powered(board, application(FAST)):
        board.wait_for("service-unreachable", times=3)
    assert board.value(layout.TOKEN)


@pytest.mark.slow
@pytest.mark.parametrize("cut", range(9))
def test_power_cut_at_every_write_of_a_first_boot(
    office: ProvisioningSite, broker: Site, tmp_path: Path, cut: int
) -> None:
    """Wherever the power goes during the first boot, the next boot ends with one identity and no token."""
    device = f"sensor-31{cut}"
    board = shipped(office, broker, device)
    board.cut_after = cut
    with Powered(board, application(FAST)):
        board.wait_for("mqtt-connected")
    assert (cut < 8) == board.gone
    with Powered(after := again(board), application(FAST)):
        after.wait_for("mqtt-connected")
    assert (None, "a") == (after.value(layout.TOKEN), after.value(layout.IN_USE) or "a")
    assert 1 == len(office.dossier(device).certificates)
    assert key_in_use(after, tmp_path / "slots")


def renewing(office: ProvisioningSite, broker: Site, device: str) -> MemoryBoard:
    """Return a board that is enrolled, and may renew."""
    board = shipped(office, broker, device)
    with Powered(board, application(FAST)):
        board.wait_for("mqtt-connected")
    office.act(device, "renewal")
    return again(board)


def test_a_renewal_by_command(office: ProvisioningSite, broker: Site, tmp_path: Path) -> None:
    """Told to renew, the board comes back with another key in its other slot, and the old one is gone from NVS."""
    board = renewing(office, broker, "sensor-321")
    old = key_in_use(board, tmp_path / "old")
    with broker.session("admin") as operator, Powered(board, application(FAST)):
        board.wait_for("telemetry-sent")  # it has subscribed by then
        operator.publish("devices/sensor-321/commands/renew", "")
        board.wait_for("mqtt-connected", times=2)
    assert "renew-done" in board.codes()
    assert ("b", None) == (board.value(layout.IN_USE), board.value("key"))
    assert old != key_in_use(board, tmp_path / "new")


def test_a_renewal_when_it_is_time(office: ProvisioningSite, broker: Site) -> None:
    """A clock that shows the last month of the certificate makes the board renew before it connects."""
    board = renewing(office, broker, "sensor-322")
    later = FixedClock(SYSTEM_CLOCK.now() + dt.timedelta(days=364))
    with Powered(board, application(Options(speed=60, clock=later))):
        board.wait_for("renew-done")
    assert ["boot-provisioned", "renew-due", "renew-done"] == board.codes()[:3]


def test_a_renewal_that_is_refused_leaves_the_old_identity(office: ProvisioningSite, broker: Site) -> None:
    """Told to renew before its time, the board is refused and goes on as it was."""
    board = shipped(office, broker, "sensor-323")
    with broker.session("admin") as operator, Powered(board, application(FAST)):
        board.wait_for("telemetry-sent")  # it has subscribed by then
        operator.publish("devices/sensor-323/commands/renew", "")
        board.wait_for("service-refused")
        board.wait_for("mqtt-connected", times=2)
    assert "a" == board.value(layout.IN_USE)
    # The key that was made for it is gone, so that the next boot does not take the renewal up again.
    assert (None, None) == (board.value("key_b"), board.value("next"))


def test_a_refusal_keeps_a_key_that_may_have_its_certificate(
    office: ProvisioningSite, broker: Site, tmp_path: Path
) -> None:
    """Where the grant was lost and the next answer is a refusal of the device, its key stays: a second one would look like a clone."""
    board = renewing(office, broker, "sensor-324")
    slots = BoardSlots(Values(board), tmp_path / "slots")
    assert slots.current
    client = Client(office.service.url, trust=office.store.trust_anchor).as_device(slots.current)
    client.renew(make_request(slots.stage(), "sensor-324"))
    staged = board.value("key_b")
    office.act("sensor-324", "quarantine", {"reason": "a-test"})
    with Powered(board := again(board), application(FAST)):
        board.wait_for("service-refused")
    assert "boot-renewing" == board.codes()[0]
    assert (staged, "b", "a") == (board.value("key_b"), board.value("next"), board.value(layout.IN_USE))


@pytest.mark.slow
@pytest.mark.parametrize("cut", range(8))
def test_power_cut_at_every_write_of_a_renewal(
    office: ProvisioningSite, broker: Site, tmp_path: Path, cut: int
) -> None:
    """Wherever the power goes during a renewal, the board has an identity that works at its next boot."""
    device = f"sensor-33{cut}"
    board = renewing(office, broker, device)
    board.cut_after = cut
    with broker.session("admin") as operator, Powered(board, application(FAST)):
        board.wait_for("telemetry-sent")  # it has subscribed by then
        operator.publish(f"devices/{device}/commands/renew", "")
        board.wait_for("renew-done")
    assert board.gone or cut >= 7  # an eighth write, where the time of the next renewal has moved
    with Powered(after := again(board), application(FAST)):
        after.wait_for("mqtt-connected")
    assert key_in_use(after, tmp_path / "slots")


@pytest.mark.parametrize("url", ["http://127.0.0.1:80", "file:///etc/passwd", ""])
def test_other_addresses_of_the_service_are_refused(office: ProvisioningSite, broker: Site, url: Any) -> None:
    """The service is reached by https and in no other way, whatever stands in NVS."""
    board = shipped(office, broker, "sensor-304")
    Values(board).put(NvsEntry(layout.SERVICE, layout.PROVISION_URL, "string", url))
    with Powered(board, application(FAST)):
        board.wait_for("nvs-content")
    assert ["boot-unprovisioned", "nvs-content"] == board.codes()
