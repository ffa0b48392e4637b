"""What a broker's rules give to each device: live trials are made with two of them, and a hole may be another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.audit.facts import Trial
from labkit.broker import decide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.broker import Acl, Rule

OTHER = "labkit-other"
"""A device that there is none of; what is given for it is given for everybody."""

MOST = 20
"""More findings than this say nothing new."""


def granted(acl: Acl, names: Sequence[str], *, bound: bool) -> list[Trial]:
    """Ask the rules what each device may do outside its own topics, as the broker decides.

    Args:
        acl: The rules.
        names: The devices' names.
        bound: Whether the broker takes the client id from the certificate, too.

    Does not check: what a rule gives in a topic that none of the rules names; the broker refuses that.
    """
    found: list[Trial] = []
    for number, name in enumerate(names):
        other = names[number - 1] if len(names) > 1 else OTHER
        for access, topic in _beyond(acl, name, other, bound=bound):
            verb = "write" if access == "write" else "read"
            found.append(Trial(f"the rules let {name} {verb} {topic}", wanted=False, succeeded=True))
        if len(found) >= MOST:
            return found[:MOST]
    if not found:
        what = f"the rules let one of {len(names)} devices write or read in others' topics"
        found.append(Trial(what, wanted=False, succeeded=False))
    return found


def _beyond(acl: Acl, name: str, other: str, *, bound: bool) -> Iterator[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    for rule in acl.rules:
        if rule.access == "deny" or not (rule.pattern or rule.user == name):
            continue
        for client_id in (name,) if bound else (name, other):
            topic = _sample(rule, name, client_id, other)
            if topic.startswith(f"devices/{name}/"):
                continue
            for access in ("write", "read"):
                # What is not below devices/ may well be for all to read: an announcement, the time.
                if access == "read" and not topic.startswith("devices/"):
                    continue
                allowed = decide(acl, username=name, client_id=client_id, topic=topic, access=access)
                if allowed and (access, topic) not in seen:
                    seen.add((access, topic))
                    yield access, topic


def _sample(rule: Rule, name: str, client_id: str, other: str) -> str:
    """Return a topic that a rule speaks of, another device's where it leaves the choice."""
    topic = rule.topic.replace("%u", name).replace("%c", client_id) if rule.pattern else rule.topic
    levels = topic.split("/")
    if levels[0] in {"#", "+"}:
        levels[0:1] = ["devices", *(["#"] if levels[0] == "#" else [])]
    if levels[-1] == "#":
        levels[-1:] = [other, "telemetry", "audit"] if len(levels) == 2 else ["audit"]
    return "/".join(other if level == "+" else level for level in levels)
