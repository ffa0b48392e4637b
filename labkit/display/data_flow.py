"""A data-flow diagram: borders, what is inside them, and numbered arrows; the same in words."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.theme import COLOURS, INK, tint
from labkit.threats import Kind
from labkit.threats.diagram import how, words

if TYPE_CHECKING:
    from labkit.threats import DataFlow, Model

_BOX, _COLUMN, _ROW = (152, 42), 310, 66
_LEFT, _TOP = 8, 60
_PAD = 60
"""Room inside a border beside its boxes, for arrows that don't leave it."""
_COLOURS = {"field": "device", "backend": "server", "office": "intermediate", "outside": "attacker"}
_ROUND = {Kind.PROCESS: 21, Kind.STORE: 2, Kind.EXTERNAL: 2}


@dataclass(frozen=True)
class FlowDiagram:
    """A model to look at. Get one from `flow_diagram`.

    Attributes:
        model: The model.
        after: Whether it is the plant that the lessons build.
        title: What it shows.
    """

    model: Model
    after: bool
    title: str

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the model in words."""
        return f"{self.title}\n{words(self.model, after=self.after)}"

    def _repr_html_(self) -> str:
        rows = max(sum(e.boundary == b.id for e in self.model.elements) for b in self.model.boundaries)
        width = _LEFT + _COLUMN * (len(self.model.boundaries) - 1) + _BOX[0] + 2 * _PAD
        height = _TOP + _ROW * rows
        lines = "".join(self._arrow(flow) for flow in self.model.flows)
        marks = "".join(self._mark(number, flow) for number, flow in enumerate(self.model.flows, start=1))
        note = (
            "Processes are round, stores and people are square. A thick arrow is encrypted, and both ends know each other; "
            "a dashed one stays inside its border; the others cross a border with less than that."
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" '
            f'style="width:100%;max-width:{width}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>"
            f'<text x="0" y="16" font-weight="600" fill="currentColor">{html.escape(self.title)}</text>'
            f"{self._borders(height)}{lines}{self._boxes()}{marks}</svg>"
            f'<p style="margin:.2em 0">{note}</p>'
        )

    def rows(self) -> list[tuple[int, str, str, str, str]]:
        """Return the arrows for a table: number, from, to, what, how protected."""
        crossing = self.model.crossings()
        return [
            (
                number, self.model.element(flow.source).name, self.model.element(flow.target).name, flow.carries,
                how(flow, after=self.after) if flow in crossing else "inside",
            )
            for number, flow in enumerate(self.model.flows, start=1)
        ]  # fmt: skip

    def _place(self, element_id: str) -> tuple[int, int]:
        element = self.model.element(element_id)
        column = [boundary.id for boundary in self.model.boundaries].index(element.boundary)
        row = [each for each in self.model.elements if each.boundary == element.boundary].index(element)
        return _LEFT + column * _COLUMN + _PAD, _TOP + row * _ROW

    def _borders(self, height: int) -> str:
        return "".join(
            f'<rect x="{_LEFT + number * _COLUMN}" y="28" width="{_BOX[0] + 2 * _PAD - 6}" height="{height - 34}" rx="10" fill="none" '
            f'stroke="{COLOURS[_COLOURS.get(boundary.id, "unknown")]}" stroke-dasharray="5 4"/>'
            f'<text x="{_LEFT + number * _COLUMN + 10}" y="46" font-weight="600" fill="currentColor">{html.escape(boundary.name)}</text>'
            for number, boundary in enumerate(self.model.boundaries)
        )

    def _boxes(self) -> str:
        drawn = ""
        for element in self.model.elements:
            x, y = self._place(element.id)
            colour = COLOURS[_COLOURS.get(element.boundary, "unknown")]
            drawn += (
                f'<rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="{_ROUND[element.kind]}" '
                f'fill="{tint(colour)}" stroke="{colour}" stroke-width="1.5"/>'
                f'<text x="{x + _BOX[0] // 2}" y="{y + 26}" text-anchor="middle" font-size="12" fill="{INK}">{html.escape(element.name)}</text>'
            )
        return drawn

    def _ends(self, flow: DataFlow) -> tuple[bool, bool]:
        """Return whether a flow leaves its source on the right, and reaches its target there."""
        (x1, _), (x2, _) = self._place(flow.source), self._place(flow.target)
        if x1 == x2:  # on the side on which fewer arrows leave: the outer one of the picture's halves
            right = x1 > _LEFT + _PAD + _COLUMN
            return right, right
        return x2 > x1, x2 < x1

    def _port(self, flow: DataFlow, element: str) -> float:
        """Return the height at which a flow touches an element: those of one side stand apart, in the order of their ends."""
        right = self._ends(flow)[element != flow.source]
        beside = [
            (self._place(other.target if other.source == element else other.source), other.id)
            for other in self.model.flows
            if element in {other.source, other.target} and self._ends(other)[element != other.source] == right
        ]
        order = [each for _, each in sorted(beside, key=lambda each: (each[0][1], each[1]))]
        return self._place(element)[1] + _BOX[1] * (order.index(flow.id) + 1) / (len(order) + 1)

    def _curve(self, flow: DataFlow) -> tuple[tuple[float, float], ...]:
        """Return where an arrow begins, bends and ends."""
        out_right, in_right = self._ends(flow)
        start = (self._place(flow.source)[0] + _BOX[0] * out_right, self._port(flow, flow.source))
        end = (self._place(flow.target)[0] + _BOX[0] * in_right, self._port(flow, flow.target))
        if start[0] != end[0]:
            return start, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), end
        bend = 24 + 14 * abs(end[1] - start[1]) / _ROW  # around the side, the wider the longer
        return start, (start[0] + (bend if out_right else -bend), (start[1] + end[1]) / 2), end

    def _arrow(self, flow: DataFlow) -> str:
        start, bend, end = self._curve(flow)
        inside = flow not in self.model.crossings()
        safe = not inside and flow not in self.model.exposed(after=self.after)
        colour = COLOURS["server"] if safe else COLOURS["unknown" if inside else "attacker"]
        style = 'stroke-dasharray="4 3"' if inside else f'stroke-width="{3 if safe else 1.5}"'
        length = max(1.0, ((end[0] - bend[0]) ** 2 + (end[1] - bend[1]) ** 2) ** 0.5)
        dx, dy = (end[0] - bend[0]) / length, (end[1] - bend[1]) / length
        head = (
            f"M{end[0]:.0f} {end[1]:.0f} L{end[0] - 9 * dx - 4 * dy:.1f} {end[1] - 9 * dy + 4 * dx:.1f} "
            f"L{end[0] - 9 * dx + 4 * dy:.1f} {end[1] - 9 * dy - 4 * dx:.1f} Z"
        )
        return (
            f'<path d="M{start[0]:.0f} {start[1]:.0f} Q{bend[0]:.0f} {bend[1]:.0f} {end[0]:.0f} {end[1]:.0f}" fill="none" '
            f'stroke="{colour}" {style}/><path d="{head}" fill="{colour}"/>'
        )

    def _mark(self, number: int, flow: DataFlow) -> str:
        start, bend, end = self._curve(flow)
        at = (0.3, 0.42, 0.55, 0.68)[number % 4]
        if end[0] < start[0]:
            at = 1 - at  # counted from the left, so that numbers of two ways keep apart
        x = (1 - at) ** 2 * start[0] + 2 * at * (1 - at) * bend[0] + at**2 * end[0]
        y = (1 - at) ** 2 * start[1] + 2 * at * (1 - at) * bend[1] + at**2 * end[1]
        colour = COLOURS["unknown"]
        return (
            f'<circle cx="{x:.0f}" cy="{y:.0f}" r="9" fill="{tint(colour)}" stroke="{colour}"/>'
            f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" font-size="11" fill="{INK}">{number}</text>'
        )


def flow_diagram(model: Model, *, after: bool = False, title: str = "What flows where") -> FlowDiagram:
    """Return a model to show.

    Args:
        model: The model.
        after: The plant that the lessons build, and not the one that was found.
        title: What it shows.
    """
    return FlowDiagram(model, after, title)
