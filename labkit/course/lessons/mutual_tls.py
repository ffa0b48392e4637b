"""Lesson mutual-tls: identity from a key, rules by identity, and judging by what arrives."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from labkit.broker import Acl, Rule, decide
from labkit.broker.acl import parse, places
from labkit.course.lab import ready_authority, running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.mutual_tls_exercises import MORE
from labkit.course.lessons.mutual_tls_questions import QUESTIONS
from labkit.course.shelf import Case, failed, not_attempted, questioned
from labkit.pki import Store
from labkit.scenarios import Site
from labkit.scenarios.access import try_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.course.lab import Lab

CASES = {
    "own telemetry": ("sensor-001", "devices/sensor-001/telemetry/temperature"),
    "own status": ("sensor-001", "devices/sensor-001/status"),
    "below own status": ("sensor-001", "devices/sensor-001/status/now"),
    "another's telemetry": ("sensor-001", "devices/sensor-002/telemetry/temperature"),
    "own commands": ("sensor-001", "devices/sensor-001/commands/blink"),
    "a longer name": ("sensor-1", "devices/sensor-10/status"),
    "telemetry itself": ("sensor-001", "devices/sensor-001/telemetry"),
    "hostile": ("+", "devices/sensor-001/status"),
}
"""Users and topics of the first exercise; the last one is hostile."""

CLAIMS = (
    Claim("password-in", "A device with its password gets in.", "mqtt"),
    Claim(
        "password-thief", "Whoever knows the password is the device.", "authorised", "accepted", "password"
    ),
    Claim("password-control", "The broker does refuse a wrong password.", "mqtt", "not-authorised"),
    Claim(
        "printed-refuses",
        "A broker that believes the root alone refuses its own device.",
        "tls",
        "unknown-ca",
        "printed",
    ),
    Claim("chain-in", "The same broker lets in a device that sends its chain.", "mqtt"),
    Claim("bundle-in", "With intermediate and root in cafile the leaf is enough.", "mqtt"),
    Claim("capath-in", "With both in a hashed folder the leaf is enough, too.", "mqtt"),
    Claim(
        "intermediate-only",
        "With the intermediate alone in cafile the device stays out.",
        "tls",
        "unknown-ca",
    ),
    Claim("claim-ignored", "Who claims to be admin is not believed.", "authorised", "not-authorised"),
    Claim("claim-control", "Under its true name the same device may speak.", "authorised"),
    Claim(
        "other-undelivered",
        "A message to another device's topic is not delivered.",
        "authorised",
        "not-authorised",
        "puback",
    ),
    Claim("own-delivered", "A message to the device's own topic is delivered.", "authorised"),
    Claim(
        "spy-deaf",
        "A granted subscription to another's commands hears nothing.",
        "authorised",
        "not-delivered",
        "suback",
    ),
    Claim("slash-injects", "A name with a slash puts a command into another device's tree.", "authorised"),
    Claim("plain-name-harmless", "A plain name puts no command there.", "authorised", "not-delivered"),
    Claim("still-in", "The broker that refused all this lets the device deliver.", "authorised"),
    Claim("command-waits", "A command waits for a device that is away.", "authorised"),
    Claim("command-lost", "Who takes its client id makes the command vanish.", "authorised", "not-delivered"),
    Claim(
        "command-safe", "Where the client id comes from the certificate, the command is safe.", "authorised"
    ),
    Claim("sibling-admin", "Another intermediate under the same root makes an admin.", "authorised"),
    Claim(
        "sibling-refused",
        "A list of the right intermediate alone keeps it out.",
        "tls",
        "revocation-list-missing",
    ),
    Claim("sibling-control", "The true admin is still in.", "authorised"),
    Claim("other-root-refused", "A root for devices alone keeps it out, too.", "tls", "unknown-ca"),
)

PREDICTIONS = (
    Prediction(
        "password",
        "Somebody on another computer has read the password. TLS is on. What does the broker do?",
        {"tls": "refuses during TLS", "mqtt": "refuses by MQTT", "in": "lets him in as sensor-001"},
        "in",
        {
            "tls": "TLS proved the broker to the client. Nobody asked the client for anything.",
            "mqtt": "The password is right, and that is all that MQTT asks.",
        },
    ),
    Prediction(
        "printed",
        "cafile is the root; the device shows a certificate that the intermediate signed. What happens?",
        {"in": "it gets in", "tls": "refused during TLS", "start": "the broker does not start"},
        "tls",
        {
            "in": "The broker would have to guess the intermediate. Nobody showed it.",
            "start": "A root is a fine cafile. It is only not enough here.",
        },
    ),
    Prediction(
        "puback",
        "In how many of the six ways is the publisher's library told that the message was refused?",
        {"six": "in all six", "three": "in all three of MQTT 5", "few": "in one or two", "none": "in none"},
        "few",
        {
            "six": "MQTT 3.1.1 has no word for it.",
            "three": "With QoS 0 there is no answer that could say it, in either version.",
            "none": "MQTT 5 with QoS 1 has a reason code, and the broker uses it.",
        },
    ),
    Prediction(
        "suback",
        "sensor-002's subscription to sensor-001's commands was granted. Does it receive them?",
        {"yes": "yes, it was granted", "no": "no", "some": "only those sent after the grant"},
        "no",
        {
            "yes": "The grant says that the subscription was noted, and nothing more.",
            "some": "Not those either: each message is held against the rules on its way out.",
        },
    ),
)


PATTERNS = ["devices/%u/telemetry/#", "devices/%u/status"]
_PLUS = ["plant/+/alarm", "devices/%u/+"]

_FAULTS = {
    "own telemetry": "too-strict",
    "own status": "too-strict",
    "below own status": "too-long",
    "another's telemetry": "another-device",
    "own commands": "any-topic",
    "a longer name": "looks-at-the-beginning",
    "telemetry itself": "hash-wants-more",
    "hostile": "dangerous-name",
}

QUESTIONS_OF_RULES = (
    *((about, *case, PATTERNS, _FAULTS[about]) for about, case in CASES.items()),
    ("deep below telemetry", "pump-7", "devices/pump-7/telemetry/hall/2/temperature", PATTERNS, "too-strict"),
    ("no patterns", "sensor-001", "devices/sensor-001/status", [], "any-topic"),
    ("a name called #", "#", "devices/sensor-001/status", PATTERNS, "dangerous-name"),
    (
        "a name with + in it, and a rule for everybody",
        "sensor+1",
        "plant/hall/alarm",
        _PLUS,
        "dangerous-name",
    ),
    (
        "a name that is a pattern elsewhere",
        "sensor.001",
        "devices/sensor-001/status",
        PATTERNS,
        "looks-alike",
    ),
    ("the place of a name, not filled in", "sensor-001", "devices/%u/status", PATTERNS, "looks-alike"),
    ("capitals", "sensor-001", "devices/Sensor-001/status", PATTERNS, "looks-alike"),
    ("a slash in front", "sensor-001", "/devices/sensor-001/status", PATTERNS, "any-topic"),
    ("a slash at the end", "sensor-001", "devices/sensor-001/status/", PATTERNS, "too-long"),
    ("the beginning of a pattern", "sensor-001", "devices/sensor-001", PATTERNS, "too-short"),
    ("one level for +", "sensor-001", "plant/hall/alarm", _PLUS, "plus"),
    ("another level for +", "pump-7", "devices/pump-7/config", _PLUS, "plus"),
    ("two levels for +", "sensor-001", "plant/hall/2/alarm", _PLUS, "plus"),
    ("no level for +", "sensor-001", "plant/alarm", _PLUS, "plus"),
    ("no level for + at the end", "sensor-001", "devices/sensor-001", _PLUS, "plus"),
    ("two levels for + at the end", "sensor-001", "devices/sensor-001/x/y", _PLUS, "plus"),
    ("# alone", "sensor-001", "a/b/c", ["plant/+/alarm", "#"], "too-strict"),
)
"""Case, user, topic, patterns, and the mistake of somebody who decides otherwise."""


def _check_decisions(lab: Lab) -> CheckResult:
    """Compare the reader's decisions with the model that is tested against Mosquitto."""
    cases = []
    for about, user, topic, patterns, fault in QUESTIONS_OF_RULES:
        acl = Acl(tuple(Rule("write", pattern, pattern=True) for pattern in patterns))
        wanted = decide(acl, username=user, client_id=user, topic=topic, access="write")
        cases.append(Case(f"{about}, {user!r} to {topic}", (user, topic, patterns), wanted, fault))
    return questioned(
        lab, "may_write", cases,
        expected="True or False, as the broker decides",
        looks={
            "too-strict": "try each of the patterns, and let # take what is left, at any depth",
            "too-long": "are both equally long, where there is no #?",
            "too-short": "are both equally long, where there is no #?",
            "another-device": "whose name is filled in?",
            "any-topic": "each level has to be the pattern's",
            "looks-at-the-beginning": "compare whole levels, not how they begin",
            "hash-wants-more": "# takes what is left, even nothing",
            "dangerous-name": "look at the name before you fill it in anywhere",
            "looks-alike": "levels are compared letter by letter, and a name is no pattern",
            "plus": "+ takes one level: not two, and not none",
        },
        passed=f"{len(cases)} decisions, the hostile ones included, as the broker takes them",
    )  # fmt: skip


_DEVICES = ("sensor-001", "sensor-1", "pump-7")


def _needed_and_forbidden() -> Iterator[tuple[bool, str, str, str]]:
    """Yield what follows from the seven sentences: whether it must be allowed, who, does what, to which topic."""
    for user, other in product(_DEVICES, (*_DEVICES, "sensor-10")):
        for rest in ("telemetry/temperature", "telemetry/hall/2/humidity", "status"):
            yield user == other, user, "write", f"devices/{other}/{rest}"
            if user != other:
                yield False, user, "read", f"devices/{other}/{rest}"
        for rest in ("commands/open-valve", "commands/valve/2/open"):
            yield False, user, "write", f"devices/{other}/{rest}"
            yield user == other, user, "read", f"devices/{other}/{rest}"
    for user, access in product(_DEVICES, ("write", "read")):
        yield False, user, access, "plant/all/stop"
    for rest in ("telemetry/t", "status", "commands/x"):
        yield True, "admin", "read", f"devices/pump-7/{rest}"
    yield True, "admin", "write", "devices/pump-7/commands/valve/open"


def _too_wide_or_strict(acl: Acl) -> tuple[str, str] | None:
    """Return a fault and what is there, for the first message that rules decide against the sentences."""
    for needed, user, access, topic in _needed_and_forbidden():
        allowed = decide(acl, username=user, client_id=user, topic=topic, access=access)  # type: ignore[arg-type]
        if allowed is not needed:
            return (
                "too-strict" if needed else "too-wide",
                f"{user} may {'' if allowed else 'not '}{access} {topic}",
            )
    for topic, user, access in product(places(acl, _DEVICES), _DEVICES, ("write", "read")):
        own = topic == f"devices/{user}" or topic.startswith((f"devices/{user}/", "$"))
        if not own and decide(acl, username=user, client_id=user, topic=topic, access=access):  # type: ignore[arg-type]
            return "too-wide", f"{user} may {access} {topic}"
    return None


def _check_rules(lab: Lab) -> CheckResult:
    """Try every sentence on the running broker, and hold its rules against many more messages."""
    running = running_broker(lab)
    asked = "devices speak and hear below their own names; the operator commands and hears all"
    if running is None:
        return failed(
            "no-broker",
            "no broker is running in this lab",
            expected="the broker of *Who are you, then?*",
            advice="run its cell again",
        )
    text = (running.folder / "acl.conf").read_text(encoding="utf-8")
    if "pattern readwrite devices/#" in text:
        return not_attempted("complete rules(), then run the cell below it")
    site = Site(Store(lab.workspace), running)
    wrong = [(sentence, outcome) for sentence, held, outcome in try_rules(site) if not held]
    look = "which rule is for everybody, and which for one user? who writes, and who reads?"
    if wrong:
        sentence, outcome = wrong[0]
        lost = "too-strict" if not outcome.accepted else "too-wide"
        return failed(
            lost,
            f"{len(wrong)} of seven are not as they should be; first: {sentence!r} ({outcome})",
            expected=asked,
            advice=look,
        )
    if found := _too_wide_or_strict(parse(text)):
        fault, observed = found
        return failed(fault, f"the seven hold, and yet {observed}", expected=asked, advice=look)
    return CheckResult("passed", observed="all seven, tried on the running broker")


CHECKS = (
    Check(
        "mutual-tls.1",
        "your decisions are the broker's, for many cases of which some are hostile",
        (
            "Fill the user name into the pattern first, then split both pattern and topic at the slashes.",
            "Walk through the levels together: # ends the walk with yes, + takes one level, anything else must be equal.",
            "At the end of the pattern the topic must be at its end too. And look at the user's name before all that.",
        ),
        _check_decisions,
        why="Who can't say what a rule allows has not written a rule.",
        kind="fill-in",
        minutes=10,
    ),
    Check(
        "mutual-tls.2",
        "the running broker keeps seven sentences about who may say and hear what",
        (
            "Five rules are enough: two for the operator, three patterns for the devices.",
            "A device writes its telemetry and its status, and reads its commands. Who writes commands?",
            "The operator reads # and writes devices/+/commands/#; + and # stand for names, so no pattern is needed.",
        ),
        _check_rules,
        why="A device that was taken over may do what its rules allow, and tries all of it.",
        kind="defend-it",
        minutes=8,
    ),
    *MORE,
)


LESSON = Lesson(
    slug="mutual-tls",
    title="Let each device speak for itself, and for nobody else",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
