"""The model in the formats of tools that people already have: OWASP Threat Dragon 2 and pytm."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from labkit.threats.model import ENCRYPTED, Kind
from labkit.threats.risk import Level, level, score

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from labkit.threats.model import DataFlow, Element, Model
    from labkit.threats.stride import Threat

VERSION = "2.2.0"
"""The Threat Dragon whose format is written."""

_SPACE = uuid.UUID("6f1c7a52-6c3e-4b0e-9a55-0d6c5c0e3f10")
"""Ids are made from names, so that the same model is the same file."""

_SHAPES = {
    Kind.PROCESS: ("process", "tm.Process", (120, 120)),
    Kind.STORE: ("store", "tm.Store", (160, 80)),
    Kind.EXTERNAL: ("actor", "tm.Actor", (160, 80)),
}
_SEVERITY = {Level.LOW: "Low", Level.MEDIUM: "Medium", Level.HIGH: "High", Level.CRITICAL: "High"}
_COLUMN, _ROW, _MARGIN = 330, 170, 60


def threat_dragon(model: Model, threats: Sequence[Threat], *, closed: Collection[str] = ()) -> str:
    """Return the model as a file that OWASP Threat Dragon 2 opens.

    Args:
        model: The model.
        threats: Its threats; each is written at the first part that suffers it.
        closed: The ids of threats that are dealt with.
    """
    numbers = {threat.id: number for number, threat in enumerate(threats, start=1)}

    def of(part: str) -> list[dict[str, Any]]:
        here = [threat for threat in threats if threat.elements[0] == part]
        return [_dragon_threat(threat, numbers[threat.id], shut=threat.id in closed) for threat in here]

    cells = [_boundary_cell(model, number) for number in range(len(model.boundaries))]
    cells += [_element_cell(model, element, of(element.id)) for element in model.elements]
    cells += [_flow_cell(flow, of(flow.id)) for flow in model.flows]
    for number, cell in enumerate(cells):
        cell["zIndex"] = number
    diagram = {
        "id": 0, "title": "What flows where", "diagramType": "STRIDE", "placeholder": "", "version": VERSION,
        "thumbnail": "./public/content/images/thumbnail.stride.jpg", "cells": cells,
    }  # fmt: skip
    whole = {
        "version": VERSION,
        "summary": {"title": model.name, "owner": "", "description": "From the course's data.", "id": 0},
        "detail": {
            "contributors": [], "reviewer": "", "diagrams": [diagram], "diagramTop": 1, "threatTop": len(threats),
        },
    }  # fmt: skip
    return json.dumps(whole, indent=1) + "\n"


def _uid(name: str) -> str:
    return str(uuid.uuid5(_SPACE, name))


def _dragon_threat(threat: Threat, number: int, *, shut: bool) -> dict[str, Any]:
    kind = threat.kinds[0].value
    points = score(threat.likelihood, threat.impact)
    return {
        "id": _uid(f"threat {threat.id}"), "number": number, "title": threat.title, "type": kind[0].upper() + kind[1:],
        "modelType": "STRIDE", "status": "Mitigated" if shut else "Open", "severity": _SEVERITY[level(points)],
        "score": str(points), "mitigation": threat.mitigation,
        "description": f"{threat.id}; suffered by {', '.join(threat.elements)}; OWASP {', '.join(threat.owasp)}; "
        f"audit {', '.join(threat.audit)}",
    }  # fmt: skip


def _place(model: Model, element: Element) -> tuple[int, int]:
    column = [boundary.id for boundary in model.boundaries].index(element.boundary)
    row = [each for each in model.elements if each.boundary == element.boundary].index(element)
    return _MARGIN + column * _COLUMN, _MARGIN + row * _ROW


def _boundary_cell(model: Model, number: int) -> dict[str, Any]:
    boundary = model.boundaries[number]
    inside = sum(element.boundary == boundary.id for element in model.elements)
    return {
        "id": _uid(f"boundary {boundary.id}"), "shape": "trust-boundary-box",
        "position": {"x": _MARGIN + number * _COLUMN - 30, "y": _MARGIN - 40},
        "size": {"width": _COLUMN - 60, "height": max(1, inside) * _ROW + 20},
        "attrs": {"label": {"text": boundary.name}},
        "data": {
            "type": "tm.BoundaryBox", "name": boundary.name, "description": boundary.why, "isTrustBoundary": True,
            "hasOpenThreats": False,
        },
    }  # fmt: skip


def _element_cell(model: Model, element: Element, threats: list[dict[str, Any]]) -> dict[str, Any]:
    shape, kind, (width, height) = _SHAPES[element.kind]
    x, y = _place(model, element)
    return {
        "id": _uid(f"element {element.id}"), "shape": shape, "position": {"x": x, "y": y},
        "size": {"width": width, "height": height}, "attrs": {"text": {"text": element.name}},
        "data": {**_data(kind, element.name, threats), "isALog": element.log},
    }  # fmt: skip


def _flow_cell(flow: DataFlow, threats: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _uid(f"flow {flow.id}"), "shape": "flow", "connector": "smooth", "vertices": [],
        "source": {"cell": _uid(f"element {flow.source}")}, "target": {"cell": _uid(f"element {flow.target}")},
        "labels": [{"position": 0.5, "attrs": {"label": {"text": flow.carries}}}], "attrs": {"line": {"targetMarker": {"name": "block"}, "sourceMarker": {"name": ""}}},
        "data": {
            **_data("tm.Flow", flow.carries, threats), "protocol": flow.over, "isEncrypted": ENCRYPTED in flow.before,
            "isPublicNetwork": False, "isBidirectional": False,
        },
    }  # fmt: skip


def _data(kind: str, name: str, threats: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": kind, "name": name, "description": "", "isTrustBoundary": False, "outOfScope": False,
        "reasonOutOfScope": "", "threats": threats, "hasOpenThreats": any(t["status"] == "Open" for t in threats),
    }  # fmt: skip


_PYTM = {Kind.PROCESS: "Server", Kind.STORE: "Datastore", Kind.EXTERNAL: "Actor"}


def pytm(model: Model) -> str:
    """Return the model as JSON that `pytm.load` reads; pytm then looks for threats of its own list.

    Args:
        model: The model.

    Does not check: anything about our own threats, for which pytm's format has no place.
    """
    whole = {
        "name": model.name,
        "description": "From the course's data.",
        "boundaries": [{"name": boundary.name, "description": boundary.why} for boundary in model.boundaries],
        "data": [{"name": flow.carries + " of " + flow.id, "description": flow.carries} for flow in model.flows],
        "elements": [
            {
                "__class__": _PYTM[element.kind], "name": element.name,
                "inBoundary": next(b.name for b in model.boundaries if b.id == element.boundary),
            }
            for element in model.elements
        ],
        "flows": [_pytm_flow(model, flow) for flow in model.flows],
    }  # fmt: skip
    return json.dumps(whole, indent=1) + "\n"


def _pytm_flow(model: Model, flow: DataFlow) -> dict[str, Any]:
    numbers = [int(word) for word in flow.over.replace(",", " ").split() if word.isdigit()]
    return {
        "name": flow.id, "source": model.element(flow.source).name, "sink": model.element(flow.target).name,
        "protocol": flow.over.split()[0].strip(","), "dstPort": numbers[0] if numbers else -1,
        "data": [flow.carries + " of " + flow.id],
    }  # fmt: skip
