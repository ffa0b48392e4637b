"""Attack trees: a goal, and the ways to it. Leaves are threats; a way is shut when one of its threats is.

B. Schneier, "Attack Trees", Dr. Dobb's Journal, December 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ALL, ANY, LEAF = "all", "any", "leaf"


@dataclass(frozen=True, slots=True)
class Node:
    """A goal of an attack, or a step to one.

    Attributes:
        goal: What is reached.
        gate: `all` of the steps are needed, `any` of them will do, or it is a `leaf`.
        steps: The steps.
        threat: The threat that a leaf stands for.
    """

    goal: str
    gate: str = LEAF
    steps: tuple[Node, ...] = ()
    threat: str = ""

    def __post_init__(self) -> None:
        if (self.gate == LEAF) == bool(self.steps) or (self.gate == LEAF) != bool(self.threat):
            text = f"a leaf has a threat, everything else has steps: {self.goal!r}"
            raise ValueError(text)

    def leaves(self) -> Iterator[Node]:
        """Yield the leaves below, or the leaf itself."""
        if self.gate == LEAF:
            yield self
        for step in self.steps:
            yield from step.leaves()

    def ways(self) -> list[frozenset[str]]:
        """Return every way to the goal: the threats that it takes; a way that contains another is left out."""
        if self.gate == LEAF:
            return [frozenset({self.threat})]
        below = [step.ways() for step in self.steps]
        found = (
            [way for ways in below for way in ways]
            if self.gate == ANY
            else [frozenset().union(*choice) for choice in product(*below)]
        )
        return [way for way in dict.fromkeys(found) if not any(other < way for other in found)]

    def open_ways(self, closed: Collection[str]) -> list[frozenset[str]]:
        """Return the ways on which no threat is closed."""
        return [way for way in self.ways() if not way & set(closed)]


def _any(goal: str, *steps: Node) -> Node:
    return Node(goal, ANY, steps)


def _all(goal: str, *steps: Node) -> Node:
    return Node(goal, ALL, steps)


def _leaf(threat: str, goal: str) -> Node:
    return Node(goal, threat=threat)


_TAKE_OVER = _any(
    "take a device over",
    _leaf("default-password", "log in with a password that everybody knows"),
    _leaf("never-patched", "use a hole that was never patched"),
    _leaf("foreign-firmware", "have it load our firmware"),
    _leaf("open-debug", "use its debug port"),
)

TREES = {
    "botnet": _all(
        "devices attack strangers",
        _any(
            "take thousands of devices over",
            _leaf("default-password", "try a short list of passwords on every address"),
            _leaf("never-patched", "use one hole in all of them"),
            _leaf("secret-in-image", "read the password of all of them in one image"),
        ),
        _leaf("botnet", "send from there to the internet"),
    ),
    "pivot": _all(
        "reach accounting from a sensor",
        _TAKE_OVER,
        _leaf("pivot", "go from the devices' network into the office"),
    ),
    "exfiltration": _any(
        "learn what the plant does",
        _leaf("sniffed-readings", "listen on the wire"),
        _leaf("opened-later", "record now, open later"),
        _leaf("spying-device", "be a device, and listen to the others"),
        _leaf("open-dashboard", "look at the dashboard"),
        _all(
            "log in as somebody else",
            _any(
                "come by an identity",
                _leaf("sniffed-password", "read a password on the wire"),
                _leaf("read-flash", "read a key in a flash chip"),
                _leaf("secret-in-image", "read a secret in an image"),
            ),
            _leaf("open-ports", "reach the broker from where we are"),
        ),
    ),
    "ransomware": _any(
        "stand between a plant and its work",
        _all(
            "encrypt the servers",
            _any(
                "get to them",
                _leaf("open-dashboard", "through the dashboard's editor"),
                _leaf("pivot", "through a device"),
            ),
            _leaf("ransom", "encrypt what has no copy elsewhere"),
        ),
        _all(
            "lock the devices",
            _any(
                "make them load our firmware",
                _leaf("foreign-firmware", "which nobody signed"),
                _leaf("stolen-signing-key", "signed with a stolen key"),
            ),
            _leaf("bricked-fleet", "on all of them at once"),
        ),
    ),
}
"""What attackers want of a plant like this."""

MIRAI = _all(
    "overwhelm a name server (October 2016)",
    _all(
        "have a hundred thousand devices",
        _leaf("open-ports", "find telnet on ports 23 and 2323 by asking random addresses"),
        _leaf("default-password", "try about sixty pairs of factory passwords"),
        _leaf("never-patched", "stay: nobody updates, and a restart is followed by the next infection"),
    ),
    _leaf("botnet", "send to whomever the owner names"),
)
"""Mirai as a tree over the same threats: each of the four, closed, would have ended it."""


def text(tree: Node, closed: Collection[str] = ()) -> str:
    """Return a tree as indented text.

    Args:
        tree: The tree.
        closed: Threats that are closed.
    """
    return "\n".join(_lines(tree, set(closed), "", ""))


def _lines(node: Node, closed: set[str], first: str, rest: str) -> Iterator[str]:
    word = {ALL: " (all of these)", ANY: " (any of these)", LEAF: ""}[node.gate]
    shut = "" if node.open_ways(closed) else "  [shut]"
    yield f"{first}{node.goal}{word}{shut}"
    for number, step in enumerate(node.steps):
        last = number == len(node.steps) - 1
        yield from _lines(step, closed, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
