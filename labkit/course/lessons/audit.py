"""Lesson audit: measure a weak plant, mend it, measure again; an incident against the clock; the map of the course."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.audit import BY_ID, Report, Verdict, audit, compare
from labkit.audit.dependencies import ADVISORIES, Advisory, Pin, audit_lock, read_lock
from labkit.audit.privacy import SAMPLES, judge
from labkit.audit.shelf import read_report, write_report
from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson
from labkit.course.lessons.audit_exercises import MORE
from labkit.course.lessons.audit_questions import PREDICTIONS, QUESTIONS
from labkit.course.shelf import failed, not_attempted
from labkit.errors import LessonUnknownError, ReportUnreadableError
from labkit.outcome import ACCEPTED, Outcome
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from labkit.audit.report import Judged
    from labkit.course.lab import Lab
    from labkit.scenarios.audited_plant import Plant

SHELF = "answers/audit"
"""Where the reader's answers lie."""

SEED = 472
"""The weak plant of the lesson; another number is another plant."""

LEAST_MENDED = 3
LEAST_WORDS = 15
"""So long is the shortest paragraph that says who does what."""

FINDERS: Mapping[str, str] = {
    "hardcoded-credentials": "identity-3",
    "no-tls": "communication-1",
    "unpatched-firmware": "firmware-3",
    "open-debug-ports": "firmware-5",
    "default-passwords": "access-2",
    "no-rotation": "communication-6",
}
"""In the lesson's plant, the item that finds each of the common mistakes."""

CLAIMS = (
    Claim("hardcoded-credentials", "A credential that is built into firmware is found.", "audit", "fail", "hardcoded"),
    Claim("no-tls", "MQTT without TLS is found.", "audit", "fail"),
    Claim("unpatched-firmware", "Firmware that nobody updates is found.", "audit", "fail"),
    Claim("open-debug-ports", "A debug interface that was left open is found.", "audit", "fail"),
    Claim("default-passwords", "A password that everybody knows is found.", "audit", "fail"),
    Claim("no-rotation", "Certificates that were never renewed are found.", "audit", "fail"),
    Claim("stands-still", "With the broker stopped nothing about it passes.", "audit", "fail", "stopped"),
    Claim("deaf", "Alert rules that nothing can reach fail, although the file is there.", "audit", "fail"),
    Claim("mended", "After mending no item fails.", "audit"),
    Claim("denied", "A stolen device can't command its neighbour.", "authorised", "not-authorised"),
    Claim("noticed", "The monitor notices the attempt, and names the device.", "monitor", "accepted", "incident"),
    Claim("thief-out", "Cut off, the stolen certificate is refused as revoked.", "tls", "certificate-revoked"),
    Claim("neighbour-in", "Its neighbour gets in.", "mqtt"),
    Claim("clean", "The plant is clean again: list, registry, rules and sessions agree.", "audit"),
    Claim("token-door", "A door for tokens fails the item about mutual TLS.", "audit", "fail", "tokens"),
    Claim("certificate-door", "A door for certificates passes it.", "audit"),
)  # fmt: skip


def found(report: Report, *items: str) -> Outcome:
    """Return what a report says of items as an outcome at stage `audit`: accepted only if none fails."""
    judged = [report[item] for item in items] if items else list(report.judged)
    failing = [each for each in judged if each.verdict is Verdict.FAIL]
    detail: dict[str, Any] = {"verdicts": {each.item.id: each.verdict.value for each in judged}}
    # Faults where there are any; otherwise the first thing that each item rests on.
    shown = [(one.faults or one.evidence)[0] for one in failing or judged if one.evidence]
    detail["how"] = "; ".join(f"{each.source}: {each.what}" for each in shown[:5])
    if failing:
        return Outcome("audit", accepted=False, reason="fail", detail=detail)
    return Outcome("audit", accepted=True, reason=ACCEPTED, detail=detail)


def overview(report: Report) -> list[tuple[str, str, str]]:
    """Return item, verdict and first fault of each item that fails, and of those that need a person."""
    wanted = [each for each in report.judged if each.verdict in {Verdict.FAIL, Verdict.PERSON}]
    return [(each.item.id, each.verdict.value, _first(each)) for each in wanted]


def _first(judged: Judged) -> str:
    shown = (judged.faults or judged.evidence)[0]
    return f"{shown.source}: {shown.what}"


# --- exercise 1 ---------------------------------------------------------------------------------------------------


def remediate(
    lab: Lab, plant: Plant, before: Report, mend: Callable[[Plant], None], plans: Mapping[str, str]
) -> Report:
    """Let the reader mend a plant, audit it again, and lay both reports and the plans on the shelf.

    Args:
        lab: The lab.
        plant: The plant.
        before: The audit before.
        mend: The reader's function.
        plans: The reader's paragraphs, by item.

    Returns:
        The audit afterwards.
    """
    folder = make_folder(lab.workspace.path(SHELF))
    for name in ("before.json", "after.json", "plans.json"):
        (folder / name).unlink(missing_ok=True)
    mend(plant)
    after = audit(plant.target)
    write_report(folder / "before.json", before)
    write_atomic(folder / "plans.json", json.dumps(dict(plans), indent=2) + "\n")
    write_report(folder / "after.json", after)
    return after


def _check_remediation(lab: Lab) -> CheckResult:
    """Hold both reports against each other, and look whether each mended item has its plan."""
    folder = lab.workspace.path(SHELF)
    if not (folder / "after.json").exists():
        return not_attempted("complete PLANS and mend(), then run the cell below them")
    try:
        before, after = (read_report(folder / name) for name in ("before.json", "after.json"))
        plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    except (ReportUnreadableError, OSError, ValueError) as error:
        return failed("unreadable", f"a report can't be read: {error}", expected="two reports and plans", advice="run the cell again")  # fmt: skip
    changes = compare(before, after)
    mended = [change.item.id for change in changes if change.kind == "mended"]
    if broken := [change for change in changes if change.kind == "broken"]:
        first = broken[0]
        return failed(
            "something-broken",
            f"{first.item.id} did not fail before, and fails now: {first.new[0].what}",
            expected="what was right stays right",
            advice="which of your steps touched it? lab.reset() brings the weak plant back",
        )
    if len(mended) < LEAST_MENDED:
        return failed(
            "too-few-mended",
            f"{len(mended)} items that failed pass now" + (f": {', '.join(mended)}" if mended else ""),
            expected=f"at least {LEAST_MENDED}",
            advice="read the evidence of the items that you meant to mend: what does it still say?",
        )
    return _judge_plans(mended, plans)


def _words(text: str) -> str:
    """Return the words of a text, one behind the other, however it is laid out."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _judge_plans(mended: Sequence[str], plans: object) -> CheckResult:
    written = plans if isinstance(plans, dict) else {}
    for item in mended[:LEAST_MENDED] if len(written) < LEAST_MENDED else [i for i in mended if i in written]:
        text = str(written.get(item, "")).strip()
        if len(text.split()) < LEAST_WORDS:
            return failed(
                "plan-too-short",
                f"the plan for {item} has {len(text.split())} words",
                expected="a paragraph a mended item: what is wrong here, who does what, and how you see that it is done",
                advice="write it for somebody who has to do it on Monday",
            )
        if _words(text) in _words(" ".join((BY_ID[item].remedy, *BY_ID[item].steps))):
            return failed(
                "plan-copied", f"the plan for {item} is the checklist's own text", expected="a plan for this plant",
                advice="name the file, the person and the day",
            )  # fmt: skip
    planned = [item for item in mended if item in written]
    if len(planned) < LEAST_MENDED:
        return failed(
            "too-few-plans",
            f"{len(planned)} of the {len(mended)} mended items have a plan",
            expected=f"at least {LEAST_MENDED} with one",
            advice="the keys of PLANS are ids of items",
        )
    return CheckResult(
        "passed", observed=f"mended: {', '.join(mended)}; nothing broken, and {len(planned)} plans"
    )


# --- exercise 2: less is more (I6) ------------------------------------------------------------------------------------


def shrink(lab: Lab, minimise: Callable[[Mapping[str, Any]], Any]) -> list[tuple[str, str]]:
    """Let the reader's function minimise some readings, lay the results on the shelf, and return what is wrong.

    Args:
        lab: The lab.
        minimise: The reader's function.

    Returns:
        Field and fault of each finding, over all readings.
    """
    path = make_folder(lab.workspace.path(SHELF)) / "payloads.json"
    path.unlink(missing_ok=True)
    results = [minimise(dict(sample)) for sample in SAMPLES]
    write_atomic(path, json.dumps(results, default=repr) + "\n")
    return [(each.subject, each.message) for one in _privacy(results) for each in one]


def _privacy(results: object) -> list[list[Any]]:
    given = results if isinstance(results, list) else []
    padded = [*given, *([None] * len(SAMPLES))]
    return [judge(sample, result) for sample, result in zip(SAMPLES, padded, strict=False)]


def _check_privacy(lab: Lab) -> CheckResult:
    """Judge what the reader's function made of each reading."""
    path = lab.workspace.path(SHELF, "payloads.json")
    if not path.exists():
        return not_attempted("complete less(), then run the cell below it")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return failed("unreadable", f"the results can't be read: {error}", expected="a list of three readings", advice="run the cell again")  # fmt: skip
    looks = {
        "too-much": "do you name what may leave, or what may not? The third reading has a field that is new",
        "too-fine": "to which multiple is it rounded? The table has the steps",
        "missing": "who needs it? The table says so",
        "wrong": "a sensor that has failed reads NaN; that is no number, and does not leave",
        "not-a-payload": "return a dict",
    }
    for number, findings in enumerate(_privacy(results), start=1):
        if findings:
            first = findings[0]
            return failed(
                first.rule, f"reading {number}, {first.subject}: {first.message}",
                expected="what somebody needs, as coarse as they can use it, and nothing else", advice=looks[first.rule],
            )  # fmt: skip
    return CheckResult("passed", observed="three readings, and nothing left the device that nobody needs")


# --- exercise 3: what we are made of (I5) ---------------------------------------------------------------------------


def lock_text() -> str:
    """Return the course's own lock file.

    Raises:
        FileNotFoundError: This labkit was installed without the course.
    """
    here = Path.cwd()
    places = [Path(os.environ["LABKIT_COURSE"])] if os.environ.get("LABKIT_COURSE") else []
    places += [here, *here.parents, Path(__file__).parents[3]]
    for place in places:
        if (place / "requirements.lock").is_file():
            return (place / "requirements.lock").read_text(encoding="utf-8")
    raise FileNotFoundError(2, "there is no requirements.lock", str(here))


OLD_LOCK = """\
cryptography==41.0.7 --hash=sha256:{0}
jinja2==3.1.6 --hash=sha256:{0}
h11==0.9.0 --hash=sha256:{0}
idna==3.10 --hash=sha256:{0}
urllib3==2.10.0 --hash=sha256:{0}
requests==2.32.3.post1 --hash=sha256:{0}
starlette==0.5.12 --hash=sha256:{0}
certifi==2025.1.31 --hash=sha256:{0}
""".format("0" * 64)
"""A lock with holes in it: versions that differ in more than their first figure, on both sides."""


def search_locks(lab: Lab, holes: Callable[[Sequence[Pin], Sequence[Advisory]], Any]) -> list[str]:
    """Let the reader's function search two locks, ours and an old one, and lay what it found on the shelf."""
    path = make_folder(lab.workspace.path(SHELF)) / "holes.json"
    path.unlink(missing_ok=True)
    results = [sorted(map(str, holes(read_lock(text), ADVISORIES))) for text in (lock_text(), OLD_LOCK)]
    write_atomic(path, json.dumps(results) + "\n")
    return results[1]


def _known(text: str) -> list[str]:
    today = SYSTEM_CLOCK.now().date()
    return sorted({each.subject for each in audit_lock(text, today=today) if each.rule == "known-hole"})


def _check_holes(lab: Lab) -> CheckResult:
    """Compare what the reader's function found with what is there."""
    path = lab.workspace.path(SHELF, "holes.json")
    if not path.exists():
        return not_attempted("complete holes(), then run the cell below it")
    try:
        ours, old = ([str(name) for name in found] for found in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        return failed("unreadable", f"the result can't be read: {error}", expected="names, for each of two locks", advice="run the cell again")  # fmt: skip
    for name, result, wanted in (
        ("our lock", ours, _known(lock_text())),
        ("the old lock", old, _known(OLD_LOCK)),
    ):
        if missing := sorted(set(wanted) - set(result)):
            return failed(
                "hole-missed", f"in {name}, {missing[0]} has a hole and is not among those found",
                expected="the names of all packages that are older than the version that mended a hole",
                advice="9 is less than 16, and '9' is not less than '16'",
            )  # fmt: skip
        if stray := sorted(set(result) - set(wanted)):
            return failed(
                "no-hole", f"in {name}, {stray[0]} was found, and it has no hole on the list",
                expected="only packages that are older than the version that mended a hole",
                advice="10 is more than 5, and '10' is not more than '5'",
            )  # fmt: skip
    return CheckResult(
        "passed", observed=f"our lock has no hole that is on the list; the old one has {len(old)}"
    )


CHECKS = (
    Check(
        "audit.1",
        f"at least {LEAST_MENDED} items that failed pass now, nothing else was broken, and each has its plan",
        (
            "Begin with what takes a minute: a settings file, a listener that nobody needs, a rule that is too wide.",
            (
                "plant.folder has the settings of the tools; plant.config is the broker's configuration and "
                "plant.restart_broker(config, acl) puts another one to work."
            ),
            (
                "dataclasses.replace(plant.config, …) makes a changed copy. The second listener is the one without TLS; "
                "the rules that a plant should have are labkit.broker.DEVICE_ACL."
            ),
        ),
        _check_remediation,
        why="A finding that nobody mends, or that nobody measures again, is a sentence in a drawer.",
        kind="defend-it",
        minutes=15,
    ),
    Check(
        "audit.2",
        "of three readings only fields that somebody needs leave the device, rounded as in the table",
        (
            "There are two ways to write it: name what goes out, or name what stays. Only one of them is right tomorrow.",
            "For each need: is the field there, and is it a number? math.isfinite knows NaN.",
            "round(value / step) * step is the nearest multiple of a step.",
        ),
        _check_privacy,
        why="What was never sent can't be stolen, and needs no key.",
        kind="fill-in",
        minutes=8,
    ),
    Check(
        "audit.3",
        "the names of packages with a known hole, in our lock and in an old one",
        (
            "A hole is open if the version is less than the one that mended it.",
            "Versions are rows of numbers, not words.",
            "tuple(map(int, text.split('.'))) can be compared with another such tuple. One version here ends in a word.",
        ),
        _check_holes,
        why="Versions that are compared as words hide the holes that a scanner is there to find.",
        kind="bug-hunt",
        required=False,
        minutes=8,
    ),
    *MORE,
)


# --- the map of the course ------------------------------------------------------------------------------------------

TAKEAWAYS: Sequence[tuple[str, str, str]] = (
    ("threat-model", "the landscape", "Devices are always on, seldom updated and easy to touch; plan for the one that is stolen."),
    ("tls", "TLS", "It hides, it shows changes, and it shows who answers, if the client looks. 1.3 where you can."),
    ("certificate-authority", "hierarchy", "The root sleeps, the intermediate signs; that limits what one stolen key can do."),
    ("mutual-tls", "mutual TLS", "Both sides show who they are, and rules by identity say what each may do."),
    ("revocation", "revocation", "A list keeps out who comes back, rules silence who is in, and a list has an end."),
    ("esp32-flashing", "the device", "What lies readable in flash belongs to whoever holds the chip."),
    ("provisioning", "provisioning", "A key is made where it stays; a token counts once; a copy is noticed at renewal."),
    ("firmware-signing", "updates", "Signed, for this product, not older, and a way back when it was bad."),
    ("segmentation", "networks", "From flows to rules, in both families; measured and not believed."),
    ("audit", "audit", "Evidence decides, a control stands beside each refusal, and what was mended is measured again."),
)  # fmt: skip
"""Lesson, topic, and what to take away."""


def course_map(lab: Lab) -> list[tuple[str, str, str, str]]:
    """Return topic, takeaway, the reader's own evidence, and the lesson that it is from."""
    from labkit.course.progress import Progress

    rows = []
    for slug, topic, takeaway in TAKEAWAYS:
        held = [name for name, holds in Progress(lab.workspace, slug).all("claims").items() if holds]
        rows.append((topic, takeaway, _evidence(slug, held), slug))
    return rows


def pages() -> dict[str, str]:
    """Return the notebook of each lesson, as far as it lies beside this one."""
    found = {slug: sorted(Path.cwd().glob(f"[0-9]*_{slug}.ipynb")) for slug, *_ in TAKEAWAYS}
    return {slug: paths[0].name for slug, paths in found.items() if paths}


def _evidence(slug: str, held: Sequence[str]) -> str:
    from labkit.course.lessons import find

    try:
        claims = find(slug).claims
    except LessonUnknownError:
        return "not in this copy of the course"
    proven = [claim.text for claim in claims if claim.id in held]
    if not proven:
        return "not run in this workspace yet"
    return f"{len(proven)} of {len(claims)} claims held. One of them: {proven[-1]}"


LESSON = Lesson(
    slug="audit",
    title="Audit: measure a plant, mend it, measure again",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
