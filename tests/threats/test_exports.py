"""Exports: Threat Dragon's format by its rules, pytm's by pytm itself, diagrams with words beside them."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from labkit.threats import PLANT, THREATS, Model
from labkit.threats.diagram import data_flow, words
from labkit.threats.exports import pytm, threat_dragon
from labkit.threats.model import Boundary, DataFlow, Element, Kind
from tests.conftest import missing


def dragon(**options: Any) -> dict[str, Any]:
    """Return the model as Threat Dragon would read it."""
    found: dict[str, Any] = json.loads(threat_dragon(PLANT, THREATS, **options))
    return found


def cells() -> list[dict[str, Any]]:
    """Return the cells of its diagram."""
    (diagram,) = dragon()["detail"]["diagrams"]
    found: list[dict[str, Any]] = diagram["cells"]
    return found


def test_threat_dragon_has_what_its_schema_requires() -> None:
    """Version 2's schema requires these keys of the whole, of a diagram, of a cell and of a threat, in these kinds."""
    whole = dragon()
    assert {"version", "summary", "detail"} <= whole.keys()
    assert len(whole["version"]) <= 10
    assert whole["summary"]["title"]
    assert {"contributors", "diagrams", "diagramTop", "reviewer", "threatTop"} <= whole["detail"].keys()
    (diagram,) = whole["detail"]["diagrams"]
    assert {"diagramType", "id", "thumbnail", "title", "version", "cells"} <= diagram.keys()
    for number, cell in enumerate(diagram["cells"]):
        assert ("shape" in cell, number) == ("id" in cell, cell["zIndex"])
        assert {"hasOpenThreats", "type"} <= cell["data"].keys()
        if "size" in cell:
            assert min(cell["size"]["width"], cell["size"]["height"]) >= 10
        for threat in cell["data"].get("threats", ()):
            assert {"description", "mitigation", "severity", "status", "title", "type"} <= threat.keys()
            assert threat["severity"] in {"Low", "Medium", "High"}
            assert threat["status"] in {"NA", "Open", "Mitigated"}
            assert threat["type"] in {
                "Spoofing",
                "Tampering",
                "Repudiation",
                "Information disclosure",
                "Denial of service",
                "Elevation of privilege",
            }


def test_threat_dragon_has_everything() -> None:
    """Each element, flow and boundary is a cell with an id of its own, and each threat is written once."""
    found = cells()
    ids = [cell["id"] for cell in found]
    assert len(PLANT.elements) + len(PLANT.flows) + len(PLANT.boundaries) == len(set(ids)) == len(ids)
    assert all(uuid.UUID(each) for each in ids)
    flows = [cell for cell in found if cell["shape"] == "flow"]
    assert all({flow["source"]["cell"], flow["target"]["cell"]} <= set(ids) for flow in flows)
    written = [threat["title"] for cell in found for threat in cell["data"].get("threats", ())]
    assert sorted(threat.title for threat in THREATS) == sorted(written)
    assert sorted(range(1, len(THREATS) + 1)) == sorted(
        t["number"] for c in found for t in c["data"].get("threats", ())
    )


def test_threat_dragon_is_the_same_each_time() -> None:
    """The same model is the same file, so that a change of the model is a change in the file and nothing else is."""
    assert threat_dragon(PLANT, THREATS) == threat_dragon(PLANT, THREATS)


def test_a_closed_threat_is_mitigated() -> None:
    """What was closed is written as mitigated, and a part without open threats has none."""
    everything = {threat.id for threat in THREATS}
    (diagram,) = dragon(closed=everything)["detail"]["diagrams"]
    states = {threat["status"] for cell in diagram["cells"] for threat in cell["data"].get("threats", ())}
    assert {"Mitigated"} == states
    assert not any(cell["data"]["hasOpenThreats"] for cell in diagram["cells"])
    assert any(cell["data"]["hasOpenThreats"] for cell in cells())


def test_boxes_do_not_overlap() -> None:
    """In Threat Dragon's drawing each element lies inside its border's box and on nobody else."""
    found = [cell for cell in cells() if "position" in cell]
    boxes = [cell for cell in found if cell["shape"] == "trust-boundary-box"]
    elements = [cell for cell in found if cell not in boxes]
    places = [(cell["position"]["x"], cell["position"]["y"]) for cell in elements]
    assert len(set(places)) == len(places)
    for cell in elements:
        x, y = cell["position"]["x"], cell["position"]["y"]
        around = [
            box
            for box in boxes
            if box["position"]["x"] <= x
            and x + cell["size"]["width"] <= box["position"]["x"] + box["size"]["width"]
            and box["position"]["y"] <= y
            and y + cell["size"]["height"] <= box["position"]["y"] + box["size"]["height"]
        ]
        assert 1 == len(around)


@pytest.mark.tool
def test_pytm_reads_it() -> None:
    """pytm loads our export, finds every part, and has threats of its own list to say about it."""
    try:
        import pytm as tool
    except ImportError:
        missing("pytm is not installed")
        raise
    model = tool.loads(pytm(PLANT))
    model.check()
    model.resolve()
    assert len(PLANT.flows) == len(tool.TM._flows)
    assert {each.name for each in PLANT.elements} <= {each.name for each in tool.TM._elements}
    assert {each.name for each in PLANT.boundaries} == {each.name for each in tool.TM._boundaries}
    assert len(model.findings) > 50
    tool.TM.reset()


def test_words_have_everything() -> None:
    """The text names every element, every flow, and how each that crosses a border is protected."""
    before, after = words(PLANT), words(PLANT, after=True)
    assert all(element.name in before for element in PLANT.elements)
    assert (
        "sensor node to MQTT broker: readings (MQTT 1883, later 8883), across a border, in the open."
        in before
    )
    assert "across a border, encrypted, server known, client known." in after
    assert "registry of devices: who is who (SQL)." in before


def test_the_diagram_says_it_in_words_too() -> None:
    """Mermaid's text has a title, the whole description in words, a box for each border, and an arrow for each flow."""
    drawn = data_flow(PLANT, after=True)
    lines = drawn.splitlines()
    assert ("flowchart LR", "  accTitle: the course's plant, what flows where") == (lines[0], lines[1])
    assert len(PLANT.boundaries) == drawn.count("subgraph ")
    assert len(PLANT.flows) == drawn.count("==>") + drawn.count("-->")
    assert len(PLANT.crossings()) - 1 == drawn.count("==>")
    assert 0 == data_flow(PLANT).count("==>")


def test_words_that_mean_something_to_mermaid() -> None:
    """Quotes, braces and brackets in a name don't end what they stand in, and ids are plain."""
    odd = Model(
        'a "b" {c}', (), (), (Boundary("end", "x]", ""),),
        (Element("end-1", 'say "hi"', Kind.STORE, "end"), Element("end-2", "b|c", Kind.EXTERNAL, "end")),
        (DataFlow("f", "end-1", "end-2", "1 > 2", "x"),),
    )  # fmt: skip
    drawn = data_flow(odd)
    assert "e_end_1[(\"say 'hi'\")]" in drawn
    assert 'e_end_1 -->|"1 \' 2"| e_end_2' in drawn
    assert "{c}" not in drawn
