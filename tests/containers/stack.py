"""The stack of docker/, built and run by a real engine, for the tests that ask something of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker.compose import find_compose
from labkit.clock import Deadline
from labkit.ports import reserve_port

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKS = [
    pytest.mark.containers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not os.environ.get("LABKIT_TEST_CONTAINERS"),
        reason="builds images for minutes: LABKIT_TEST_CONTAINERS=1",
    ),
]
"""What every module of such tests says of itself."""

SERVICES = ("broker", "provisioning", "lab")
NODES = ("rabbit1", "rabbit2")
TOKEN = "a-token-for-this-test"
ATTEMPT = """
import sys
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import Store
from labkit.provisioning.slots import Slots
from labkit.workspace import Workspace

store = Store(Workspace.open())
slot = Slots(store.workspace.path("scratch", "boards", sys.argv[1])).current
place, who = Endpoint("broker.local", 8883), Identity(slot.chain, slot.key)
print(probe(place, trust=store.trust_anchor, identity=who, timeout=20).reason)
"""

HOLD = """
import sys
from pathlib import Path
from labkit.errors import NotConnectedError
from labkit.clock import Deadline
from labkit.mqtt import Endpoint, Identity, open_session
from labkit.pki import Store
from labkit.provisioning.slots import Slots
from labkit.workspace import Workspace

store, name = Store(Workspace.open()), sys.argv[1]
slot = Slots(store.workspace.path("scratch", "boards", name)).current
place, who, deadline = Endpoint("broker.local", 8883), Identity(slot.chain, slot.key), Deadline(90)
try:
    with open_session(place, trust=store.trust_anchor, identity=who, client_id=name) as session:
        while not deadline.passed:
            assert session.publish(f"devices/{name}/telemetry", "42") < 0x80
            Path("/tmp/held").touch()
            deadline.pause(0.2)
        print("still in")
except NotConnectedError:
    print("thrown out")
"""

ASK = """
import sys
from labkit.pki import Store
from labkit.provisioning.client import Client
from labkit.provisioning.slots import Slots
from labkit.workspace import Workspace

store = Store(Workspace.open())
slot = Slots(store.workspace.path("scratch", "boards", sys.argv[1])).current
service = Client("https://provisioning.local:8443", trust=store.trust_anchor).as_device(slot)
print(*service.call("GET", "/config")["broker"].values())
"""


class Stack:
    """The stack, with ports of its own and volumes that nobody else has. Get one from `running`.

    Args:
        cluster: With the two nodes of docker/compose.cluster.yaml.
    """

    def __init__(self, *, cluster: bool = False) -> None:
        found = find_compose()
        self.engine, self.project = found.engine, f"iot-labs-test-{os.getpid()}"
        self.services = SERVICES + (NODES if cluster else ())
        files = ["--file", str(found.file)]
        if cluster:
            files += ["--file", str(found.file.with_name("compose.cluster.yaml")), "--profile", "cluster"]
        self._compose = [*found.words, *files, "--project-name", self.project]
        with reserve_port() as one, reserve_port() as two, reserve_port() as three, reserve_port() as four, reserve_port() as five:  # fmt: skip
            self.ports = dict(zip(SERVICES + NODES, (one, two, three, four, five), strict=True))
        self._env = {
            **os.environ,
            **{f"LABKIT_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            "JUPYTER_TOKEN": TOKEN,
            "BUILDAH_FORMAT": "docker",  # podman's own format has no health checks
        }
        self.times: dict[str, float] = {}

    def compose(self, *words: str) -> str:
        """Run compose, and remember how long it took."""
        started = time.monotonic()
        ended = subprocess.run(
            [*self._compose, *words], env=self._env, capture_output=True, text=True, timeout=1500, check=False
        )
        self.times[words[0]] = time.monotonic() - started
        assert ended.returncode == 0, f"{words}: {ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the engine."""
        ended = subprocess.run(
            [self.engine, *words], capture_output=True, text=True, timeout=180, check=False
        )
        assert not check or ended.returncode == 0, f"{words}: {ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended

    def name(self, service: str) -> str:
        """Return a service's container."""
        mark = "-" if self.engine == "docker" else "_"
        return f"{self.project}{mark}{service}{mark}1"

    def inside(self, service: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something in a service's container."""
        return self.run("exec", self.name(service), *words, check=check)

    def program(self, service: str, text: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program, given as text, in a service's container."""
        shell = (
            "mkdir -p /tmp/probe && cat >/tmp/probe/program.py && exec python3 /tmp/probe/program.py "
            + " ".join(words)
        )
        return subprocess.run(
            [self.engine, "exec", "--interactive", self.name(service), "sh", "-c", shell],
            input=text, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def enrol(self, name: str) -> None:
        """Have a device enrol with the stack's provisioning service, from inside `lab`."""
        said = self.inside("lab", "labkit", "provision", "token", name, "--json").stdout
        (secret,) = re.findall(rf'"{name}": "([^"]+)"', said)
        url = "https://provisioning.local:8443"
        self.inside("lab", "labkit", "provision", "enrol", name, "--token", secret, "--url", url)

    def comes_in(self, name: str) -> str:
        """Try to come in at the broker with what a device got when it enrolled, and return what became of it."""
        ended = self.program("lab", ATTEMPT, name)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine says of a container."""
        (found,) = json.loads(self.run("inspect", self.name(service)).stdout)
        return dict(found)

    def healthy(self, service: str) -> bool:
        """Ask a service's own health check; podman without systemd runs it only when it is asked."""
        return self.inside(service, "/usr/local/bin/healthy", check=False).returncode == 0

    def wait(self, seconds: float = 180.0) -> None:
        """Wait until every service is healthy."""
        deadline = Deadline(seconds)
        waiting = list(self.services)
        while waiting := [each for each in waiting if not self.healthy(each)]:
            assert not deadline.passed, f"{waiting}: {self.run('logs', self.name(waiting[0]), check=False)}"
            deadline.pause(1.0)

    def sizes(self) -> dict[str, str]:
        """Return the size of each service's image."""
        images = {self.inspect(each)["Config"]["Image"] for each in self.services}
        return {
            image.rpartition("/")[
                2
            ]: f"{int(self.run('image', 'inspect', '--format', '{{.Size}}', image).stdout) / 1e6:.0f} MB"
            for image in sorted(images)
        }

    def rights(self, service: str) -> None:
        """Hold a service's container to what none may have: another user, a capability, a way to more, its own image."""
        status = self.inside(service, "cat", "/proc/self/status").stdout
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert values["Uid"].split() == ["10001"] * 4
        assert {int(values[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert values["NoNewPrivs"] == "1"
        refused = self.inside(service, "touch", "/usr/local/bin/x", check=False)
        assert "Read-only file system" in refused.stderr

    def keys(self, service: str) -> list[str]:
        """Return every private key that a service sees."""
        script = "grep -rIl 'PRIVATE KEY' / --include=*.key --include=*keyfile --exclude-dir=proc --exclude-dir=sys 2>/dev/null"
        return sorted(self.inside(service, "sh", "-c", script, check=False).stdout.split())


@contextmanager
def running(request: pytest.FixtureRequest, *, cluster: bool = False) -> Iterator[Stack]:
    """Build the images and run the stack for the length of the block; nothing of it is left but the images.

    Args:
        request: The fixture's, to say sizes and times past pytest's capture: they are what one wants to see grow.
        cluster: See `Stack`.
    """
    made = Stack(cluster=cluster)
    made.compose("build")
    sizes: dict[str, str] = {}
    try:
        made.compose("up", "--detach")
        started = time.monotonic()
        made.wait()
        made.times["healthy after up"] = time.monotonic() - started
        sizes = made.sizes()
        yield made
    finally:
        made.compose("down", "--volumes")
        seconds = {what: f"{value:.0f} s" for what, value in made.times.items()}
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            sys.stderr.write(f"\nimages {sizes}, times {seconds}\n")
