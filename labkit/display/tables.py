"""Tables that a notebook shows, a screen reader reads, and a terminal prints."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 60
_NAME = 22


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes:
        title: What it shows; its caption.
        columns: The headings.
        rows: The cells. A line feed in a cell begins a new line.
        note: A sentence below it.
        code: Whether what stands in all columns but the first is code.
        links: Where a cell with exactly this text leads to, on a page.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""
    code: bool = False
    links: Mapping[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        head = "".join(
            # A heading without words is none: a screen reader would stop at it for nothing.
            f'<th scope="col" style="{_CELL}">{_safe(column)}</th>'
            if column
            else f'<td style="{_CELL}"></td>'
            for column in self.columns
        )
        head = f"<thead><tr>{head}</tr></thead>" if any(self.columns) else ""
        body = "".join(f"<tr>{self._cells(row)}</tr>" for row in self.rows)
        note = f'<p style="margin:.2em 0">{_safe(self.note)}</p>' if self.note else ""
        caption = (
            f'<caption style="text-align:left;font-weight:600;padding:.3em 0">{_safe(self.title)}</caption>'
        )
        return (
            f'<table style="border-collapse:collapse;text-align:left">{caption}'
            f"{head}<tbody>{body}</tbody></table>{note}"
        )

    def _cells(self, row: Sequence[object]) -> str:
        first, *rest = row
        # Names are not broken at their hyphens, sentences may be.
        whole = ";white-space:nowrap" if all(len(str(each[0])) <= _NAME for each in self.rows) else ""
        head = f'<th scope="row" style="{_CELL}{whole}">{self._linked(first)}</th>'
        style = _CELL + (";font-family:ui-monospace,monospace;font-size:.85em" if self.code else "")
        return head + "".join(f'<td style="{style}">{self._linked(cell)}</td>' for cell in rest)

    def _linked(self, cell: object) -> str:
        target = self.links.get(str(cell))
        return f'<a href="{html.escape(target)}">{_safe(cell)}</a>' if target else _safe(cell)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the table as text."""
        lines = [[_wrapped(str(cell)) for cell in row] for row in self.rows]
        heads = [[str(column)] for column in self.columns]
        widths = [
            max(len(text) for row in [heads, *lines] for text in row[column])
            for column in range(len(self.columns))
        ]
        rule = "  ".join("-" * width for width in widths)
        out = [self.title, *_text_row(heads, widths), rule]
        for row in lines:
            out += _text_row(row, widths)
        return "\n".join([*out, self.note]).rstrip()


_CELL = "text-align:left;vertical-align:top;padding:.25em .6em;border-bottom:1px solid rgba(128,128,128,.35)"


def _safe(cell: object) -> str:
    return html.escape(str(cell)).replace("\n", "<br>")


def _wrapped(text: str) -> list[str]:
    return [piece for line in text.split("\n") for piece in textwrap.wrap(line, _WIDTH) or [""]]


def _text_row(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    height = max(len(cell) for cell in cells)
    padded = [[*cell, *[""] * (height - len(cell))] for cell in cells]
    return [
        "  ".join(cell[line].ljust(width) for cell, width in zip(padded, widths, strict=True)).rstrip()
        for line in range(height)
    ]
