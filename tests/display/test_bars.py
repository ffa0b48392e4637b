"""labkit.display.bars: numbers as a figure and as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from labkit.display import Bar, bars

SHOWN = bars(
    "Cost <of> a list",
    "ms",
    [Bar("1,000", 2.0, "server"), Bar("100,000", 5.123, "attacker", "5.1")],
    note="so",
)


def test_the_text_has_every_number() -> None:
    """The twin is a table with labels, numbers and note."""
    assert [line.split() for line in str(SHOWN).splitlines()[-3:]] == [
        ["1,000", "2"],
        ["100,000", "5.1"],
        ["so"],
    ]


def test_the_figure_is_xml_with_its_text_inside() -> None:
    """The figure parses, is an image to a screen reader, and its longest bar is the longest."""
    picture = SHOWN._repr_html_().partition("</svg>")[0] + "</svg>"
    root = ET.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.findtext(f"{space}desc") == str(SHOWN)
    widths = [int(each.get("width", "0")) for each in root.iter(f"{space}rect")]
    assert widths == [141, 360]


def test_no_number_is_negative() -> None:
    """A negative number has no length; zero has one that can be seen."""
    with pytest.raises(ValueError, match="shorter than nothing"):
        bars("x", "ms", [Bar("y", -1)])
    assert 'width="2"' in bars("x", "ms", [Bar("y", 0)])._repr_html_()
