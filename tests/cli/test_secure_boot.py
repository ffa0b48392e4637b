"""`labkit board secure-boot`: plan, burn with the real espefuse, look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from labkit.board import VirtualBoard
from labkit.cli import main
from labkit.firmware.otadata import VALID, build_entry
from labkit.firmware.partitions import COURSE_TABLE, build_table
from labkit.firmware.tools import run_tool, sign_image
from labkit.workspace import Workspace
from tests.simulators.flashed_board import app, bootloader

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a signing key, in a workspace of our own."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    path = tmp_path / "key.pem"
    run_tool("espsecure", "generate-signing-key", "--version", "2", "--scheme", "rsa3072", path)
    return path


def board(key: Path | None) -> VirtualBoard:
    """Return the workspace's board, with images signed by a key, or unsigned."""

    def made(image: bytes) -> bytes:
        return sign_image(image, key) if key else image

    opened = VirtualBoard.open(Workspace.open().path("boards", "board"))
    with opened as running:
        for offset, data in (
            (0x1000, made(bootloader("esp32"))),
            (0x8000, build_table(COURSE_TABLE)),
            (0xD000, build_entry(1, VALID)),
            (0x20000, made(app("esp32", "1.0"))),
        ):
            running.write_flash(offset, data)
    return VirtualBoard.open(Workspace.open().path("boards", "board"))


def run(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    """Run a command and return what it says."""
    capsys.readouterr()
    assert status == main(["board", "secure-boot", *words])
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.tool
def test_from_plan_to_a_board_that_trusts_one_key(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was planned is what the real espefuse burns, and the board starts what the key signed, and nothing else."""
    opened = board(key)
    said = run(capsys, "plan", "--key", str(key))
    for words in (
        "1. Trust the key: espefuse burn-key-digest KEY0",
        "then a reset: accepted",
        "Nothing was burned",
    ):
        assert words in said
    assert "refused at rom: no-trusted-key" in said
    assert f"--key {key} --lock" in " ".join(run(capsys, "plan", "--key", str(key), "--lock").split())
    steps = json.loads(run(capsys, "plan", "--key", str(key), "--json"))["steps"]
    assert 3 == len(steps)
    assert "does not run" in run(capsys, "burn", "--key", str(key), status=1)
    with opened as running:
        assert "Burned." in run(capsys, "burn", "--key", str(key))
        assert running.efuses.secure_boot_enabled
        assert "trusted" in run(capsys, "status")
        assert "on" == json.loads(run(capsys, "status", "--json"))["Secure Boot V2"]
        assert any("secure boot verification succeeded" in line for line in running.console.lines)
        running.write_flash(0x1000, bootloader("esp32").ljust(0x7000, b"\xff"))
        assert any("Image not V2 signed?" in line for line in running.console.lines)
        assert "is on already" in run(capsys, "plan", "--key", str(key), status=1)


@pytest.mark.tool
@pytest.mark.slow
def test_a_board_that_would_not_boot_is_not_burned(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With unsigned images the burn is refused, and no fuse is touched; --anyway bricks, for that is a lesson too."""
    with board(None) as running:
        before = running.efuses.to_bytes()
        said = run(capsys, "plan", "--key", str(key))
        assert ("espsecure sign-data" in said, "secure-boot burn" in said) == (True, False)
        assert "would not boot: refused at rom: unsigned" in run(capsys, "burn", "--key", str(key), status=1)
        assert before == running.efuses.to_bytes()
        assert "Burned." in run(capsys, "burn", "--key", str(key), "--anyway")
        assert running.efuses.secure_boot_enabled


@pytest.mark.tool
@pytest.mark.slow
def test_a_real_port_needs_its_mac(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What hangs on a port that was only named is taken for somebody's board: nothing is burned without its MAC."""
    with board(key) as running:
        before = running.efuses.to_bytes()
        for more in ([], ["--mac", "24:dc:c3:00:00:00"]):
            assert "Nothing was run" in run(
                capsys, "burn", "--key", str(key), "--port", running.url, *more, status=1
            )
            assert before == running.efuses.to_bytes()
        run(capsys, "burn", "--key", str(key), "--port", running.url, "--mac", running.mac)
        assert running.efuses.secure_boot_enabled


@pytest.mark.tool
@pytest.mark.slow
def test_a_board_survives_the_loss_of_a_key(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With two keys trusted, the first is revoked by the real espefuse, and the board boots what the second signed."""
    second = key.with_name("second.pem")
    run_tool("espsecure", "generate-signing-key", "--version", "2", "--scheme", "rsa3072", second)

    def parts(*keys: Path) -> dict[int, bytes]:
        return {
            0x0: sign_image(bootloader("esp32c3"), *keys),
            0x8000: build_table(COURSE_TABLE),
            0x20000: sign_image(app("esp32c3", "1.0"), *keys),
        }

    with VirtualBoard.open(Workspace.open().path("boards", "board"), chip="esp32c3") as running:
        for offset, data in parts(key).items():
            running.write_flash(offset, data)
        assert "Burned." in run(capsys, "burn", "--key", str(key), "--key", str(second))
        words = ["--chip", "esp32c3", "--port", running.url, "--do-not-confirm"]
        run_tool("espefuse", *words, "burn-efuse", "SECURE_BOOT_KEY_REVOKE0", "1")
        told = json.loads(run(capsys, "status", "--json"))
        assert ["revoked", "trusted"] == [line.split()[-1] for line in told["keys"]]
        said = len(running.console.lines)
        running.reset()
        assert running.console.wait_for("The key of the signature block has been revoked", since=said)
        said = len(running.console.lines)
        for offset, data in parts(second).items():
            running.write_flash(offset, data)
        assert running.console.wait_for("Loaded app from partition at offset 0x20000", since=said)
