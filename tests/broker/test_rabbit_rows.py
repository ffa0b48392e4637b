"""A real RabbitMQ that asks nobody and goes by the rows that were rendered for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import DEVICE_ACL
from labkit.broker.rabbit_nodes import RabbitCluster
from labkit.mqtt import Endpoint
from labkit.pki import Store
from labkit.scenarios.conformance import Subject
from labkit.scenarios.conformance_questions import OTHER, questions
from labkit.scenarios.mutual_tls import OBSERVER, VICTIM, configuration
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker.rabbit_nodes import RabbitMq

ROWS = (OBSERVER, VICTIM, OTHER, "sensor-003")


@pytest.fixture(scope="module")
def subject(rabbitmq: RabbitMq, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """Return the broker as one that the questions can be put to."""
    store = Store(Workspace.open(tmp_path_factory.mktemp("rows") / "w"))
    store.ensure_authority()
    store.revocations.ensure()
    folder = store.workspace.path("broker")
    with RabbitCluster(
        lambda port: configuration(store, folder, port=port, crlfile=store.revocations.path),
        acl=DEVICE_ACL,
        users=ROWS,
        size=1,
    ) as cluster:
        here = Endpoint("127.0.0.1", cluster.nodes[0].port)
        nobody: Any = SimpleNamespace(known=lambda _: None)  # no service: the rows are all that it knows
        found = Subject(
            "rows",
            here,
            here,
            store,
            nobody,
            {},
            put_list=cluster.revoke,
            reload=lambda: None,
            check=cluster.check,
        )
        yield found
        found.close()


OF_SERVICE = ("quarantine", "… speaks to a new", "… goes on", "with one", "server's certificate", "revo")
"""Parts of questions that are about a registry, or about certificates, in which rows have no say."""

STOLEN = "a device keeps its session when another claims its client id"
"""What rows can't help: `render_definitions` says so."""


@pytest.mark.timeout(400)  # a node takes long to start on a machine that has other work
def test_rows_hold(subject: Subject) -> None:
    """By rows alone everybody hears and says what the rules allow and nothing else, and who has no row stays out."""
    asked = [each for each in questions() if not any(part in each.text for part in OF_SERVICE)]
    seen = {each.text: each.ask(subject) for each in asked if each.text != STOLEN}
    assert [
        (each.text, str(seen[each.text]))
        for each in asked
        if each.text != STOLEN and not each.held(seen[each.text])
    ] == []
    assert {"yes", "no"} <= {each.must for each in asked}
    assert 20 <= len(seen)
    assert not seen["a device that the registry does not have comes in"].happened


def test_a_client_id_can_be_claimed(subject: Subject) -> None:
    """Rows don't keep a device from another's client id: that is why the course has RabbitMQ ask the service."""
    (question,) = (each for each in questions() if each.text == STOLEN)
    assert not question.ask(subject).happened
