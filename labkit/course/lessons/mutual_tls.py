"""Lesson mutual-tls: identity from a key, rules by identity, and judging by what arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.broker import DEVICE_ACL
from labkit.course.lab import ready_authority, running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.mutual_tls_questions import QUESTIONS
from labkit.pki import Store
from labkit.scenarios import Site
from labkit.scenarios.access import model_of, try_rules

if TYPE_CHECKING:
    from labkit.course.lab import Lab

SHELF = "answers/mutual-tls"
"""Where the reader's answers lie."""

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
    Claim("capath-in", "With both in a hashed folder too.", "mqtt"),
    Claim("intermediate-only", "With the intermediate alone nobody gets in.", "tls", "unknown-ca"),
    Claim("claim-ignored", "Who claims to be admin is not.", "authorised", "not-authorised"),
    Claim("claim-control", "Under its true name the same device may speak.", "authorised"),
    Claim(
        "other-undelivered",
        "A message to another device's topic is not delivered.",
        "authorised",
        "not-authorised",
        "puback",
    ),
    Claim("own-delivered", "A message to the device's own topic is.", "authorised"),
    Claim(
        "spy-deaf",
        "A granted subscription to another's commands hears nothing.",
        "authorised",
        "not-delivered",
        "suback",
    ),
    Claim("slash-injects", "A name with a slash puts a command into another device's tree.", "authorised"),
    Claim("plain-name-harmless", "A plain name can't.", "authorised", "not-delivered"),
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


def _check_decisions(lab: Lab) -> CheckResult:
    """Compare the reader's decisions with the model that is tested against Mosquitto."""
    try:
        heard: Any = lab.workspace.read_json(f"{SHELF}/decisions.json")
    except FileNotFoundError:
        return CheckResult("not-attempted", expected="complete may_write(), then run the cell below it")
    heard = heard if isinstance(heard, dict) else {}
    for case, wanted in model_of(DEVICE_ACL, CASES).items():
        if heard.get(case) is not wanted:
            user, topic = CASES[case]
            return CheckResult(
                "failed",
                observed=f"{case!r}: for {user!r} and {topic} you say {heard.get(case)!r}",
                expected="what the broker decides",
                advice="compare level by level; # takes what is left, even nothing; are both equally long otherwise?",
            )
    return CheckResult(
        "passed", observed=f"{len(CASES)} decisions, the hostile one included, as the broker takes them"
    )


def _check_rules(lab: Lab) -> CheckResult:
    """Try every sentence on the running broker."""
    running = running_broker(lab)
    if running is None:
        return CheckResult(
            "failed",
            observed="no broker is running in this lab",
            expected="the broker of *Who are you, then?*",
            advice="run its cell again",
        )
    text = (running.folder / "acl.conf").read_text(encoding="utf-8")
    if "devices/#" in text and "pattern readwrite devices/#" in text:
        return CheckResult("not-attempted", expected="complete rules(), then run the cell below it")
    site = Site(Store(lab.workspace), running)
    wrong = [(sentence, outcome) for sentence, held, outcome in try_rules(site) if not held]
    if wrong:
        sentence, outcome = wrong[0]
        return CheckResult(
            "failed",
            observed=f"{len(wrong)} of seven are not as they should be; first: {sentence!r} ({outcome})",
            expected="devices speak and hear below their own names; the operator commands and hears all",
            advice="which rule is for everybody, and which for one user? who writes, and who reads?",
        )
    return CheckResult("passed", observed="all seven, tried on the running broker")


CHECKS = (
    Check(
        "mutual-tls.1",
        "your decisions are the broker's, for eight cases of which one is hostile",
        (
            "Fill the user name into the pattern first, then split both pattern and topic at the slashes.",
            "Walk through the levels together: # ends the walk with yes, + takes one level, anything else must be equal.",
            "At the end of the pattern the topic must be at its end too. And look at the user's name before all that.",
        ),
        _check_decisions,
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
    ),
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
