"""What became of something at every step: a lane for each state, from left to right, and the same as a table.

Steps belong to phases, and each phase has its own scale, because the steps that matter are few among many.
"""

from __future__ import annotations

import html
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from labkit.display.tables import Table
from labkit.display.theme import COLOURS, INK, tint

if TYPE_CHECKING:
    from collections.abc import Sequence

_LABEL, _LENGTH, _COUNT = 190, 640, 80
_LANE, _GAP, _BAND = 30, 6, 60
_LETTER, _MARGIN = 6.7, 14
_THIN = 1.6
"""So wide is one step drawn at least, or nobody would see it among hundreds."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A state that there can be.

    Attributes:
        name: What it is called.
        role: Whose colour it has; see `theme.COLOURS`.
    """

    name: str
    role: str = "server"


@dataclass(frozen=True)
class StateLanes:
    """Steps and states to look at. Get one from `state_lanes`.

    Attributes:
        title: What it shows.
        lanes: The states, from top to bottom.
        steps: The state after each step.
        phases: What each step belongs to.
        note: A sentence below.
    """

    title: str
    lanes: tuple[Lane, ...]
    steps: tuple[str, ...]
    phases: tuple[str, ...]
    note: str = ""

    def __repr__(self) -> str:
        return str(self)

    @property
    def runs(self) -> list[tuple[int, int, str, str]]:
        """Steps in a row that belong together: first, last, phase, state. Steps count from 1."""
        numbered = enumerate(zip(self.phases, self.steps, strict=True), start=1)
        found = []
        for (phase, state), group in itertools.groupby(numbered, key=lambda item: item[1]):
            numbers = [number for number, _ in group]
            found.append((numbers[0], numbers[-1], phase, state))
        return found

    def __str__(self) -> str:
        """Return the runs of steps as a table."""
        rows = [
            (f"{first}" if first == last else f"{first}-{last}", last - first + 1, phase, state)
            for first, last, phase, state in self.runs
        ]
        return str(Table(self.title, ("steps", "how many", "during", "state"), rows, self._whole_note()))

    def _whole_note(self) -> str:
        never = [lane.name for lane in self.lanes if lane.name not in self.steps]
        told = f"Never, in {len(self.steps)} steps: {', '.join(never)}." if never else ""
        return " ".join(part for part in (self.note, told) if part)

    def _repr_html_(self) -> str:
        width = round(self._places[-1]) + _COUNT
        height = _BAND + (_LANE + _GAP) * len(self.lanes) + 6
        drawn = self._bands(height) + "".join(
            self._lane(lane, number) for number, lane in enumerate(self.lanes)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" '
            f'style="width:100%;max-width:{width}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>"
            f'<text x="0" y="16" font-weight="600" fill="currentColor">{html.escape(self.title)}</text>'
            f"{drawn}</svg>"
            f'<p style="margin:.2em 0">{html.escape(self._whole_note())}</p>'
        )

    @cached_property
    def _places(self) -> list[float]:
        """Where each step begins, and where the last one ends; each phase has room for its name, and its own scale."""
        phases = self._phases()
        least = [_LETTER * len(phase) + _MARGIN for phase, _, _ in phases]
        spare = max(_LENGTH - sum(least), 0.0)
        places, left = [], float(_LABEL)
        for (_, first, last), room in zip(phases, least, strict=True):
            count = last - first + 1
            wide = room + spare * count / len(self.steps)
            places += [left + wide * number / count for number in range(count)]
            left += wide
        return [*places, left]

    def _bands(self, height: int) -> str:
        """Draw where each phase begins, with its name and its steps."""
        drawn = ""
        for phase, first, last in self._phases():
            left = self._places[first - 1]
            steps = f"{first}" if first == last else f"{first} to {last}"
            drawn += (
                f'<line x1="{left:.1f}" y1="26" x2="{left:.1f}" y2="{height - 6}" '
                f'stroke="currentColor" stroke-opacity="0.35" stroke-dasharray="3 3"/>'
                f'<text x="{left + 5:.1f}" y="38" font-size="12" fill="currentColor">{html.escape(phase)}</text>'
                f'<text x="{left + 5:.1f}" y="53" font-size="11" fill="currentColor" fill-opacity="0.75">{steps}</text>'
            )
        return drawn

    def _phases(self) -> list[tuple[str, int, int]]:
        found = []
        for phase, group in itertools.groupby(enumerate(self.phases, start=1), key=lambda item: item[1]):
            numbers = [number for number, _ in group]
            found.append((phase, numbers[0], numbers[-1]))
        return found

    def _lane(self, lane: Lane, number: int) -> str:
        colour = COLOURS.get(lane.role, COLOURS["unknown"])
        top = _BAND + number * (_LANE + _GAP)
        middle = top + _LANE / 2 + 4
        count = self.steps.count(lane.name)
        end = self._places[-1]
        drawn = (
            f'<text x="{_LABEL - 10}" y="{middle}" text-anchor="end" fill="currentColor">{html.escape(lane.name)}</text>'
            f'<rect x="{_LABEL}" y="{top}" width="{end - _LABEL:.1f}" height="{_LANE}" fill="{tint(colour)}"/>'
        )
        for first, last, _, state in self.runs:
            if state == lane.name:
                left = self._places[first - 1]
                wide = max(self._places[last] - left, _THIN)
                drawn += (
                    f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_LANE}" fill="{colour}"/>'
                )
        if not count:
            drawn += f'<text x="{_LABEL + 10}" y="{middle}" font-size="12" fill="{INK}">never</text>'
        words = f"{count} of {len(self.steps)}"
        return drawn + f'<text x="{end + 8:.1f}" y="{middle}" fill="currentColor">{words}</text>'


def state_lanes(
    title: str, lanes: Sequence[Lane], steps: Sequence[str], phases: Sequence[str], *, note: str = ""
) -> StateLanes:
    """Return steps and states to show.

    Args:
        title: What it shows.
        lanes: The states that there can be, from top to bottom; those that never occur are shown too.
        steps: The state after each step.
        phases: What each step belongs to.
        note: A sentence below.

    Raises:
        ValueError: A step has a state without a lane, or steps and phases differ in number.
    """
    unknown = set(steps) - {lane.name for lane in lanes}
    if unknown or len(steps) != len(phases):
        text = f"states without a lane: {sorted(unknown)}; {len(steps)} steps, {len(phases)} phases"
        raise ValueError(text)
    return StateLanes(title, tuple(lanes), tuple(steps), tuple(phases), note)
