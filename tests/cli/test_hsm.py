"""`labkit hsm`, `ca init --hsm`, `ca ceremony`, `firmware key new --hsm`: each in a process of its own, as it is typed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.processes import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tool


def test_a_ceremony(softhsm: None, tmp_path: Path) -> None:
    """A token, a root and a signing key in it, an update signed with it, and the log with the seal on the paper."""
    variables = {"LABKIT_WORKSPACE": str(tmp_path / "w"), "LABKIT_HSM_PIN": "987654"}
    image = tmp_path / "app.bin"
    image.write_bytes(bytes(4096))

    def say(*words: str, status: int = 0) -> Any:
        # The library reads where its tokens are once a process, so that each command has one of its own.
        argv = ["env", "-u", "SOFTHSM2_CONF", sys.executable, "-m", "labkit", *words, "--json"]
        ended = run(argv, env=variables, check=False, timeout=60)
        assert status == ended.returncode, ended.stderr
        return json.loads(ended.stdout or ended.stderr)

    witnesses = ("--present", "Ada", "--present", "Grace")
    assert "vault" == say("hsm", "init", "vault")["token"]
    assert "CeremonyError" == say("ca", "init", "--hsm", "vault", "--present", "Ada", status=1)["error"]
    assert 3 == len(say("ca", "init", "--hsm", "vault", *witnesses))
    assert not (tmp_path / "w/root/ca.key").exists()
    log = say("ca", "ceremony")
    assert (3, ["Ada", "Grace"]) == (len(log["steps"]), log["steps"][0]["present"])
    assert log == say("ca", "ceremony", "--seal", log["seal"])
    assert "FormatError" == say("ca", "ceremony", "--seal", "0" * 64, status=1)["error"]
    say("firmware", "key", "new", "--hsm", "vault", *witnesses)
    signed = say("firmware", "sign", str(image), "--product", "course-node", "--version", "1.0.0")
    assert say("firmware", "verify", signed["file"])["accepted"]
    assert 1 == len(say("ca", "ceremony", "--signing")["steps"])
    assert "root" in say("hsm", "list")["tokens"]["vault"]


def test_what_does_not_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RSA and a module are asked back, and nothing is made."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    assert 2 == main(["ca", "init", "--rsa", "--hsm", "x", "--present", "Ada", "--present", "Grace"])
    assert not (tmp_path / "w/root").exists()
