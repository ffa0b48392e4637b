"""labkit.display.state_lanes: every step has its state, as a figure and as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from labkit.display import Lane, state_lanes

LANES = [Lane("old <runs>", "server"), Lane("new runs", "device"), Lane("nothing", "attacker")]
SHOWN = state_lanes(
    "After a cut", LANES, ["old <runs>"] * 40 + ["new runs"] * 2, ["write"] * 38 + ["choose"] * 4, note="so"
)


def test_runs_are_told() -> None:
    """Steps in a row with one phase and state are one line; states that never were are named."""
    assert [
        (1, 38, "write", "old <runs>"), (39, 40, "choose", "old <runs>"), (41, 42, "choose", "new runs")
    ] == SHOWN.runs  # fmt: skip
    assert "so Never, in 42 steps: nothing." == str(SHOWN).splitlines()[-1]


def test_the_figure_is_xml_with_its_text_inside() -> None:
    """The figure parses, is an image to a screen reader, and says how many steps each state had."""
    picture = SHOWN._repr_html_().partition("</svg>")[0] + "</svg>"
    root = ET.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    assert ("img", str(SHOWN)) == (root.get("role"), root.findtext(f"{space}desc"))
    words = [each.text for each in root.iter(f"{space}text")]
    assert {"40 of 42", "2 of 42", "0 of 42", "never", "write", "choose"} <= set(words)


def test_a_state_without_a_lane() -> None:
    """A state that no lane shows would vanish, so it is refused; so is a step without a phase."""
    with pytest.raises(ValueError, match="without a lane"):
        state_lanes("x", LANES, ["unsigned runs"], ["write"])
    with pytest.raises(ValueError, match="1 steps, 2 phases"):
        state_lanes("x", LANES, ["nothing"], ["write", "write"])
