"""labkit.mqtt.topics: names and filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from labkit.broker.acl import _matches
from labkit.errors import TopicRefusedError
from labkit.mqtt import check_filter, check_topic, matches

level = st.text(st.sampled_from("ab$ é"), max_size=3)
names = st.lists(level, min_size=1, max_size=4).map("/".join).filter(bool)
filters = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(level | st.just("+"), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool) | st.just("#")


@given(filters, names)
def test_matching_agrees_with_paho(pattern: str, name: str) -> None:
    """Our matching is that of an independent implementation, and the broker's rules match alike."""
    assert topic_matches_sub(pattern, name) == matches(pattern, name)
    assert matches(pattern, name) == _matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("sport/#", "sport", True),
        ("sport/+", "sport", False),
        ("+/+", "/finance", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$share/group/a/+", "a/b", True),
    ],
)
def test_examples_of_the_standard(pattern: str, name: str, expected: bool) -> None:  # noqa: FBT001
    """The examples of MQTT 5 §4.7 come out as they are printed there."""
    assert expected == matches(pattern, name)


@given(names)
def test_names_are_accepted(name: str) -> None:
    """A topic name is also a filter, and matches itself."""
    assert name == check_topic(name) == check_filter(name)
    assert matches(name, name)


@pytest.mark.parametrize(
    ("topic", "rule"),
    [
        ("", "empty"),
        ("a\0", "nul"),
        ("a/+", "wildcard"),
        ("#", "wildcard"),
        ("x" * 65_536, "too-long"),
        ("\ud800", "not-unicode"),
    ],
)
def test_bad_names_are_refused(topic: str, rule: str) -> None:
    """What can't be published to is refused by its rule."""
    with pytest.raises(TopicRefusedError) as caught:
        check_topic(topic)
    assert rule == caught.value.rule


@pytest.mark.parametrize("pattern", ["a#", "a/#/b", "a+", "+a/b"])
def test_bad_filters_are_refused(pattern: str) -> None:
    """A wildcard that is not alone on its level, or not last, is refused."""
    with pytest.raises(TopicRefusedError) as caught:
        check_filter(pattern)
    assert caught.value.rule == "wildcard"


@pytest.mark.parametrize(
    "pattern", ["$share/", "$share/group", "$share/group/", "$share//a", "$share/+/a", "$share/a#/b"]
)
def test_shared_subscriptions_are_whole(pattern: str) -> None:
    """A shared subscription needs a group and a filter; with both it is accepted."""
    with pytest.raises(TopicRefusedError) as caught:
        check_filter(pattern)
    assert caught.value.rule == "shared"
    assert check_filter("$share/group/a/#") == "$share/group/a/#"
