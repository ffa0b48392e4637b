"""Zones and the flows between them, as a picture and as text."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.theme import COLOURS, INK, tint
from labkit.network import ROUTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.network import Flow, Plan, Zone

_BOX = (200, 66)
_PLACES = ((8, 20), (8, 226), (330, 123), (620, 20))
"""Where boxes stand, so that no two arrows of a plant cross: office and devices left, servers in the middle, the rest right."""

_SIZE = (830, 306)
_ASIDE = 17
"""How far two arrows in opposite directions keep to their own side."""

_ROLES = {"iot": "device", "backend": "server", "internet": "attacker"}


@dataclass(frozen=True)
class ZoneMap:
    """A plan to look at. Get one from `zone_map`.

    Attributes:
        plan: The zones and flows.
        title: What it shows.
    """

    plan: Plan
    title: str

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the plan as text."""
        lines = [self.title]
        lines += [f"  {zone.name} ({_where(zone)}): {zone.members}" for zone in self.plan.zones]
        lines += [
            f"  {source} -> {destination}: {_ports(flows)}"
            for (source, destination), flows in self._pairs().items()
        ]
        return "\n".join(lines)

    def _pairs(self) -> dict[tuple[str, str], list[Flow]]:
        found: dict[tuple[str, str], list[Flow]] = {}
        for flow in self.plan.flows:
            found.setdefault((flow.source, flow.destination), []).append(flow)
        return found

    def _repr_html_(self) -> str:
        places = dict(zip((zone.name for zone in self.plan.zones), _PLACES, strict=False))
        drawn = [(pair, flows) for pair, flows in self._pairs().items() if set(pair) <= places.keys()]
        ways = {pair for pair, _ in drawn}
        arrows = "".join(
            _arrow(places[a], places[b], flows, aside=_ASIDE * ((b, a) in ways)) for (a, b), flows in drawn
        )
        boxes = "".join(_box(zone, *places[zone.name]) for zone in self.plan.zones if zone.name in places)
        rest = [str(flow) for flow in self.plan.flows if ROUTER in {flow.source, flow.destination}]
        note = "Every arrow passes the router. Answers come back on the connection that was opened."
        if rest:
            note += f" Not drawn: {', '.join(rest)}."
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_SIZE[0]} {_SIZE[1]}" '
            f'style="width:100%;max-width:{_SIZE[0]}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>{arrows}{boxes}</svg>"
            f'<p style="margin:.2em 0">{html.escape(note)}</p>'
        )


def zone_map(plan: Plan, title: str = "Zones, and who opens connections to whom") -> ZoneMap:
    """Return a plan to show.

    Args:
        plan: The zones and flows. Up to four zones are drawn; the text has all.
        title: What it shows.
    """
    return ZoneMap(plan, title)


def _where(zone: Zone) -> str:
    return f"VLAN {zone.vlan}, {zone.subnet}, {zone.subnet6}" if zone.vlan else "not ours"


def _ports(flows: list[Flow]) -> str:
    return ", ".join(f"{flow.protocol} {flow.port}" for flow in flows)


def _box(zone: Zone, x: int, y: int) -> str:
    colour = COLOURS[_ROLES.get(zone.name, "intermediate")]
    lines = (
        (22, "bold", zone.name, colour),
        (41, "normal", f"VLAN {zone.vlan}" if zone.vlan else "not ours", INK),
        (57, "normal", str(zone.subnet) if zone.vlan else "everybody else", INK),
    )
    texts = "".join(
        f'<text x="{x + 12}" y="{y + offset}" font-weight="{weight}" fill="{fill}">{html.escape(text)}</text>'
        for offset, weight, text, fill in lines
    )
    return (
        f'<g><rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="8" fill="{tint(colour)}" '
        f'stroke="{colour}" stroke-width="2"/>{texts}</g>'
    )


def _arrow(start: tuple[int, int], end: tuple[int, int], flows: list[Flow], *, aside: int) -> str:
    x1, y1, x2, y2 = _between(start, end)
    length = max(1.0, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    # To the right of the way, as on a road: up and down where boxes stand side by side.
    y1, y2 = (y1 + aside, y2 + aside) if x2 < x1 else (y1 - aside, y2 - aside)
    middle = ((x1 + x2) // 2, (y1 + y2) // 2)
    left, right = (x2 - 9 * dx - 4 * dy, y2 - 9 * dy + 4 * dx), (x2 - 9 * dx + 4 * dy, y2 - 9 * dy - 4 * dx)
    head = f"M{x2} {y2} L{left[0]:.0f} {left[1]:.0f} L{right[0]:.0f} {right[1]:.0f} Z"
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-opacity="0.6"/>'
        f'<path d="{head}" fill="currentColor" fill-opacity="0.6"/>{"".join(_words(middle, flows))}'
    )


def _between(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where an arrow begins and ends: at the sides that face each other."""
    right = end[0] > start[0]
    x1, x2 = (start[0] + _BOX[0], end[0] - 2) if right else (start[0], end[0] + _BOX[0] + 2)
    if start[0] == end[0]:
        x = start[0] + _BOX[0] // 2
        down = end[1] > start[1]
        return (x, start[1] + _BOX[1], x, end[1] - 2) if down else (x, start[1], x, end[1] + _BOX[1] + 2)
    return x1, start[1] + _BOX[1] // 2, x2, end[1] + _BOX[1] // 2


def _words(middle: tuple[int, int], flows: list[Flow]) -> Iterator[str]:
    by_protocol: dict[str, list[str]] = {}
    for flow in flows:
        by_protocol.setdefault(flow.protocol, []).append(str(flow.port))
    lines = [f"{protocol} {', '.join(ports)}" for protocol, ports in by_protocol.items()]
    x, y = middle
    for row, text in enumerate(lines):
        at = y + 16 * row - 8 * (len(lines) - 1)
        width = 7 * len(text) + 10
        # On a ground of their own, so that the line does not strike them through.
        yield (
            f'<rect x="{x - width // 2}" y="{at - 9}" width="{width}" height="17" rx="4" fill="{tint(COLOURS["unknown"])}"/>'
            f'<text x="{x}" y="{at + 4}" text-anchor="middle" font-size="12" fill="{INK}">{html.escape(text)}</text>'
        )
