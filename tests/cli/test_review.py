"""labkit ca lint and labkit ca zoo."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.cli.review import ROLES
from labkit.pki import lint as linting
from labkit.pki.zoo import ZOO
from labkit.scenarios.printed_authority import printed_authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Work in a workspace that has an authority, a device and an operator."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    monkeypatch.setenv("LABKIT_CA_PASSPHRASE", "correct horse")
    for words in (["init"], ["issue", "sensor-001"], ["issue", "--operator", "admin"]):
        assert main(["ca", *words]) == 0
    capsys.readouterr()
    return tmp_path / "w"


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(capsys.readouterr().out)


def test_our_workspace_is_clean(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that we issue passes, all of it or by name."""
    assert main(["ca", "lint"]) == 0
    assert "5 certificates, and nothing" in capsys.readouterr().out
    assert main(["ca", "lint", "sensor-001", "admin", "--json"]) == 0
    assert said(capsys) == []


@pytest.mark.tool
def test_files_of_others_are_judged(
    openssl: object, tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tutorial's intermediate has errors, guessed by itself or told its role; a leaf has warnings only."""
    printed = printed_authority(tmp_path / "printed")
    assert main(["ca", "lint", str(printed.intermediate), "--json"]) == 1
    assert "basic-constraints-not-critical" in [found["rule"] for found in said(capsys)]
    assert main(["ca", "lint", str(printed.root), "--role", "root"]) == 1
    assert "version" in capsys.readouterr().out
    assert main(["ca", "lint", str(printed.device)]) == 0


def test_junk_and_nothing(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no certificate is an error found; a file that is not there is a usage error."""
    junk = tmp_path / "junk.crt"
    junk.write_bytes(b"\x00junk")
    assert main(["ca", "lint", str(junk), "--json"]) == 1
    assert [found["rule"] for found in said(capsys)] == ["not-a-certificate"]
    assert main(["ca", "lint", str(tmp_path / "nowhere.crt")]) == 2
    assert main(["ca", "lint", "sensor-999"]) == 1


@pytest.mark.broker
@pytest.mark.tool
def test_the_zoo_is_shown_and_written(
    mosquitto: object, openssl: object, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All specimens with three verdicts; the files are there with keys for their owner; the workspace is untouched."""
    before = sorted(path.name for path in made.iterdir())
    assert main(["ca", "zoo", "--to", str(tmp_path / "zoo"), "--json"]) == 0
    found = {each["name"]: each for each in said(capsys)}
    assert {specimen.name for specimen in ZOO} == set(found)
    assert found["slash_in_name"]["peer"] == "accepted"
    assert (tmp_path / "zoo/expired.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "zoo/expired.crt").read_bytes().startswith(b"-----BEGIN CERT")
    assert before == sorted(path.name for path in made.iterdir())


def test_roles_are_the_libraries() -> None:
    """The command's words are the library's."""
    assert linting.ROLES == ROLES
