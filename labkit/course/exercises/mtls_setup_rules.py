"""Who may say and hear what in mtls-setup: tried on a live broker, and judged by what arrives."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.course.exercises.mtls_setup_stage import PATIENCE, Stage, heard, observed
from labkit.errors import NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.course.exercise import Variant
    from labkit.mqtt import Session


_LEAVES = ("telemetry/temperature", "status", "commands/report", "commands/report/interval")
"""Topics of a device, below its name."""


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


def broken(stage: Stage, variant: Variant) -> list[tuple[Sentence, str]]:
    """Return the sentences that do not hold, and what happened instead."""
    told = list(sentences(variant, stage.visitor))
    received = _tried(stage, told)
    found = []
    for each in told:
        known = received[each.listener]
        if known is None:
            found.append((each, f"{each.listener or 'the judge'} heard nothing at all"))
        elif (each.payload in known) != each.allowed:
            arrived = "arrived" if each.payload in known else "did not arrive"
            found.append((each, f"a message of {each.speaker or 'the judge'} to {each.topic} {arrived}"))
    return found or _borrowed(stage, variant)


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
    topic = f"{variant.prefix}/{victim}/telemetry/temperature"
    text = f"{thief} does not write {victim}'s telemetry, whatever client id it claims"
    told = _no("client-id-believed", text, thief, topic)
    with observed(stage) as observer:
        try:
            with stage.session(thief, client_id=victim) as session:
                _say(session, topic, told.payload)
        except NotConnectedError:
            return []
        observer.publish(stage.fence, "fence", timeout=PATIENCE)
        known = heard(observer, stage)
    if known is None or told.payload in known:
        return [(told, f"under the client id {victim}, {thief}'s message to {topic} arrived")]
    return []
