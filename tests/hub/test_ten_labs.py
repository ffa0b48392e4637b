"""Ten students on one machine, in one network: ten labs at once, and each is closed to the other nine."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from labkit.broker import stop_all
from labkit.clock import Deadline
from labkit.mqtt import Endpoint, Identity, probe
from labkit.ports import is_listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto

LABS = 10
STUDENT = """
import json, sys
from pathlib import Path
from labkit.pki import Store
from labkit.scenarios import mutual_tls
from labkit.workspace import Workspace

store = Store(Workspace.open(Path(sys.argv[1])))
store.ensure_authority()
store.identity("sensor-002")
with mutual_tls(store) as site, site.session("sensor-001") as device:
    device.publish("devices/sensor-001/status", "online", retain=True)
    print(json.dumps({"port": site.port, "pid": site.broker.pid}), flush=True)
    sys.stdin.readline()
    assert device.ended == "", device.ended
"""

pytestmark = pytest.mark.timeout(300)


class Lab:
    """One student's lab, in a process of its own.

    Args:
        folder: The workspace.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", STUDENT, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts: dict[str, Any] = {}

    def await_ready(self) -> None:
        """Wait until its broker runs and its device is connected."""
        assert self.process.stdout
        self.facts = json.loads(self.process.stdout.readline() or "{}")
        assert self.facts, f"{self.folder.name} did not start"

    @property
    def endpoint(self) -> Endpoint:
        """Where its broker is."""
        return Endpoint("127.0.0.1", self.facts["port"])

    @property
    def trust(self) -> Path:
        """The certificate of its authority; no secret."""
        return self.folder / "root" / "ca.crt"

    @property
    def identity(self) -> Identity:
        """Its second device; the first is connected, and stays so."""
        devices = self.folder / "devices"
        return Identity(devices / "sensor-002.crt", devices / "sensor-002.key")

    def end(self) -> int:
        """End it, and return its exit status: 0 if its device was connected to the end."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.fixture(scope="module")
def labs(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Lab]]:
    """Return ten labs that were started at the same moment."""
    del mosquitto
    home = tmp_path_factory.mktemp("class")
    with ExitStack() as held:
        made = []
        for number in range(LABS):
            lab = Lab(home / f"student-{number}")
            held.callback(lab.process.kill)
            made.append(lab)
        for lab in made:
            lab.await_ready()
        yield made
        stop_all(home)


def test_no_port_is_taken_twice(labs: list[Lab]) -> None:
    """Ten brokers run at once, on ten ports, in ten processes, all on loopback."""
    assert LABS == len({lab.facts["port"] for lab in labs}) == len({lab.facts["pid"] for lab in labs})
    for lab in labs:
        listening = [
            c.laddr.ip for c in psutil.Process(lab.facts["pid"]).net_connections() if c.status == "LISTEN"
        ]
        assert ["127.0.0.1"] == listening


@pytest.mark.parametrize("number", range(LABS))
def test_nobody_gets_into_anothers_broker(labs: list[Lab], number: int) -> None:
    """A student's device is let in by its own broker and refused by the next student's, in the handshake, for its issuer."""
    mine, theirs = labs[number], labs[(number + 1) % LABS]
    own = probe(mine.endpoint, trust=mine.trust, identity=mine.identity)
    assert own.accepted, own
    # What everybody may have of another lab is its authority's certificate, so the intruder believes the broker.
    strange = probe(theirs.endpoint, trust=theirs.trust, identity=mine.identity)
    assert ("tls", "unknown-ca") == (strange.stage, strange.reason)
    nobody = probe(theirs.endpoint, trust=theirs.trust)
    assert ("tls", "certificate-required") == (nobody.stage, nobody.reason)


def test_a_strange_broker_is_not_believed(labs: list[Lab]) -> None:
    """A device that reaches the wrong student's port finds out before it says anything."""
    outcome = probe(labs[1].endpoint, trust=labs[0].trust, identity=labs[0].identity)
    assert "tls" == outcome.stage
    assert outcome.reason.startswith("server-")


def test_what_others_must_not_read_is_closed(labs: list[Lab]) -> None:
    """Keys, rules and control sockets are for their owner alone."""
    for lab in labs:
        secret = [
            *lab.folder.rglob("*.key"),
            lab.folder / "broker" / "acl.conf",
            lab.folder / "broker" / "state.json",
        ]
        sockets = [path for path in lab.folder.rglob("*.sock") if path.exists()]
        assert {0o600} == {
            stat.S_IMODE(os.lstat(path).st_mode) for path in (*secret, *sockets) if path.exists()
        }
        assert any(path.suffix == ".key" for path in secret)
        assert 0o700 == stat.S_IMODE((lab.folder / "broker").stat().st_mode)


def test_each_ends_alone_and_leaves_nothing(labs: list[Lab]) -> None:
    """One lab's end ends its broker and no other; every device was connected until its own end."""
    for number, lab in enumerate(labs):
        assert 0 == lab.end()
        deadline = Deadline(10.0)
        while is_listening(lab.facts["port"]) and not deadline.passed:
            deadline.pause(0.05)
        assert not psutil.pid_exists(lab.facts["pid"])
        left = [other for other in labs[number + 1 :] if not is_listening(other.facts["port"])]
        assert [] == left
