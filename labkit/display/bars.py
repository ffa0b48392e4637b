"""Horizontal bars: a figure for numbers that are to be compared, and the same numbers as a table."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.tables import Table
from labkit.display.theme import COLOURS, tint

if TYPE_CHECKING:
    from collections.abc import Sequence

_LABEL, _LENGTH, _VALUE = 230, 360, 130
_HEIGHT, _STEP, _TOP = 22, 32, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """One number.

    Attributes:
        label: What it is of.
        value: The number, not negative.
        role: Whose colour it has; see `theme.COLOURS`. The label says it too.
        text: How the number is written; by itself with three digits.
    """

    label: str
    value: float
    role: str = "server"
    text: str = ""

    @property
    def written(self) -> str:
        """The number in words."""
        return self.text or (f"{self.value:,.0f}" if self.value >= 1000 else f"{self.value:.3g}")


@dataclass(frozen=True)
class Bars:
    """Numbers side by side. Get one from `bars`."""

    title: str
    unit: str
    rows: tuple[Bar, ...]
    note: str = ""

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the numbers as a table."""
        return str(
            Table(self.title, ("", self.unit), [(bar.label, bar.written) for bar in self.rows], self.note)
        )

    def _repr_html_(self) -> str:
        width, height = _LABEL + _LENGTH + _VALUE, _TOP + _STEP * len(self.rows) + 6
        most = max((bar.value for bar in self.rows), default=0) or 1
        drawn = "".join(_drawn(bar, number, most, self.unit) for number, bar in enumerate(self.rows))
        note = f'<p style="margin:.2em 0">{html.escape(self.note)}</p>' if self.note else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" '
            f'style="width:100%;max-width:{width}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>"
            f'<text x="0" y="16" font-weight="600" fill="currentColor">{html.escape(self.title)}</text>{drawn}</svg>{note}'
        )


def bars(title: str, unit: str, rows: Sequence[Bar], *, note: str = "") -> Bars:
    """Return numbers to show side by side.

    Args:
        title: What is compared.
        unit: What one is.
        rows: The numbers, from top to bottom.
        note: A sentence below.

    Raises:
        ValueError: A number is negative, and would have no length.
    """
    if any(bar.value < 0 for bar in rows):
        text = "a bar can't be shorter than nothing"
        raise ValueError(text)
    return Bars(title, unit, tuple(rows), note)


def _drawn(bar: Bar, number: int, most: float, unit: str) -> str:
    colour = COLOURS.get(bar.role, COLOURS["unknown"])
    top, length = _TOP + number * _STEP, round(max(2, _LENGTH * bar.value / most))
    middle = top + _HEIGHT - 6
    return (
        f'<text x="{_LABEL - 10}" y="{middle}" text-anchor="end" fill="currentColor">{html.escape(bar.label)}</text>'
        f'<rect x="{_LABEL}" y="{top}" width="{length}" height="{_HEIGHT}" rx="3" fill="{tint(colour)}" '
        f'stroke="{colour}" stroke-width="2"/>'
        f'<text x="{_LABEL + length + 8}" y="{middle}" fill="currentColor">{html.escape(f"{bar.written} {unit}")}</text>'
    )
