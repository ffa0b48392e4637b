"""Topic names and topic filters (MQTT 5 §4.7)."""

from __future__ import annotations

from labkit.errors import TopicRefusedError

MAX_BYTES = 65_535
"""Longest topic: its length is a two-byte number (MQTT 5 §1.5.4)."""

SHARED = "$share/"
"""How a shared subscription begins: each message goes to one member of its group (MQTT 5 §4.8.2)."""


def check_topic(topic: str) -> str:
    """Return a topic name, to publish to, or refuse it.

    Raises:
        TopicRefusedError: `rule` is `empty`, `too-long`, `nul`, `not-unicode` or `wildcard`.
    """
    _check_text(topic)
    if "+" in topic or "#" in topic:
        raise _refused(topic, "wildcard", "a message goes to one topic, and + and # stand for many")
    return topic


def check_filter(pattern: str) -> str:
    """Return a topic filter, to subscribe with, or refuse it.

    Raises:
        TopicRefusedError: `rule` is `empty`, `too-long`, `nul`, `not-unicode`, `wildcard` or `shared`.
    """
    _check_text(pattern)
    if pattern.startswith(SHARED):
        group, _, rest = pattern.removeprefix(SHARED).partition("/")
        if not group or not rest or set("+#") & set(group):
            raise _refused(
                pattern, "shared", "it is $share/group/filter with nothing left out (MQTT 5 §4.8.2)"
            )
    levels = pattern.split("/")
    for position, level in enumerate(levels):
        if "#" in level and (level != "#" or position < len(levels) - 1):
            raise _refused(pattern, "wildcard", "# stands alone and last (MQTT 5 §4.7.1.2)")
        if "+" in level and level != "+":
            raise _refused(pattern, "wildcard", "+ fills a whole level (MQTT 5 §4.7.1.3)")
    return pattern


def matches(pattern: str, topic: str) -> bool:
    """Return whether a filter matches a topic name.

    Args:
        pattern: A valid filter. A shared subscription (`$share/group/filter`) is matched by its own filter.
        topic: A valid topic name.
    """
    if pattern.startswith(SHARED):
        pattern = pattern.split("/", 2)[2]
    # MQTT 5 §4.7.2: a wildcard in front keeps away from the broker's own topics.
    if topic.startswith("$") and pattern[0] in "+#":
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(given) or level not in {"+", given[position]}:
            return False
    return len(wanted) == len(given)


def _check_text(text: str) -> None:
    if not text:
        raise _refused(text, "empty", "it is empty (MQTT 5 §4.7.3)")
    if "\0" in text:
        raise _refused(text, "nul", "it holds a NUL (MQTT 5 §1.5.4)")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise _refused(text, "not-unicode", "it holds half a surrogate pair (MQTT 5 §1.5.4)") from error
    if size > MAX_BYTES:
        raise _refused(text, "too-long", f"it has {size} bytes and {MAX_BYTES} are allowed")


def _refused(topic: str, rule: str, why: str) -> TopicRefusedError:
    return TopicRefusedError(
        f"{topic[:60]!r} can't be used: {why}.",
        advice="Write topics like devices/sensor-001/telemetry/temperature.",
        topic=topic,
        rule=rule,
    )
