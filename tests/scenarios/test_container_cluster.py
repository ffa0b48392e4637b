"""The folders that RabbitMQ's containers work from, and the compose file that mounts them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from labkit.scenarios.container_cluster import NODES, SEEN_AS, write_cluster

if TYPE_CHECKING:
    from labkit.pki import Store

COMPOSE = yaml.safe_load(Path("docker/compose.cluster.yaml").read_text(encoding="utf-8"))
SERVICE = "https://provisioning.local:8443"


def test_each_node_finds_what_its_files_speak_of(store: Store, tmp_path: Path) -> None:
    """Every path in a node's files is one that its container will have, and the file is there, for its owner alone."""
    write_cluster(store, tmp_path / "c", service=SERVICE)
    for name in NODES:
        home = tmp_path / "c" / name
        text = (home / "advanced.config").read_text(encoding="utf-8")
        paths = [part for part in text.split('"') if part.startswith(str(SEEN_AS))]
        assert 7 == len(paths)
        for path in paths:
            assert (home / Path(path).relative_to(SEEN_AS / name)).exists()
        assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*") if path.is_file()}
        plain = (home / "rabbitmq.conf").read_text(encoding="utf-8")
        assert f"auth_http.user_path = {SERVICE}/broker-auth/user\n" in plain
        assert all(f"= lab@{node}\n" in plain for node in NODES)


def test_a_second_time_keeps_the_secret_and_renews_the_list(store: Store, tmp_path: Path) -> None:
    """The nodes go on knowing each other, and a revocation reaches the folder."""
    write_cluster(store, tmp_path / "c", service=SERVICE)
    cookie = (tmp_path / "c" / ".erlang.cookie").read_text()
    (listed,) = (tmp_path / "c" / "rabbit1" / "crl").iterdir()
    before = listed.read_bytes()
    store.identity("sensor-001")
    store.revocations.revoke("sensor-001")
    write_cluster(store, tmp_path / "c", service=SERVICE)
    assert cookie == (tmp_path / "c" / ".erlang.cookie").read_text()
    assert listed.read_bytes() != before
    assert listed.read_bytes() == store.revocations.path.read_bytes()


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_containers_are_hardened(name: str) -> None:
    """No service of the cluster has a capability, a file system to write on, or a port that others can reach."""
    service = COMPOSE["services"][name]
    assert service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert ["cluster"] == service["profiles"]
    assert not service["user"].startswith("0")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_nodes_of_compose_are_the_ones_that_are_written() -> None:
    """The containers' names are the names of the folders."""
    assert set(NODES) == {
        service["hostname"] for service in COMPOSE["services"].values() if "hostname" in service
    }


def test_who_writes_the_folders_sees_the_stacks_workspace_and_may_write() -> None:
    """`cluster-init` has the authority that `pki-init` made, and its image owns the folder that it fills."""
    stack = yaml.safe_load(Path("docker/compose.yaml").read_text(encoding="utf-8"))["services"]
    workspace, folder = COMPOSE["services"]["cluster-init"]["volumes"]
    assert workspace == stack["pki-init"]["volumes"][0]
    made = Path("docker/provisioning/Dockerfile").read_text(encoding="utf-8")
    (line,) = (line for line in made.splitlines() if line.startswith("RUN install -d -m 0700 -o 10001"))
    assert folder.rpartition(":")[2] in line.split()
