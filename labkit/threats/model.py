"""A threat model as data: what is worth protecting, who is after it, where they get in, and what flows across which border."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(StrEnum):
    """What an element of a data-flow diagram is."""

    PROCESS = "process"
    STORE = "store"
    EXTERNAL = "external"
    FLOW = "flow"


class Stride(StrEnum):
    """The six kinds of threat, by the property that each of them breaks."""

    SPOOFING = "spoofing"
    TAMPERING = "tampering"
    REPUDIATION = "repudiation"
    DISCLOSURE = "information disclosure"
    DENIAL = "denial of service"
    ELEVATION = "elevation of privilege"


BREAKS = {
    Stride.SPOOFING: "authenticity",
    Stride.TAMPERING: "integrity",
    Stride.REPUDIATION: "accountability",
    Stride.DISCLOSURE: "confidentiality",
    Stride.DENIAL: "availability",
    Stride.ELEVATION: "authorisation",
}
"""What each kind breaks."""

PER_ELEMENT = {
    Kind.EXTERNAL: (Stride.SPOOFING, Stride.REPUDIATION),
    Kind.PROCESS: tuple(Stride),
    Kind.STORE: (Stride.TAMPERING, Stride.DISCLOSURE, Stride.DENIAL),
    Kind.FLOW: (Stride.TAMPERING, Stride.DISCLOSURE, Stride.DENIAL),
}
"""Which kinds an element can suffer (Shostack, "Threat Modeling", 2014, chapter 3: STRIDE per element)."""

ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN = "encrypted", "server-known", "client-known"
"""How a flow is protected: nobody on the way reads or changes it; the client, or the server, knows who the other is."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Something worth protecting.

    Attributes:
        id: Its id.
        name: Its name.
        loss: What it means to lose it.
    """

    id: str
    name: str
    loss: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who is after it.

    Attributes:
        id: Their id.
        name: Who they are.
        reach: What they can do from the start.
        wants: What they want.
    """

    id: str
    name: str
    reach: str
    wants: str


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """Where somebody gets in.

    Attributes:
        id: Its id.
        name: What it is.
        element: The element that it belongs to.
        open_to: The actors who reach it.
    """

    id: str
    name: str
    element: str
    open_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Element:
    """A process, a store, or somebody outside.

    Attributes:
        id: Its id.
        name: Its name.
        kind: What it is.
        boundary: The trust boundary that it lies in.
        log: Whether it is a store that keeps who did what.
    """

    id: str
    name: str
    kind: Kind
    boundary: str
    log: bool = False


@dataclass(frozen=True, slots=True)
class DataFlow:
    """What goes from one element to another.

    Attributes:
        id: Its id.
        source: Where from.
        target: Where to.
        carries: What.
        over: The protocol, and the port where there is one.
        before: How it is protected in the plant as it was found.
        after: How it is protected in the plant that the lessons build.
    """

    id: str
    source: str
    target: str
    carries: str
    over: str
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Boundary:
    """A border of trust: inside are those who are believed alike.

    Attributes:
        id: Its id.
        name: Its name.
        why: Why it is one.
    """

    id: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Model:
    """A whole model.

    Attributes:
        name: What it is a model of.
        assets: What is worth protecting.
        actors: Who is after it.
        boundaries: The borders.
        elements: What lies inside them.
        flows: What goes between.
        entry_points: Where somebody gets in.
    """

    name: str
    assets: tuple[Asset, ...]
    actors: tuple[Actor, ...]
    boundaries: tuple[Boundary, ...]
    elements: tuple[Element, ...]
    flows: tuple[DataFlow, ...]
    entry_points: tuple[EntryPoint, ...] = ()

    def __post_init__(self) -> None:
        for what in problems(self):
            raise ValueError(what)

    def element(self, element_id: str) -> Element:
        """Return an element.

        Raises:
            ValueError: There is none of that id.
        """
        for element in self.elements:
            if element.id == element_id:
                return element
        text = f"there is no element {element_id!r}"
        raise ValueError(text)

    def candidates(self) -> Iterator[tuple[str, Stride]]:
        """Yield every kind of threat of every element and flow: the questions that STRIDE asks."""
        for element in self.elements:
            kinds = PER_ELEMENT[element.kind]
            if element.log:
                kinds = (*kinds, Stride.REPUDIATION)
            for kind in kinds:
                yield element.id, kind
        for flow in self.flows:
            for kind in PER_ELEMENT[Kind.FLOW]:
                yield flow.id, kind

    def crossings(self) -> tuple[DataFlow, ...]:
        """Return the flows that cross a border."""
        return tuple(
            flow
            for flow in self.flows
            if self.element(flow.source).boundary != self.element(flow.target).boundary
        )

    def exposed(self, *, after: bool = False) -> tuple[DataFlow, ...]:
        """Return the flows that cross a border without every protection that there is.

        Args:
            after: Ask about the plant that the lessons build, and not the one that was found.
        """
        full = {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN}
        return tuple(flow for flow in self.crossings() if not full <= (flow.after if after else flow.before))


def problems(model: Model) -> Iterator[str]:
    """Yield what does not fit together in a model."""
    ids = [element.id for element in model.elements] + [flow.id for flow in model.flows]
    for double in sorted({each for each in ids if ids.count(each) > 1}):
        yield f"two parts are called {double!r}"
    elements, actors = {each.id for each in model.elements}, {each.id for each in model.actors}
    for element in model.elements:
        if element.boundary not in {each.id for each in model.boundaries}:
            yield f"{element.id} lies in no boundary: {element.boundary!r}"
    for flow in model.flows:
        if not {flow.source, flow.target} <= elements or flow.source == flow.target:
            yield f"{flow.id} does not go from one element to another"
    for entry in model.entry_points:
        if entry.element not in elements or not set(entry.open_to) <= actors:
            yield f"the entry point {entry.id} names somebody who is not there"
