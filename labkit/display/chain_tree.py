"""Who vouches for whom, as a picture and as text."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.theme import COLOURS, INK, tint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.pki import Branch, Description

_BOX = (250, 74)
_GAP = (70, 18)


@dataclass(frozen=True)
class ChainTree:
    """A tree of certificates. Get one from `chain_tree`."""

    roots: Sequence[Branch]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the tree as text."""
        return "\n".join(line for root in self.roots for line in _text(root, "", ""))

    def _repr_html_(self) -> str:
        placed = list(_place(self.roots))
        width = max(x for _, x, _, _ in placed) + _BOX[0] + 2
        height = max(y for _, _, y, _ in placed) + _BOX[1] + 2
        arrows = "".join(_arrow(parent, (x, y)) for _, x, y, parent in placed if parent)
        boxes = "".join(_box(description, x, y) for description, x, y, _ in placed)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" '
            f'style="width:100%;max-width:{width}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>Who vouches for whom</title><desc>{html.escape(str(self))}</desc>{arrows}{boxes}</svg>"
        )


def chain_tree(roots: Sequence[Branch]) -> ChainTree:
    """Return a tree of certificates to show.

    Args:
        roots: What `Store.tree` or `describe_tree` returned.
    """
    return ChainTree(tuple(roots))


def _place(
    branches: Sequence[Branch],
) -> Iterator[tuple[Description, int, int, tuple[int, int] | None]]:
    row = 0

    def walk(
        branch: Branch, depth: int, parent: tuple[int, int] | None
    ) -> Iterator[tuple[Description, int, int, tuple[int, int] | None]]:
        nonlocal row
        own = (depth * (_BOX[0] + _GAP[0]) + 1, row * (_BOX[1] + _GAP[1]) + 1)
        yield branch.certificate, *own, parent
        for number, below in enumerate(branch.below):
            row += number > 0
            yield from walk(below, depth + 1, own)

    for number, branch in enumerate(branches):
        row += number > 0
        yield from walk(branch, 0, None)


def _box(description: Description, x: int, y: int) -> str:
    colour = COLOURS.get(description.role, COLOURS["unknown"])
    lines = (
        (22, "bold", description.name, colour),
        (42, "normal", _what(description), INK),
        (60, "normal", f"{description.key}, until {description.not_after:%Y-%m-%d}", INK),
    )
    texts = "".join(
        f'<text x="{x + 12}" y="{y + offset}" font-weight="{weight}" fill="{fill}">{html.escape(text)}</text>'
        for offset, weight, text, fill in lines
    )
    # A box brings its own background, so that its words can be read on light and dark pages alike.
    return (
        f'<g><rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="8" fill="{tint(colour)}" '
        f'stroke="{colour}" stroke-width="2"/>{texts}</g>'
    )


def _arrow(parent: tuple[int, int], child: tuple[int, int]) -> str:
    x1, y1 = parent[0] + _BOX[0], parent[1] + _BOX[1] // 2
    x2, y2 = child[0], child[1] + _BOX[1] // 2
    middle = (x1 + x2) // 2
    return (
        f'<path d="M{x1} {y1} H{middle} V{y2} H{x2 - 7}" fill="none" stroke="currentColor" stroke-opacity="0.6"/>'
        f'<path d="M{x2 - 8} {y2 - 4} L{x2} {y2} L{x2 - 8} {y2 + 4} Z" fill="currentColor" fill-opacity="0.6"/>'
    )


def _text(branch: Branch, first: str, rest: str) -> Iterator[str]:
    found = branch.certificate
    yield f"{first}{found.name}  ({_what(found)}; {found.key}, until {found.not_after:%Y-%m-%d})"
    for number, below in enumerate(branch.below):
        last = number == len(branch.below) - 1
        yield from _text(below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _what(description: Description) -> str:
    words = {
        "root": "root, signs authorities",
        "intermediate": "authority, signs leaves",
        "server": "for servers",
        "device": "for clients",
    }
    return words.get(description.role, "for anything: no purpose given")
