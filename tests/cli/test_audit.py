"""labkit audit and labkit monitor: what they print, write and refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from labkit.audit import ITEMS
from labkit.audit.monitor.alerts import READY, read_rules
from labkit.cli import main
from labkit.devices import new_token
from labkit.pki import Store
from labkit.scenarios import mutual_tls
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty workspace."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(capsys.readouterr().out)


def dump(folder: Path, *, token: bool) -> Path:
    """Write an image, with a token in it or without."""
    path = folder / "image.bin"
    path.write_bytes(b"\xe9" + bytes(200) + (new_token().encode() if token else b"") + bytes(200))
    return path


def test_a_dump_is_audited_reported_and_compared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two audits of a dump, before and after it was mended: verdicts, pages, and what changed."""
    page, text = home / "a.html", home / "a.md"
    only = ["--item", "identity-3", "--item", "monitoring-4"]
    assert main(["audit", "run", "--flash", str(dump(home, token=True)), *only, "--html", str(page)]) == 1
    out = capsys.readouterr().out
    assert "fail            identity-3" in out
    assert "not applicable  monitoring-4" in out
    assert "provisioning token" in page.read_text()
    assert main(["audit", "run", "--flash", str(dump(home, token=False)), *only, "--json"]) == 0
    verdicts = {item["id"]: item["verdict"] for item in said(capsys)["items"]}
    assert {"identity-3": "pass", "monitoring-4": "not applicable"} == verdicts
    assert (
        main(["audit", "diff", "--json", "--html", str(home / "d.html"), "--markdown", str(home / "d.md")])
        == 0
    )
    assert {("identity-3", "mended"), ("monitoring-4", "same")} == {
        (c["id"], c["kind"]) for c in said(capsys)
    }
    assert "mended" in (home / "d.html").read_text()
    assert "mended" in (home / "d.md").read_text()
    assert main(["audit", "report", "--markdown", str(text)]) == 0
    assert text.read_text().startswith("# Audit of")


def test_what_was_broken_is_an_exit_status(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comparison in which an item fails anew ends with status 1."""
    for token in (False, True):
        main(["audit", "run", "--flash", str(dump(home, token=token)), "--item", "identity-3"])
    capsys.readouterr()
    assert main(["audit", "diff"]) == 1
    assert "broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--at", "192.0.2.1:8883", "--trust", "TRUST"], "--i-own 192.0.2.1"),
        (["--at", "192.0.2.1", "--trust", "TRUST"], "HOST:PORT"),
        (["--at", "127.0.0.1:8883"], "--trust"),
        (["--flash", "TRUST", "--weak", "1"], "one of"),
        (["--flash", "TRUST", "--item", "nothing-1"], "no item"),
        ([], "labkit"),
    ],
)
def test_what_makes_no_sense_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    """An address that is not ours, options that contradict, items that are none: refused, and nothing is kept."""
    path = home / "trust"
    path.write_text("x")
    assert main(["audit", "run", *(str(path) if word == "TRUST" else word for word in words)]) in {1, 2}
    assert told in capsys.readouterr().err
    assert not (home / "w" / "audit").exists()


def test_the_checklist_can_be_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All items are printed with their rows and steps."""
    assert main(["audit", "items", "--json"]) in {0, None}
    assert [item.id for item in ITEMS] == [item["id"] for item in said(capsys)]
    assert main(["audit", "items"]) in {0, None}
    assert ITEMS[0].steps[0] in capsys.readouterr().out


@pytest.mark.broker
def test_a_weak_plant_is_staged_and_audited(
    home: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command stages a weak plant, finds what is wrong with it, and leaves nothing running."""
    items = ["access-2", "access-3", "firmware-5"]
    words = [word for item in items for word in ("--item", item)]
    assert main(["audit", "run", "--weak", "3", *words, "--json"]) == 1
    verdicts = {item["id"]: item["verdict"] for item in said(capsys)["items"]}
    assert {"access-2": "fail", "firmware-5": "fail"}.items() <= verdicts.items()


@pytest.mark.broker
def test_the_monitor_tells_of_refusals(
    home: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    """After five refused handshakes the monitor says so once, with what to do; without them it says nothing."""
    store = Store(Workspace.open())
    store.ensure_authority()
    with mutual_tls(store) as site:
        assert main(["monitor", "--from-start", "--once", "--json"]) == 0
        assert "" == capsys.readouterr().out
        for _ in range(6):
            site.attempt(None)
        assert main(["monitor", "--from-start", "--once", "--json"]) == 1
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [("failed-tls", "no-certificate")] == [(each["detector"], each["subject"]) for each in found]
        assert main(["monitor", "--from-start", "--once"]) == 1
        assert "tls-refused" in capsys.readouterr().out


def test_rules_can_be_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ready rules are printed so that they can be changed and read again; garbage is refused."""
    assert main(["monitor", "--print-rules"]) == 0
    text = capsys.readouterr().out
    assert READY == read_rules(text)
    assert main(["monitor", "--prometheus-rules"]) == 0
    assert "- alert: LabkitFailedTls" in capsys.readouterr().out
    path = home / "rules.json"
    path.write_text(text.replace("rate", "magic"))
    assert main(["monitor", "--rules", str(path), "--once"]) == 1
    assert "no detector 'magic'" in capsys.readouterr().err
