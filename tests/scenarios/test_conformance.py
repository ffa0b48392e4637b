"""Mosquitto and a RabbitMQ cluster under the same questions, both real."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from labkit.broker.rabbit_nodes import RabbitCluster, find_rabbitmq
from labkit.cli.brokers import markdown, put_into
from labkit.clock import Deadline
from labkit.errors import BrokerGoneError, ToolMissingError
from labkit.pki import Store
from labkit.ports import is_listening
from labkit.scenarios.conformance import Question, Row, Seen, Subject, subjects
from labkit.scenarios.conformance_questions import ask_all
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.broker.rabbit_nodes import RabbitMq

PAGE = Path("docs/brokers.md")


@pytest.fixture(scope="module")
def stage(
    mosquitto: Mosquitto, rabbitmq: RabbitMq, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Subject]]:
    """Return both brokers, running."""
    store = Store(Workspace.open(tmp_path_factory.mktemp("conformance") / "läb space"))
    store.ensure_authority()
    with subjects(store) as running:
        yield running


@pytest.fixture(scope="module")
def rows(stage: list[Subject]) -> list[Row]:
    """Return every question with both answers."""
    return ask_all(stage)


@pytest.fixture(scope="module")
def cluster(stage: list[Subject]) -> RabbitCluster:
    """Return the cluster behind the second broker."""
    found = stage[1].check.__self__  # type: ignore[attr-defined]
    assert isinstance(found, RabbitCluster)
    return found


@pytest.mark.timeout(400)  # two nodes take long to start on a machine that has other work
def test_both_brokers_hold(rows: list[Row]) -> None:
    """Each broker lets happen what must, and nothing that must not."""
    assert [] == [row.cells() for row in rows if not row.held]
    assert {"yes", "no", "told"} == {row.question.must for row in rows}
    assert 30 <= len(rows)


def test_the_page_says_what_was_seen(rows: list[Row]) -> None:
    """docs/brokers.md has the table of this very run, as long as the brokers' versions are the same."""
    table = markdown(rows)
    text = PAGE.read_text(encoding="utf-8")
    if table.splitlines()[0] not in text:
        pytest.skip(f"the page is about other versions: {table.splitlines()[0]}")
    assert table in text


def test_a_broker_that_lets_too_much_happen_fails() -> None:
    """A row with an answer that must not be is marked, and holds no more; one that may differ always holds."""
    never = Row(
        Question("x", "no", lambda _: Seen(happened=True)),
        {"a": Seen(happened=True), "b": Seen(happened=False)},
    )
    told = Row(Question("x", "told", lambda _: Seen(happened=True)), never.answers)
    assert (False, True) == (never.held, told.held)
    assert ("x", "no", "FAILS: yes", "no") == never.cells()
    assert never.differs


def test_everything_of_it_listens_on_loopback(cluster: RabbitCluster) -> None:
    """Nodes, the nodes' talk with each other and their directory are not to be reached from elsewhere."""
    ours = [psutil.Process(node.pid) for node in cluster.nodes]
    ours += [process for process in psutil.process_iter(["name"]) if process.info["name"] == "epmd"]
    addresses = {
        connection.laddr.ip
        for process in ours
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert "127.0.0.1" in addresses
    assert set() == {address for address in addresses if not ipaddress.ip_address(address).is_loopback}


def test_the_nodes_have_no_more_rights_than_they_need(cluster: RabbitCluster) -> None:
    """They do not run as root, and what lies in their folders is for them alone."""
    for node in cluster.nodes:
        assert os.geteuid() != 0 or psutil.Process(node.pid).uids().effective != 0
        files = [path for path in node.home.iterdir() if path.is_file()]
        assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in files if path.name != "pid"}
    cookie = cluster.nodes[0].home.parent / ".erlang.cookie"
    assert 0o600 == stat.S_IMODE(cookie.stat().st_mode)
    assert cookie.read_text() not in "".join(psutil.Process(cluster.nodes[0].pid).cmdline())


def test_a_node_ends_with_its_guard_and_nothing_is_left(stage: list[Subject], cluster: RabbitCluster) -> None:
    """Killed guards leave no node, and the end of the cluster leaves no process, no port and no folder."""
    node, home = cluster.nodes[1], cluster.nodes[1].home.parent
    ours = [process for process in psutil.process_iter() if _is_of(process, home)]
    assert 5 <= len(ours)  # two nodes and their children, three guards aside
    cluster.check()
    psutil.Process(node.pid).parent().kill()  # type: ignore[union-attr]
    deadline = Deadline(60.0)
    while cluster.alive and not deadline.passed:
        deadline.pause(0.05)
    with pytest.raises(BrokerGoneError, match=re.escape(node.name)):
        cluster.check()
    stage[1].close()
    cluster.stop()
    assert [] == [
        process for process in ours if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    assert not home.exists()
    assert not is_listening(node.port)


def _is_of(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("HOME") == str(home)
    except (psutil.Error, OSError):
        return False


def test_no_rabbitmq_is_said_clearly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who has no RabbitMQ reads what to install, and that the lessons do without."""
    monkeypatch.setenv("LABKIT_RABBITMQ", str(tmp_path / "nowhere"))
    with pytest.raises(ToolMissingError) as caught:
        find_rabbitmq()
    assert "rabbitmq-server" == caught.value.tool
    assert "lessons do without" in caught.value.advice


def test_a_table_goes_between_the_marks(tmp_path: Path) -> None:
    """A page keeps everything but the table, however often it is written."""
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- conformance -->\nold\n<!-- /conformance -->\nbelow\n")
    for table in ("| a |\n", "| b |\n"):
        put_into(page, table)
    assert "above\n<!-- conformance -->\n| b |\n<!-- /conformance -->\nbelow\n" == page.read_text()
