"""Who may read and write which topic: rules as data, rendered for Mosquitto and decided here in the same way.

The file format is Mosquitto's (`man mosquitto.conf`, *acl_file*). Rules are additive; a `deny` beats all others of
its user. `%u` stands for the user name, `%c` for the client id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from labkit.errors import AclError

if TYPE_CHECKING:
    from collections.abc import Iterable

Access = Literal["read", "write", "readwrite", "deny"]
"""What a rule gives, or takes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an access control list.

    Attributes:
        access: What it gives or takes.
        topic: A topic filter.
        user: Whom it is for. None: everybody if `pattern`, otherwise clients without a user name.
        pattern: Whether `%u` and `%c` are filled in; such a rule is for everybody, whatever `user` says.
    """

    access: Access
    topic: str
    user: str | None = None
    pattern: bool = False


@dataclass(frozen=True, slots=True)
class Acl:
    """An access control list; what no rule allows is forbidden."""

    rules: tuple[Rule, ...]

    def denying(self, user: str) -> Acl:
        """Return the list with everything taken from one user: the switch that silences a live session."""
        return Acl((*self.rules, Rule("deny", "#", user=user)))

    def without_denial(self, user: str) -> Acl:
        """Return the list without what `denying` added for a user."""
        denial = Rule("deny", "#", user=user)
        return Acl(tuple(rule for rule in self.rules if rule != denial))


DEVICE_ACL = Acl(
    (
        Rule("read", "#", user="admin"),
        Rule("write", "devices/+/commands/#", user="admin"),
        Rule("write", "devices/%u/telemetry/#", pattern=True),
        Rule("write", "devices/%u/status", pattern=True),
        Rule("read", "devices/%u/commands/#", pattern=True),
    )
)
"""The course's rules: a device speaks in its own topics and hears its own commands; the operator reads everything."""


_BLANKS = " \t\n\v\f\r"  # what C calls space; Python's own idea of it is wider
_LEVELS = 200  # the most that Mosquitto takes
_PLACE = re.compile("%[uc]")


def render(acl: Acl) -> str:
    """Return the file. Rules of one user stand together, rules without a user first.

    Raises:
        AclError: A topic or user that would not survive the file format.
    """
    lines: list[str] = []
    users = list(dict.fromkeys(rule.user for rule in acl.rules if rule.user is not None and not rule.pattern))
    lines += [_line(rule) for rule in acl.rules if rule.user is None and not rule.pattern]
    for user in users:
        lines += ["", f"user {_word(user)}"]
        lines += [_line(rule) for rule in acl.rules if rule.user == user and not rule.pattern]
    patterns = [_line(rule) for rule in acl.rules if rule.pattern]
    return "\n".join([*lines, "", *patterns]).strip("\n") + "\n"


def _line(rule: Rule) -> str:
    word = "pattern" if rule.pattern else "topic"
    return f"{word} {rule.access} {_topic(rule.topic, 0, pattern=rule.pattern)}"


def parse(text: str) -> Acl:
    """Read a file, strictly: 2.0 drops the *whole* list at a reload if one line is wrong, and fails open.

    Raises:
        AclError: A line that is not a rule; it carries the line's number.
    """
    rules: list[Rule] = []
    user: str | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip(_BLANKS).lstrip(" ")
        if not line or raw.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "user":
            user = _word(rest.strip(_BLANKS), number)
        elif word in {"topic", "pattern"}:
            rules.append(_rule(word, rest.strip(_BLANKS), user, number))
        else:
            raise _bad(number, f"it begins with {word!r}; a line begins with user, topic or pattern")
    return Acl(tuple(rules))


def _rule(word: str, rest: str, user: str | None, number: int) -> Rule:
    access, _, topic = rest.partition(" ")
    if not topic and access not in get_args(Access):
        access, topic = "readwrite", rest
    if access not in get_args(Access):
        raise _bad(number, f"{access!r} is none of {', '.join(get_args(Access))}")
    pattern = word == "pattern"
    topic = _topic(topic.strip(_BLANKS), number, pattern=pattern)
    return Rule(access, topic, user=None if pattern else user, pattern=pattern)  # type: ignore[arg-type] # it is one


def decide(
    acl: Acl,
    *,
    username: str | None,
    client_id: str,
    topic: str,
    access: Literal["read", "write"],
    version: tuple[int, ...] = (2, 0),
) -> bool:
    """Return whether the list allows it, as Mosquitto decides.

    Args:
        acl: The list.
        username: The user name; None for a client without one.
        client_id: The client id.
        topic: The topic of one message, without wildcards.
        access: Whether the message is delivered to the client or published by it.
        version: Mosquitto's. 2.0 fills a name with a slash into a pattern, which gives it the topics of others; from
            2.1 on such a name matches no pattern.

    Does not check: who the user really is. The broker's TLS layer did that.
    """
    if _never(topic, access):
        return False
    own = [rule for rule in acl.rules if not rule.pattern and rule.user == username]
    verdict = _first(((rule, rule.topic) for rule in own), topic, access)
    if verdict is not None:
        return verdict
    if any(mark in name for name in (username or "", client_id) for mark in "+#"):
        # "dangerous": filled into a pattern, such a name would change what the pattern means.
        return False
    names = {"%u": username, "%c": client_id}
    patterns = ((rule, _filled(rule.topic, names, version)) for rule in acl.rules if rule.pattern)
    return bool(_first(patterns, topic, access))


def decide_subscription(
    acl: Acl, *, username: str, client_id: str, pattern: str, version: tuple[int, ...] = (2, 1)
) -> bool:
    """Return whether everything that a topic filter stands for may be read.

    Mosquitto grants every subscription and looks at each message when it delivers it. A broker that decides when
    somebody subscribes has to ask this instead: one rule has to cover the whole filter. Several rules that cover it
    only together are not enough, so that the answer errs on the side of no.

    Args:
        acl: The list.
        username: The user name.
        client_id: The client id.
        pattern: The topic filter.
        version: See `decide`; the careful reading of patterns without it.

    Does not check: who the user really is.
    """
    if not _is_filter(pattern) or any(mark in name for name in (username, client_id) for mark in "+#"):
        return False
    names: dict[str, str | None] = {"%u": username, "%c": client_id}
    mine = [
        (rule.access, _filled(rule.topic, names, version) if rule.pattern else rule.topic)
        for rule in acl.rules
        if rule.pattern or rule.user == username
    ]
    if any(access == "deny" and topic is not None and _overlap(topic, pattern) for access, topic in mine):
        return False
    return any(
        access in {"read", "readwrite"} and topic is not None and _matches(topic, pattern)
        for access, topic in mine
    )


def places(acl: Acl, names: Iterable[str]) -> list[str]:
    """Return topics that rules speak of, for whoever tries them: what a rule too many allows, nobody guesses.

    Args:
        acl: The list.
        names: User names, which are also client ids; they are filled into patterns, and for `+`.
    """
    found: list[str] = []
    for rule in acl.rules:
        for name in names:
            filled = rule.topic.replace("%u", name).replace("%c", name)
            for level in (name, "else"):
                whole = filled.replace("+", level)
                found += [
                    whole.replace("#", "more/and-more"),
                    whole.removesuffix("/#").replace("#", "more"),  # "a/#" matches "a" too
                ]
    return list(dict.fromkeys(found))


def _overlap(one: str, other: str) -> bool:
    """Return whether there may be a topic that both filters match."""
    ours, theirs = one.split("/"), other.split("/")
    for level, their in zip(ours, theirs, strict=False):
        if "#" in {level, their}:
            return True
        if level != their and "+" not in {level, their}:
            return False
    longer = ours if len(ours) > len(theirs) else theirs
    # "a/#" matches "a" too (MQTT 5 §4.7.1.2).
    return len(ours) == len(theirs) or longer[min(len(ours), len(theirs))] == "#"


def _never(topic: str, access: str) -> bool:
    # The broker's own topics are nobody's to write, but for the state of a bridge; $share is for subscribing only.
    own = topic.startswith("$SYS") and access == "write"
    return topic.startswith("$share") or (own and not _matches("$SYS/broker/connection/+/state", topic))


def _first(rules: Iterable[tuple[Rule, str | None]], topic: str, access: str) -> bool | None:
    """Return what the first matching rule says; denials come first. None if no rule says anything."""
    matching = [rule for rule, pattern in rules if pattern is not None and _matches(pattern, topic)]
    if any(rule.access == "deny" for rule in matching):
        return False
    return True if any(rule.access in {access, "readwrite"} for rule in matching) else None


def _filled(topic: str, names: dict[str, str | None], version: tuple[int, ...]) -> str | None:
    """Return a pattern with the names in their places, or None if it can't match anything."""
    used = _PLACE.findall(topic)
    if any(not names[place] for place in used):
        return None
    if version >= (2, 1) and (
        any("/" in str(names[place]) for place in used)
        or (topic.startswith("%") and str(names[topic[:2]]).startswith("$"))
    ):
        return None
    return _PLACE.sub(lambda found: str(names[found[0]]), topic)


def _matches(pattern: str, topic: str) -> bool:
    """Return whether a filter matches a topic, or all that another filter matches."""
    # MQTT 5 §4.7.2: a wildcard in front does not match a topic that begins with $.
    if topic.startswith("$") and pattern[:1] in {"+", "#"}:
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(given) or given[position] == "#" or level not in {"+", given[position]}:
            return False
    return len(wanted) == len(given)


def _is_filter(topic: str) -> bool:
    levels = topic.split("/")
    return (
        _is_one_line(topic)
        and all(
            "#" not in level or (level == "#" and not levels[index + 1 :])
            for index, level in enumerate(levels)
        )
        and all("+" not in level or level == "+" for level in levels)
        and len(levels) <= _LEVELS
    )


def _topic(topic: str, number: int, *, pattern: bool) -> str:
    if not _is_filter(topic):
        raise _bad(number, f"{topic!r} is not a topic filter")
    levels = topic.split("/")
    if pattern and any(_PLACE.search(level) and level not in {"%u", "%c"} for level in levels):
        # 2.0 fills it in anywhere, 2.1 only between slashes.
        raise _bad(number, f"{topic!r}: %u and %c take a whole level of the topic")
    return topic


def _word(user: str, number: int = 0) -> str:
    if not _is_one_line(user):
        raise _bad(number, f"{user!r} is not a user name")
    return user


def _is_one_line(text: str) -> bool:
    # A line feed would bring rules of its own; half a surrogate pair can't be written as UTF-8.
    control = any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in text)
    return bool(text) and text == text.strip(_BLANKS) and not control


def _bad(number: int, why: str) -> AclError:
    return AclError(
        f"Line {number} of the access rules: {why}.",
        advice="Write it like: topic write devices/+/commands/#",
        line=number,
    )
