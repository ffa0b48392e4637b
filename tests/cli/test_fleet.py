"""labkit ca batch, revoke, crl, export, by-hand, and labkit broker deny: what they do and what they refuse."""

from __future__ import annotations

import csv
import json
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.cli.fleet import REASONS
from labkit.pki import Reason, Store
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Work in a workspace that has an authority and two devices."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    monkeypatch.setenv("LABKIT_CA_PASSPHRASE", "correct horse")
    monkeypatch.setenv("LABKIT_EXPORT_PASSPHRASE", "battery staple")
    assert main(["ca", "init"]) == 0
    assert main(["ca", "issue", "sensor-001", "sensor-007"]) == 0
    capsys.readouterr()
    return tmp_path / "w"


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(capsys.readouterr().out)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, lock files aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


def test_a_batch_has_names_of_one_width(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve devices get twelve identities, and the manifest has one line for each."""
    assert main(["ca", "batch", "pump-", "--count", "12", "--csv", str(made / "fleet.csv"), "--json"]) == 0
    assert said(capsys)["issued"] == 12
    with (made / "fleet.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"pump-{n:03d}" for n in range(1, 13)] == [row["id"] for row in rows]
    assert {row["serial"] for row in rows} == {
        f"{Store(Workspace.open()).certificate(row['id']).serial_number:x}" for row in rows
    }


def test_a_batch_goes_on_where_it_stopped(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second batch over the same names is refused; with --skip-existing only what is missing is issued."""
    (made / "ids.txt").write_text("# the line\nsensor-001\n\npump-001\n  pump-002 \n")
    assert main(["ca", "batch", "--from", str(made / "ids.txt")]) == 1
    assert "sensor-001 has a valid certificate" in capsys.readouterr().err
    before = (made / "devices/sensor-001.crt").read_bytes()
    assert main(["ca", "batch", "--from", str(made / "ids.txt"), "--skip-existing", "--json"]) == 0
    found = said(capsys)
    assert (2, 1) == (found["issued"], found["skipped"])
    assert before == (made / "devices/sensor-001.crt").read_bytes()


@pytest.mark.parametrize(
    ("words", "status", "word"),
    [
        (["sensor-"], 2, "--count"),
        ([], 2, "--from"),
        (["Sensor_", "--count", "3"], 1, "device id"),
        (["--from", "bad.txt"], 1, "a/b"),
        (["--from", "twice.txt"], 2, "x-001 twice"),
        (["--from", "binary.txt"], 2, "not text"),
    ],
)
def test_a_bad_batch_issues_nothing(  # noqa: PLR0917
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
    word: str,
) -> None:
    """Missing words, a bad name or a name that stands twice are told, and not one device is issued."""
    monkeypatch.chdir(made)
    (made / "bad.txt").write_text("good-001\na/b\n")
    (made / "twice.txt").write_text("x-001\nx-002\nx-001\n")
    (made / "binary.txt").write_bytes(b"\xff\xfe")
    before = snapshot(made)
    assert main(["ca", "batch", *words]) == status
    assert word in capsys.readouterr().err
    assert before == snapshot(made)


def test_revoke_and_show_the_list(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A revoked device is on the list with its reason, and in the overview; the other one is valid."""
    assert main(["ca", "revoke", "sensor-007", "--reason", "key-compromise"]) == 0
    out = capsys.readouterr().out
    assert "revoked (key-compromise)" in out
    assert "openssl ca -config by-hand/ca.cnf -revoke devices/sensor-007.crt -crl_reason keyCompromise" in out
    assert main(["ca", "crl", "--json"]) == 0
    (entry,) = said(capsys)["entries"]
    assert ("sensor-007", "key-compromise", "yes") == (entry["name"], entry["reason"], entry["on_list"])
    assert main(["ca", "list"]) == 0
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " revoked " in states["sensor-007"]
    assert " valid " in states["sensor-001"]


def test_revoke_refuses_what_makes_no_sense(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second time, a stranger, a reason that there is not: each is told, and nothing changes."""
    assert main(["ca", "revoke", "sensor-007"]) == 0
    before = snapshot(made)
    assert main(["ca", "revoke", "sensor-007"]) == 1
    assert "was revoked at" in capsys.readouterr().err
    assert main(["ca", "revoke", "sensor-999"]) == 1
    assert main(["ca", "revoke", "sensor-001", "--reason", "boredom"]) == 2
    assert main(["ca", "revoke", "sensor-001", "--release"]) == 2
    assert before == snapshot(made)


def test_a_hold_is_released(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate on hold comes off the list by its serial number."""
    assert main(["ca", "revoke", "sensor-007", "--reason", "certificate-hold", "--json"]) == 0
    serial = said(capsys)["revoked"][0]["serial"]
    assert main(["ca", "revoke", "sensor-007", "--release", "--serial", serial]) == 0
    assert len(Store(Workspace.open()).revocations.ensure()) == 0


def test_the_broker_can_be_revoked(made: Path) -> None:
    """broker stands for the broker's certificate, whatever its common name is."""
    assert main(["ca", "revoke", "broker", "--reason", "superseded"]) == 0
    store = Store(Workspace.open())
    assert store.certificate("broker").serial_number in store.revocations.ensure()


def test_a_new_list_on_demand(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """crl keeps a fresh list; --new signs the next one."""
    numbers = []
    for words in ([], [], ["--new"]):
        assert main(["ca", "crl", "--json", *words]) == 0
        numbers.append(said(capsys)["number"])
    assert numbers == [1, 1, 2]


def test_every_reason_can_be_given() -> None:
    """The command's words are the library's."""
    assert set(REASONS) == {reason.value for reason in Reason}


def test_export_to_a_folder(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Key (0600), chain and trust anchor are copied; a second export needs --replace."""
    words = ["ca", "export", "sensor-001", "--to", str(tmp_path / "out")]
    assert main(words) == 0
    assert {"client.key", "client.crt", "ca.crt"} == {path.name for path in (tmp_path / "out").iterdir()}
    assert stat.S_IMODE((tmp_path / "out/client.key").stat().st_mode) == 0o600
    before = snapshot(tmp_path / "out")
    assert main(words) == 1
    assert "there already" in capsys.readouterr().err
    assert main([*words, "--replace"]) == 0
    assert before == snapshot(tmp_path / "out")


@pytest.mark.tool
def test_export_to_one_file(
    made: Path, openssl: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """openssl opens the PKCS #12 file with its passphrase and finds three certificates; the mode is 0600."""
    from labkit.processes import run

    target = tmp_path / "x.p12"
    assert main(["ca", "export", "sensor-001", "--p12", str(target)]) == 0
    said = run(
        ["openssl", "pkcs12", "-in", target, "-passin", "env:LABKIT_EXPORT_PASSPHRASE", "-nokeys"]
    ).stdout
    assert said.count("BEGIN CERTIFICATE") == 3
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    wrong = run(["openssl", "pkcs12", "-in", target, "-passin", "pass:wrong", "-nokeys"], check=False)
    assert wrong.returncode != 0
    assert "battery" not in capsys.readouterr().out


def test_export_says_where_to(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither or both places, or the key of the root, are refused."""
    assert main(["ca", "export", "sensor-001"]) == 2
    assert main(["ca", "export", "sensor-001", "--to", "a", "--p12", "b"]) == 2
    assert main(["ca", "export", "root", "--to", str(made / "a")]) == 1
    assert not (made / "a").exists()


@pytest.mark.parametrize("step", ["root", "intermediate", "broker", "device", "revoke", "crl", "export"])
def test_by_hand_prints_a_script(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each step is printed as a script, without any workspace; a shell finds no fault in it."""
    assert main(["ca", "by-hand", step]) == 0
    script = capsys.readouterr().out
    assert "openssl" in script
    assert subprocess.run(["sh", "-n"], input=script.encode(), check=False).returncode == 0


@pytest.fixture
def running(mosquitto: object, made: Path) -> Iterator[dict[str, Any]]:
    """Return a broker that another process runs, with a revocation list."""
    assert main(["ca", "crl"]) == 0
    argv = [sys.executable, "-m", "labkit", "broker", "run", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        yield json.loads("".join(iter(child.stdout.readline, "}\n")) + "}")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)


@pytest.mark.broker
def test_revoke_reload_deny(running: dict[str, Any], made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line: revoked, still in until the reload, out after it; denied and given back."""
    probe = ["probe", "--as", "sensor-007", "--publish", "devices/sensor-007/status", "--json"]
    assert main(["ca", "revoke", "sensor-007"]) == 0
    assert main(probe) == 0
    assert main(["broker", "reload"]) == 0
    capsys.readouterr()
    assert main(probe) == 1
    assert said(capsys)["reason"] == "certificate-revoked"
    probe[2], probe[4] = "sensor-001", "devices/sensor-001/status"
    words = []
    for command, status in (
        (["deny", "sensor-001"], 1),
        (["deny", "sensor-001"], 1),
        (["deny", "sensor-001", "--undo"], 0),
    ):
        assert main(["broker", *command]) == 0
        words.append(capsys.readouterr().out.strip())
        assert status == main(probe)
        capsys.readouterr()
    assert words == [
        "sensor-001 may do nothing any more.",
        "sensor-001 could do nothing already.",
        "sensor-001 has its rights back.",
    ]


@pytest.mark.broker
def test_deny_refuses_a_name_that_is_none(
    running: dict[str, Any], made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line feed in a name would bring rules of its own; the rules on disk stay."""
    rules = (made / "broker/acl.conf").read_bytes()
    assert main(["broker", "deny", "x\ntopic readwrite #"]) == 1
    assert rules == (made / "broker/acl.conf").read_bytes()
