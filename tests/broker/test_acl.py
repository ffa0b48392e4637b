"""labkit.broker.acl: rules as data, decided as Mosquitto decides."""

from __future__ import annotations

import queue
import random
import threading
from typing import TYPE_CHECKING, Literal

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.broker import DEVICE_ACL, Acl, Broker, BrokerConfig, Listener, Rule, decide
from labkit.broker.acl import parse, render
from labkit.errors import AclError

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.broker.acl import Access
    from labkit.scenarios import Site

level = st.text(st.sampled_from("abcu%01- ü"), min_size=1, max_size=4).filter(
    lambda text: text == text.strip()
)
place = level.filter(lambda text: "%u" not in text and "%c" not in text) | st.sampled_from(["%u", "%c"])
access = st.sampled_from(["read", "write", "readwrite", "deny"])
users = st.none() | st.sampled_from(["ann", "bob c", "%u"])


def filters(levels: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return topic filters made of the levels."""
    topic = st.lists(levels | st.just("+"), min_size=1, max_size=3).map("/".join)
    return st.builds(lambda text, end: f"{text}/#" if end else text, topic, st.booleans())


rules = st.builds(Rule, access, filters(level), user=users) | st.builds(
    lambda access, topic: Rule(access, topic, pattern=True), access, filters(place)
)


def allowed(username: str, topic: str, access: Literal["read", "write"]) -> bool:
    """Return what the course's rules say; the client id is the user name."""
    return decide(DEVICE_ACL, username=username, client_id=username, topic=topic, access=access)


@given(st.lists(rules, max_size=6))
def test_round_trip(made: list[Rule]) -> None:
    """What is rendered is parsed back to the same rules, whatever their order."""
    assert set(made) == set(parse(render(Acl(tuple(made)))).rules)


@given(st.text(max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands in a file, it is refused with one clear error, or rules that survive being written again."""
    try:
        found = parse(text)
    except AclError:
        return
    assert set(found.rules) == set(parse(render(found)).rules)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("topic read #\nnonsense here", 2),
        ("topic read a#", 1),
        ("topic read a/#/b", 1),
        ("topic read a+/b", 1),
        ("topic", 1),
        ("user", 1),
        ("topic a b", 1),
        ("topic peek a", 1),
        ("topic read", 1),
        ("pattern write x%u/a", 1),
        ("pattern read %cc", 1),
        (" # not a comment", 1),
        ("\ttopic read a", 1),
        ("topic\tread a", 1),
        ("topic read a\x85topic read b", 1),
        ("topic read " + "a/" * 200, 1),
        ("TOPIC read a", 1),
        ("include /etc/passwd", 1),
    ],
)
def test_malformed_lines_are_refused_by_number(text: str, line: int) -> None:
    """A line that Mosquitto would choke on is refused before Mosquitto sees it."""
    with pytest.raises(AclError) as caught:
        parse(text)
    assert line == caught.value.line


@pytest.mark.parametrize("name", ["a\nuser admin", "", " a", "a\0", "a\udcff"])
def test_names_can_not_smuggle_lines(name: str) -> None:
    """A user name or topic with a line feed is refused, so that it can't bring rules of its own."""
    with pytest.raises(AclError):
        render(Acl((Rule("read", "#", user=name),)))
    with pytest.raises(AclError):
        render(Acl((Rule("read", name),)))


CASES = [
    ("sensor-001", "devices/sensor-001/telemetry/temperature", "write", True),
    ("sensor-001", "devices/sensor-001/telemetry", "write", True),
    ("sensor-001", "devices/sensor-001/telemetry/a/b", "write", True),
    ("sensor-001", "devices/sensor-001/status", "write", True),
    ("sensor-001", "devices/sensor-001/status/x", "write", False),
    ("sensor-001", "devices/sensor-001/commands/x", "write", False),
    ("sensor-001", "devices/sensor-002/telemetry/temperature", "write", False),
    ("sensor-001", "test/mtls", "write", False),
    ("sensor-001", "$SYS/broker", "write", False),
    ("admin", "devices/sensor-001/commands/reboot", "write", True),
    ("admin", "devices/sensor-001/telemetry/x", "write", False),
]


@pytest.mark.parametrize(("who", "topic", "access", "expected"), CASES)
def test_decisions(who: str, topic: str, access: Literal["read", "write"], expected: bool) -> None:  # noqa: FBT001
    """A device writes its own topics and no others; the operator commands and does not forge."""
    assert expected == allowed(who, topic, access)


def test_reading() -> None:
    """A device reads its own commands, the operator everything but the broker's own topics."""
    assert allowed("sensor-001", "devices/sensor-001/commands/reboot", "read")
    assert not allowed("sensor-001", "devices/sensor-002/commands/reboot", "read")
    assert allowed("admin", "devices/sensor-001/telemetry/x", "read")
    assert not allowed("admin", "$SYS/broker/uptime", "read")


@pytest.mark.parametrize("name", ["+", "#", "a+b"])
def test_dangerous_names_match_no_pattern(name: str) -> None:
    """A name with a wildcard in it is given nothing by patterns."""
    assert not allowed(name, "devices/sensor-001/status", "write")
    assert not allowed(name, f"devices/{name}/status", "write")


def test_a_slash_in_a_name_gives_it_the_commands_of_another() -> None:
    """2.0 fills a name with a slash into a pattern, so that it commands another device; 2.1 does not."""
    name, topic = "sensor-001/commands", "devices/sensor-001/commands/status"
    assert decide(DEVICE_ACL, username=name, client_id=name, topic=topic, access="write", version=(2, 0, 11))
    assert not decide(DEVICE_ACL, username=name, client_id=name, topic=topic, access="write", version=(2, 1))


def test_deny_beats_everything() -> None:
    """A denied user is out, whatever other rules say; a pattern can deny as well."""
    acl = Acl((Rule("readwrite", "#", user="ann"), Rule("deny", "secret/#", user="ann")))
    assert decide(acl, username="ann", client_id="", topic="open", access="read")
    assert not decide(acl, username="ann", client_id="", topic="secret/x", access="read")
    acl = Acl((Rule("write", "+/log", pattern=True), Rule("deny", "%u/log", pattern=True)))
    assert decide(acl, username="ann", client_id="", topic="bob/log", access="write")
    assert not decide(acl, username="ann", client_id="", topic="ann/log", access="write")


def test_without_a_name_no_pattern_of_names_matches() -> None:
    """A client without a user name is given nothing by patterns that name the user."""
    acl = Acl((Rule("write", "%u/x", pattern=True), Rule("write", "%c/x", pattern=True)))
    assert decide(acl, username=None, client_id="a", topic="a/x", access="write")
    assert not decide(acl, username=None, client_id="b", topic="/x", access="write")


@pytest.mark.broker
@pytest.mark.parametrize(("who", "topic", "access", "expected"), CASES)
def test_mosquitto_agrees(site: Site, who: str, topic: str, access: str, expected: bool) -> None:  # noqa: FBT001
    """The real broker decides as we do, judged by the reason code of MQTT 5."""
    assert access == "write"
    outcome = site.attempt(site.identity(who), publish=topic)
    assert ("authorised", expected) == (outcome.stage, outcome.accepted)
    assert outcome.reason == ("accepted" if expected else "not-authorised")


NAMES = ("a", "b", "a/b", "b+", "#a", "$x", "%c", "c d")


def random_filter(source: random.Random, *, pattern: bool) -> str:
    """Return a topic filter that is likely to match something."""
    levels = ["a", "b", "", "+", "$x", "$SYS", *(("%u", "%c") if pattern else ())]
    chosen = source.choices(levels, k=source.randint(1, 3))
    return "/".join([*chosen, "#"] if source.random() < 0.4 else chosen) or "a"


def random_rules(source: random.Random) -> Acl:
    """Return rules for everybody in NAMES, for nobody, and patterns."""
    chosen: list[Access] = ["read", "write", "readwrite", "deny"]
    rules = [
        Rule(
            source.choice(chosen),
            random_filter(source, pattern=False),
            user=source.choice([None, *NAMES[:5]]),
        )
        for _ in range(14)
    ]
    return Acl((*rules, *(Rule(source.choice(chosen[1:]), random_filter(source, pattern=True), pattern=True)
                          for _ in range(4))))  # fmt: skip


def answers(port: int, name: str | None, client_id: str, topics: list[str]) -> list[bool]:
    """Return for each topic whether Mosquitto takes a message to it, by the reason codes of MQTT 5."""
    said: queue.Queue[bool] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.on_publish = lambda _client, _data, _mid, code, _properties: said.put(not code.is_failure)
    client.username_pw_set(name)
    client.connect("127.0.0.1", port)
    client.loop_start()
    found = []
    for topic in topics:
        client.publish(topic, b"x", qos=1)
        found.append(said.get(timeout=10))
    client.disconnect()
    client.loop_stop()
    return found


@pytest.mark.broker
@pytest.mark.parametrize("seed", range(4))
def test_mosquitto_decides_random_rules_as_we_do(mosquitto: Mosquitto, tmp_path: Path, seed: int) -> None:
    """Over rules, names and topics made at random, odd ones among them, Mosquitto and `decide` never differ."""
    source = random.Random(seed)
    acl = random_rules(source)
    topics = [
        "/".join(source.choices(["a", "b", "", "c d", "a", "%c"], k=source.randint(1, 4))) or "/"
        for _ in range(40)
    ]
    topics += ["$x/a", "$x", "$SYS/a", "$SYS/broker/connection/a/state", "$shared", "a/b/a", "b/b"]
    with Broker(tmp_path / "b", open_to_all, acl=acl, mosquitto=mosquitto) as broker:
        for name in (None, *NAMES):
            client_id = source.choice(NAMES)
            expected = [
                decide(
                    acl,
                    username=name,
                    client_id=client_id,
                    topic=topic,
                    access="write",
                    version=mosquitto.version,
                )
                for topic in topics
            ]
            found = answers(broker.port, name, client_id, topics)
            assert dict(zip(topics, expected, strict=True)) == dict(zip(topics, found, strict=True)), (
                name,
                client_id,
            )


def open_to_all(port: int) -> BrokerConfig:
    """Return a configuration that believes every user name, so that odd ones can be tried."""
    return BrokerConfig(listeners=(Listener(port=port),), allow_anonymous=True)


@pytest.mark.broker
def test_mosquitto_delivers_what_we_decide(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """What `decide` says of reading is what arrives at a client that subscribed to everything."""
    acl = Acl((Rule("readwrite", "#", user="writer"), Rule("read", "a/+", user="ann"), Rule("deny", "a/no", user="ann"),
               Rule("read", "%u/#", pattern=True)))  # fmt: skip
    topics = ["a/x", "a/no", "a", "a/x/y", "ann", "ann/x", "b", "end/ann"]
    acl = Acl((*acl.rules, Rule("read", "end/%u", pattern=True)))
    heard: queue.Queue[str] = queue.Queue()
    with Broker(tmp_path / "b", open_to_all, acl=acl, mosquitto=mosquitto) as broker:
        ready = threading.Event()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="ann", protocol=paho.MQTTv5)
        client.on_message = lambda _client, _data, message: heard.put(message.topic)
        client.on_subscribe = lambda *_: ready.set()
        client.username_pw_set("ann")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.subscribe("#")
        assert ready.wait(10)
        assert all(answers(broker.port, "writer", "writer", topics))
        found = [heard.get(timeout=10)]
        while found[-1] != topics[-1]:
            found.append(heard.get(timeout=10))
        client.disconnect()
        client.loop_stop()
    expected = [
        topic for topic in topics
        if decide(acl, username="ann", client_id="ann", topic=topic, access="read", version=mosquitto.version)
    ]  # fmt: skip
    assert expected == found
