"""The pure twin of the firmware's core: what vectors can't say about it."""

from __future__ import annotations

import datetime as dt
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.broker.acl import DEVICE_ACL, decide
from labkit.errors import MessageRefusedError
from labkit.firmware.update import STAGES
from labkit.node import (
    backoff,
    codes,
    commands,
    documents,
    layout,
    renewal,
    replies,
    states,
    telemetry,
    topics,
)
from labkit.provisioning.factory import nvs_values
from labkit.provisioning.policy import Policy, renewal_opens, topics_of

DEVICE = "sensor-001"


def test_the_brokers_rules_allow_our_topics() -> None:
    """A device may do exactly what it does on its own topics, and none of it on another's."""
    assert decide(
        DEVICE_ACL, username=DEVICE, client_id=DEVICE, access="write", topic=topics.telemetry(DEVICE)
    )
    assert decide(DEVICE_ACL, username=DEVICE, client_id=DEVICE, access="write", topic=topics.status(DEVICE))
    assert decide(
        DEVICE_ACL,
        username=DEVICE,
        client_id=DEVICE,
        access="read",
        topic="devices/sensor-001/commands/interval",
    )
    assert not decide(
        DEVICE_ACL, username=DEVICE, client_id=DEVICE, access="write", topic=topics.telemetry("sensor-002")
    )


def test_the_service_names_the_same_topics() -> None:
    """What the provisioning service tells a device of its topics is what the device does by itself."""
    told = topics_of(DEVICE)
    assert topics.telemetry(DEVICE).startswith(told["telemetry"] + "/")
    assert (told["status"], told["commands"]) == (topics.status(DEVICE), topics.commands(DEVICE))
    assert topics.LONGEST == len(topics.telemetry("x" * 63))


def test_the_factory_writes_what_the_layout_says() -> None:
    """The keys that the factory line writes are those in which the device looks."""
    written = {(entry.namespace, entry.key) for entry in nvs_values(DEVICE, "chain", "key", "root")}
    key, chain = layout.SLOTS["a"]
    assert {(layout.IDENTITY, name) for name in (layout.DEVICE_ID, key, chain, layout.ROOT)} == written
    names = {*layout.LONGEST, layout.IDENTITY, layout.NETWORK, layout.SERVICE, layout.SETTINGS, layout.UPDATE}
    assert [name for name in names if len(name) > 15] == []


@given(st.binary(max_size=300))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    """Whatever comes as a payload, the interval is read or a code of the table says why not."""
    try:
        seconds = commands.read_interval(payload)
    except MessageRefusedError as error:
        assert error.code in codes.CODES
    else:
        assert commands.SHORTEST_INTERVAL <= seconds <= commands.LONGEST_INTERVAL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), JSON, max_size=4), st.booleans())
def test_objects_of_others_are_read(value: dict[str, object], ascii_only: bool) -> None:  # noqa: FBT001
    """What Python's own writer makes of an object is read, as long as it is short and shallow."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    try:
        assert list(value) == documents.read_object(data, longest=100_000).names
    except MessageRefusedError as error:
        assert "json-syntax" == error.code
        assert data.count(b"{") + data.count(b"[") > documents.DEPTH


def test_refusals_carry_codes_that_stand_in_the_table() -> None:
    """Each reason to refuse an update is a word of the log."""
    assert [rule for rules in STAGES.values() for rule in rules if rule not in codes.CODES] == []
    with pytest.raises(KeyError):
        codes.refused("no-such-code", "")


@given(st.text(max_size=60))
def test_a_log_line_stays_one_line(value: str) -> None:
    """Whatever a value is, the line is one line, and its code is the one that was logged."""
    line = codes.line("mqtt-connected", broker=value)
    assert line.isascii()
    assert line.isprintable()
    found = codes.parse_line(f"I (1234) lab_mqtt: {line}\r\n")
    assert found is not None
    assert ("mqtt-connected", ["broker"]) == (found[0], list(found[1]))


def test_the_form_of_a_log_line() -> None:
    """The form is fixed: tests, lessons and the firmware's own log all go by it."""
    assert "code=json-range field=seconds" == codes.line("json-range", field="seconds")
    assert ("json-range", {"field": "seconds"}) == codes.parse_line(
        "W (8) cmd: code=json-range field=seconds"
    )
    assert codes.parse_line("I (8) wifi: code=whatever") is None
    assert codes.parse_line("I (8) wifi:state: init -> auth") is None


def test_values_out_of_range_are_our_own_mistake() -> None:
    """Waits begin with the first failure and take 32 bits of chance."""
    assert 0 <= backoff.wait(1, 0) <= backoff.BASE
    for tries, chance in ((0, 0), (1, -1), (1, 1 << 32)):
        with pytest.raises(ValueError, match="32 bits"):
            backoff.wait(tries, chance)


@given(st.integers(1, 2**32), st.integers(0, 2**32 - 1))
def test_waits_stay_in_their_span(tries: int, chance: int) -> None:
    """No wait is longer than the cap, or than the span that its number of failures allows."""
    assert 0 <= backoff.wait(tries, chance) <= min(backoff.CAP, backoff.BASE << min(tries - 1, 31))


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**31 - 1))
def test_the_clock_may_run_over(now: int, ahead: int) -> None:
    """A deadline ahead has not come, and has when the time is there, wherever on the clock that is."""
    deadline = (now + ahead) % backoff.WRAP
    assert not backoff.reached(now, deadline)
    assert backoff.reached(deadline, deadline)
    assert backoff.reached((deadline + 1) % backoff.WRAP, deadline)


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_device_and_service_agree_on_renewal(days: int, share: int) -> None:
    """The device's own reckoning lies where the service's does, for the same share of jitter."""
    start = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
    ends = start + dt.timedelta(days=days)
    validity = renewal.Validity(int(start.timestamp()), int(ends.timestamp()))
    policy = Policy()
    earliest = ends - min(policy.window + policy.jitter, (ends - start) / 3)
    latest = ends - min(policy.window, (ends - start) / 3)
    assert int(earliest.timestamp()) <= renewal.opens(validity, share) <= int(latest.timestamp())
    told = int(renewal_opens(DEVICE, start, ends, policy).timestamp())
    assert "renew-due" == renewal.decide(
        told, renewal.Validity(validity.not_before, validity.not_after, told)
    )


def test_a_power_cut_at_every_step_of_the_first_boot() -> None:
    """From every state of the store the steps lead to a connection, or stop where there is nothing to go by."""
    for seed in range(200):
        chance = random.Random(seed)
        store = {name: chance.random() < 0.5 for name in ("token", "in_use", "staged", "installed")}
        hopeless = not (store["token"] or store["in_use"] or (store["staged"] and store["installed"]))
        seen = []
        while not seen or seen[-1] not in {states.Step.CONNECT, states.Step.STOP}:
            step = states.first_boot(states.Stored(**store))
            seen.append(step)
            assert len(seen) < 8
            apply(step, store)
        assert (states.Step.STOP if hopeless else states.Step.CONNECT) == seen[-1]
        assert not (seen[-1] is states.Step.CONNECT and store["token"])


def apply(step: states.Step, store: dict[str, bool]) -> None:
    """Do a step in a store."""
    if step is states.Step.MAKE_KEY:
        store.update(staged=True, installed=False)
    elif step is states.Step.REQUEST:
        store.update(installed=True)
    elif step is states.Step.SWITCH:
        store.update(in_use=True, staged=False, installed=False)
    elif step is states.Step.ERASE_TOKEN:
        store.update(token=False)


def test_an_image_on_trial_does_nothing_else() -> None:
    """While an image has to prove itself, no event but a connection or the end of patience moves the device."""
    moving = {event for event in states.Event if states.after(states.State.UPDATING, event)[1] != "none"}
    assert {states.Event.CONNECTED, states.Event.TIMEOUT} == moving


def test_readings_are_json() -> None:
    """What is sent of a reading is JSON, and says the same."""
    for temperature, humidity in ((-4000, 0), (-1, 99), (2231, 5520), (8500, 10_000)):
        text = telemetry.render(DEVICE, telemetry.Reading(temperature, humidity), uptime=3, sequence=4)
        expected = {"device": DEVICE, "temp": temperature / 100, "hum": humidity / 100, "uptime": 3, "seq": 4}
        assert expected == json.loads(text)


def test_what_the_service_really_sends_is_read() -> None:
    """A grant in the service's own words is taken."""
    from labkit.provisioning.messages import Granted

    pem = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    when = dt.datetime(2027, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    body = Granted(
        device_id=DEVICE, certificate=pem, chain=pem, serial="1", fingerprint="ab", not_after=when,
        renew_after=when, ignored=[], repeated=False,
    ).model_dump_json().encode()  # fmt: skip
    assert replies.Granted(pem, int(when.timestamp())) == replies.read_grant(body, DEVICE)
