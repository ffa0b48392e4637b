"""labkit.broker.acl: rules as data, decided as Mosquitto decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.broker import DEVICE_ACL, Acl, Rule, decide
from labkit.broker.acl import parse, render
from labkit.errors import AclError

if TYPE_CHECKING:
    from labkit.scenarios import Site

level = st.text(st.sampled_from("abcu%01-"), min_size=1, max_size=4)
topic = st.lists(level | st.just("+"), min_size=1, max_size=3).map("/".join)
filters = st.builds(lambda text, end: f"{text}/#" if end else text, topic, st.booleans())
access = st.sampled_from(["read", "write", "readwrite"])
rules = st.builds(
    Rule, access | st.just("deny"), filters, user=st.none() | st.sampled_from(["ann", "bob c"])
) | st.builds(Rule, access, filters, pattern=st.just(True))


def allowed(username: str, topic: str, access: Literal["read", "write"]) -> bool:
    """Return what the course's rules say; the client id is the user name."""
    return decide(DEVICE_ACL, username=username, client_id=username, topic=topic, access=access)


@given(st.lists(rules, max_size=6))
def test_round_trip(made: list[Rule]) -> None:
    """What is rendered is parsed back to the same rules, whatever their order."""
    assert set(made) == set(parse(render(Acl(tuple(made)))).rules)


@given(st.text(max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands in a file, it is rules or one clear error."""
    try:
        parse(text)
    except AclError as error:
        assert error.advice


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("topic read #\nnonsense here", 2),
        ("topic read a#", 1),
        ("topic read a/#/b", 1),
        ("topic read a+/b", 1),
        ("topic", 1),
        ("user", 1),
        ("pattern deny a", 1),
        ("TOPIC read a", 1),
        ("include /etc/passwd", 1),
    ],
)
def test_malformed_lines_are_refused_by_number(text: str, line: int) -> None:
    """A line that Mosquitto would choke on is refused before Mosquitto sees it."""
    with pytest.raises(AclError) as caught:
        parse(text)
    assert line == caught.value.line


@pytest.mark.parametrize("name", ["a\nuser admin", "", " a", "a\0"])
def test_names_can_not_smuggle_lines(name: str) -> None:
    """A user name with a line feed is refused, so that it can't bring rules of its own."""
    with pytest.raises(AclError):
        render(Acl((Rule("read", "#", user=name),)))


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


@pytest.mark.parametrize("name", ["+", "#", "sensor-001/commands", "a/b"])
def test_dangerous_names_match_no_pattern(name: str) -> None:
    """A name with a wildcard or a slash in it is given nothing by patterns."""
    assert not allowed(name, f"devices/{name}/status", "write")


def test_deny_beats_everything() -> None:
    """A denied user is out, whatever other rules say."""
    acl = Acl((Rule("readwrite", "#", user="ann"), Rule("deny", "secret/#", user="ann")))
    assert decide(acl, username="ann", client_id="", topic="open", access="read")
    assert not decide(acl, username="ann", client_id="", topic="secret/x", access="read")


@pytest.mark.broker
@pytest.mark.parametrize(("who", "topic", "access", "expected"), CASES)
def test_mosquitto_agrees(site: Site, who: str, topic: str, access: str, expected: bool) -> None:  # noqa: FBT001
    """The real broker decides as we do, judged by the reason code of MQTT 5."""
    assert access == "write"
    outcome = site.attempt(site.identity(who), publish=topic)
    assert ("authorised", expected) == (outcome.stage, outcome.accepted)
    assert outcome.reason == ("accepted" if expected else "not-authorised")
