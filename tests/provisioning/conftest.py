"""A provisioning service that the tests of a module share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.pki import Store
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = {"requests_per_minute": 0, "failures_per_minute": 0}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisioningSite]:
    """Return a running service without limits; its log is shown if a test fails."""
    store = Store(Workspace.open(tmp_path_factory.mktemp("office") / "workspace"))
    with provisioning_site(store, limits=UNLIMITED) as running:
        yield running
        print(store.workspace.path("registry/service.log").read_text())
        assert running.service.alive()
