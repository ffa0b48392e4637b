"""Grids of reachability and maps of zones: the words say what the colours say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from labkit.display import reachability, zone_map
from labkit.network import COURSE_PLAN, PRINTED, Cell, Flow, Reply


def grid(*, judged: bool = True) -> dict[tuple[str, int], str]:
    """Return the words of a small matrix by protocol and port."""
    replies = {
        1: ("open", "open"), 2: ("dropped", "dropped"), 3: ("open", "dropped"), 4: ("rejected", "rejected"),
        5: ("dropped", "open"),
    }  # fmt: skip
    matrix = {
        Cell("iot", "backend", "tcp", port, family): Reply(result)
        for port, pair in replies.items()
        for family, result in zip((4, 6), pair, strict=True)
    }
    needed = {("iot", "backend", "tcp", port) for port in (1, 3, 4)} if judged else None
    found = reachability(matrix, needed=needed)
    assert [("iot", "backend")] == found.pairs
    return {column: found.word("iot", "backend", *column) for column in found.columns}


def test_a_judged_grid() -> None:
    """Needed and open is open, needed and closed is cut off, open without need is too open; families stand apart."""
    assert ["open", "·", "v4 open, v6 cut off", "cut off", "v6 too open"] == list(grid().values())


def test_a_grid_that_is_not_judged() -> None:
    """Without a list of needs, a grid says what happened."""
    assert ["open", "·", "v4 open", "rejected", "v6 open"] == list(grid(judged=False).values())


def test_a_grid_is_a_table_with_headings() -> None:
    """As HTML a grid has a caption and headings for rows and columns; as text it has the same words."""
    found = reachability(
        {Cell("a<b", "c", "udp", 53, 4): Reply("open")}, "A & B", needed=(), note="So it is."
    )
    page = found._repr_html_()
    assert all(
        part in page for part in ("<caption", "A &amp; B", 'scope="row"', "a&lt;b → c", "udp 53", "too open")
    )
    assert all(
        part in repr(found) for part in ("A & B", "a<b → c", "too open", "So it is. · stands for silence.")
    )


def svg(page: str) -> ET.Element:
    """Return a figure's drawing."""
    return ET.fromstring(page[: page.index("</svg>") + 6])


def test_a_map_has_every_zone_and_flow() -> None:
    """The drawing is sound XML with a title and a description; the text has what is not drawn as well."""
    found = zone_map(COURSE_PLAN)
    drawing = svg(found._repr_html_())
    words = "".join(drawing.itertext())
    assert all(zone.name in words for zone in COURSE_PLAN.zones)
    assert "tcp 8883, 5000, 8070" in words
    assert "corporate -&gt; router tcp/22" in found._repr_html_()
    assert "iot -> backend: tcp 8883, tcp 5000, tcp 8070, udp 53, udp 123" in repr(found)


def test_two_arrows_keep_apart() -> None:
    """Where flows go both ways, each arrow has a line of its own; upwards and straight down are drawn too."""
    space = "{http://www.w3.org/2000/svg}"
    plan = COURSE_PLAN.with_flows(
        (*PRINTED, Flow("iot", "corporate", "tcp", 1, ""), Flow("corporate", "iot", "tcp", 2, ""))
    )
    lines = [
        tuple(line.get(k) for k in ("x1", "y1", "x2", "y2"))
        for line in svg(zone_map(plan)._repr_html_()).iter(f"{space}line")
    ]
    assert 5 == len(lines) == len({frozenset([line[:2], line[2:]]) for line in lines})
