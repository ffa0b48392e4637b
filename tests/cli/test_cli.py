"""The command line, in-process: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.clock import Deadline

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a workspace of our own."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    monkeypatch.setenv("LABKIT_CA_PASSPHRASE", "correct horse")
    return tmp_path / "w"


@pytest.fixture
def made(lab: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Work in a workspace that has an authority and a device."""
    assert main(["ca", "init"]) == 0
    assert main(["ca", "issue", "sensor-001"]) == 0
    capsys.readouterr()
    return lab


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(capsys.readouterr().out)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """The overview lists every command and a first round to type."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for words in ("labkit ca init   ", "labkit probe --as sensor-001   ", "doctor", "notebooks"):
        assert words in out
    for words in ([], ["ca"], ["ca", "batch"], ["ca", "lint"], ["ca", "by-hand"], ["reset"]):
        assert main([*words, "--help"]) == 0
        assert "\\b" not in capsys.readouterr().out


def test_solved_copies_lead_to_each_other(tmp_path: Path) -> None:
    """Links between solved lessons and exercises lead to files that were written too."""
    assert main(["notebooks", "solved", str(tmp_path / "solved")]) == 0
    links = [
        path.parent / link
        for path in (tmp_path / "solved").rglob("*.ipynb")
        for link in re.findall(r"\]\(([^)#:]+\.ipynb)\)", path.read_text(encoding="utf-8"))
    ]
    assert len(links) > 20
    assert [link for link in links if not link.is_file()] == []


def test_unknown_words_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """A command or option that there is not ends with status 2 and a usage line."""
    assert main(["nonsense"]) == 2
    assert main(["probe", "--nope"]) == 2
    assert main(["probe", "--cert", "x"]) == 2
    assert "Usage" in capsys.readouterr().err


def test_ca_from_nothing(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """init makes the chain and says what to type next; the ledger and the tree can be read as JSON."""
    assert main(["ca", "init"]) == 0
    assert "Next: labkit ca issue" in capsys.readouterr().out
    assert main(["ca", "issue", "sensor-001", "sensor-002", "--json"]) == 0
    assert [row["name"] for row in said(capsys)] == ["sensor-001", "sensor-002"]
    assert main(["ca", "list", "--json"]) == 0
    assert [row["profile"] for row in said(capsys)] == ["root", "intermediate", "server", "device", "device"]
    assert main(["ca", "show", "--json"]) == 0
    assert said(capsys)[0]["certificate"]["role"] == "root"
    for words in (
        ["ca", "list"],
        ["ca", "show"],
        ["ca", "show", "sensor-001"],
        ["ca", "issue", "admin", "--operator"],
    ):
        assert main(words) == 0
        assert capsys.readouterr().out


def test_names_of_the_broker_can_be_chosen(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """init takes host names and addresses for the broker's certificate."""
    assert main(["ca", "init", "--dns", "broker.lab", "--ip", "10.0.0.7", "--json"]) == 0
    capsys.readouterr()
    assert main(["ca", "show", "broker", "--json"]) == 0
    assert said(capsys)["names"] == ["DNS:broker.lab", "IP:10.0.0.7"]


def test_errors_are_message_and_advice(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal prints what is wrong and what to type, on standard error, with status 1; as JSON too."""
    for words, advice in (
        (["ca", "init"], "labkit reset"),
        (["ca", "issue", "sensor-001"], "--renew"),
        (["ca", "issue", "a/b"], "sensor-001"),
        (["ca", "show", "sensor-009"], "labkit ca issue sensor-009"),
        (["probe"], "labkit broker run"),
        (["broker", "status"], "labkit broker run"),
        (["reset", "--yes", "--to", "nowhere"], "Checkpoints here"),
    ):
        assert main(words) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert advice in captured.err
        assert "Traceback" not in captured.err
    assert main(["ca", "issue", "a/b", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"] == "NameRefusedError"


def test_one_bad_name_issues_nothing(made: Path) -> None:
    """With one bad name among several, none of them is issued."""
    assert main(["ca", "issue", "sensor-002", "a/b"]) == 1
    assert not (made / "devices/sensor-002.crt").exists()


def test_a_missing_authority_says_what_to_type(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that needs an authority names the command that makes one."""
    for words in (["ca", "issue", "sensor-001"], ["ca", "show"], ["broker", "config"], ["broker", "run"]):
        assert main(words) == 1
        assert "labkit ca init" in capsys.readouterr().err


@pytest.mark.tool
def test_verify_asks_two_judges(made: Path, openssl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """verify says what both judges say, and the command to ask by hand."""
    for name in ("sensor-001", "broker"):
        assert main(["ca", "verify", name, "--json"]) == 0
        assert said(capsys)["labkit"] == "OK"
    assert main(["ca", "verify", "sensor-001"]) == 0
    assert "By hand: openssl verify" in capsys.readouterr().out
    (made / "devices/sensor-001.crt").write_bytes((made / "server/broker.crt").read_bytes())
    assert main(["ca", "verify", "sensor-001", "--json"]) == 1
    assert said(capsys)["openssl"].startswith("error 26")


def test_status_and_reset(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """status shows what is there; reset leaves the user's own files alone."""
    (made / "notes.txt").write_text("mine")
    assert main(["status", "--json"]) == 0
    assert {"name": "identities", "value": "sensor-001"} in said(capsys)
    assert main(["status"]) == 0
    assert main(["reset", "--yes"]) == 0
    left = sorted(path.name for path in made.iterdir() if not path.name.startswith("."))
    assert left == ["notes.txt", "workspace.json"]


def test_reset_stops_if_nobody_says_yes(made: Path) -> None:
    """Without a yes, nothing is removed."""
    argv = [sys.executable, "-m", "labkit", "reset"]
    ended = subprocess.run(argv, input="n\n", text=True, capture_output=True, check=False)
    assert ended.returncode == 130
    assert (made / "devices/sensor-001.crt").exists()


@pytest.mark.broker
def test_doctor(mosquitto: object, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """doctor finds what the course needs here, in words and as JSON."""
    assert main(["doctor", "--no-fetch", "--json"]) == 0
    assert {tool["name"] for tool in said(capsys)} >= {"python", "mosquitto", "openssl", "esptool"}
    assert main(["doctor", "--no-fetch"]) == 0


def test_doctor_without_openssl(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing tool gives its install line and status 1."""
    monkeypatch.setattr("labkit.course.state.processes.find_tool", lambda _: None)
    assert main(["doctor", "--no-fetch"]) == 1
    assert "Install it" in capsys.readouterr().out


def test_the_reader_may_go_away(lab: Path) -> None:
    """A pipe that is closed early is no error."""
    line = f"'{sys.executable}' -m labkit --help | head -1"
    ended = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - our words
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.broker
def test_broker_from_the_command_line(
    mosquitto: object, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """run keeps a broker until Ctrl-C; meanwhile other commands probe it, ask it, reload it."""
    argv = [sys.executable, "-m", "labkit", "broker", "run", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        facts = json.loads("".join(iter(child.stdout.readline, "}\n")) + "}")
        assert main(["probe", "--json"]) == 1
        assert said(capsys)["reason"] == "no-certificate"
        assert main(["probe", "--as", "sensor-001"]) == 0
        assert capsys.readouterr().out.startswith("accepted")
        assert main(["probe", "--as", "sensor-001", "--publish", "devices/x/status", "--json"]) == 1
        assert said(capsys)["reason"] == "not-authorised"
        key, certificate = (str(made / f"server/broker.{kind}") for kind in ("key", "crt"))
        assert main(["probe", "--cert", certificate, "--key", key, "--tls", "1.2", "--json"]) == 1
        assert said(capsys)["reason"] == "wrong-purpose"
        assert main(["probe", "--port", str(facts["port"])]) == 1
        assert main(["broker", "status", "--json"]) == 0
        capsys.readouterr()
        assert main(["broker", "reload"]) == 0
        assert main(["broker", "run"]) == 1
        assert "broker stop" in capsys.readouterr().err
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err.strip()) == (0, "Stopped.")
    assert main(["probe"]) == 1


@pytest.mark.broker
def test_stopped_from_elsewhere(mosquitto: object, made: Path) -> None:
    """stop ends a broker that another terminal runs, and that one says so."""
    argv = [sys.executable, "-m", "labkit", "broker", "run"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert "Stop it with Ctrl-C" in child.stdout.readline()
        deadline = Deadline(10)
        while main(["broker", "stop"]) != 0 and not deadline.passed:
            deadline.pause(0.1)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err.strip()) == (0, "Stopped by another command.")


def test_config_is_printed(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """config prints what run would write, as a file and as JSON."""
    assert main(["broker", "config"]) == 0
    assert "require_certificate true" in capsys.readouterr().out
    assert main(["broker", "config", "--json"]) == 0
    assert said(capsys)["listeners"][0]["port"] == 8883


def test_notebooks_need_the_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside the course's folder the commands say where to go; inside, check compares."""
    monkeypatch.delenv("LABKIT_COURSE", raising=False)
    assert main(["notebooks", "check"]) == 0
    assert main(["notebooks", "build"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["notebooks", "check"]) == 1
    assert "LABKIT_COURSE" in capsys.readouterr().err


def test_run_of_an_unknown_lesson(capsys: pytest.CaptureFixture[str]) -> None:
    """run answers an unknown slug with those that there are."""
    assert main(["run", "nope"]) == 1
    assert "start-here" in capsys.readouterr().err


def test_advice_is_spelt_as_we_were_called(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called through lab.py, the advice is a line that can be typed as it stands."""
    monkeypatch.setenv("LABKIT_CALLED_AS", "python3 lab.py")
    assert main(["ca", "show"]) == 1
    assert "python3 lab.py ca init" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write to")  # noqa: PTH112
def test_a_place_that_can_not_be_is_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace where no folder can be made gives one message and advice."""
    monkeypatch.setenv("LABKIT_WORKSPACE", "/proc/nowhere")
    assert main(["ca", "init"]) == 1
    assert "LABKIT_WORKSPACE" in capsys.readouterr().err


def test_debug_shows_the_traceback(lab: Path) -> None:
    """--debug lets the error through with all its lines."""
    argv = [sys.executable, "-m", "labkit", "--debug", "ca", "show"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ})
    assert "Traceback" in ended.stderr
