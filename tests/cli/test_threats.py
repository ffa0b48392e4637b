"""`labkit threats`: each side of the model, and each export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from labkit.cli import main
from labkit.threats import PLANT, ROWS, THREATS, Register, Risk, save_register
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command and return what it printed."""
    assert 0 == main(["threats", *words])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("view", "number"),
    [
        ("threats", len(THREATS)),
        ("plant", len(PLANT.flows)),
        ("stride", 109),
        ("owasp", len(ROWS)),
        ("scales", 5),
    ],
)
def test_each_side(view: str, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each side of the model has a row for everything, as text and as JSON."""
    assert number == len(json.loads(said(capsys, "show", view, "--json")))
    assert number + 2 == len(said(capsys, "show", view).splitlines())


def test_the_register(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's own register is shown from the workspace, the highest score first."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    register = Register().with_risk(Risk("botnet", 2, 2)).with_risk(Risk("pivot", 4, 5, reason="saw it"))
    save_register(Workspace.open(tmp_path / "w"), register)
    assert ["pivot", "botnet"] == [
        row["threat"] for row in json.loads(said(capsys, "show", "register", "--json"))
    ]


def test_trees(capsys: pytest.CaptureFixture[str]) -> None:
    """A tree is shown with what is shut, and says how many ways are left."""
    assert said(capsys, "show", "--tree", "mirai").endswith("1 of 1 ways are open.\n")
    assert said(capsys, "show", "--tree", "botnet", "--shut", "botnet").endswith("0 of 3 ways are open.\n")
    assert 2 == len(
        json.loads(said(capsys, "show", "--tree", "botnet", "--shut", "never-patched", "--json"))["open"]
    )


def test_a_threat_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A threat that is not there can't be shut, and the error says where the list is."""
    assert 2 == main(["threats", "show", "--tree", "botnet", "--shut", "rain"])
    assert "threats show" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["--format", "mermaid"], "flowchart LR"),
        (["--format", "mermaid", "--tree", "pivot"], "flowchart TD"),
        (["--format", "text", "--after"], "the course's plant:"),
        (["--format", "text", "--tree", "mirai"], "overwhelm a name server"),
        (["--format", "pytm"], "{"),
        ([], "{"),
    ],
)
def test_exports(words: list[str], begins: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each format goes to standard output, or to a file with the same content."""
    text = said(capsys, "export", *words)
    assert text.startswith(begins)
    said(capsys, "export", *words, "--out", str(tmp_path / "model"))
    assert text == (tmp_path / "model").read_text(encoding="utf-8")


def test_options_that_make_no_sense() -> None:
    """A tree is no Threat Dragon model."""
    assert 2 == main(["threats", "export", "--tree", "pivot"])
    assert 2 == main(["threats", "export", "--format", "pytm", "--after"])
