"""How much of the real tools is tried."""

from __future__ import annotations

from tests.board import test_conformance_espefuse as fuse
from tests.board import test_conformance_esptool as flash
from tests.simulators.bench import invocations


def test_at_least_sixty_invocations_are_distinct() -> None:
    """Command, options and chip count; how the board is connected and what was burned before do not."""
    assert len(invocations(flash.QUICK, flash.CASES, fuse.QUICK, fuse.CASES)) >= 60
    assert len(invocations(fuse.QUICK, fuse.CASES)) >= 30
