"""An update service that the tests of a module share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.pki import Store
from labkit.scenarios.updates import UpdateSite, update_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = {"requests_per_minute": 0, "failures_per_minute": 0}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpdateSite]:
    """Return a running service without limits; its log is shown if a test fails."""
    store = Store(Workspace.open(tmp_path_factory.mktemp("updates") / "workspace"))
    with update_site(store, limits=UNLIMITED) as running:
        yield running
        print(running.log.read_text())
        assert running.service.alive()
        assert "Traceback" not in running.log.read_text()
