"""Who reaches whom, as a grid; each cell is a word, and a colour that only repeats it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.tables import Table
from labkit.display.theme import COLOURS, INK, tint
from labkit.network import OPEN, REJECTED

if TYPE_CHECKING:
    from collections.abc import Collection

    from labkit.network import Cell, Matrix

_ROLES = {"open": "server", "cut off": "attacker", "too open": "attacker"}
_SILENT = "·"


@dataclass(frozen=True)
class Grid:
    """A matrix of reachability to look at. Get one from `reachability`.

    Attributes:
        matrix: What became of each pair.
        title: What it shows.
        needed: What ought to be open, as (source, destination, protocol, port); without it nothing is judged.
        note: A sentence below it.
    """

    matrix: Matrix
    title: str
    needed: Collection[tuple[str, str, str, int]] | None = None
    note: str = ""

    @property
    def columns(self) -> list[tuple[str, int]]:
        """Protocol and port of each column."""
        return sorted({(cell.protocol, cell.port) for cell in self.matrix})

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Source and destination of each row."""
        return list(dict.fromkeys((cell.source, cell.destination) for cell in self.matrix))

    def word(self, source: str, destination: str, protocol: str, port: int) -> str:
        """Return what a cell says: both families in one word."""
        found: dict[int, str] = {}
        for cell, reply in self.matrix.items():
            if (cell.source, cell.destination, cell.protocol, cell.port) == (
                source,
                destination,
                protocol,
                port,
            ):
                found[cell.family] = self._judged(cell, reply.result)
        words = list(dict.fromkeys(found.values()))
        if len(words) == 1:
            return words[0]
        return ", ".join(f"v{family} {word}" for family, word in sorted(found.items()) if word != _SILENT)

    def _judged(self, cell: Cell, result: str) -> str:
        if self.needed is None:
            return {OPEN: "open", REJECTED: "rejected"}.get(result, _SILENT)
        wanted = (cell.source, cell.destination, cell.protocol, cell.port) in self.needed
        if result == OPEN:
            return "open" if wanted else "too open"
        return "cut off" if wanted else _SILENT

    def _rows(self) -> list[list[str]]:
        return [
            [
                f"{source} → {destination}",
                *(self.word(source, destination, *column) for column in self.columns),
            ]
            for source, destination in self.pairs
        ]

    def _heads(self) -> list[str]:
        return ["who → whom", *(f"{protocol} {port}" for protocol, port in self.columns)]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the grid as text."""
        return str(Table(self.title, self._heads(), self._rows(), self.note))

    def _repr_html_(self) -> str:
        cell = "text-align:left;padding:.2em .5em;border-bottom:1px solid rgba(128,128,128,.35);white-space:nowrap"
        head = "".join(f'<th scope="col" style="{cell}">{html.escape(each)}</th>' for each in self._heads())
        body = "".join(
            f'<tr><th scope="row" style="{cell};font-weight:normal">{html.escape(row[0])}</th>'
            + "".join(f'<td style="{cell}{_colour(word)}">{html.escape(word)}</td>' for word in row[1:])
            + "</tr>"
            for row in self._rows()
        )
        note = f'<p style="margin:.2em 0">{html.escape(self.note)}</p>' if self.note else ""
        # A plant's grid is pages long: it scrolls in a box of its own, which the keyboard reaches.
        return (
            f'<div tabindex="0" role="region" aria-label="{html.escape(self.title)}" '
            f'style="overflow:auto;max-height:32em"><table style="border-collapse:collapse;font-size:.9em">'
            f'<caption style="text-align:left;font-weight:600;padding:.3em 0">{html.escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
        )


def _colour(word: str) -> str:
    role = next((role for text, role in _ROLES.items() if word.endswith(text) and word != _SILENT), None)
    if "too open" in word or "cut off" in word:
        role = "attacker"
    if role is None:
        return ""
    # A cell brings its own background, so that its word can be read on light and dark pages alike.
    return f";background:{tint(COLOURS[role])};color:{INK if role == 'server' else COLOURS[role]}"


def reachability(
    matrix: Matrix,
    title: str = "Who reaches whom",
    *,
    needed: Collection[tuple[str, str, str, int]] | None = None,
    note: str = "",
) -> Grid:
    """Return a matrix to show.

    Args:
        matrix: What became of each pair.
        title: What it shows.
        needed: What ought to be open, as (source, destination, protocol, port): then each cell is judged.
        note: A sentence below it.
    """
    silent = f"{_SILENT} stands for silence."
    return Grid(matrix, title, needed, f"{note} {silent}".strip())
