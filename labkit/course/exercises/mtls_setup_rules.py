"""Who may say and hear what in mtls-setup: tried on a live broker, and judged by what arrives."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from labkit.broker.acl import decide, places
from labkit.course.exercises.mtls_setup_stage import PATIENCE, Stage, heard, observed
from labkit.errors import NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Acl
    from labkit.course.exercise import Variant
    from labkit.mqtt import Session


_LEAVES = ("telemetry/temperature", "status", "commands/report", "commands/report/interval")
"""Topics of a device, below its name."""

_MOST_PLACES = 40
"""How many places that the rules name are tried, where nobody may write or hear but somebody can."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something that the rules must allow or forbid.

    Attributes:
        fault: What it is called when it is not so.
        text: The sentence, as it should be.
        speaker: Who publishes; empty for the judge.
        topic: Where to.
        listener: Who must hear it, or must not; empty for the judge.
        allowed: Whether it must arrive.
        core: Whether it is about devices that speak, which is the step's own question.
    """

    fault: str
    text: str
    speaker: str
    topic: str
    listener: str = ""
    allowed: bool = True
    core: bool = True
    payload: bytes = field(default_factory=lambda: secrets.token_hex(8).encode(), compare=False)


def sentences(variant: Variant, visitor: str) -> Iterator[Sentence]:
    """Yield what must hold, the forbidden first: a rule too many is worse than one too few."""
    prefix, operator = variant.prefix, variant.operator
    for one, other in (variant.devices, variant.devices[::-1]):
        yield from _silent(f"{prefix}/{other}", prefix, one, other)
        yield from _spoken(f"{prefix}/{one}", one)
        yield from _heard(prefix, one, other, operator, visitor)
        yield from _operated(prefix, one, operator)
        for leaf in ("telemetry/temperature", "status"):
            topic = f"{prefix}/{one}/{leaf}"
            yield _no(
                "stranger-speaks-for-device", f"another device does not write {one}'s {leaf}", visitor, topic
            )


def _no(fault: str, text: str, speaker: str, topic: str) -> Sentence:
    return Sentence(fault, text, speaker, topic, allowed=False)


def _silent(theirs: str, prefix: str, one: str, other: str) -> Iterator[Sentence]:
    for leaf in ("telemetry", "telemetry/temperature", "status"):
        yield _no("speaks-for-another", f"{one} does not write {other}'s {leaf}", one, f"{theirs}/{leaf}")
    for owner in (one, other):
        text = f"{one} does not command {'itself' if owner == one else other}"
        yield _no("device-commands", text, one, f"{prefix}/{owner}/commands/report")
    places = (f"{prefix}/all/stop", f"elsewhere/{one}/telemetry/temperature", f"{prefix}/{one}/settings")
    for topic in places:
        yield _no("speaks-elsewhere", f"{one} writes nothing outside its own topics", one, topic)


def _spoken(own: str, one: str) -> Iterator[Sentence]:
    for leaf in ("telemetry/temperature", "telemetry/air/humidity", "status"):
        yield Sentence("own-topic-lost", f"{one} delivers its own {leaf}", one, f"{own}/{leaf}")


def _heard(prefix: str, one: str, other: str, operator: str, visitor: str) -> Iterator[Sentence]:
    own = {leaf: f"{prefix}/{one}/{leaf}" for leaf in _LEAVES}
    for leaf in ("commands/report", "commands/report/interval"):
        yield Sentence("deaf-to-commands", f"{one} hears its own {leaf}", "", own[leaf], one, core=False)
    for who in (other, visitor):
        name = who if who == other else "another device"
        text = f"{name} hears nothing that is {one}'s"
        for topic in own.values():
            yield Sentence("hears-another", text, "", topic, who, allowed=False, core=False)
    for leaf, topic in own.items():
        yield Sentence("operator-deaf", f"{operator} hears {one}'s {leaf}", "", topic, operator, core=False)


def _operated(prefix: str, one: str, operator: str) -> Iterator[Sentence]:
    for leaf in ("commands/report", "commands/report/interval"):
        text, topic = f"{operator} writes {one}'s {leaf}", f"{prefix}/{one}/{leaf}"
        yield Sentence("operator-cannot-command", text, operator, topic, core=False)
    for topic in (f"{prefix}/{one}/telemetry/temperature", f"{prefix}/{one}/status", f"{prefix}/all/stop"):
        text = f"{operator} writes commands, and nothing else"
        yield Sentence("operator-writes-too-much", text, operator, topic, allowed=False, core=False)


def _of_rules(acl: Acl, variant: Variant, visitor: str) -> Iterator[Sentence]:
    """Yield what else must not be, from the places that the rules themselves name: nobody can guess those."""
    everybody = (*variant.devices, variant.operator, visitor)
    for topic in places(acl, everybody):
        for who in everybody:
            if not _may_write(variant, who, topic) and _allows(acl, who, topic, "write"):
                yield _writes_too_much(variant, who, topic)
            if not _may_hear(variant, who, topic) and _allows(acl, who, topic, "read"):
                text = f"{who} hears its own commands, and nothing that is not its own"
                yield Sentence("hears-another", text, "", topic, who, allowed=False, core=False)


def _may_write(variant: Variant, who: str, topic: str) -> bool:
    rest = topic.removeprefix(f"{variant.prefix}/").split("/")
    if who == variant.operator and topic.startswith(f"{variant.prefix}/") and rest[1:2] == ["commands"]:
        return True
    own = f"{variant.prefix}/{who}"  # of the operator too, for a pattern speaks of everybody
    return topic in {f"{own}/status", f"{own}/telemetry"} or topic.startswith(f"{own}/telemetry/")


def _may_hear(variant: Variant, who: str, topic: str) -> bool:
    own = f"{variant.prefix}/{who}"
    return who == variant.operator or topic == own or topic.startswith((f"{own}/", "$"))


def _allows(acl: Acl, who: str, topic: str, access: Literal["read", "write"]) -> bool:
    return decide(acl, username=who, client_id=who, topic=topic, access=access)


def _writes_too_much(variant: Variant, who: str, topic: str) -> Sentence:
    if who == variant.operator:
        text = f"{who} writes commands, and nothing else"
        return replace(_no("operator-writes-too-much", text, who, topic), core=False)
    levels = topic.removeprefix(f"{variant.prefix}/").split("/")
    if topic.startswith(f"{variant.prefix}/") and levels[1:2] == ["commands"]:
        return _no("device-commands", f"{who} commands nobody", who, topic)
    if topic.startswith(f"{variant.prefix}/") and levels[0] in {*variant.devices} - {who}:
        return _no("speaks-for-another", f"{who} does not write below {levels[0]}", who, topic)
    return _no("speaks-elsewhere", f"{who} writes nothing outside its own topics", who, topic)


def broken(stage: Stage, variant: Variant) -> list[tuple[Sentence, str]]:
    """Return the sentences that do not hold, and what happened instead."""
    told = list(sentences(variant, stage.visitor))
    if stage.rules is not None:
        told += islice(_of_rules(stage.rules, variant, stage.visitor), _MOST_PLACES)
    received = _tried(stage, told)
    found = []
    for each in told:
        known = received[each.listener]
        if known is None:
            found.append((each, f"{each.listener or 'the judge'} heard nothing at all"))
        elif (each.payload in known) != each.allowed:
            arrived = "arrived" if each.payload in known else "did not arrive"
            found.append((each, f"a message of {each.speaker or 'the judge'} to {each.topic} {arrived}"))
    return found or _borrowed(stage, variant) or _unknown(stage)


def _unknown(stage: Stage) -> list[tuple[Sentence, str]]:
    """Return rules for users that there are not: whoever gets that name one day has their rights."""
    rules = stage.rules.rules if stage.rules else ()
    names = {rule.user for rule in rules if rule.user and rule.access != "deny" and not rule.pattern}
    return [
        (
            Sentence("user-unknown", "rules for your devices and your operator", "", "", core=False),
            f"the rules give rights to {name!r}, who is none of {', '.join(stage.names)}",
        )
        for name in sorted(names - set(stage.names))
    ]


def _tried(stage: Stage, told: list[Sentence]) -> dict[str, set[bytes] | None]:
    with ExitStack() as stack:
        observer = stack.enter_context(observed(stage))
        sessions: dict[str, Session] = {
            name: stack.enter_context(stage.session(name)) for name in stage.names
        }
        sessions[stage.visitor] = stack.enter_context(stage.judges(stage.visitor))
        for session in sessions.values():
            _listen(session)
        for each in told:
            _say(sessions[each.speaker] if each.speaker else observer, each.topic, each.payload)
        observer.publish(stage.fence, "fence", timeout=PATIENCE)
        sessions[""] = observer
        return {name: heard(session, stage) for name, session in sessions.items()}


def _listen(session: Session) -> None:
    try:
        session.subscribe("#", timeout=PATIENCE)
    except NotConnectedError:
        return  # then it hears nothing, and that is what will be told


def _say(session: Session, topic: str, payload: bytes) -> None:
    try:
        session.publish(topic, payload, timeout=PATIENCE)
    except NotConnectedError:
        return  # a broker that hangs up on a forbidden message has refused it


def _borrowed(stage: Stage, variant: Variant) -> list[tuple[Sentence, str]]:
    """Try what a device can do under another's client id, with everybody else gone."""
    thief, victim = variant.devices[1], variant.devices[0]
    own = f"{variant.prefix}/{victim}"
    text = f"{thief} neither writes nor hears what is {victim}'s, whatever client id it claims"
    told = [_no("client-id-believed", text, thief, f"{own}/{leaf}") for leaf in _LEAVES]
    secret = Sentence("client-id-believed", text, "", f"{own}/commands/report", thief, core=False)
    with observed(stage) as observer:
        try:
            with stage.session(thief, client_id=victim) as session:
                _listen(session)
                observer.publish(secret.topic, secret.payload, timeout=PATIENCE)
                observer.publish(stage.fence, "fence", timeout=PATIENCE)
                stolen = heard(session, stage)
                for each in told:
                    _say(session, each.topic, each.payload)
        except NotConnectedError:
            return []
        heard(observer, stage)
        observer.publish(stage.fence, "fence", timeout=PATIENCE)
        known = heard(observer, stage)
    for each in told:
        if known is None or each.payload in known:
            return [(each, f"under the client id {victim}, {thief}'s message to {each.topic} arrived")]
    if stolen and secret.payload in stolen:
        return [(secret, f"under the client id {victim}, {thief} heard a message to {secret.topic}")]
    return []
