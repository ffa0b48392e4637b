"""Lesson threat-model: what is at stake, seen on the reader's own plant; STRIDE, a risk register, attack trees, the Top 10."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import TYPE_CHECKING, Any

from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.threat_model_exercises import MORE
from labkit.course.lessons.threat_model_questions import QUESTIONS
from labkit.course.progress import Progress
from labkit.course.shelf import failed, laid, not_attempted
from labkit.outcome import Outcome
from labkit.scenarios.handshake_cost import handshake_cost
from labkit.threats import (
    CLIENT_KNOWN,
    ENCRYPTED,
    HABITS,
    PLANT,
    SERVER_KNOWN,
    THREATS,
    Boundary,
    DataFlow,
    Element,
    Exposure,
    Habit,
    Kind,
    Model,
    Register,
    Risk,
    Treatment,
    exposure,
    holes,
    load_register,
    reference,
    residual,
    save_register,
)
from labkit.threats.patching import SIMULATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from labkit.course.lab import Lab
    from labkit.scenarios.handshake_cost import HandshakeCost
    from labkit.threats import Threat

SHELF = "answers/threat-model"
"""Where the reader's answers lie."""

CLAIMS = (
    Claim("sniffed", "Whoever is on the way reads a device's password.", "tcp"),
    Claim("sniffed-reading", "Whoever is on the way reads a device's measurements, too.", "tcp"),
    Claim("tls-closed", "Over mutual TLS whoever is on the way can't read what a device says.", "tls", "encrypted"),
    Claim("spray-delivered", "A short list of passwords opens a door as it was delivered.", "mqtt", "accepted", "spray"),
    Claim("spray-unique", "Changed passwords keep the list out.", "mqtt", "nothing-opened"),
    Claim("break-forgotten", "One account that was forgotten lets the list in again.", "mqtt"),
    Claim("spray-mutual", "Where a certificate is asked for there is nothing to guess.", "tls", "no-certificate"),
    Claim("image-secret", "A password is read out of a firmware file, without a device.", "image", "accepted", "image"),
    Claim("clean-image", "Out of an image without secrets no password is read.", "image", "nothing-found"),
    Claim("never-patched", "A device that is never updated is open for most of its life.", "life", "open-too-long", "life"),
    Claim("patched", "A device that is updated over the air when there is a fix is open for less than half of its life.", "life"),
    Claim("affordable", "With small keys, connecting takes fewer bytes than with large ones, and coming back fewer still.", "tls"),
)  # fmt: skip

PREDICTIONS = (
    Prediction(
        "spray",
        "Four users on a door that was just installed, one of whom has a password that is really good. A list of eleven well-known pairs is tried. How many open the door?",
        {"none": "none", "one": "one", "more": "more than one"},
        "more",
        {
            "none": "Somebody has to change them first.",
            "one": "There is the installer's account, the one for tests, and the one of the operating system.",
        },
    ),
    Prediction(
        "image",
        "A firmware image is made for a chip that you don't have. It is not signed and not encrypted. What does it take to read the password in it?",
        {"chip": "the chip, to run it", "reverse": "days with a disassembler", "nothing": "one command"},
        "nothing",
        {
            "chip": "Text in a program is text in its file.",
            "reverse": "That is for people who want to know what the code does.",
        },
    ),
    Prediction(
        "life",
        "A device lives for eight years. About three holes a year become known in what it is made of. It is never updated. For what part of its life can somebody use one that everybody knows?",
        {"tenth": "a tenth", "half": "half of it", "nearly": "nearly all of it"},
        "nearly",
        {
            "tenth": "A hole does not close by itself.",
            "half": "The first one becomes known within months, and stays.",
        },
    ),
)  # fmt: skip


# --- time to patch --------------------------------------------------------------------------------------------------

YEARS, HOLES_A_YEAR, LIVES = 8, 3.0, 100


def lives(*, seed: int = 1) -> list[tuple[Habit, float, int]]:
    """Return for each habit the share of a device's life that it is open, and the longest time a hole was, over many lives."""
    known = [holes(random.Random(f"{seed}/{n}"), years=YEARS, per_year=HOLES_A_YEAR) for n in range(LIVES)]  # noqa: S311 - no secret
    found = []
    for habit in HABITS:
        each = [exposure(habit, days, years=YEARS) for days in known]
        found.append((habit, sum(one.share for one in each) / LIVES, max(one.longest for one in each)))
    return found


def judged_life(share: float) -> Outcome:
    """Return whether a device with such a share of open days is one to buy: less than half of its life."""
    detail = {"attempt": f"open for {share:.0%} of its life, over {LIVES} lives", "how": SIMULATION}
    good = share < 0.5
    return Outcome("life", accepted=good, reason="accepted" if good else "open-too-long", detail=detail)


# --- what security costs a small device -----------------------------------------------------------------------------


def price(lab: Lab) -> list[HandshakeCost]:
    """Measure what a mutual handshake costs with keys for small devices and with large ones."""
    return handshake_cost(lab.workspace, kinds=("p256", "rsa2048"), rounds=5)


def judged_price(costs: Sequence[HandshakeCost]) -> Outcome:
    """Return whether small keys send less, and coming back sends less than coming for the first time."""
    sent = {(cost.kind, cost.resumed): cost.sent + cost.received for cost in costs if cost.version == "1.3"}
    good = sent["p256", True] < sent["p256", False] < sent["rsa2048", False]
    sizes = f"bytes on the wire: p256 {sent['p256', False]}, rsa2048 {sent['rsa2048', False]}, coming back {sent['p256', True]}"
    return Outcome("tls", accepted=good, reason="accepted" if good else "too-dear", detail={"attempt": sizes})


# --- exercise 1: what crosses a border ------------------------------------------------------------------------------


def as_built(model: Model) -> Model:
    """Return a model as if the plant that the lessons build were the one that was found."""
    flows = tuple(dataclasses.replace(flow, before=flow.after) for flow in model.flows)
    return dataclasses.replace(model, flows=flows)


def _riddle() -> Model:
    """Return a model of flows that are not what they look like to somebody who counts, or asks for two of the three."""
    whole = frozenset({ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN})
    one, other = ("one", "two"), ("three", "four")
    flows = (
        ("within", "one", "two", ()),
        ("beside", "four", "three", (ENCRYPTED,)),
        ("almost", "one", "three", (ENCRYPTED, SERVER_KNOWN, "encrypted-soon")),
        ("blind", "three", "two", (ENCRYPTED, CLIENT_KNOWN, "signed")),
        ("open", "four", "one", (SERVER_KNOWN, CLIENT_KNOWN, "encrypted-once")),
        ("whole", "three", "one", whole),
        ("more", "two", "three", whole | {"signed"}),
    )
    return Model(
        "a riddle", (), (), (Boundary("a", "here", ""), Boundary("b", "there", "")),
        (*(Element(name, name, Kind.PROCESS, "a") for name in one), *(Element(name, name, Kind.STORE, "b") for name in other)),
        tuple(DataFlow(name, source, target, "", "", frozenset(before)) for name, source, target, before in flows),
    )  # fmt: skip


MODELS = {"the plant as it was found": PLANT, "the plant as built": as_built(PLANT), "a riddle": _riddle()}
"""The models that the first exercise is tried on."""

EXPECTED = {
    "the plant as it was found": sorted(flow.id for flow in PLANT.exposed()),
    "the plant as built": ["time"],
    "a riddle": ["almost", "blind", "open"],
}


def hand_in_exposed(lab: Lab, exposed: Callable[[Model], Iterable[str]]) -> dict[str, list[str]]:
    """Try the reader's function on three models, put what it says on the shelf, and return it."""
    said = {name: sorted(map(str, exposed(model))) for name, model in MODELS.items()}
    lab.workspace.write(f"{SHELF}/exposed.json", json.dumps(said, indent=1).encode())
    return said


def _check_exposed(lab: Lab) -> CheckResult:
    """Compare what was handed in with what is so."""
    try:
        heard = laid(lab, "exposed.json")
        said = {name: list(map(str, heard[name])) for name in MODELS}
    except FileNotFoundError:
        return not_attempted("complete exposed(), then hand it in")
    except (KeyError, TypeError) as error:
        return failed(
            "unreadable",
            f"the answer can't be read: {error!r}",
            expected="the ids of flows, of three models",
            advice="hand it in again",
        )
    for name, right in EXPECTED.items():
        missing, stray = sorted(set(right) - set(said[name])), sorted(set(said[name]) - set(right))
        if missing or stray:
            crossing = {flow.id for flow in MODELS[name].crossings()}
            extra = "protected-too" if set(stray) <= crossing else "borders-forgotten"
            return failed(
                "some-missing" if missing else extra,
                f"{name}: {_number(missing, 'missing')}, {_number(stray, 'too much')}",
                expected="flows that cross a border and lack one of the three protections",
                advice="how do you know in which border an element lies, and that all three are there?",
            )
    total = sum(len(found) for found in EXPECTED.values())
    return CheckResult("passed", observed=f"{total} flows on three models, the riddle among them")


def _number(flows: list[str], word: str) -> str:
    return f"{len(flows)} {word}" + (f" ({flows[0]} for example)" if flows and word == "too much" else "")


# --- exercise 2: a register -----------------------------------------------------------------------------------------

TO_SCORE = (
    "sniffed-password", "default-password", "secret-in-image", "never-patched", "opened-later", "read-flash",
    "foreign-topic", "wished-for-admin", "stolen-authority", "pivot", "sniffed-readings", "ran-out-together",
)  # fmt: skip
"""The threats that the second exercise asks about."""

SEEN = ("sniffed-password", "default-password", "secret-in-image")
"""Those that the reader has just done, with downloaded or trivial means, in seconds."""


def to_score() -> list[Threat]:
    """Return the threats that the second exercise asks about."""
    return [threat for name in TO_SCORE for threat in THREATS if threat.id == name]


def hand_in_register(lab: Lab, rows: Iterable[tuple[str, int, int, str, str]]) -> Register:
    """Put the reader's scores into the risk register of the workspace, and return it.

    Args:
        lab: The lab.
        rows: Threat, likelihood, impact, treatment and reason of each.

    Raises:
        ValueError: A number is not on its scale, or a treatment is none.
    """
    register = Register()
    for threat, likelihood, impact, treatment, reason in rows:
        register = register.with_risk(Risk(threat, likelihood, impact, Treatment(treatment), reason))
    save_register(lab.workspace, register)
    return register


def _check_register(lab: Lab) -> CheckResult:
    """Hold the register in the workspace against what the reader has seen, and against itself."""
    register = load_register(lab.workspace)
    if not register.risks:
        return not_attempted("complete my_scores(), then hand it in")
    if missing := [name for name in TO_SCORE if name not in register.risks]:
        return failed(
            "scores-missing",
            f"{len(missing)} threats have no score",
            expected="all twelve",
            advice=f"{missing[0]}, for example",
        )
    risks = {name: register.risks[name] for name in TO_SCORE}
    for broken, fault, have, look in _objections(risks):
        if broken:
            expected = "scores that agree with the scales, with what you saw, and with each other"
            return failed(fault, have, expected=expected, advice=look)
    top = Register(risks).ranked()[0]
    return CheckResult("passed", observed=f"twelve risks; the first is {top.threat}, with {top.score} points")


def _objections(risks: dict[str, Risk]) -> Iterable[tuple[bool, str, str, str]]:
    """Yield whether something is wrong, what the mistake is called, what is there, and where to look."""
    short = [risk.threat for risk in risks.values() if len(risk.reason.split()) < 3]
    have = f"{len(short)} reasons have less than three words"
    yield bool(short), "no-reasons", have, "why these numbers? somebody else will ask in a year"
    for name in SEEN:
        likelihood = risks[name].likelihood
        have = f"{name} has likelihood {likelihood}"
        yield likelihood < 4, "seen-and-unlikely", have, "you did it above; how long did it take you?"
    hard = risks["opened-later"].likelihood
    have = f"opened-later has likelihood {hard}"
    look = "it takes a recording *and* a stolen key; compare it with listening"
    yield hard > risks["sniffed-password"].likelihood - 1, "two-steps-as-likely", have, look
    total, some = risks["stolen-authority"].impact, risks["sniffed-readings"].impact
    have = f"stolen-authority has impact {total}, sniffed-readings {some}"
    yield total <= some, "authority-worth-little", have, "what can somebody do with each of the two?"
    careless = [
        risk.threat
        for risk in risks.values()
        if risk.level == "critical" and risk.treatment is Treatment.ACCEPT
    ]
    have = f"{len(careless)} critical risks are accepted"
    yield bool(careless), "critical-accepted", have, "who would sign that?"
    same = len({risk.score for risk in risks.values()}) < 4
    yield (
        same,
        "all-the-same",
        "nearly all scores are the same",
        "a register is there to tell what comes first",
    )


# --- what closes what -----------------------------------------------------------------------------------------------


def closed(lab: Lab) -> set[str]:
    """Return the threats that the reader's own experiments have shown closed: each claim that it takes has held."""
    held: dict[str, dict[str, Any]] = {}

    def has_held(evidence: str) -> bool:
        lesson, _, claim = evidence.partition(":")
        if lesson not in held:
            held[lesson] = Progress(lab.workspace, lesson).all("claims")
        return held[lesson].get(claim) is True

    return {threat.id for threat in THREATS if threat.evidence and all(map(has_held, threat.evidence))}


def what_closes(lab: Lab) -> list[tuple[object, ...]]:
    """Return the reader's risks beside the course's: threat, both scores, what closes it, and what is left."""
    mine, course, done = load_register(lab.workspace), reference(THREATS), closed(lab)
    rows: list[tuple[object, ...]] = []
    for risk in mine.ranked():
        found = [threat for threat in THREATS if threat.id == risk.threat]
        if not found:
            continue
        threat = found[0]
        shut = threat.id in done
        where = ", ".join(threat.lessons) or f"the audit ({', '.join(threat.audit)})"
        left = residual(threat, closed=shut).score
        rows.append(
            (threat.id, risk.score, course.risks[threat.id].score, where, "yes" if shut else "not yet", left)
        )
    return rows


CHECKS = (
    Check(
        "threat-model.1",
        "exposed() names the flows that cross a border without all three protections, on three models",
        (
            "A flow crosses a border if its two ends lie in different ones. model.element(flow.source) is one end.",
            "flow.before is a set of words. Which three have to be in it?",
            "Sets can be compared: {…} <= flow.before is true if all of the words are there.",
        ),
        _check_exposed,
        why="Where somebody believes what comes from another side of a border, attacks begin.",
        kind="fill-in",
        minutes=6,
    ),
    Check(
        "threat-model.2",
        "twelve risks with reasons, which agree with the scales, with what you saw, and with each other",
        (
            "Read the scales first: each number has a sentence.",
            "What you did yourself in seconds with a list or one command is a 4 or a 5.",
            "Impact is about what is lost, whatever it takes: one device, the plant, or the keys of the house?",
        ),
        _check_register,
        why="Without numbers that somebody stands by, the loudest threat is dealt with first.",
        kind="defend-it",
        minutes=8,
    ),
    *MORE,
)

LESSON = Lesson(
    slug="threat-model",
    title="Model the threats: what is at stake, and who is after it",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)

__all__ = [
    "LESSON", "MODELS", "Exposure", "as_built", "closed", "hand_in_exposed", "hand_in_register", "judged_life", "judged_price",
    "lives", "price", "to_score", "what_closes",
]  # fmt: skip
