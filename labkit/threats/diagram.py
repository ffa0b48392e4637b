"""Diagrams as text: Mermaid for pages that draw it, with a title and a description for who can't see it; and plain words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labkit.threats.attack_trees import ALL, LEAF, Node
from labkit.threats.model import CLIENT_KNOWN, ENCRYPTED, SERVER_KNOWN, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from labkit.threats.model import DataFlow, Model

_SHAPES = {Kind.PROCESS: ('("', '")'), Kind.STORE: ('[("', '")]'), Kind.EXTERNAL: ('["', '"]')}


def data_flow(model: Model, *, after: bool = False) -> str:
    """Return a model as a Mermaid flowchart: boundaries are boxes, thick arrows are protected all the way.

    Args:
        model: The model.
        after: Draw the plant that the lessons build, and not the one that was found.
    """
    lines = [
        "flowchart LR",
        f"  accTitle: {_plain(model.name)}, what flows where",
        "  accDescr {",
        *(f"    {_plain(line)}" for line in words(model, after=after).split("\n")),
        "  }",
    ]
    for boundary in model.boundaries:
        lines.append(f'  subgraph {_id(boundary.id)}["{_plain(boundary.name)}"]')
        for element in model.elements:
            if element.boundary == boundary.id:
                left, right = _SHAPES[element.kind]
                lines.append(f"    {_id(element.id)}{left}{_plain(element.name)}{right}")
        lines.append("  end")
    for flow in model.flows:
        arrow = "==>" if _protected(flow, after=after) else "-->"
        lines.append(f'  {_id(flow.source)} {arrow}|"{_plain(flow.carries)}"| {_id(flow.target)}')
    return "\n".join(lines) + "\n"


def words(model: Model, *, after: bool = False) -> str:
    """Return a model in words: who is where, and what goes from whom to whom, how protected."""
    lines = [f"{model.name}:"]
    for boundary in model.boundaries:
        inside = [element.name for element in model.elements if element.boundary == boundary.id]
        lines.append(f"Inside {boundary.name}: {', '.join(inside) or 'nobody of ours'}.")
    for flow in model.flows:
        ends = model.element(flow.source), model.element(flow.target)
        crosses = ends[0].boundary != ends[1].boundary
        border = f", across a border, {how(flow, after=after)}" if crosses else ""
        lines.append(f"{ends[0].name} to {ends[1].name}: {flow.carries} ({flow.over}){border}.")
    return "\n".join(lines)


def how(flow: DataFlow, *, after: bool = False) -> str:
    """Return how a flow is protected, in words."""
    found = flow.after if after else flow.before
    texts = {ENCRYPTED: "encrypted", SERVER_KNOWN: "server known", CLIENT_KNOWN: "client known"}
    return ", ".join(text for name, text in texts.items() if name in found) or "in the open"


def _protected(flow: DataFlow, *, after: bool) -> bool:
    return (flow.after if after else flow.before) == {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN}


def attack_tree(tree: Node, closed: Collection[str] = ()) -> str:
    """Return an attack tree as a Mermaid flowchart; what is shut has a dashed border and says so.

    Args:
        tree: The tree.
        closed: Threats that are closed.
    """
    ways, left = tree.ways(), tree.open_ways(closed)
    lines = [
        "flowchart TD",
        f"  accTitle: Attack tree: {_plain(tree.goal)}",
        f"  accDescr: {len(ways)} ways lead to it, of which {len(left)} are open.",
        "  classDef shut stroke-dasharray: 5 5",
        *_branches(tree, set(closed), "n"),
    ]
    return "\n".join(lines) + "\n"


def _branches(node: Node, closed: set[str], name: str) -> Iterator[str]:
    shut = not node.open_ways(closed)
    gate = "" if node.gate == LEAF else "<br>all of" if node.gate == ALL else "<br>any of"
    yield f'  {name}["{_plain(node.goal)}{" (shut)" if shut else ""}{gate}"]{":::shut" if shut else ""}'
    for number, step in enumerate(node.steps):
        yield from _branches(step, closed, f"{name}{number}")
        yield f"  {name} --- {name}{number}"


def _id(text: str) -> str:
    # `end` and words with a minus have a meaning of their own in Mermaid.
    return "e_" + re.sub(r"[^A-Za-z0-9]", "_", text)


def _plain(text: str) -> str:
    # Quotes and braces would end what they stand in.
    return re.sub(r'["{}<>|`\[\]]', "'", text)
