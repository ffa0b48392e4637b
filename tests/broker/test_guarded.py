"""labkit.broker.guarded: a real Mosquitto never outlives whoever started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from labkit.broker import Broker, attach
from tests.simulators.processes import gone, plain, wait_until_gone

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


HOLDER = """
import os, signal, sys
from pathlib import Path
from labkit.broker import Broker, BrokerConfig, Listener
broker = Broker(Path(sys.argv[1]), lambda port: BrokerConfig(listeners=(Listener(port=port),)))
broker.start()
how = sys.argv[2]
if how == "fork" and os.fork() == 0:
    while True: signal.pause()
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
print(broker.pid, flush=True)
if how == "exit": sys.exit()
if how == "raise": raise ValueError("on purpose")
while True: signal.pause()
"""


@pytest.mark.parametrize("how", ["exit", "raise", "SIGKILL", "SIGTERM", "fork"])
def test_no_broker_outlives_its_owner(mosquitto: Mosquitto, tmp_path: Path, how: str) -> None:
    """However its owner ends, the broker ends too, even if a forked child holds the pipe open."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "b"), how]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        if how in {"SIGKILL", "SIGTERM", "fork"}:
            owner.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
        owner.wait(10)
        assert wait_until_gone(pid)
        if how == "fork":
            os.killpg(owner.pid, signal.SIGKILL)


def test_the_stop_button_spares_the_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """SIGINT to the owner's whole process group interrupts the owner and not the broker."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "b"), "stay"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.readline() == b"interrupted\n"
        assert attach(tmp_path / "b").status()["alive"]
        assert not gone(pid)
        owner.kill()
    assert wait_until_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_guard_takes_the_broker_along(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """If the guard itself is killed, the kernel kills the broker, and the next start works."""
    broker = Broker(tmp_path / "b", plain, mosquitto=mosquitto)
    broker.start()
    state = json.loads((tmp_path / "b" / "state.json").read_text())
    os.kill(state["guard"], signal.SIGKILL)
    assert wait_until_gone(state["pid"])
    broker.stop()
    with broker:
        assert broker.alive
