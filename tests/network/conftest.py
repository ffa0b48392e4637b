"""The zones in the real kernel, once for all tests that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.network import COURSE_PLAN, Testbed, Topology, generated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.network import Availability


@pytest.fixture(scope="session")
def topology() -> Topology:
    """Return the course's zones."""
    return Topology(COURSE_PLAN)


@pytest.fixture(scope="session")
def bed(namespaces: Availability, topology: Topology) -> Iterator[Testbed]:
    """Return the zones in the kernel, where everybody knows their neighbours."""
    with Testbed(topology, generated.PORTS, fixed_neighbours=True) as running:
        yield running
