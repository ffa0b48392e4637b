"""The firmware itself, built by ESP-IDF for its linux target, against a real broker and the provisioning service.

The program is named by LABKIT_LINUX_NODE (firmware/README.md says how it is built); without that these tests are left out,
because ESP-IDF can't be had everywhere.
"""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.firmware import NvsEntry, build_image, read_image
from labkit.firmware.partitions import COURSE_TABLE, build_table
from labkit.node.codes import parse_line
from labkit.pki import Store
from labkit.scenarios import Site, mutual_tls
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = os.environ.get("LABKIT_LINUX_NODE", "")
DEVICE = "sensor-001"
FCTRY = next(part for part in COURSE_TABLE if part.label == "fctry")

pytestmark = [
    pytest.mark.broker,
    pytest.mark.firmware,
    pytest.mark.skipif(
        not PROGRAM, reason="LABKIT_LINUX_NODE does not name the firmware for the linux target"
    ),
]


class Node:
    """The firmware, running."""

    def __init__(self, flash: Path) -> None:
        self.lines: list[str] = []
        self.flash = flash
        env = {**os.environ, "LAB_FLASH_FILE": str(flash)}
        self._child = subprocess.Popen(
            [str(Path(PROGRAM).resolve())],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout
        for line in self._child.stdout:
            self.lines.append(line)

    def wait_for(self, code: str, *, timeout: float = 30.0, count: int = 1) -> dict[str, str]:
        """Return the values of a line with a code, once it has come so many times."""
        deadline = Deadline(timeout)
        while True:
            found = [told for line in self.lines if (told := parse_line(line)) and told[0] == code]
            if len(found) >= count:
                return found[count - 1][1]
            assert not deadline.passed, "".join(self.lines)
            deadline.pause(0.05)

    def end(self) -> None:
        """Take its power away."""
        self._child.kill()
        self._child.wait()
        self._reader.join()
        assert self._child.stdout
        self._child.stdout.close()


@contextmanager
def running(flash: Path) -> Iterator[Node]:
    """Run the firmware for the length of the block."""
    node = Node(flash)
    try:
        yield node
    finally:
        node.end()


def make_flash(path: Path, site: Site, prov: ProvisioningSite, **more: str) -> Path:
    """Write a flash with what a factory puts into it."""
    values = {
        "device_id": DEVICE, "token": prov.token(DEVICE), "root": site.store.trust_anchor.read_text(), **more,
    }  # fmt: skip
    port = prov.service.url.rpartition(":")[2]
    entries = [NvsEntry("identity", key, "string", value) for key, value in values.items()]
    entries += [
        NvsEntry("service", "broker_host", "string", "127.0.0.1"),
        NvsEntry("service", "broker_port", "u16", site.port),
        NvsEntry("service", "provision_url", "string", f"https://127.0.0.1:{port}"),
    ]
    flash = bytearray(b"\xff" * 0x400000)
    for offset, part in (
        (0x8000, build_table(COURSE_TABLE)),
        (FCTRY.offset, build_image(entries, size=FCTRY.size)),
    ):
        flash[offset : offset + len(part)] = part
    path.write_bytes(flash)
    return path


def stored(flash: Path) -> dict[str, object]:
    """Return the identity that lies in a flash."""
    data = flash.read_bytes()[FCTRY.offset : FCTRY.offset + FCTRY.size]
    return {entry.key: entry.value for entry in read_image(data) if entry.namespace == "identity"}


@pytest.fixture(params=[False, True], ids=["p256", "rsa"])
def sites(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, ProvisioningSite]]:
    """Return a broker and the provisioning service, with short chains and with long ones."""
    store = Store(Workspace.open(tmp_path / "w"))
    store.create(passphrase=b"correct horse", rsa=request.param)
    with mutual_tls(store) as site, provisioning_site(store) as prov:
        yield site, prov


def test_from_first_boot_to_a_restart(tmp_path: Path, sites: tuple[Site, ProvisioningSite]) -> None:
    """The device enrols, erases its token, connects, sends, takes commands, and after a restart connects at once."""
    site, prov = sites
    flash = make_flash(tmp_path / "flash.bin", site, prov)
    with running(flash) as node, site.session("admin") as operator:
        assert {"device": DEVICE, "version": "1.0.0"} == node.wait_for("boot-unprovisioned")
        node.wait_for("enrol-done")
        node.wait_for("config-done")
        node.wait_for("mqtt-connected")
        node.wait_for("telemetry-sent")
        operator.publish(f"devices/{DEVICE}/commands/interval", '{"seconds": 5}')
        assert {"command": "interval", "seconds": "5"} == node.wait_for("command-done")
        operator.publish(f"devices/{DEVICE}/commands/interval", '{"seconds": 4}')
        node.wait_for("json-range")
        node.wait_for("telemetry-sent", count=3)
        said = "".join(node.lines)
    found = stored(flash)
    assert ("a", False) == (found["in_use"], "token" in found)
    assert "PRIVATE" not in said
    with running(flash) as node:
        node.wait_for("boot-provisioned")
        node.wait_for("mqtt-connected")
        node.wait_for("telemetry-sent", count=2, timeout=15)  # every five seconds still


def test_a_token_that_is_none(tmp_path: Path, sites: tuple[Site, ProvisioningSite]) -> None:
    """A refused token is one line of the log, and everything that was stored is still there."""
    site, prov = sites
    flash = make_flash(tmp_path / "flash.bin", site, prov, token="none-of-ours")
    with running(flash) as node:
        told = node.wait_for("service-refused")
    assert "token-unknown" == told["reason"]
    found = stored(flash)
    assert ("none-of-ours", False) == (found["token"], "chain" in found)


def test_a_broker_of_somebody_else(tmp_path: Path, sites: tuple[Site, ProvisioningSite]) -> None:
    """A device that trusts another authority talks to nobody: not to the service, and not to the broker."""
    site, prov = sites
    other = Store(Workspace.open(tmp_path / "other"))
    other.create(passphrase=b"correct horse")
    flash = make_flash(tmp_path / "flash.bin", site, prov, root=other.trust_anchor.read_text())
    with running(flash) as node:
        node.wait_for("service-unreachable")
        said = "".join(node.lines)
    assert "mqtt-connected" not in said
    assert "token" in stored(flash)
