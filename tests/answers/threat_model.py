"""Answers to the exercises of lesson threat-model."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.threat_model import TO_SCORE, hand_in_exposed, hand_in_register, to_score
from labkit.threats import CLIENT_KNOWN, ENCRYPTED, SERVER_KNOWN, TREES
from tests.answers.shape import Answers, Right, Wrong, handing, laying, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.threats import DataFlow, Model

WHOLE = {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN}


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab."""
    lab = open_lab("threat-model", workspace=folder / "w")
    yield lab
    lab.close()


# --- 1: what crosses a border ---------------------------------------------------------------------------------------


def exposing(unsafe: Callable[[DataFlow], bool], *, borders: bool = True) -> Callable[[Lab], None]:
    """Hand in the flows that cross a border and are unsafe in somebody's opinion."""

    def exposed(model: Model) -> list[str]:
        return [
            flow.id
            for flow in model.flows
            if (not borders or model.element(flow.source).boundary != model.element(flow.target).boundary)
            and unsafe(flow)
        ]

    return lambda lab: hand_in_exposed(lab, exposed) and None


def by_loops(lab: Lab) -> None:
    """Draw a map of the elements first, and look for a word that is missing."""

    def exposed(model: Model) -> set[str]:
        where = {element.id: element.boundary for element in model.elements}
        found = set()
        for flow in model.flows:
            for word in (ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN):
                if word not in flow.before and where[flow.source] != where[flow.target]:
                    found.add(flow.id)
        return found

    hand_in_exposed(lab, exposed)


# --- 2: score them --------------------------------------------------------------------------------------------------


def scoring(*, without: int = 0, reason: str = "three good words", **changes: Any) -> Callable[[Lab], None]:
    """Hand in the course's own scores, some of them changed: likelihood, impact, treatment."""

    def give(lab: Lab) -> None:
        rows = []
        for threat in to_score():
            changed = changes.get(threat.id.replace("-", "_"), (threat.likelihood, threat.impact, "mitigate"))
            rows.append((threat.id, *changed, reason))
        hand_in_register(lab, rows[: len(rows) - without])

    return give


def all_alike(lab: Lab) -> None:
    """Hand in four and four for everything, but for what the other rules ask for."""
    odd = {"opened-later": (3, 4), "stolen-authority": (4, 5)}
    hand_in_register(lab, [(n, *odd.get(n, (4, 4)), "mitigate", "three good words") for n in TO_SCORE])


# --- 3 to 5 ---------------------------------------------------------------------------------------------------------


def by_brute_force(lab: Lab) -> None:
    """Try all sets of three, as a program does."""
    leaves = sorted({leaf.threat for tree in TREES.values() for leaf in tree.leaves()})
    best = min(combinations(leaves, 3), key=lambda c: sum(len(t.open_ways(c)) for t in TREES.values()))
    laying("closed.json", best)(lab)


def still_open(body: str) -> Callable[[Any], None]:
    """Hand in a function with an expression."""
    return handing("still_open", f"def still_open(ways, closed):\n    return {body}\n")


_LOOPS = """
def still_open(ways, closed):
    found = list(ways)
    for threat in closed:
        found = [way for way in found if threat not in way]
    return found
"""


def guesses(body: str) -> Callable[[Any], None]:
    """Hand in a function with an expression."""
    return handing("guesses", f"from itertools import product\n\n\ndef guesses():\n    return {body}\n")


_USERS = '("admin", "camera", "gate")'

TABLE = (
    Answers(
        "threat-model.1",
        right=(
            Right("compares sets", exposing(lambda flow: not flow.before >= WHOLE)),
            Right("looks for a word that is missing", by_loops),
            Right("asks the library", lambda lab: hand_in_exposed(
                lab, lambda model: [flow.id for flow in model.exposed()]) and None),
        ),
        wrong=(
            Wrong("counts the words", exposing(lambda flow: len(flow.before) < 3), "some-missing",
                  says="a riddle: 3 missing"),
            Wrong("asks for exactly three", exposing(lambda flow: flow.before != WHOLE), "protected-too",
                  says="more for example"),
            Wrong("is content with encryption", exposing(lambda flow: ENCRYPTED not in flow.before), "some-missing"),
            Wrong("forgets that the server is known", exposing(
                lambda flow: not {ENCRYPTED, CLIENT_KNOWN} <= flow.before), "some-missing"),
            Wrong("forgets the borders", exposing(lambda flow: not flow.before >= WHOLE, borders=False),
                  "borders-forgotten", says="too much"),
            Wrong("takes everything that crosses", exposing(lambda _: True), "protected-too"),
            Wrong("looks at the plant as built", exposing(lambda flow: not flow.after >= WHOLE), "some-missing"),
            Wrong("finds nothing", exposing(lambda _: False), "some-missing"),
            Wrong("two models only", laying("exposed.json", {"a riddle": []}), "unreadable"),
            Wrong("no JSON", writing("exposed.json", "{"), "WorkspaceCorruptError"),
        ),
    ),
    Answers(
        "threat-model.2",
        touches=("course/register.json",),
        right=(
            Right("the course's opinion", scoring()),
            Right("another opinion", scoring(
                pivot=(1, 2, "transfer"), foreign_topic=(2, 2, "accept"), never_patched=(3, 3, "avoid"),
                sniffed_password=(4, 3, "mitigate"), stolen_authority=(1, 4, "accept"))),
        ),
        wrong=(
            Wrong("eleven rows", scoring(without=1), "scores-missing", says="1 threats"),
            Wrong("no reasons", scoring(reason="because"), "no-reasons", says="12 reasons"),
            Wrong("default passwords are unlikely", scoring(default_password=(2, 4, "mitigate")), "seen-and-unlikely"),
            Wrong("nobody reads images", scoring(secret_in_image=(3, 5, "mitigate")), "seen-and-unlikely",
                  says="secret-in-image"),
            Wrong("opening later is as easy as listening", scoring(opened_later=(5, 3, "mitigate")),
                  "two-steps-as-likely"),
            Wrong("the authority is worth what readings are", scoring(stolen_authority=(2, 3, "mitigate")),
                  "authority-worth-little"),
            Wrong("accepts what is critical", scoring(never_patched=(5, 4, "accept")), "critical-accepted"),
            Wrong("all alike", all_alike, "all-the-same"),
        ),
    ),
    Answers(
        "threat-model.3",
        right=(
            Right("three that were thought of", laying("closed.json", ["pivot", "open-ports", "botnet"])),
            Right("all sets of three, tried", by_brute_force),
            Right("another three", laying("closed.json", ["bricked-fleet", "open-ports", "pivot"])),
        ),
        wrong=(
            Wrong("the first attempt", laying("closed.json", ["secret-in-image", "open-dashboard"]), "too-open",
                  says="14"),
            Wrong("the two best and no third", laying("closed.json", ["pivot", "open-ports"]), "too-open", says="10"),
            Wrong("four", laying("closed.json", ["pivot", "open-ports", "botnet", "ransom"]), "too-many"),
            Wrong("everything", laying("closed.json", sorted(
                {leaf.threat for tree in TREES.values() for leaf in tree.leaves()})), "too-many"),
            Wrong("a threat of another tree", laying("closed.json", ["pivot", "open-ports", "bottomless"]),
                  "no-such-threat"),
            Wrong("none", laying("closed.json", []), "too-open", says="18"),
            Wrong("one word", laying("closed.json", "pivot"), "not-a-list"),
            Wrong("numbers", laying("closed.json", [1, 2, 3]), "not-a-list"),
        ),
    ),
    Answers(
        "threat-model.4",
        right=(
            Right("compares sets", still_open("[way for way in ways if not set(way) & set(closed)]")),
            Right("takes them out one by one", handing("still_open", _LOOPS)),
            Right("filters what is disjoint", still_open("tuple(filter(set(closed).isdisjoint, ways))")),
            Right("asks each step", still_open("[w for w in ways if all(step not in closed for step in w)]")),
        ),
        wrong=(
            Wrong("the colleague's", still_open("[w for w in ways if not set(w) <= set(closed)]"), "half-shut"),
            Wrong("the other way round", still_open("[w for w in ways if set(w) & set(closed)]"), "too-shut"),
            Wrong("looks at the first step", still_open("[w for w in ways if w[0] not in closed]"), "half-shut"),
            Wrong("looks at the first that is closed", still_open(
                "[w for w in ways if not closed or closed[0] not in w]"), "half-shut"),
            Wrong("looks for the word in the text", still_open(
                "[w for w in ways if not any(c in ' '.join(w) for c in closed)]"), "too-shut"),
            Wrong("keeps ways of one step", still_open(
                "[w for w in ways if len(w) == 1 or not set(w) & set(closed)]"), "too-open"),
            Wrong("counts them", still_open("len(ways)"), "too-shut"),
            Wrong("returns sets", still_open("[set(w) for w in ways if not set(w) & set(closed)]"), "too-shut"),
            Wrong("sorts the ways", still_open("sorted(w for w in ways if not set(w) & set(closed))"), "other-order"),
            Wrong("sorts the steps", still_open("[sorted(w) for w in ways if not set(w) & set(closed)]"), "other-order"),
            Wrong("crashes", still_open("ways - closed"), "crashed", says="TypeError"),
        ),
    ),
    Answers(
        "threat-model.5",
        right=(
            Right("two loops", guesses(f'[(u, f"{{u}}-{{y}}") for u in {_USERS} for y in range(2015, 2025)]')),
            Right("a product", guesses(
                f'[[u, "-".join((u, str(y)))] for y, u in product(range(2024, 2014, -1), {_USERS})]')),
        ),
        wrong=(
            Wrong("stops a year early", guesses(f'[(u, f"{{u}}-{{y}}") for u in {_USERS} for y in range(2015, 2024)]'),
                  "some-missed", says="1 of three"),
            Wrong("begins a year late", guesses(f'[(u, f"{{u}}-{{y}}") for u in {_USERS} for y in range(2016, 2025)]'),
                  "some-missed"),
            Wrong("knows the years of this door", guesses(
                '[("admin", "admin-2015"), ("camera", "camera-2019"), ("gate", "gate-2024")]'), "lucky", says="2016"),
            Wrong("leaves years out in the middle", guesses(
                f'[(u, f"{{u}}-{{y}}") for u in {_USERS} for y in (2015, 2017, 2019, 2024)]'), "lucky"),
            Wrong("one user", guesses('[("admin", f"admin-{y}") for y in range(2015, 2025)]'), "some-missed", says="2 of"),
            Wrong("another dash", guesses(f'[(u, f"{{u}}_{{y}}") for u in {_USERS} for y in range(2015, 2025)]'),
                  "nothing-opened"),
            Wrong("well-known pairs", guesses('[("admin", "admin"), ("camera", "camera"), ("gate", "1234")]'),
                  "nothing-opened"),
            Wrong("everything since 1990", guesses(f'[(u, f"{{u}}-{{y}}") for u in {_USERS} for y in range(1990, 2025)]'),
                  "too-many"),
            Wrong("passwords without users", guesses('[f"admin-{y}" for y in range(2015, 2025)]'), "not-pairs"),
            Wrong("a generator", guesses('(("admin", f"admin-{y}") for y in range(2015, 2025))'), "not-pairs"),
            Wrong("nothing", guesses("[]"), "nothing-opened"),
            Wrong("crashes", guesses("years"), "crashed", says="NameError"),
        ),
    ),
)  # fmt: skip
