"""`labkit firmware`: keys, a signature, a verdict with its reason; typed as a person would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.firmware.update import HEADER_LENGTH, parse_header
from labkit.node.manifest import read_manifest
from tests.firmware.test_release import image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the workspace and two images into a folder of their own, and make a key."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("LABKIT_SIGNING_PASSPHRASE", "a passphrase of the tests")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.bin").write_bytes(image(version="1.5.0"))
    (tmp_path / "old.bin").write_bytes(image(version="1.4.0", secure=2))
    assert 0 == main(["firmware", "key", "new"])
    return tmp_path


def say(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    """Run a command with --json and return what it printed."""
    capsys.readouterr()
    assert status == main(["firmware", *words, "--json"]), capsys.readouterr().err
    out, err = capsys.readouterr()
    return json.loads(out or err)


def test_signed_inspected_verified(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An image is signed by what it says of itself, and verified; the manifest is one that a device reads."""
    signed = say(capsys, "sign", "app.bin", "--hardware", "1-3")
    assert ("course-node", "1.5.0", "1-3", 3) == tuple(
        signed[name] for name in ("product", "version", "hardware", "secure_version")
    )
    assert "update" == say(capsys, "inspect", "app.update")["kind"]
    assert say(capsys, "verify", "app.update", "--running", "1.4.2", "--hardware", "2")["accepted"]
    assert 0 == main(["firmware", "manifest", "app.update", "--output", "manifest.json"])
    found = read_manifest((place / "manifest.json").read_bytes())
    update = (place / "app.update").read_bytes()
    assert ("/updates/course-node/1.5.0.bin", parse_header(update).header) == (found.path, found.header)
    assert (place / "app.bin").read_bytes() == update[HEADER_LENGTH:]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--product", "pump-controller"), "product-wrong"),
        (("--running", "1.5.0"), "version-not-newer"),
        (("--hardware", "4"), "hardware-unsupported"),
        (("--secure-version", "9"), "secure-version-older"),
        (("--slot-size", "1000"), "size-too-large"),
    ],
)
def test_refused_by_policy(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str) -> None:
    """What a device would refuse ends with status 1 and the reason's code."""
    say(capsys, "sign", "app.bin", "--hardware", "1-3")
    assert say(capsys, "verify", "app.update")["accepted"]
    said = say(capsys, "verify", "app.update", *words, status=1)
    assert ("policy", reason) == (said["stage"], said["reason"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda u: u[:-1] + bytes([u[-1] ^ 1]), "image-digest"),
        (lambda u: u[:60] + bytes([u[60] ^ 1]) + u[61:], "signature-wrong"),
        (lambda u: u[:-1], "image-short"),
        (lambda u: u + b"\0", "image-long"),
        (lambda u: u[:100], "header-short"),
    ],
)
def test_refused_by_bytes(place: Path, capsys: pytest.CaptureFixture[str], change: Any, reason: str) -> None:
    """Changed bytes are refused for what they are; the unchanged file is taken."""
    say(capsys, "sign", "app.bin")
    assert say(capsys, "verify", "app.update")["accepted"]
    update = (place / "app.update").read_bytes()
    (place / "app.update").write_bytes(change(update))
    assert reason == say(capsys, "verify", "app.update", status=1)["reason"]


def test_keys_change_hands(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new key is trusted, promoted and signs; the old one is revoked, and its updates are refused for that."""
    (old,) = say(capsys, "key", "list")
    say(capsys, "sign", "old.bin")
    (new,) = say(capsys, "key", "new")
    say(capsys, "key", "revoke", old["key_id"], status=1)
    say(capsys, "key", "promote", new["key_id"])
    assert new["key_id"] == say(capsys, "sign", "app.bin")["key_id"]
    assert say(capsys, "verify", "old.update")["accepted"]
    say(capsys, "key", "revoke", old["key_id"])
    assert "key-revoked" == say(capsys, "verify", "old.update", status=1)["reason"]
    assert say(capsys, "verify", "app.update")["accepted"]
    public = str(place / "workspace" / "signing" / f"{old['key_id']}.pub")
    assert say(capsys, "verify", "old.update", "--trust", public)["accepted"]
    assert ["1.4.0", "1.5.0"] == [
        one["version"] for one in say(capsys, "key", "log") if one["action"] == "signed"
    ]


def test_a_header_that_lies_is_not_signed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An old image is not signed as a new one, and no file is written."""
    said = say(capsys, "sign", "old.bin", "--version", "9.0.0", status=1)
    assert ("ImageRefusedError", False) == (said["error"], (place / "old.update").exists())


@pytest.mark.parametrize("words", [("--hardware", "3-1"), ("--hardware", "x"), ("--hardware", "70000")])
def test_ranges_that_are_none(words: tuple[str, ...]) -> None:
    """A range of revisions that makes no sense is a mistake in the command."""
    assert 2 == main(["firmware", "sign", "app.bin", *words])


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the commands print tables, and a verdict in words."""
    for words, said in (
        (("sign", "app.bin"), "Next: labkit firmware verify app.update"),
        (("inspect", "app.bin"), "Secure Boot signatures"),
        (("verify", "app.update"), "accepted (image)"),
        (("manifest", "app.update"), '"format": 1'),
        (("key", "log"), "signed"),
    ):
        assert 0 == main(["firmware", *words])
        assert said in capsys.readouterr().out


def test_a_refusal_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason's code has its sentence below it; who has an image only is told what makes an update of it."""
    assert 1 == main(["firmware", "verify", "app.bin"])
    said = capsys.readouterr().out
    assert ("does not begin as one" in said, "labkit firmware sign app.bin" in said) == (True, True)
    assert 0 == main(["firmware", "sign", "app.bin"])
    assert 1 == main(["firmware", "verify", "app.update", "--running", "9.0.0"])
    assert "not newer than what runs" in capsys.readouterr().out


def test_who_has_no_key_is_told_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty table would say nothing."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "empty"))
    for word in ("list", "log"):
        assert 0 == main(["firmware", "key", word])
        assert "labkit firmware key new" in capsys.readouterr().out
