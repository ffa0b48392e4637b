"""The optional exercises of lesson threat-model: shut the ways, a tree read wrong, a password with a pattern."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course.lesson import Check, CheckResult
from labkit.course.shelf import Case, failed, handed_in, laid, not_attempted, questioned
from labkit.scenarios.default_passwords import password_door, spray
from labkit.threats import MIRAI, TREES
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.course.lab import Lab

# --- exercise 3: shut the ways --------------------------------------------------------------------------------------

MAY_CLOSE, MAY_STAY = 3, 8
"""How many threats may be closed, and how many ways may stay open then."""


def _check_shut(lab: Lab) -> CheckResult:
    """Count what is left of the four trees."""
    try:
        closed = laid(lab, "closed.json")
    except FileNotFoundError:
        return not_attempted("complete shut(), then run the cell below it")
    asked = f"at most {MAY_CLOSE} threats, which leave at most {MAY_STAY} ways open"
    if not isinstance(closed, list) or not all(isinstance(each, str) for each in closed):
        return failed(
            "not-a-list",
            f"{closed!r}"[:80],
            expected=asked,
            advice="return a set or a list of names, such as those of the cell above",
        )
    if strange := sorted(set(closed) - {leaf.threat for tree in TREES.values() for leaf in tree.leaves()}):
        return failed(
            "no-such-threat",
            f"{strange[0]!r} is in none of the trees",
            expected=asked,
            advice="print(text(TREES[…])) shows a tree; the names are in tree.ways()",
        )
    if len(set(closed)) > MAY_CLOSE:
        return failed(
            "too-many",
            f"{len(set(closed))} threats are closed",
            expected=asked,
            advice="money is short; which of them is in the fewest ways?",
        )
    left = sum(len(tree.open_ways(closed)) for tree in TREES.values())
    if left > MAY_STAY:
        return failed(
            "too-open",
            f"{left} ways are open",
            expected=asked,
            advice="which threat is in the most ways, and which in the most of those that are left then?",
        )
    total = sum(len(tree.ways()) for tree in TREES.values())
    return CheckResult("passed", observed=f"{total - left} of {total} ways are shut, with {len(set(closed))}")


# --- exercise 4: a tree read wrong ----------------------------------------------------------------------------------

_ALONE = [["sniffed-readings"], ["opened-later"]]
_LONG = [["open-ports", "default-password", "never-patched", "botnet"], ["pivot", "ransom"]]
_UNSORTED = [["pivot", "ransom"], ["opened-later"], ["open-ports", "botnet", "ransom"]]
_ALIKE = [["botnet-of-others", "open-debug"], ["botnet", "open-debug"]]


def _still(ways: list[list[str]], closed: list[str]) -> tuple[tuple[Any, ...], list[list[str]]]:
    return (ways, closed), [way for way in ways if not set(way) & set(closed)]


def _ways(name: str) -> list[list[str]]:
    tree = MIRAI if name == "mirai" else TREES[name]
    return sorted(sorted(way) for way in tree.ways())


READINGS = tuple(
    Case(about, *_still(ways, closed), fault)
    for about, ways, closed, fault in (
        ("nothing is closed", _ways("botnet"), [], "too-shut"),
        ("a way of one step, closed", _ALONE, ["opened-later"], "too-open"),
        ("the first step of four is closed", _LONG, ["open-ports"], "half-shut"),
        ("the last step of four is closed", _LONG, ["botnet"], "half-shut"),
        ("a step in the middle is closed", _ways("mirai"), ["never-patched"], "half-shut"),
        ("two are closed, in different ways", _LONG, ["ransom", "never-patched"], "half-shut"),
        ("what is closed is in no way", _ways("pivot"), ["sniffed-password", "ransom"], "too-shut"),
        ("closed, and another one is called almost the same", _ALIKE, ["botnet"], "too-shut"),
        ("everything is closed", _ways("pivot"), ["pivot"], "too-open"),
        ("the largest tree", _ways("exfiltration"), ["open-ports", "sniffed-readings"], "half-shut"),
        ("there are no ways", [], ["pivot"], "too-open"),
        ("ways and steps in no order of words", _UNSORTED, ["opened-later"], "other-order"),
    )
)
"""Ways, what is closed, and which ways are open then."""


def _check_still_open(lab: Lab) -> CheckResult:
    """Ask the reader's function about ways that it knows, and about others."""
    return questioned(
        lab, "still_open", READINGS,
        expected="the ways of which no step is closed, in the order in which they came",
        looks={
            "half-shut": "an attacker needs every step of a way; how many must you take from him?",
            "too-shut": "a way of which no step is closed is open",
            "other-order": "leave ways and their steps in the order in which they came",
            "too-open": "a closed step shuts its way, also where it is the only one",
        },
        passed=f"{len(READINGS)} questions, and no way is taken for shut that is open",
    )  # fmt: skip


# --- exercise 5: a password with a pattern --------------------------------------------------------------------------

FITTED = {"admin": 2015, "camera": 2019, "gate": 2024}
"""When the installer of the exercise fitted what belongs to each user."""

YEARS = range(2015, 2025)
"""In which years he may have."""

MAY_GUESS = 30
"""How many pairs may be tried; more would be noticed."""


def _check_guesses(lab: Lab) -> CheckResult:
    """Set up a door as the installer does, and try what the reader's function suggests."""
    answer = handed_in(lab, "guesses")
    if answer is None:
        return not_attempted("complete guesses(), then run the cell below it")
    (reply,) = answer.ask([[]])
    pairs, asked = (
        reply.value,
        f"at most {MAY_GUESS} pairs of user and password that open the door to all three users",
    )
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        return failed(
            "crashed" if reply.error else "not-pairs",
            (reply.error or f"guesses() returned {pairs!r}")[:120],
            expected=asked,
            advice='return a list of pairs of texts, such as [("admin", "admin-2015")]',
        )
    tries = list(dict.fromkeys((user, password) for user, password in pairs))
    if len(tries) > MAY_GUESS:
        return failed(
            "too-many",
            f"{len(tries)} pairs",
            expected=asked,
            advice="three users, ten years: what can be left out?",
        )
    return _tried(tries, asked)


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(each, str) and len(each) <= 64 for each in pair)
    )


def _tried(tries: list[tuple[str, str]], asked: str) -> CheckResult:
    good = ("operator", secrets.token_urlsafe(12))
    users = {user: f"{user}-{year}" for user, year in FITTED.items()} | dict([good])
    with tempfile.TemporaryDirectory(prefix="labkit-judge-") as folder:
        workspace = Workspace.open(Path(folder) / "w")
        with password_door(workspace, users) as door:
            control = spray(door, [good, ("operator", "no-such-password")])
            found = spray(door, tries)
    if control.opened != (good,):
        return failed(
            "sick-door",
            f"the judge's own door let {len(control.opened)} of one in",
            expected="a door that opens to a right password alone",
            advice="labkit doctor",
        )
    missed = sorted(set(FITTED) - {user for user, _ in found.opened})
    if missed:
        return failed(
            "nothing-opened" if len(missed) == len(FITTED) else "some-missed",
            f"{found.tried} pairs, and {len(missed)} of three users are safe from you",
            expected=asked,
            advice="write the password of one user down as the installer would; for which years?",
        )
    if left_out := [
        (user, year) for user in FITTED for year in YEARS if (user, f"{user}-{year}") not in tries
    ]:
        user, year = left_out[0]
        return failed(
            "lucky",
            f"this door is open, and one whose {user} was fitted in {year} stays shut",
            expected=asked,
            advice="you can't know the years; which pairs does the rule allow?",
        )
    return CheckResult("passed", observed=f"{found.tried} pairs, and all three users are yours")


MORE = (
    Check(
        "threat-model.3",
        f"at most {MAY_CLOSE} closed threats leave at most {MAY_STAY} ways of all four trees open",
        (
            "Count in how many ways each threat is. Which one is in most of them?",
            "Close that one, and count again among the ways that are left.",
            "itertools.combinations tries all sets of three faster than you can think.",
        ),
        _check_shut,
        why="Nobody has the money to close everything, so the order is the plan.",
        kind="tweak",
        required=False,
        minutes=5,
    ),
    Check(
        "threat-model.4",
        "still_open() says which ways are open, of trees that it knows and others",
        (
            "Ask the colleague's function with one closed step of a way with four. What does it say?",
            "<= asks whether all of them are closed. What do you want to ask?",
            "Two sets have something in common if set(way) & set(closed) is not empty.",
        ),
        _check_still_open,
        why="Who believes that every step must be closed pays four times for one lock.",
        kind="bug-hunt",
        required=False,
        minutes=4,
    ),
    Check(
        "threat-model.5",
        f"at most {MAY_GUESS} guesses open a door whose passwords follow the installer's rule",
        (
            "How many passwords can one user have under that rule? It is a short list.",
            "Two loops, one over the users and one over the years; range leaves its end out.",
            'f"{user}-{year}" is the installer\'s rule as Python.',
        ),
        _check_guesses,
        why="A password that follows a rule is as good as the rule is secret.",
        kind="break-it",
        required=False,
        minutes=5,
    ),
)
"""The exercises that nothing later builds on."""
