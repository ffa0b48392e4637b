"""labkit.node.application: from boot to readings, commands, and the way back after every kind of trouble."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from labkit.firmware import NvsEntry
from labkit.mqtt import Message
from labkit.node import layout
from labkit.node.application import Options, application
from labkit.node.codes import refused
from labkit.pki import Key
from labkit.provisioning.factory import nvs_values
from tests.simulators.node_board import MemoryBoard, Powered

if TYPE_CHECKING:
    from labkit.pki import IdentityFiles
    from labkit.scenarios import Site

pytestmark = pytest.mark.broker

FAST = Options(speed=60)
"""A minute a second."""


def where(site: Site) -> list[NvsEntry]:
    """Return where the broker is, as NVS has it."""
    return [
        NvsEntry(layout.SERVICE, layout.BROKER_HOST, "string", site.host),
        NvsEntry(layout.SERVICE, layout.BROKER_PORT, "u16", site.port),
    ]


def made(site: Site, files: IdentityFiles | None = None) -> MemoryBoard:
    """Return a board as it leaves the line, with an identity."""
    files = files or site.identity("sensor-001")
    values = nvs_values(
        "sensor-001", files.certificate.read_text(), files.key.read_text(), site.trust.read_text()
    )
    return MemoryBoard.with_values(*values, *where(site))


def without(board: MemoryBoard, key: str, *more: NvsEntry) -> MemoryBoard:
    """Return a board that lacks a value, or has another one in its place."""
    return MemoryBoard.with_values(*[entry for entry in board.nvs("fctry") if entry.key != key], *more)


def test_readings_arrive(site: Site) -> None:
    """A board from the line connects, says that it is online, and reads every minute of its own time."""
    with site.session("admin") as operator:
        operator.subscribe("devices/#")
        with Powered(made(site), application(FAST)) as board:
            assert Message("devices/sensor-001/status", b"online") == operator.wait_for("#")
            first, second = (operator.wait_for("devices/+/telemetry/#", timeout=10) for _ in range(2))
            assert first
            assert second
            one, two = json.loads(first.payload), json.loads(second.payload)
            assert ("devices/sensor-001/telemetry/environment", "sensor-001") == (first.topic, one["device"])
            assert (1, 60) == (two["seq"] - one["seq"], round(two["uptime"] - one["uptime"], -1))
        assert ["boot-provisioned", "mqtt-connected", "telemetry-sent"] == board.codes()[:3]
        # The power went, and nobody took leave: the broker speaks for the device, and keeps it.
        assert Message("devices/sensor-001/status", b"offline") == operator.wait_for("devices/+/status")
    assert any("u'sensor-001'" in event.text for event in site.broker.log.since(0))


def test_commands_are_obeyed_or_refused(site: Site) -> None:
    """The interval is set, kept over a restart, and stays as it was after payloads that make no sense."""
    board = made(site)
    with site.session("admin") as operator, Powered(board, application(FAST)):
        board.wait_for("telemetry-sent")
        operator.publish("devices/sensor-001/commands/interval", '{"seconds": 5}')
        board.wait_for("command-done")
        board.wait_for("telemetry-sent", times=4)
        assert 5 == board.value(layout.INTERVAL)
        for word, payload, code in (
            ("interval", '{"seconds": 4}', "json-range"),
            ("interval", '{"seconds": 1e2}', "json-field-kind"),
            ("interval", "[" * 200, "json-syntax"),
            ("dance", "", "command-unknown"),
            ("interval/fast", '{"seconds": 5}', "command-not-ours"),
        ):
            operator.publish(f"devices/sensor-001/commands/{word}", payload)
            board.wait_for(code)
        operator.subscribe("devices/sensor-001/status")
        operator.publish("devices/sensor-001/commands/restart", "")
        board.wait_for("command-done", times=2)
        assert {b"online", b"offline"} == {
            message.payload for message in (operator.wait_for("#"), operator.wait_for("#")) if message
        }
    assert (5, ["restart"]) == (board.value(layout.INTERVAL), board.events)
    refusals = [line for line in board.lines if "code=json-range" in line]
    assert refusals[0].split(") ")[1] == "lab_session: code=json-range command=interval why=seconds"


def test_retained_commands_are_old(site: Site) -> None:
    """A command that lay at the broker before the device came is refused; the same one, sent now, is obeyed."""
    topic = "devices/sensor-001/commands/restart"
    with site.session("admin") as operator:
        operator.publish(topic, "", retain=False)
        operator.publish(topic, "{}", retain=True)
        with Powered(made(site), application(FAST)) as board:
            board.wait_for("command-retained")
            board.wait_for("telemetry-sent")
            assert [] == board.events
            operator.publish(topic, "{}")
            board.wait_for("command-done")
        operator.publish(topic, "", retain=True)  # forget it
    assert ["restart"] == board.events


def test_a_reading_on_demand_is_sent_at_once(site: Site) -> None:
    """`report` brings a reading long before the next one is due."""
    with site.session("admin") as operator, Powered(made(site), application(Options())) as board:
        board.wait_for("telemetry-sent")
        operator.publish("devices/sensor-001/commands/report", "{}")
        board.wait_for("telemetry-sent", times=2)


def test_another_understanding_of_the_interval(site: Site) -> None:
    """A reader's function for the interval takes the firmware's place, refusals included."""

    def stubborn(payload: bytes) -> int:
        if payload == b"please":
            return 10
        raise refused("json-syntax", "say please")

    options = Options(speed=60, read_interval=stubborn)
    with site.session("admin") as operator, Powered(made(site), application(options)) as board:
        board.wait_for("telemetry-sent")
        operator.publish("devices/sensor-001/commands/interval", '{"seconds": 5}')
        board.wait_for("json-syntax")
        assert board.value(layout.INTERVAL) is None
        operator.publish("devices/sensor-001/commands/interval", "please")
        board.wait_for("command-done")
    assert 10 == board.value(layout.INTERVAL)


@pytest.mark.parametrize(
    ("intruder", "reason"), [("expired", "certificate-expired"), ("rogue", "unknown-ca")]
)
def test_a_refused_identity_is_told_and_tried_again(site: Site, intruder: str, reason: str) -> None:
    """A board whose certificate the broker refuses logs why, waits, and tries again; nothing is published."""
    files = site.intruders(intruder)[intruder]
    with site.session("admin") as operator:
        operator.subscribe("devices/+/telemetry/#")
        with Powered(made(site, files), application(FAST)) as board:
            board.wait_for("tls-refused", times=2, timeout=30)
        assert [] == list(operator.messages)
    assert any(f"reason={reason}" in line for line in board.lines)
    assert "mqtt-connected" not in board.codes()


def test_the_broker_goes_and_comes_back(site: Site) -> None:
    """When its session is ended the node says so and comes back by itself."""
    with Powered(made(site), application(FAST)) as board:
        board.wait_for("mqtt-connected")
        with site.session("sensor-001"):  # the same client id: the broker ends the first session
            board.wait_for("mqtt-disconnected")
        board.wait_for("mqtt-connected", times=2, timeout=20)


def changed_key(site: Site) -> MemoryBoard:
    """Return a board whose key belongs to another certificate."""
    other = NvsEntry(layout.IDENTITY, "key", "string", Key.generate().pem().decode())
    return without(made(site), "key", other)


def hostile(key: str, value: object, kind: str = "string") -> Any:
    """Return a maker of boards in which a value is an attacker's."""
    namespace = layout.SERVICE if key.startswith("broker") else layout.IDENTITY
    return lambda site: without(made(site), key, NvsEntry(namespace, key, kind, value))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda site: without(made(site), "device_id"), "nvs-missing"),
        (lambda site: without(made(site), "root"), "trust-missing"),
        (lambda site: without(made(site), "key"), "boot-no-token"),
        (lambda site: without(made(site), "broker_host"), "nvs-missing"),
        (changed_key, "boot-no-token"),
        (hostile("device_id", "../../admin"), "id-path"),
        (hostile("device_id", "+"), "id-wildcard"),
        (hostile("device_id", "a" * 64), "nvs-too-long"),
        (hostile("device_id", 7, "u8"), "nvs-content"),
        (hostile("root", "no certificate"), "key-failed"),
        (lambda _: MemoryBoard({"fctry": b"\0" * 0x6000}), "nvs-content"),
        (lambda _: MemoryBoard({}), "nvs-missing"),
    ],
)
def test_hostile_values_end_in_one_code(site: Site, make: Any, code: str) -> None:
    """Whatever stands in NVS, the node says what is wrong with it, changes nothing and connects to nobody."""
    board = make(site)
    before = dict(board.partitions)
    with Powered(board, application(FAST)):
        board.wait_for(code)
    assert (before, "mqtt-connected" in board.codes()) == (board.partitions, False)


def test_nothing_secret_is_said(site: Site) -> None:
    """The console never has a key, a token or a whole payload on it."""
    board = made(site)
    with site.session("admin") as operator, Powered(board, application(FAST)):
        board.wait_for("telemetry-sent")
        operator.publish("devices/sensor-001/commands/interval", "x" * 100)
        board.wait_for("json-syntax")
    said = "\n".join(board.lines)
    assert "PRIVATE KEY" not in said
    assert "x" * 30 not in said


def test_an_image_on_trial_is_confirmed_by_the_broker(site: Site) -> None:
    """A new image counts after its first session; before that, or without one, it does not."""
    board = made(site)
    board.pending = True
    with Powered(board, application(FAST)):
        board.wait_for("update-confirmed")
    assert ["valid"] == board.events


def test_an_image_on_trial_that_gets_nowhere_goes_back(site: Site) -> None:
    """A new image that can't even read its identity gives the board back to the one before."""
    board = MemoryBoard({"fctry": b"\0" * 0x6000}, pending=True)
    with Powered(board, application(FAST)):
        board.wait_for("update-rolling-back")
    assert (["invalid"], ["nvs-content"]) == (board.events, board.codes()[:1])
