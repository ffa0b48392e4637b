"""What brings a workspace's changes into the folder of a broker in a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.broker import DEVICE_ACL, acl
from labkit.clock import Deadline
from labkit.pki.revocation import read_list
from labkit.scenarios import courier
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.pki import Store

PATIENCE = 20.0


def wait_until(what: Callable[[], object]) -> None:
    """Wait until something is true."""
    deadline = Deadline(PATIENCE)
    while not what():
        assert not deadline.passed
        deadline.pause(0.05)


@pytest.mark.parametrize(
    ("words", "place"), [("render", "revoked.crl"), ("cluster", "rabbit2/crl/*.r0")], ids=["mosquitto", "rabbitmq"]
)  # fmt: skip
def test_a_revocation_reaches_the_folder(store: Store, tmp_path: Path, words: str, place: str) -> None:
    """Once a device is revoked it stands on the broker's list, and no other does; SIGTERM is a polite end."""
    serials = {}
    for name in ("sensor-001", "sensor-002"):
        store.identity(name)
        serials[name] = store.certificate(name).serial_number
    folder = tmp_path / "folder"

    def listed(name: str) -> bool:
        lists = [read_list(path.read_bytes()).crl for path in folder.glob(place)]
        return any(each.get_revoked_certificate_by_serial_number(serials[name]) for each in lists)

    with subprocess.Popen(
        [sys.executable, "-m", "labkit", "broker", words, str(folder), "--follow"],
        env={**os.environ, "LABKIT_WORKSPACE": str(store.workspace.root), "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            wait_until(lambda: list(folder.glob(place)))
            assert not listed("sensor-001")
            store.revocations.revoke("sensor-001")
            wait_until(lambda: listed("sensor-001"))
            assert not listed("sensor-002")
        finally:
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, err) == (0, "Stopped.\n")
    assert "written" in out


class EnoughError(Exception):
    """Ends what never ends by itself."""


def test_what_cannot_be_written_is_said_once_and_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that can't be read leave the folder as it was, are named once, and are carried as soon as they are mended."""
    from labkit.scenarios import stack

    monkeypatch.setattr(courier, "LOOK", 0.01)
    folder = tmp_path / "folder"
    stack.render(store, folder)
    rules, before = store.workspace.path(stack.HOME, stack.RULES), (folder / "acl.conf").read_text()
    write_atomic(rules, "topic sideways x\n", secret=True)
    said: list[str] = []
    tries = []

    def write() -> None:
        tries.append(1)
        if len(tries) == 4:
            assert (folder / "acl.conf").read_text() == before
            write_atomic(rules, acl.render(DEVICE_ACL.denying("sensor-009")), secret=True)
        stack.render(store, folder)

    def say(text: str) -> None:
        said.append(text)
        if text == "written":
            raise EnoughError

    with pytest.raises(EnoughError):
        courier.follow(store, write, say=say)
    assert len(tries) == 4
    assert len(said) == 2
    assert said[0].startswith("not written: ")
    assert "sensor-009" in (folder / "acl.conf").read_text()
