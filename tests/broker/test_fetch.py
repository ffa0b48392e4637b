"""labkit.broker.fetch: Mosquitto from the distribution's archive, without root."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from labkit.broker import fetch
from labkit.broker.mosquitto import find_mosquitto
from labkit.errors import ToolFailedError

if TYPE_CHECKING:
    from pathlib import Path

APT = sys.platform == "linux" and all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))


@pytest.mark.slow
@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_fetched_mosquitto_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetched Mosquitto runs from its folder, is found again, and an offline kit gives the same."""
    kit = tmp_path / "kit" / "debs"
    kit.mkdir(parents=True)
    try:
        assert any(path.name.startswith("mosquitto_") for path in fetch.fetch_debs(kit))
    except ToolFailedError as error:
        pytest.skip(f"the archive can't be reached: {error.message}")
    monkeypatch.setenv("LABKIT_KIT", str(tmp_path / "kit"))
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.delenv("LABKIT_MOSQUITTO", raising=False)
    monkeypatch.setattr("labkit.broker.mosquitto._FOLDERS", ())
    found = find_mosquitto()
    assert (found.source, found.version[:1]) == ("fetched without root", (2,))
    assert find_mosquitto(fetch=False).source == "fetched before"


def test_nothing_is_fetched_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without apt there is nothing to fetch, and no attempt is made."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fetch.fetch_mosquitto(tmp_path / "home") is None
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_a_failed_fetch_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the archive can't be reached, one line says so and nothing half-fetched stays."""

    def unreachable(_: Path) -> None:
        raise ToolFailedError(
            "apt-get ended with status 100", advice="-", tool="apt-get", argv=(), returncode=100, output=""
        )

    monkeypatch.delenv("LABKIT_KIT", raising=False)
    monkeypatch.setattr(fetch, "fetch_debs", unreachable)
    assert fetch.fetch_mosquitto(tmp_path) is None
    assert "could not be fetched" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
