"""Exercise security-audit: 27 items of a plant of one's own, marked, mended and marked again; the lesson's exercise 4."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from labkit.audit import BY_ID, Verdict
from labkit.course.exercise import Exercise
from labkit.course.exercises.security_audit_plant import FILES, FOLDER, after, before, read_files
from labkit.course.exercises.security_audit_written import RUBRICS
from labkit.course.lesson import FAILED, NOT_ATTEMPTED, PARTLY, PASSED, Check, CheckResult, RejectedError
from labkit.scenarios.plant_faults import possible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.course.exercise import Draw
    from labkit.course.work import Work

SHELF = "answers/security-audit"
"""Where the student's marks lie."""

LEAST_MENDED = 3
LEAST_WORDS = 3
"""Fewer words are no evidence."""

_WITHIN_REACH = (
    ("door", ("plain-door", "token-door", "password-door")),
    ("rule", ("wide-rules", "nosy-rules")),
    ("setting", ("legacy-suites", "quiet-log", "no-list", "late-list")),
    ("tool", ("default-password", "open-flows", "open-database")),
    ("alert", ("deaf-alerts", "noisy-alerts", "no-alerts")),
)
_MORE = (
    ("flow", ("plain-flows", "blind-flows")),
    ("way", ("way-to-office", "way-out", "way-to-broker", "open-ipv6")),
    ("image", ("twin-name", "shared-key", "shared-token", "key-in-image", "password-in-image", "no-root")),
    ("past", ("long-operator", "long-server", "never-renewed", "late-renewal", "unregistered", "long-token")),
    ("paper", ("no-plan", "stale-plan", "unread-plan", "no-switch-record")),
)


def vary(draw: Draw) -> Mapping[str, Any]:
    """Draw a plant: what is wrong with it, and which parts it does not have."""
    chosen = [draw.one(name, faults) for name, faults in _WITHIN_REACH]
    chosen += [draw.one(name, faults) for name, faults in draw.several("more", _MORE, 3)]
    assert possible(chosen)  # noqa: S101 - one of each kind
    absent = draw.one("absent", (("board", "service"), ("board", "service", "updates")))
    return {"faults": tuple(sorted(chosen)), "without": absent}


# --- marks --------------------------------------------------------------------------------------------------------

_WORDS = {
    "pass": Verdict.PASS, "passed": Verdict.PASS, "fail": Verdict.FAIL, "failed": Verdict.FAIL,
    "n.a.": Verdict.NOT_APPLICABLE, "n.a": Verdict.NOT_APPLICABLE, "na": Verdict.NOT_APPLICABLE,
    "n/a": Verdict.NOT_APPLICABLE, "not applicable": Verdict.NOT_APPLICABLE, "needs a person": Verdict.PERSON,
}  # fmt: skip


def read_marks(work: Work, name: str) -> dict[str, tuple[Verdict, str]] | None:
    """Return the marks of a round, each with its evidence, or None where there are none.

    Raises:
        RejectedError: It is no checklist: an item is missing, strange, or has no mark.
    """
    given = work.json(f"{SHELF}/{name}.json")
    if given is None or given == {}:
        return None
    if not isinstance(given, dict) or not all(isinstance(mark, str) for mark in given.values()):
        raise RejectedError(
            "not-a-checklist", "the marks are no words by item", advice='like {"access-1": "fail: …"}'
        )
    if strange := sorted(set(given) - set(BY_ID)):
        raise RejectedError(
            "item-unknown",
            f"the checklist has no item {strange[0][:40]!r}",
            expected="the 27 items by their ids",
            advice="BY_ID has them all",
        )
    if missing := [item for item in BY_ID if item not in given]:
        raise RejectedError(
            "item-missing",
            f"{len(missing)} items have no mark; the first is {missing[0]}",
            expected="a mark for each of the 27",
            advice="an audit that leaves items out is not one",
        )
    return {item: _mark(item, given[item]) for item in BY_ID}


def _mark(item: str, text: str) -> tuple[Verdict, str]:
    word, _, evidence = text.partition(":")
    verdict = _WORDS.get(re.sub("[-_]", " ", word.strip().lower()))
    if verdict is None:
        raise RejectedError(
            "mark-unknown",
            f"{item} is marked {word.strip()[:30]!r}",
            expected="pass, fail or n.a., then a colon and what you saw",
            advice='like "fail: port 1883 answers without TLS"',
        )
    if verdict is Verdict.FAIL and len(set(re.findall(r"[^\W_]{2,}", evidence))) < LEAST_WORDS:
        raise RejectedError(
            "mark-without-evidence",
            f"{item} is marked fail, and nothing says why",
            expected="what you saw, in a few words, with each fail",
            advice="somebody will ask you on Monday",
        )
    return verdict, evidence.strip()


def _alike(mark: Verdict, truth: Verdict) -> bool:
    good = {Verdict.PASS, Verdict.PERSON}  # a dated record is there, and you are the person
    return mark is truth or (truth is Verdict.PERSON and mark in good)


_SLUGS = {Verdict.FAIL: "fault-missed", Verdict.NOT_APPLICABLE: "part-not-missed"}
_TOLD = {
    Verdict.FAIL: "items that fail are not marked so",
    Verdict.NOT_APPLICABLE: "items speak of parts that this plant does not have, and are marked otherwise",
}


def _held(marks: Mapping[str, tuple[Verdict, str]], truth: Mapping[str, Verdict]) -> CheckResult:
    """Hold marks against the truth: each kind of verdict weighs the same, so that one mark for all earns nothing."""
    right, total = Counter[Verdict](), Counter[Verdict]()
    wrong: dict[Verdict, list[str]] = {}
    for item, verdict in truth.items():
        kind = Verdict.PASS if verdict is Verdict.PERSON else verdict
        total[kind] += 1
        if _alike(marks[item][0], verdict):
            right[kind] += 1
        else:
            wrong.setdefault(kind, []).append(BY_ID[item].section)
    if not wrong:
        counts = Counter(mark.value for mark, _ in marks.values())
        return CheckResult(PASSED, observed=", ".join(f"{n} {word}" for word, n in counts.items()))
    balanced = sum(right[kind] / total[kind] for kind in total) / len(total)
    share = round(max(0.0, 2 * balanced - 1) * 0.9, 2)
    kind = next(each for each in (Verdict.FAIL, Verdict.PASS, Verdict.NOT_APPLICABLE) if each in wrong)
    where = ", ".join(f"{section} ({n})" for section, n in Counter(wrong[kind]).items())
    return CheckResult(
        PARTLY if share else FAILED,
        observed=f"{len(wrong[kind])} {_TOLD.get(kind, 'items that pass are marked otherwise')}: {where}",
        expected="for each item, what the plant shows",
        advice="look at the evidence of that section again, item by item: what was tried, and what came of it?",
        fault=_SLUGS.get(kind, "fault-invented"),
        share=share or -1.0,
    )


def _check_marks(work: Work) -> CheckResult:
    """Hold the first round of marks against the faults that were planted."""
    marks = read_marks(work, "before")
    if marks is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete BEFORE, and run the cell below it")
    return _held(marks, before(work.variant))


# --- mending ------------------------------------------------------------------------------------------------------


def _moved(work: Work) -> tuple[list[str], list[str]]:
    """Return the items that failed and pass now, and those that did not fail and do now."""
    found, (now, _) = before(work.variant), after(work)
    mended = [i for i in found if found[i] is Verdict.FAIL and now[i] is Verdict.PASS]
    return mended, [i for i in found if found[i] is not Verdict.FAIL and now[i] is Verdict.FAIL]


def _check_mended(work: Work) -> CheckResult:
    """Put the student's files into a plant of the judge's, and measure it."""
    if not read_files(work):
        return CheckResult(NOT_ATTEMPTED, expected=f"files in {FOLDER}; staged(lab) lays them out")
    mended, broken = _moved(work)
    if not after(work)[1]:
        return CheckResult(NOT_ATTEMPTED, expected=f"changes to the files in {FOLDER}")
    if broken:
        return CheckResult(
            FAILED,
            observed=f"{broken[0]} did not fail before, and fails now",
            expected="what was right stays right",
            advice="which of your changes touched it? stage the plant and read that item's evidence",
            fault="something-broken",
        )
    if len(mended) >= LEAST_MENDED:
        return CheckResult(PASSED, observed=f"mended: {', '.join(mended)}; nothing was broken")
    return CheckResult(
        PARTLY if mended else FAILED,
        observed=f"{len(mended)} of the items that failed pass now{': ' if mended else ''}{', '.join(mended)}",
        expected=f"at least {LEAST_MENDED}",
        advice="stage the plant, and read the evidence of the items that you meant to mend: what does it still say?",
        fault="too-few-mended" if mended else "nothing-mended",
        share=round(len(mended) / LEAST_MENDED, 2) if mended else -1.0,
    )


def _check_again(work: Work) -> CheckResult:
    """Hold the second round of marks against the judge's own second audit."""
    marks = read_marks(work, "after")
    if marks is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete AFTER, and run the cell below it")
    if not read_files(work) or not _moved(work)[0]:
        raise RejectedError(
            "nothing-mended",
            "there is nothing new to be marked: no item that failed passes now",
            expected="a second audit, after something was mended",
            advice="mend first; then stage the plant again, and mark what it shows",
        )
    return _held(marks, after(work)[0])


CHECKS = (
    Check(
        "security-audit.1",
        "each of the 27 items is marked as the plant shows it: pass, fail or not applicable",
        (
            "Go section by section. The evidence says what was tried, and what came of it; an item passes if all of it is as it should be.",
            "Not applicable is an item of which the plant has no part at all. A part that is there and says nothing fails.",
            "audit(plant.target) measures all items and says what they rest on: report.judged has item, verdict and evidence.",
        ),
        _check_marks,
        points=25,
        why="A fault that is not on the list will not be mended, and one that is not there costs somebody's week.",
        kind="bug-hunt",
        minutes=30,
    ),
    Check(
        "security-audit.3",
        f"at least {LEAST_MENDED} items that failed pass now, and nothing else was broken",
        (
            f"Begin with what takes a minute. The files are: {', '.join(FILES)}.",
            "A listener that nobody needs, a rule that is too wide, a password that everybody knows, thresholds that nothing reaches.",
            "The audit lesson mends some of these. labkit.audit.monitor.alerts.READY.to_json() is a set of alert rules that was tried on an attack; labkit.broker.acl.render(DEVICE_ACL) is a set of rules that holds.",
        ),
        _check_mended,
        points=30,
        why="A report that mends nothing is a list of things that an intruder may read.",
        kind="defend-it",
        minutes=30,
    ),
    Check(
        "security-audit.4",
        "the second round of marks is what the mended plant shows",
        (
            "Measure again; don't remember. Some items rest on two faults, and one of them may still be there.",
            "Only what you changed can have changed; everything else is as it was.",
            "Stage the plant again after mending: with staged(lab) as plant. Then mark all 27 as before.",
        ),
        _check_again,
        points=15,
        why="Whoever mends believes that it is mended. The second audit is for everybody else.",
        kind="bug-hunt",
        minutes=15,
    ),
)  # fmt: skip


EXERCISE = Exercise(
    slug="security-audit",
    title="Audit a plant, mend it, and show that it is mended",
    minutes=115,
    claims=(),
    checks=CHECKS,
    rubrics=RUBRICS,
    vary=vary,
)
