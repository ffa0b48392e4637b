"""The profile `cluster` in a real engine: two nodes that are one broker, judged by what arrives; runs like test_stack.

Besides what test_stack needs, DEBIAN_IMAGE=localhost/stand-in-debian; the image fetches RabbitMQ from Debian.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.mqtt import Endpoint, Identity, probe
from labkit.mqtt.packets import V311
from labkit.pki import Store
from labkit.provisioning.slots import Slots
from labkit.workspace import Workspace
from tests.containers.stack import MARKS, NODES, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.outcome import Outcome
    from labkit.pki import IdentityFiles
    from tests.containers.stack import Stack

pytestmark = MARKS
PROBE = Path(__file__).with_name("probe_cluster.py")
COURIER = "cluster-courier"
GONE, WELL = "sensor-801", "sensor-802"


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Build the images, start the stack with its cluster, and remove all of it afterwards."""
    with running(request, cluster=True) as made:
        yield made


class Outside:
    """This machine's view: a copy of the workspace, and the published ports."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        stack.run("cp", f"{stack.name('lab')}:/workspace", str(folder))
        self.store = Store(
            Workspace.open(folder / "workspace" if (folder / "workspace").is_dir() else folder)
        )
        self._ports = stack.ports

    def device(self, name: str) -> IdentityFiles:
        """Return what a device got when it enrolled."""
        slot = Slots(self.store.workspace.path("scratch", "boards", name)).current
        assert slot is not None
        return slot.files(name)

    def attempt(self, node: str, files: IdentityFiles | None) -> Outcome:
        """Try to come in at a node."""
        who = Identity(files.certificate, files.key) if files else None
        place = Endpoint("127.0.0.1", self._ports[node])
        return probe(
            place, trust=self.store.trust_anchor, identity=who, protocol=V311, timeout=20,
            client_id=files.name if files else "",
        )  # fmt: skip


def test_the_nodes_are_one_cluster(stack: Stack) -> None:
    """Each node counts both as running."""
    for node in NODES:
        words = ("env", "HOME=/state", "/usr/lib/rabbitmq/bin/rabbitmqctl", "--node", f"lab@{node}")
        said = stack.inside(node, *words, "cluster_status", "--formatter", "json").stdout
        assert sorted(json.loads(said)["running_nodes"]) == ["lab@rabbit1", "lab@rabbit2"]


def test_nodes_have_no_more_than_they_need(stack: Stack) -> None:
    """Each node is a plain user without capabilities, listens on loopback only, and sees its own keys and no authority's."""
    for node in NODES:
        stack.rights(node)
        (binding,) = (
            each for ports in stack.inspect(node)["HostConfig"]["PortBindings"].values() for each in ports
        )
        assert (binding["HostIp"], binding["HostPort"]) == ("127.0.0.1", str(stack.ports[node]))
        own = [f"/cluster/{each}/{key}" for each in NODES for key in ("auth-keyfile", "keyfile")]
        assert stack.keys(node) == own


def test_every_question_through_the_cluster(stack: Stack) -> None:
    """What every broker is asked is asked here too, and what is let through has gone from one node to the other."""
    ended = stack.program("lab", PROBE.read_text(encoding="utf-8"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert len(found) > 25
    assert found["a device speaks for another"].startswith("no")
    assert found["telemetry reaches the operator, at another node if there is one"].startswith("yes")


def test_a_device_that_is_taken_out_is_refused(stack: Stack, tmp_path: Path) -> None:
    """A decommissioned device is refused by name at once, and as revoked when the nodes have the list; another is not."""
    for name in (GONE, WELL):
        stack.enrol(name)
    outside = Outside(stack, tmp_path / "copy")
    gone, well = outside.device(GONE), outside.device(WELL)
    assert outside.attempt("rabbit1", gone).accepted
    assert outside.attempt("rabbit1", well).accepted
    assert outside.attempt("rabbit1", None).reason == "certificate-required"
    stack.run("stop", "--time", "5", stack.name(COURIER))  # else the list may be there before us
    stack.inside("lab", "labkit", "provision", "decommission", GONE, "--reason", "key-compromise")
    # The second node has never asked about it, so no answer is remembered there.
    refused = outside.attempt("rabbit2", gone)
    assert (refused.stage, refused.accepted) == ("mqtt", False)
    assert outside.attempt("rabbit2", well).accepted
    stack.run("start", stack.name(COURIER))
    deadline = Deadline(30)
    for node in NODES:
        while (seen := outside.attempt(node, gone)).reason != "certificate-revoked":
            assert not deadline.passed, seen
            deadline.pause(0.5)
        assert outside.attempt(node, well).accepted
