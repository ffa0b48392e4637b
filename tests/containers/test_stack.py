"""docker/compose.yaml, built and run by a real engine: zones, owners, health, and the whole probe from both sides.

Takes minutes, so it runs only where `LABKIT_TEST_CONTAINERS` is set. Where no registry answers, make the base images
first (tests/containers/stand-ins/make) and name them: PYTHON_IMAGE=localhost/stand-in-python
BROKER_IMAGE=localhost/stand-in-mosquitto.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.ports import is_listening
from tests.containers.stack import ASK, HOLD, MARKS, SERVICES, TOKEN, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.stack import Stack

pytestmark = MARKS
PROBE = Path(__file__).with_name("probe_stack.py")


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Build the images, start the stack, and remove all of it afterwards."""
    with running(request) as made:
        yield made


def test_nobody_has_more_rights_than_needed(stack: Stack) -> None:
    """Each container is a plain user without capabilities, can gain none, and can't write to its own image."""
    for service in stack.services:
        stack.rights(service)


def test_ports_are_on_loopback(stack: Stack) -> None:
    """Every published port is on 127.0.0.1, and no other is published."""
    for service in stack.services:
        port = stack.ports[service]
        bindings = stack.inspect(service)["HostConfig"]["PortBindings"]
        assert [(each["HostIp"], each["HostPort"]) for ports in bindings.values() for each in ports] == [
            ("127.0.0.1", str(port))
        ]
        assert is_listening(port)


def test_keys_are_where_they_are_needed(stack: Stack) -> None:
    """The broker sees its own key and its health check's, and no authority's; no image has any."""
    assert stack.keys("broker") == ["/broker/health.key", "/broker/server.key"]
    script = "grep -rl 'PRIVATE KEY' / --include=*.key --exclude-dir=proc --exclude-dir=sys 2>/dev/null"
    for service in SERVICES:
        image = f"localhost/iot-labs-{service}"
        found = stack.run(
            "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script, check=False
        )
        assert [
            line for line in found.stdout.split() if "site-packages" not in line and "/packages/" not in line
        ] == []
        history = stack.run("history", "--no-trunc", image).stdout
        assert TOKEN not in history
        assert "PRIVATE KEY" not in history


def test_the_plant_has_no_way_out(stack: Stack) -> None:
    """A container in the zone of devices reaches the broker there, and nothing beyond."""
    network = f"{stack.project}_plant"
    ask = (
        "import socket,sys\n"
        "def reach(host, port):\n"
        "    try:\n        socket.create_connection((host, port), 4).close(); return 'reached'\n"
        "    except OSError as error:\n        return 'not reached'\n"
        "print(reach('broker.local', 8883), reach('lab', 8888), reach('192.0.2.1', 80))\n"
    )
    words = [
        "--rm",
        "--network",
        network,
        "--entrypoint",
        "python3",
        "localhost/iot-labs-provisioning",
        "-c",
        ask,
    ]
    said = stack.run("run", *words).stdout.splitlines()
    assert said[0].startswith("reached")
    assert said[0].endswith("not reached")


def test_the_broker_refuses_to_start_without_us(stack: Stack) -> None:
    """The image alone does not start, nor does it with somebody else's configuration."""
    image = "localhost/iot-labs-broker"
    for command in (
        [image],
        ["--env", "LABKIT_BROKER_FOLDER=/tmp", "--entrypoint", "sh", image, "-c",
         "printf 'listener 1883\\nallow_anonymous true\\n' >/tmp/mosquitto.conf; exec /usr/local/bin/serve"],
    ):  # fmt: skip
        ended = stack.run("run", "--rm", "--network", "none", *command, check=False)
        assert ended.returncode == 78, ended
        assert "serve: refused" in ended.stderr


def test_the_whole_probe_from_both_sides(stack: Stack, tmp_path: Path) -> None:
    """Mutual TLS and access rules hold through the published port, and inside from the lab's place in the plant."""
    inside = stack.program("lab", PROBE.read_text(encoding="utf-8"), "broker.local", "8883")
    assert inside.returncode == 0, inside.stdout + inside.stderr
    stack.run("cp", f"{stack.name('lab')}:/workspace", str(tmp_path / "copy"))
    workspace = (
        tmp_path / "copy" / "workspace" if (tmp_path / "copy" / "workspace").is_dir() else tmp_path / "copy"
    )
    outside = subprocess.run(
        [sys.executable, PROBE, "127.0.0.1", str(stack.ports["broker"])],
        env={**os.environ, "LABKIT_WORKSPACE": str(workspace), "PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert outside.returncode == 0, outside.stdout + outside.stderr
    assert json.loads(inside.stdout) == json.loads(outside.stdout)
    assert len(json.loads(inside.stdout)) > 12


def test_the_log_is_one_that_we_read(stack: Stack) -> None:
    """What the broker prints are lines of its one format: a connection, a CONNACK, no warning of anything unknown."""
    from labkit.broker import parse_line

    ended = stack.run("logs", stack.name("broker"))
    events = [parse_line(line) for line in (ended.stdout + ended.stderr).splitlines()]
    assert {"running", "connection", "connected"} <= {event.kind for event in events}


def test_the_provisioning_service_gives_a_first_certificate(stack: Stack) -> None:
    """A device with a token enrols over the plant, and the registry has it; the service is reached from outside too."""
    stack.enrol("node-777")
    shown = stack.inside("lab", "labkit", "provision", "show", "node-777").stdout
    assert "node-777" in shown
    root = stack.inside("lab", "cat", "/workspace/root/ca.crt").stdout
    context = ssl.create_default_context(cadata=root)
    url = f"https://localhost:{stack.ports['provisioning']}/healthz"
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:
        assert answer.status == 200


def test_the_broker_hears_of_a_revocation(stack: Stack) -> None:
    """What is decommissioned is refused by the broker within seconds, and nobody has told it; another comes in."""
    for name in ("node-801", "node-802"):
        stack.enrol(name)
        assert stack.comes_in(name) == "accepted"
    stack.inside("lab", "labkit", "provision", "decommission", "node-801", "--reason", "key-compromise")
    deadline = Deadline(30)
    while (said := stack.comes_in("node-801")) != "certificate-revoked":
        assert not deadline.passed, said
        deadline.pause(0.5)
    assert stack.comes_in("node-802") == "accepted"


def test_a_session_ends_with_its_device(stack: Stack) -> None:
    """Devices are told where the broker is, and who is in while it is decommissioned is thrown out and stays out."""
    stack.enrol("node-803")
    told = stack.program("lab", ASK, "node-803")
    assert told.stdout == "broker.local 8883\n", told
    with ThreadPoolExecutor() as pool:
        held = pool.submit(stack.program, "lab", HOLD, "node-803")
        deadline = Deadline(30)
        while stack.inside("lab", "test", "-e", "/tmp/held", check=False).returncode:
            assert not deadline.passed, held
            deadline.pause(0.5)
        said = stack.inside("lab", "labkit", "provision", "decommission", "node-803").stdout
        assert "the broker has read the list" in said
        assert "session cut" in said
        assert held.result().stdout == "thrown out\n", held.result()
    assert stack.comes_in("node-803") == "certificate-revoked"


def test_the_lab_asks_who_is_there(stack: Stack) -> None:
    """JupyterLab shows the notebooks to whoever has the token, and 403 to whoever has not."""
    url = f"http://127.0.0.1:{stack.ports['lab']}/api/contents"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=20)
    with caught.value as refused:  # it holds the connection
        assert refused.code == 403
    request = urllib.request.Request(url, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - http, as written above
        names = {each["name"] for each in json.load(answer)["content"]}
    assert "00_start-here.ipynb" in names
    page = f"http://127.0.0.1:{stack.ports['lab']}/lab/tree/00_start-here.ipynb?token={TOKEN}"
    with urllib.request.urlopen(page, timeout=20) as answer:
        assert b"JupyterLab" in answer.read()


def test_a_lesson_runs_in_the_lab(stack: Stack) -> None:
    """Lesson start-here passes inside the container, with the Mosquitto that is in there."""
    ended = stack.inside("lab", "labkit", "run", "start-here", "--out", "/tmp/run", check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_authority_is_made_once(stack: Stack) -> None:
    """A second pki-init finds everything and changes neither root nor broker."""
    before = stack.inside("lab", "cat", "/workspace/root/ca.crt", "/workspace/server/broker.crt").stdout
    stack.run("start", "--attach", stack.name("pki-init"))
    assert (
        before == stack.inside("lab", "cat", "/workspace/root/ca.crt", "/workspace/server/broker.crt").stdout
    )
    assert stack.healthy("broker")


def test_it_stops_at_once(stack: Stack) -> None:
    """Broker and service stop within five seconds of being asked, and come back healthy."""
    for service in ("broker", "provisioning"):
        started = time.monotonic()
        stack.run("stop", "--time", "20", stack.name(service))
        stack.times[f"stop {service}"] = time.monotonic() - started
        assert stack.times[f"stop {service}"] < 8
        stack.run("start", stack.name(service))
    stack.wait()
