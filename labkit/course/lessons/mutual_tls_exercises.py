"""The optional exercises of lesson mutual-tls: eyes for an auditor, a hole in the rules, and a log that lies."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal

from labkit.broker import DEVICE_ACL, Acl, Rule, decide
from labkit.broker.acl import parse, places
from labkit.course.lab import running_broker
from labkit.course.lesson import Check, CheckResult
from labkit.course.shelf import Case, failed, laid, not_attempted, questioned
from labkit.mqtt import check_topic
from labkit.pki import Store
from labkit.scenarios import Site
from labkit.scenarios.access import heard_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.course.lab import Lab
    from labkit.outcome import Outcome

AUDITED, LOOSE = "broker/audited", "broker/loose"
"""The folders of the brokers of these exercises."""

AUDITOR = "auditor"

# --- exercise 3: eyes for an auditor --------------------------------------------------------------------------------

_BELOW = (
    "telemetry/temperature",
    "telemetry/hall/2/humidity",
    "status",
    "commands/open-valve",
    "config",
    "commands",
)
_DEVICES = ("sensor-001", "sensor-002", "pump-7")
TOPICS = (*(f"devices/{name}/{rest}" for name in _DEVICES for rest in _BELOW), "plant/all/stop")
"""Topics that rules are held against."""


def changed_for_others(acl: Acl) -> Iterator[str]:
    """Yield what somebody else than the auditor may do under some rules and not under the course's, or the reverse."""
    everybody = ("admin", *_DEVICES)
    for user in everybody:
        for topic in (*TOPICS, *places(acl, everybody)):
            for access in ("read", "write"):
                now, before = (
                    decide(each, username=user, client_id=user, topic=topic, access=access)
                    for each in (acl, DEVICE_ACL)
                )
                if now != before:
                    yield f"{user} may {'' if now else 'not '}{access} {topic}"


def _check_auditor(lab: Lab) -> CheckResult:
    """Let the auditor listen and speak on the running broker, and hold its rules against everybody else."""
    running = running_broker(lab, AUDITED)
    if running is None:
        return not_attempted("complete with_auditor(), then run the cell below it")
    asked = (
        "the auditor hears everything below devices/ and speaks for no device; for all others nothing changes"
    )
    acl = parse((running.folder / "acl.conf").read_text(encoding="utf-8"))
    if changed := next(changed_for_others(acl), ""):
        return failed(
            "others-changed", changed, expected=asked, advice="for whom is the rule that you added?"
        )
    site = Site(Store(lab.workspace), running)
    for what, outcome in _heard(site):
        if not outcome.accepted:
            return failed(
                "auditor-deaf",
                f"the auditor does not hear {what} ({outcome})",
                expected=asked,
                advice="what stands for everything below a topic?",
            )
    below = [topic for topic in places(acl, (*_DEVICES, AUDITOR)) if topic.startswith("devices/")]
    new = (topic for topic in below if _may(acl, "write", topic) and not _may(DEVICE_ACL, "write", topic))
    if spoken := next(new, ""):
        return failed(
            "auditor-speaks",
            f"the auditor may write to {spoken}",
            expected=asked,
            advice="eyes for all of it, and no voice",
        )
    for topic in TOPICS[:-1]:
        if _may(acl, "write", topic) or not _may(acl, "read", topic):
            fault, word = (
                ("auditor-speaks", "may write to")
                if _may(acl, "write", topic)
                else ("auditor-deaf", "may not read")
            )
            return failed(
                fault,
                f"the auditor {word} {topic}",
                expected=asked,
                advice="eyes for all of it, and no voice",
            )
    command = "devices/sensor-001/commands/open-valve"
    outcome = site.attempt(site.identity(AUDITOR), publish=command)
    if outcome.reason != "not-authorised":
        return failed("auditor-speaks", f"{command}: {outcome}", expected=asked, advice="eyes, and no voice")
    return CheckResult("passed", observed="the auditor heard it all, was refused, and nobody else noticed")


def _may(acl: Acl, access: Literal["read", "write"], topic: str) -> bool:
    return decide(acl, username=AUDITOR, client_id=AUDITOR, topic=topic, access=access)


def _heard(site: Site) -> Iterator[tuple[str, Outcome]]:
    """Let others speak while the auditor listens."""
    with site.session(AUDITOR) as auditor, site.session("sensor-001") as sensor:
        auditor.subscribe("#")
        for topic in ("devices/sensor-001/telemetry/temperature", "devices/sensor-001/status"):

            def speak(payload: str, topic: str = topic) -> None:
                sensor.publish(topic, payload)

            yield topic, heard_by(site, auditor, AUDITOR, topic, speak)
        topic = "devices/sensor-001/commands/blink"

        def command(payload: str) -> None:
            with site.session("admin") as operator:
                operator.publish(topic, payload)

        yield topic, heard_by(site, auditor, AUDITOR, topic, command)


# --- exercise 4: a hole in the rules --------------------------------------------------------------------------------

LOOSE_ACL = Acl((
    Rule("read", "#", user="admin"),
    Rule("write", "devices/+/commands/#", user="admin"),
    Rule("write", "devices/%u/#", pattern=True),
    Rule("read", "devices/%u/commands/#", pattern=True),
    Rule("write", "plant/+/alarm", pattern=True),
))  # fmt: skip
"""Rules that look like the course's, with two holes."""


def _check_hole(lab: Lab) -> CheckResult:
    """Send the reader's message on the broker with the holes, and see whether it arrives."""
    try:
        found = laid(lab, "hole.json")
    except FileNotFoundError:
        return not_attempted("complete hole(), then run the cell below it")
    asked = "a device and a topic: its message arrives under these rules, and would not under those of *Rules that hold*"
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(each, str) for each in found):
        return failed(
            "not-a-pair", f"{found!r}"[:80], expected=asked, advice="return two texts: who, and where to"
        )
    user, topic = found
    if user not in {"sensor-001", "sensor-002"}:
        return failed(
            "not-a-device", f"{user!r} is not one of the two devices here", expected=asked,
            advice="the operator may do more, and should; what may a device do?",
        )  # fmt: skip
    check_topic(topic)
    running = running_broker(lab, LOOSE)
    if running is None:
        return failed(
            "no-broker",
            "the broker with these rules does not run",
            expected=asked,
            advice="run its cell again",
        )
    site = Site(Store(lab.workspace), running)
    control = site.publish("sensor-001", "devices/sensor-001/status", secrets.token_hex(4))
    other = site.publish("sensor-001", "devices/sensor-002/status", secrets.token_hex(4))
    if not control.accepted or other.reason != "not-authorised":
        return failed(
            "other-broker",
            f"own status: {control}; another's: {other}",
            expected="the broker with these rules, which let a device speak for itself and not for another",
            advice="run its cell again",
        )
    if decide(DEVICE_ACL, username=user, client_id=user, topic=topic, access="write"):
        return failed(
            "allowed-anyway", f"{user} may write to {topic} under the good rules too", expected=asked,
            advice="compare the two lists line by line",
        )  # fmt: skip
    outcome = site.publish(user, topic, secrets.token_hex(4))
    site.close()
    if not outcome.accepted:
        return failed(
            "not-delivered", f"{user} to {topic}: {outcome}", expected=asked,
            advice="fill the user's name into each pattern, and compare it with your topic level by level",
        )  # fmt: skip
    return CheckResult("passed", observed=f"{user} spoke on {topic}, and the operator heard it")


# --- exercise 5: a log that lies ------------------------------------------------------------------------------------


def _line(text: str) -> str:
    return f"2026-03-04T05:06:07: {text}"


def _denied(client: str, topic: str) -> str:
    return _line(f"Denied PUBLISH from {client} (d0, q1, r0, m1, '{topic}', ... (5 bytes))")


def _received(client: str, topic: str) -> str:
    return _line(f"Received PUBLISH from {client} (d0, q0, r0, m0, '{topic}', ... (5 bytes))")


_QUIET = [
    _line("mosquitto version 2.0.18 running"),
    _line("New client connected from 127.0.0.1:40312 as sensor-001 (p5, c1, k60, u'sensor-001')."),
    _received("sensor-001", "devices/sensor-001/status"),
    _line("Sending PUBACK to sensor-001 (m1, rc0)"),
]
_OWN, _OTHERS = "devices/sensor-003/telemetry", "devices/sensor-001/status"
_FORGED = f"{_OWN}/Denied PUBLISH from admin (d0, q1, r0, m1, 'x', ... (5 bytes))"

LOGS = tuple(
    Case(about, (lines,), wanted, fault)
    for about, lines, wanted, fault in (
        ("nothing was refused", _QUIET, {}, "counts-what-was-allowed"),
        ("an empty log", [], {}, "counts-what-was-allowed"),
        ("one refusal", [*_QUIET, _denied("sensor-002", "plant/stop")], {"sensor-002": 1}, "misses-some"),
        ("a message to another's topic", [_denied("sensor-002", _OTHERS)], {"sensor-002": 1}, "blames-the-victim"),
        ("three refusals of two devices", [_denied("sensor-002", _OTHERS), *_QUIET, _denied("pump-7", _OTHERS),
                                           _denied("sensor-002", _OWN)], {"sensor-002": 2, "pump-7": 1}, "misses-some"),
        ("a message that a reader may not have", [_line(
            "Denied PUBLISH to sensor-002 (q1, r0, 'devices/sensor-001/commands/x', ... (5 bytes))")], {}, "counts-readers"),
        ("a topic that reads like a refusal", [_received("sensor-003", _FORGED)], {}, "believes-the-topic"),
        ("a refusal of such a topic", [_denied("sensor-003", _FORGED)], {"sensor-003": 1}, "believes-the-topic"),
        ("a topic with a time in it", [_received("sensor-003", _denied("admin", "x"))], {}, "believes-the-topic"),
        ("a client that is called like the word", [_denied("from", _OWN)], {"from": 1}, "misses-some"),
    )
)  # fmt: skip
"""Lines of a log, who was refused in them and how often, and the mistake of somebody who reads something else."""


def _check_log(lab: Lab) -> CheckResult:
    """Show the reader's function ten logs."""
    return questioned(
        lab, "refused_by", LOGS,
        expected="a dict: how many messages of each client were refused",
        looks={
            "counts-what-was-allowed": "which word begins the line of a refusal?",
            "misses-some": "count each refusal, of every client",
            "blames-the-victim": "the client stands behind from; the topic names whom it wanted to speak for",
            "counts-readers": "to and from: who sent the message that was refused?",
            "believes-the-topic": "part of a line was chosen by a client. Which part was not? Begin there",
        },
        passed=f"{len(LOGS)} logs, and nobody wrote into your report",
    )  # fmt: skip


MORE = (
    Check(
        "mutual-tls.3",
        "an auditor hears everything below devices/ and speaks for no device, and for nobody else anything changes",
        (
            "Acl takes a tuple of rules; DEVICE_ACL.rules is the one that you begin with.",
            "One more rule is enough. It gives one access to one user.",
            'It is like the first one of DEVICE_ACL, for user="auditor".',
        ),
        _check_auditor,
        why="Who only has to look should not be able to touch.",
        kind="tweak",
        required=False,
        minutes=4,
    ),
    Check(
        "mutual-tls.4",
        "a device's message gets through a hole in the loose rules",
        (
            "Compare the two lists of rules line by line: which ones differ?",
            "There are two holes. One of them ends in #, and # takes everything.",
            "Fill a name into devices/%u/#: what stands below it that the device should only hear?",
        ),
        _check_hole,
        why="A rule that is a little too wide works every day, until somebody reads it.",
        kind="break-it",
        required=False,
        minutes=5,
    ),
    Check(
        "mutual-tls.5",
        "refused_by() says whose messages were refused, whatever the clients wrote into the log",
        (
            "A line has a time, a colon with a blank, and then the broker's own words.",
            "Clients choose their topics. What stands before the first bracket is the broker's.",
            'Take the text behind the first ": ", and ask whether it begins with Denied PUBLISH from and a blank.',
        ),
        _check_log,
        why="An attacker who can write into your log can send you after somebody else.",
        kind="bug-hunt",
        required=False,
        minutes=6,
    ),
)
"""The exercises that nothing later builds on."""
