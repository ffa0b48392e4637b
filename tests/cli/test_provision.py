"""`labkit provision`: the registry, tokens, a batch, and a device's life, typed as a person would."""

from __future__ import annotations

import csv
import json
import stat
from typing import TYPE_CHECKING, Any

import click
import pytest

from labkit.cli import main
from labkit.cli.provision import provision
from labkit.devices import is_token
from labkit.pki import Store
from labkit.ports import reserve_port
from labkit.provisioning.publication import NOT_CUT
from labkit.scenarios.provisioning import provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the workspace into a folder of its own."""
    folder = tmp_path / "workspace"
    monkeypatch.setenv("LABKIT_WORKSPACE", str(folder))
    monkeypatch.delenv("LABKIT_REGISTRY", raising=False)
    return folder


def say(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    """Run a command with --json and return what it printed; on standard error where it fails."""
    capsys.readouterr()
    assert status == main(["provision", *words, "--json"]), capsys.readouterr().err
    out, err = capsys.readouterr()
    return json.loads(err if status else out)


def test_a_devices_life(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Taken in, enrolled, renewed, in quarantine, back, and out of service: each step says what it did."""
    with provisioning_site(Store(Workspace.open(place))) as office:
        where = ("--url", office.service.url)
        assert 0 == main(["provision", "add", "sensor-001", "--serial", "lab-0001"])
        token = say(capsys, "token", "sensor-001")["sensor-001"]
        assert is_token(token)
        first = say(capsys, "enrol", "sensor-001", "--token", token, *where)
        assert ("sensor-001", "a") == (first["device"], first["slot"])
        refused = say(capsys, "renew", "sensor-001", *where, status=1)
        assert ("RefusedError", True) == (refused["error"], "too early" in refused["message"])
        assert say(capsys, "renew", "sensor-001", "--allow")["allowed"]
        second = say(capsys, "renew", "sensor-001", *where)
        assert first["serial"] != second["serial"]
        assert "list number" in say(capsys, "decommission", "sensor-001", "--quarantine")["done"][1]
        say(capsys, "decommission", "sensor-001", "--release")
        fresh = say(capsys, "token", "sensor-001")["sensor-001"]
        assert 0 == main(["provision", "decommission", "sensor-001", "--reason", "key-compromise"])
        said = say(
            capsys, "enrol", "sensor-001", "--token", fresh, "--folder", str(place / "x"), *where, status=1
        )
        assert "taken back" in said["message"]
        shown = say(capsys, "show", "sensor-001")
        assert ("revoked", "LAB-0001") == (shown["device"]["state"], shown["device"]["serial"])
        assert ["ended", "ended"] == [each["status"] for each in shown["certificates"]]
        actions = [event["action"] for event in say(capsys, "audit-log", "sensor-001")]
        assert ["made", "token-made", "enrolled", "renewal-allowed", "renewal", "renewed"] == actions[:6]
        assert "shut-out" == actions[-1]
    assert 0 == main(["provision", "decommission", "sensor-001", "--erased"])
    assert {"gone": 1} == say(capsys, "list")["counts"]


def test_tokens_for_a_whole_batch(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens for numbered devices go into a file for its owner alone; those of a factory batch are taken back at once."""
    Store(Workspace.open(place)).ensure_authority()
    target = tmp_path / "tokens.csv"
    assert 0 == main(["provision", "token", "--prefix", "node-", "--count", "300", "--csv", str(target)])
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert ("node-001", "node-300", 300) == (rows[0]["device_id"], rows[-1]["device_id"], len(rows))
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    report = say(capsys, "batch", "spring", "--count", "3", "--workers", "1")
    assert (3, 0) == (report["made"], report["found"])
    assert {"spring-001", "spring-002", "spring-003"} == set(say(capsys, "token", "--batch", "spring"))
    taken = say(capsys, "token", "--batch", "spring", "--revoke")
    assert {"spring-001": 1, "spring-002": 1, "spring-003": 1} == taken


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sensor-001", "--batch", "spring"),
        ("--prefix", "node-"),
        ("--count", "3"),
        ("--batch", "unheard-of"),
    ],
)
def test_for_whom_is_said_once(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Names, a batch, or a prefix with a count: none of them, two of them, or half of one is asked back; nothing is made."""
    assert 2 == main(["provision", "token", *words])
    assert [] == say(capsys, "list")["devices"]


def test_each_command_explains_itself() -> None:
    """Each command has a help text, and each of its options has a word on what it is for."""
    for name, command in provision.commands.items():
        assert command.help, name
        assert len(command.help) > 30, name
        for option in command.params:
            assert isinstance(option, click.Argument) or getattr(option, "help", ""), (name, option.name)


def test_a_brokers_address_is_a_host_and_a_port(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is none is named before anything is done; with one, the session is looked for there."""
    for text in ("broker.local", "broker.local:", ":8883", "broker.local:0", "broker.local:66000", "[::1]"):
        assert 2 == main(["provision", "serve", "--broker", text])
        assert f"{text!r} is no HOST:PORT" in capsys.readouterr().err
    assert 0 == main(["provision", "add", "sensor-001"])
    monkeypatch.setenv("LABKIT_BROKER_ADDRESS", "here")
    assert 2 == main(["provision", "decommission", "sensor-001"])
    assert "LABKIT_BROKER_ADDRESS: 'here' is no HOST:PORT" in capsys.readouterr().err
    monkeypatch.delenv("LABKIT_BROKER_ADDRESS")
    assert {"made": 1} == say(capsys, "list")["counts"]
    Store(Workspace.open(place)).ensure_authority()
    with reserve_port() as port:
        monkeypatch.setenv("LABKIT_BROKER_ADDRESS", f"127.0.0.1:{port}")
        assert NOT_CUT == say(capsys, "decommission", "sensor-001")["done"][-1]
