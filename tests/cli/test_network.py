"""`labkit network`: what it prints, what it refuses, and that it says what it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from labkit.cli import main
from labkit.network import Availability
from labkit.network.iptables import parse
from labkit.network.namespaces import OFF

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.network import Availability as Available


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    """Run a command and return what it printed."""
    assert status == main(["network", *words])
    return capsys.readouterr().out


def test_plan_shows_zones_and_flows(capsys: pytest.CaptureFixture[str]) -> None:
    """The plan names each zone and each flow; held against the printed list, it says what that cuts off."""
    assert "iot -> backend tcp/8883" in said(capsys, "plan")
    assert "iot -> backend udp/123" in said(capsys, "plan", "--printed")
    found = json.loads(said(capsys, "plan", "--printed", "--json"))
    assert (5000, "corporate") == (
        found["comparison"]["cut_off"][0]["port"],
        found["comparison"]["turned_round"][0]["destination"],
    )
    assert "comparison" not in json.loads(said(capsys, "plan", "--json"))


def test_apply_prints_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Rules come out in nftables' words, or in those of both iptables programs, which our own parser reads."""
    assert said(capsys, "apply").startswith("table inet labkit\n")
    text = said(capsys, "apply", "--node", "backend", "--format", "iptables")
    assert {4: "DROP", 6: "DROP"} == parse(text).chains["INPUT"].policy


def test_without_namespaces_it_is_a_simulation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nothing can be measured, every command works, and says that it predicts."""
    monkeypatch.setenv(OFF, "1")
    assert "a simulation" in said(capsys, "matrix")
    assert "a simulation" in said(capsys, "apply", "--try")
    found = json.loads(said(capsys, "test", "--json", "--generated", "3"))
    assert (True, [], [], []) == (
        found["simulated"],
        found["cut_off"],
        found["too_open"],
        found["not_as_predicted"],
    )
    assert "not measured" in found["generated"]["note"]
    rules = tmp_path / "rules.sh"
    rules.write_text("iptables -A INPUT -p tcp --dport 8883 -j DROP\n", encoding="utf-8")
    pairs = json.loads(said(capsys, "matrix", "--rules", str(rules), "--json"))["pairs"]
    assert {("dropped", 4)} == {
        (pair["result"], pair["family"]) for pair in pairs if pair["result"] != "open"
    }
    assert "too open" in said(capsys, "matrix", "--open")


def test_rules_that_are_not_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with a line that is not understood is refused, with the place of the line."""
    rules = tmp_path / "rules.sh"
    rules.write_text("iptables -A INPUT -j DROP\nrm -rf /\n", encoding="utf-8")
    assert 1 == main(["network", "matrix", "--simulate", "--rules", str(rules)])
    assert "at character 26" in capsys.readouterr().err


@pytest.mark.tool
def test_in_the_kernel(namespaces: Available, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured, the derived rules pass, and random rule sets do what is predicted."""
    assert isinstance(namespaces, Availability)
    found = json.loads(said(capsys, "test", "--json", "--generated", "3", "--seed", "7"))
    assert (False, 352) == (found["simulated"], found["pairs"])
    assert (3, 180, 0) == tuple(found["generated"][key] for key in ("sets", "pairs", "different"))
    assert "measured in the kernel" in said(capsys, "test")
    assert "measured in the kernel" in said(capsys, "apply", "--try", "--format", "iptables")
