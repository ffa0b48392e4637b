"""Answers to the exercises of lesson audit."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.audit import BY_ID, Report, Verdict
from labkit.audit.checklist import ITEMS
from labkit.audit.dependencies import older
from labkit.audit.evidence import fault, seen
from labkit.audit.privacy import NEEDS, minimise
from labkit.audit.report import Judged
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import audit as lesson
from tests.answers.shape import Answers, Right, Wrong, handing, laying, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab."""
    lab = open_lab("audit", workspace=folder / "w")
    yield lab
    lab.close()


# --- 1: mend ----------------------------------------------------------------------------------------------------------

# Reports of a plant that is there are made in tests/course/test_audit.py; the check reads what lies on the shelf.
PLAN = "The file is grafana.ini; Asha changes it on Monday morning, and Ben tries the list of passwords once more."
THREE = ("access-1", "access-2", "communication-1")
PLANS = dict.fromkeys(THREE, PLAN)
WEAK = {*lesson.FINDERS.values(), *THREE, "network-3"}


def report(failing: Iterable[str]) -> Report:
    """Return an audit in which some items fail."""
    failing = set(failing)
    bad, good = (fault("It is open.", "a probe"),), (seen("It is shut.", "a probe"),)
    judged = [
        Judged(item, Verdict.FAIL, bad) if item.id in failing else Judged(item, Verdict.PASS, good)
        for item in ITEMS
    ]
    return Report("a plant", dt.datetime(2026, 3, 1, tzinfo=dt.UTC), tuple(judged))


def mended(
    *items: str, plans: object = PLANS, broken: tuple[str, ...] = (), after: str | None = None
) -> Callable[[Lab], None]:
    """Lay an audit before, one after some items were mended and others broken, and plans on the shelf."""

    def give(lab: Lab) -> None:
        text = json.dumps(report((WEAK - set(items)) | set(broken)).to_json())
        writing("before.json", json.dumps(report(WEAK).to_json()))(lab)
        writing("after.json", text if after is None else after)(lab)
        laying("plans.json", plans)(lab)

    return give


# --- 2: less ----------------------------------------------------------------------------------------------------------


def forbidding(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Name what may not leave."""
    private = {"wifi", "gps", "owner", "device_id", "firmware", "motion"}
    rest = {key: value for key, value in payload.items() if key not in private}
    return {**rest, **minimise(payload)}


def exact(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Round nothing."""
    return {need.field: payload[need.field] for need in NEEDS if need.field in payload}


def downwards(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Round down instead of to the nearest: a multiple of the step as well."""
    return {
        need.field: round(payload[need.field] // need.step * need.step, 6)
        for need in NEEDS
        if need.field in payload and payload[need.field] == payload[need.field]
    }


def silent(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Let nothing leave."""
    return {}


def invented(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Send a round number that nobody has measured."""
    return {**minimise(payload), "humidity": 5}


def shrinking(less: Callable[[Mapping[str, Any]], Any]) -> Callable[[Lab], None]:
    """Have a function minimise the readings, as the notebook does."""

    def give(lab: Lab) -> None:
        lesson.shrink(lab, less)

    return give


# --- 3: holes ---------------------------------------------------------------------------------------------------------


def by_words(pins: Any, advisories: Any) -> set[str]:
    """Compare versions as words."""
    return {p.name for p in pins for a in advisories if p.name == a.package and p.version < a.fixed}


def by_numbers(pins: Any, advisories: Any) -> set[str]:
    """Compare versions as numbers, a text in them left out."""

    def numbers(version: str) -> list[int]:
        return [int(word) for word in version.split(".") if word.isdigit()]

    return {
        p.name
        for p in pins
        for a in advisories
        if p.name == a.package and numbers(p.version) < numbers(a.fixed)
    }


def by_digits(pins: Any, advisories: Any) -> set[str]:
    """Compare versions with their points left out."""

    def number(version: str) -> int:
        return int("".join(word for word in version.split(".") if word.isdigit()))

    return {
        p.name
        for p in pins
        for a in advisories
        if p.name == a.package and number(p.version) < number(a.fixed)
    }


def by_ours(pins: Any, advisories: Any) -> set[str]:
    """Ask labkit's own comparison."""
    return {p.name for p in pins for a in advisories if p.name == a.package and older(p.version, a.fixed)}


def by_name(pins: Any, advisories: Any) -> set[str]:
    """Find whoever ever had a hole."""
    return {p.name for p in pins} & {a.package for a in advisories}


def searching(holes: Callable[..., Any]) -> Callable[[Lab], None]:
    """Have a function search the locks, as the notebook does."""

    def give(lab: Lab) -> None:
        lesson.search_locks(lab, holes)

    return give


# --- 4: thresholds ----------------------------------------------------------------------------------------------------


def rule(at_least: Any, within: Any) -> Callable[[Any], None]:
    """Hand in a rule."""
    return laying("rule.json", {"at_least": at_least, "within": within})


# --- 5: who was it? ---------------------------------------------------------------------------------------------------

_WHO = r"""
import re

def who(line):
    found = re.fullmatch(r"\d+: New client connected from \S+ as .+ \(p\d+, c\d+, k\d+, u'(.*)'\)\.", line)
    return found[1] if found else None
"""

_BY_PARTS = r"""
def who(line):
    words = line.split(": ", 1)
    if len(words) < 2 or not words[1].startswith("New client connected from "):
        return None
    head, _, tail = words[1].rpartition(" (p")
    settings, quote, user = tail.partition(", u'")
    return user[:-3] if quote and user.endswith("').") else None
"""

_ANYWHERE = r"""
import re

def who(line):
    found = re.search(r"New client connected from \S+ as .+ \(p\d+, c\d+, k\d+(, u'(.*)')?\)\.", line)
    return found and found[2]
"""


def reading(old: str, new: str) -> Callable[[Any], None]:
    """Hand in the right reader with one thing changed."""
    assert old in _WHO
    return handing("who", _WHO.replace(old, new))


TABLE = (
    Answers(
        "audit.1",
        right=(
            Right("three items", mended(*THREE)),
            Right("more items than plans", mended(*THREE, "network-3")),
        ),
        wrong=(
            Wrong("no plan", mended(*THREE, plans={}), "plan-too-short", says="0 words"),
            Wrong("a plan of two words", mended(*THREE, plans={**PLANS, "access-2": "Change it."}), "plan-too-short", says="has 2 words"),
            Wrong("the checklist's own text", mended(*THREE, plans={**PLANS, "access-2": BY_ID["access-2"].remedy}), "plan-copied", says="own text"),
            Wrong("the checklist's steps, as a list", mended(*THREE, plans={**PLANS, "access-2": "\n".join(f"- {s}" for s in BY_ID["access-2"].steps)}), "plan-copied"),
            Wrong("its remedy and steps, laid out anew", mended(*THREE, plans={**PLANS, "access-2": f"{BY_ID['access-2'].remedy}\n\n{' '.join(BY_ID['access-2'].steps)}".upper()}), "plan-copied"),
            Wrong("plans for what was not mended", mended(*THREE, plans={"access-2": PLAN, "network-3": PLAN, "network-4": PLAN}), "too-few-plans", says="1 of the"),
            Wrong("one item", mended("access-2"), "too-few-mended", says="1 items"),
            Wrong("none", mended(), "too-few-mended", says="0 items"),
            Wrong("at a price", mended(*THREE, broken=("monitoring-1",)), "something-broken", says="monitoring-1 did not fail before"),
            Wrong("plans in a list", mended(*THREE, plans=[PLAN] * 3), "plan-too-short"),
            Wrong("no report", mended(*THREE, after="all is well"), "unreadable"),
        ),
    ),
    Answers(
        "audit.2",
        right=(Right("to the nearest step", shrinking(minimise)), Right("down to a step", shrinking(downwards))),
        wrong=(
            Wrong("names what may not leave", shrinking(forbidding), "too-much", says="bluetooth_neighbours"),
            Wrong("all of it", shrinking(dict), "too-much"),
            Wrong("rounds nothing", shrinking(exact), "too-fine", says="finer"),
            Wrong("says nothing", shrinking(silent), "missing", says="is needed"),
            Wrong("invents a number", shrinking(invented), "wrong", says="not what the device has measured"),
            Wrong("drops a nought", shrinking(lambda p: {k: v for k, v in minimise(p).items() if v}), "missing", says="battery"),
            Wrong("a nought where there is no number", shrinking(lambda p: {**dict.fromkeys((n.field for n in NEEDS), 0), **minimise(p)}), "wrong", says="has no number"),
            Wrong("a text", shrinking(lambda _: "nothing"), "not-a-payload", says="not a dict"),
            Wrong("no JSON", writing("payloads.json", '"x"{'), "unreadable"),
        ),
    ),
    Answers(
        "audit.3",
        right=(Right("rows of numbers", searching(by_numbers)), Right("our own comparison", searching(by_ours))),
        wrong=(
            Wrong("versions as words", searching(by_words), "no-hole", says="idna"),
            Wrong("versions as one number", searching(by_digits), "hole-missed", says="starlette"),
            Wrong("nothing", searching(lambda *_: set()), "hole-missed", says="among those"),
            Wrong("everything", searching(lambda pins, _: {p.name for p in pins}), "no-hole", says="no hole on the list"),
            Wrong("whoever ever had one", searching(by_name), "no-hole"),
            Wrong("a number", laying("holes.json", [1, 2]), "unreadable"),
        ),
    ),
    Answers(
        "audit.4",
        right=(Right("five in seven minutes", rule(5, 420)), Right("ten in half an hour", rule(10, 1800)), Right("seven in an hour", rule(7, 3600))),
        wrong=(
            Wrong("as it was: five in a minute", rule(5, 60), "deaf"),
            Wrong("four in seven minutes", rule(4, 420), "rings-for-nothing", says="07:00"),
            Wrong("one", rule(1, 60), "rings-for-nothing"),
            Wrong("five in an hour", rule(5, 3600), "rings-for-nothing", says="07:00"),
            Wrong("a whole day", rule(15, 86400), "rings-for-nothing"),
            Wrong("twenty in an hour", rule(20, 3600), "too-late", says="try 19"),
            Wrong("never", rule(1000, 3600), "deaf"),
            Wrong("half a try", rule(4.5, 420), "not-a-rule"),
            Wrong("a word", rule("5", 420), "not-a-rule"),
            Wrong("a list", laying("rule.json", [5, 420]), "not-a-rule"),
        ),
    ),
    Answers(
        "audit.5",
        right=(Right("a whole pattern", handing("who", _WHO)), Right("by its parts", handing("who", _BY_PARTS))),
        wrong=(
            Wrong("the first ending", reading("as .+ ", "as .+? "), "first-believed"),
            Wrong("the first apostrophe", reading("u'(.*)'", "u'([^']*)'"), "cut-off", says="None"),
            Wrong("the id", reading(r"as .+ \(p\d+, c\d+, k\d+, u'(.*)'\)\.", r"as (.+) \(p\d+.*"), "id-believed"),
            Wrong("anywhere in the line", handing("who", _ANYWHERE), "anywhere-believed"),
            Wrong("one version of MQTT", reading(r"\(p\d+", r"\(p5"), "honest-missed"),
            Wrong("one second", reading(r"\d+: New", "1772366400: New"), "honest-missed", says="another second"),
            Wrong("sessions of two figures", reading(r"k\d+", r"k\d\d"), "honest-missed", says="another second"),
            Wrong("names of one word", reading("u'(.*)'", r"u'(\S*)'"), "cut-off", says="with blanks"),
            Wrong("names in small letters", reading("found[1] if", "found[1].lower() if"), "cut-off", says="with blanks"),
            Wrong("the last beginning of a user", reading("u'(.*)'", "u'(?:.*u')?(.*)'"), "cut-off", says="like the beginning"),
            Wrong("no IPv6", reading(r"\S+ as", r"[\d.]+:\d+ as"), "honest-missed"),
            Wrong("always nobody", handing("who", "def who(line):\n    return None"), "honest-missed"),
            Wrong("a line that does not match", reading("found[1] if found else None", "found[1]"), "crashed", says="TypeError"),
        ),
    ),
)  # fmt: skip
