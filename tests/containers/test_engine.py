"""A lesson's broker in a container of a real engine, and `labkit broker up`; runs like test_stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import container
from labkit.broker.control import State
from labkit.clock import Deadline
from labkit.ports import is_listening, reserve_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not os.environ.get("LABKIT_TEST_CONTAINERS"),
        reason="starts containers for minutes: LABKIT_TEST_CONTAINERS=1",
    ),
]
COURSE = Path.cwd()


@pytest.fixture(scope="module")
def engine() -> Path:
    """Return the engine, with the broker's image built."""
    _, program = container.find_engine(container.ENGINES)
    container.build_image(program)
    assert container.image_size(program) > 1_000_000
    return program


def running(engine: Path) -> set[str]:
    """Return the names of the lessons' containers."""
    said = subprocess.run(
        [engine, "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
    ).stdout
    return {name for name in said.split() if name.startswith("labkit-")}


def labkit(*words: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    ended = subprocess.run(
        [sys.executable, "-m", "labkit", *words],
        env={**os.environ, "LABKIT_COURSE": str(COURSE), "PYTHONPATH": str(COURSE), **env},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert not check or ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.mark.parametrize("slug", ["start-here", "mutual-tls"])
def test_a_lesson_holds_against_the_container(engine: Path, tmp_path: Path, slug: str) -> None:
    """Every claim of a lesson holds with the broker in a container, and no container is left."""
    before = running(engine)
    said = labkit("run", slug, "--out", str(tmp_path / "out"), "--json", LABKIT_BROKER="docker")
    (lesson,) = json.loads(said.stdout)["lessons"]
    assert lesson["status"] == "passed"
    assert all(claim["held"] for claim in lesson["claims"])
    assert running(engine) <= before


PROGRAM = """
import sys
from pathlib import Path
from labkit.broker import Broker
from tests.simulators.processes import plain
with Broker(Path(sys.argv[1]), plain) as broker:
    print(broker.port, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("victim", ["kernel", "guard", "client"])
def test_no_container_outlives_anybody(engine: Path, tmp_path: Path, victim: str) -> None:
    """Whoever is killed of those that hold a broker's container, the container goes and its port is free."""
    before = running(engine)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path / "b"],
        env={**os.environ, "LABKIT_BROKER": "docker", "PYTHONPATH": str(COURSE)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as kernel:  # fmt: skip
        assert kernel.stdout
        port = int(kernel.stdout.readline())
        assert is_listening(port)
        assert running(engine) > before
        state = State.read(tmp_path / "b")
        assert state
        os.kill({"kernel": kernel.pid, "guard": state.guard, "client": state.pid}[victim], signal.SIGKILL)
        deadline = Deadline(20)
        while (running(engine) - before or is_listening(port)) and not deadline.passed:
            deadline.pause(0.2)
        assert running(engine) <= before
        assert not is_listening(port)
        kernel.kill()


@pytest.fixture
def lab(tmp_path: Path, engine: Path) -> Iterator[dict[str, Any]]:
    """Return a fresh workspace, and a port for the stack's broker; the stack is taken down afterwards."""
    with reserve_port() as port:
        pass
    env = {
        "LABKIT_WORKSPACE": str(tmp_path / "läb space"),
        "COMPOSE_PROJECT_NAME": f"iot-labs-up-{os.getpid()}",
    }
    yield {"port": str(port), "env": env}
    labkit("broker", "down", **env)
    assert not is_listening(port)


def test_up_uses_our_authority_and_hears_of_revocations(lab: dict[str, Any]) -> None:
    """`broker up` lets our devices in; after a revocation a second `up` keeps one out and lets the other in still."""
    port, env = lab["port"], lab["env"]
    labkit("ca", "init", LABKIT_CA_PASSPHRASE="correct horse battery", **env)
    for name in ("sensor-001", "sensor-002"):
        labkit("ca", "issue", name, **env)
    assert json.loads(labkit("broker", "up", "--port", port, "--json", **env).stdout)["reloaded"] is False
    for name in ("sensor-001", "sensor-002"):
        labkit("probe", "--port", port, "--as", name, **env)
    refused = labkit("probe", "--port", port, check=False, **env)
    assert refused.returncode == 1
    labkit("ca", "revoke", "sensor-001", "--reason", "key-compromise", **env)
    assert json.loads(labkit("broker", "up", "--port", port, "--json", **env).stdout)["reloaded"] is True
    deadline = Deadline(20)
    while not labkit("probe", "--port", port, "--as", "sensor-001", check=False, **env).returncode:
        assert not deadline.passed
    assert (
        "certificate-revoked"
        in labkit("probe", "--port", port, "--as", "sensor-001", check=False, **env).stdout
    )
    labkit("probe", "--port", port, "--as", "sensor-002", **env)
