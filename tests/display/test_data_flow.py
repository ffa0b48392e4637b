"""The data-flow diagram: sound, numbered, and with the same in words."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from labkit.display import flow_diagram
from labkit.threats import PLANT

SPACE = "{http://www.w3.org/2000/svg}"


def drawing(*, after: bool = False) -> ET.Element:
    """Return the drawing."""
    page = flow_diagram(PLANT, after=after)._repr_html_()
    return ET.fromstring(page[: page.index("</svg>") + 6])


@pytest.mark.parametrize("after", [False, True])
def test_everything_is_drawn(*, after: bool) -> None:
    """Each element is a box with its name, each flow an arrow with its number, each border a frame with its name."""
    found = drawing(after=after)
    words = "".join(found.itertext())
    assert all(element.name in words for element in PLANT.elements)
    assert len(PLANT.flows) == len(list(found.iter(f"{SPACE}circle")))
    assert len(PLANT.elements) + len(PLANT.boundaries) == len(list(found.iter(f"{SPACE}rect")))
    assert 2 * len(PLANT.flows) == len(list(found.iter(f"{SPACE}path")))


def test_thickness_tells_protection() -> None:
    """As found no arrow is thick; as built every one that crosses a border is, but the time."""
    thick = {
        after: sum(path.get("stroke-width") == "3" for path in drawing(after=after).iter(f"{SPACE}path"))
        for after in (False, True)
    }
    assert {False: 0, True: len(PLANT.crossings()) - 1} == thick


def test_numbers_do_not_hide_each_other() -> None:
    """No number lies on another one."""
    places = [(float(c.get("cx", "0")), float(c.get("cy", "0"))) for c in drawing().iter(f"{SPACE}circle")]
    close = [
        (a, b)
        for i, a in enumerate(places)
        for b in places[i + 1 :]
        if (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 < 14**2
    ]
    assert [] == close


def test_the_words_and_the_table_say_the_same() -> None:
    """The text has the model in words; the table has a row for each arrow, in the order of the numbers."""
    shown = flow_diagram(PLANT, after=True, title="As built")
    assert repr(shown).startswith("As built\nthe course's plant:")
    rows = shown.rows()
    assert list(range(1, len(PLANT.flows) + 1)) == [row[0] for row in rows]
    assert ("sensor node", "MQTT broker", "readings", "encrypted, server known, client known") == rows[0][1:]
    assert "inside" == rows[4][4]
