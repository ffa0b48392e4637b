"""`labkit firmware serve-updates|rollout|fetch`, typed as a person would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from labkit.cli import main
from labkit.cli.rollout import rollout
from labkit.clock import Deadline
from labkit.pki import Store
from labkit.scenarios.provisioning import provisioning_site
from labkit.scenarios.updates import PASSPHRASE, PRODUCT, update_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the workspace into a folder of its own, and open its signing key without a prompt."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("LABKIT_SIGNING_PASSPHRASE", PASSPHRASE.decode())
    monkeypatch.delenv("LABKIT_REGISTRY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def say(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    """Run a command with --json and return what it printed; on standard error where it fails."""
    capsys.readouterr()
    assert status == main(["firmware", *words, "--json"]), capsys.readouterr().err
    out, err = capsys.readouterr()
    return json.loads(out or err)


def signed(place: Path, version: str) -> str:
    """Sign an image and return the update's file."""
    image = place / f"{version}.img"
    image.write_bytes(os.urandom(70_000))
    target = place / f"{version}.update"
    words = ["--product", PRODUCT, "--version", version, "--output", str(target)]
    assert 0 == main(["firmware", "sign", str(image), *words])
    return str(target)


def test_from_the_key_to_the_device(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Signed, published, rolled out, fetched by an enrolled device, paused, and taken back."""
    store = Store(Workspace.open(place / "workspace"))
    assert 0 == main(["firmware", "key", "new"])
    update = signed(place, "1.5.0")
    with provisioning_site(store) as office:
        office.enrolled("sensor-001")
    with update_site(store) as site:
        fetch = (
            "fetch",
            PRODUCT,
            "--as",
            "sensor-001",
            "--url",
            site.service.url,
            "--output",
            str(place / "got"),
        )
        assert "held" == say(capsys, "rollout", "publish", update)[0]["state"]
        assert {"offered": None} == say(capsys, *fetch, status=1)
        begun = say(capsys, "rollout", "start", PRODUCT, "1.5.0", "--percent", "0", "--first", "sensor-001")
        assert ("running", ["sensor-001"]) == (begun[0]["state"], begun[0]["first"])
        assert "1.5.0" == say(capsys, *fetch)["offered"]
        assert (place / "1.5.0.img").read_bytes() == (place / "got").read_bytes()
        assert [] == list(place.glob(".*.part"))
        assert {"offered": None} == say(capsys, *fetch, "--running", "1.5.0", status=1)
        assert "paused" == say(capsys, "rollout", "pause", PRODUCT, "1.5.0")[0]["state"]
        assert {"offered": None} == say(capsys, *fetch, status=1)
        assert 100 == say(capsys, "rollout", "start", PRODUCT, "1.5.0", "--percent", "100")[0]["percent"]
        assert "aborted" == say(capsys, "rollout", "abort", PRODUCT, "1.5.0")[0]["state"]
        said = say(capsys, "rollout", "start", PRODUCT, "1.5.0", "--percent", "100", status=1)
        assert ("ReleaseRefusedError", True) == (said["error"], "aborted" in said["message"])
    assert ["aborted"] == [each["state"] for each in say(capsys, "rollout", "list")]


def test_what_devices_would_refuse_is_not_published(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed byte is refused with the device's own reason, and nothing is on record."""
    Store(Workspace.open(place / "workspace")).ensure_authority()
    assert 0 == main(["firmware", "key", "new"])
    update = place / "bad.update"
    content = bytearray((place / signed(place, "1.0.0")).read_bytes())
    content[-1] ^= 1
    update.write_bytes(content)
    assert "image digest" in say(capsys, "rollout", "publish", str(update), status=1)["message"]
    assert [] == say(capsys, "rollout", "list")


def test_a_device_without_an_identity_is_told_how(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is not enrolled is told what to type."""
    Store(Workspace.open(place / "workspace")).ensure_authority()
    assert 2 == main(["firmware", "fetch", PRODUCT, "--as", "sensor-009"])
    assert "provision enrol sensor-009" in capsys.readouterr().err


def test_it_serves_until_it_is_interrupted(place: Path) -> None:
    """Ctrl-C ends the service and its processes; its port is free again."""
    argv = [sys.executable, "-m", "labkit", "firmware", "serve-updates", "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as served:
        assert served.stdout
        assert "Updates at https://127.0.0.1:" in served.stdout.readline()
        workers = psutil.Process(served.pid).children(recursive=True)
        assert workers
        while "next:" not in served.stdout.readline():
            pass
        served.send_signal(signal.SIGINT)
        assert "Stopped." in served.communicate(timeout=20)[0]
        assert 0 == served.returncode
    deadline = Deadline(5)
    while any(each.is_running() for each in workers) and not deadline.passed:
        deadline.pause()
    assert not any(each.is_running() for each in workers)


def test_each_command_explains_itself() -> None:
    """Each command of the group has a help text, and each of its options a word on what it is for."""
    for name, command in rollout.commands.items():
        assert len(command.help or "") > 30, name
        for option in command.params:
            assert option.param_type_name == "argument" or getattr(option, "help", ""), (name, option.name)
