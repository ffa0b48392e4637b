"""Who may read and write which topic: rules as data, rendered for Mosquitto and decided here in the same way.

The file format is Mosquitto's (`man mosquitto.conf`, *acl_file*). Rules are additive; a `deny` beats all others of
its user. `%u` stands for the user name, `%c` for the client id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from labkit.errors import AclError

Access = Literal["read", "write", "readwrite", "deny"]
"""What a rule gives, or takes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an access control list.

    Attributes:
        access: What it gives or takes.
        topic: A topic filter.
        user: Whom it is for. None: everybody if `pattern`, otherwise clients without a user name.
        pattern: Whether `%u` and `%c` are filled in; such a rule is for everybody.
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


def render(acl: Acl) -> str:
    """Return the file. Rules of one user stand together, rules without a user first.

    Raises:
        AclError: A topic or user that would not survive the file format.
    """
    lines: list[str] = []
    users = list(dict.fromkeys(rule.user for rule in acl.rules if rule.user is not None))
    anonymous = [rule for rule in acl.rules if rule.user is None and not rule.pattern]
    lines += [f"topic {rule.access} {_topic(rule.topic, 0)}" for rule in anonymous]
    for user in users:
        lines += ["", f"user {_word(user)}"]
        lines += [f"topic {r.access} {_topic(r.topic, 0)}" for r in acl.rules if r.user == user]
    patterns = [f"pattern {r.access} {_topic(r.topic, 0)}" for r in acl.rules if r.pattern]
    return "\n".join([*lines, "", *patterns]).strip("\n") + "\n"


def parse(text: str) -> Acl:
    """Read a file, strictly: 2.0 drops the *whole* list at a reload if one line is wrong, and fails open.

    Raises:
        AclError: A line that is not a rule; it carries the line's number.
    """
    rules: list[Rule] = []
    user: str | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "user":
            user = _word(rest.strip(), number)
        elif word in {"topic", "pattern"}:
            rules.append(_rule(word, rest.strip(), user, number))
        else:
            raise _bad(number, f"it begins with {word!r}; a line begins with user, topic or pattern")
    return Acl(tuple(rules))


def _rule(word: str, rest: str, user: str | None, number: int) -> Rule:
    access, _, topic = rest.partition(" ")
    if access not in get_args(Access):
        access, topic = "readwrite", rest
    topic = _topic(topic.strip(), number)
    if word == "pattern":
        if access == "deny":
            raise _bad(number, "a pattern can't deny")
        return Rule(access, topic, pattern=True)  # type: ignore[arg-type] # one of the four words
    return Rule(access, topic, user=user)  # type: ignore[arg-type] # one of the four words


def decide(
    acl: Acl, *, username: str | None, client_id: str, topic: str, access: Literal["read", "write"]
) -> bool:
    """Return whether the list allows it, as Mosquitto decides.

    Args:
        acl: The list.
        username: The user name; None for a client without one.
        client_id: The client id.
        topic: The topic of one message, without wildcards.
        access: Whether the message is delivered to the client or published by it.

    Does not check: who the user really is. The broker's TLS layer did that.
    """
    own = [rule for rule in acl.rules if not rule.pattern and rule.user == username]
    if any(rule.access == "deny" and _matches(rule.topic, topic) for rule in own):
        return False
    if any(_gives(rule, access) and _matches(rule.topic, topic) for rule in own):
        return True
    if any(mark in name for name in (username or "", client_id) for mark in "+#/"):
        # "dangerous": filled into a pattern, such a name would change what the pattern means.
        return False
    return any(
        _gives(rule, access) and _matches(_filled(rule.topic, username, client_id), topic)
        for rule in acl.rules
        if rule.pattern and not ("%u" in rule.topic and username is None)
    )


def _gives(rule: Rule, access: str) -> bool:
    return rule.access in {access, "readwrite"}


def _filled(topic: str, username: str | None, client_id: str) -> str:
    return topic.replace("%u", username or "").replace("%c", client_id)


def _matches(pattern: str, topic: str) -> bool:
    # MQTT 5 §4.7.2: a wildcard in front does not match a topic that begins with $.
    if topic.startswith("$") and pattern[:1] in {"+", "#"}:
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(given) or level not in {"+", given[position]}:
            return False
    return len(wanted) == len(given)


def _topic(topic: str, number: int) -> str:
    levels = topic.split("/")
    bad = (
        not topic
        or any(c in topic for c in "\r\n\0")
        or topic != topic.strip()
        or any(
            "#" in level and (level != "#" or index < len(levels) - 1) for index, level in enumerate(levels)
        )
        or any("+" in level and level != "+" for level in levels)
    )
    if bad:
        raise _bad(number, f"{topic!r} is not a topic filter")
    return topic


def _word(user: str, number: int = 0) -> str:
    if not user or user != user.strip() or any(c in user for c in "\r\n\0"):
        raise _bad(number, f"{user!r} is not a user name")
    return user


def _bad(number: int, why: str) -> AclError:
    return AclError(
        f"Line {number} of the access rules: {why}.",
        advice="Write it like: topic write devices/+/commands/#",
        line=number,
    )
