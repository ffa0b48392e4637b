"""labkit.broker.mosquitto: the real one is found wherever packages put it, or the reader is told how to get it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from labkit.broker import find_mosquitto
from labkit.errors import ToolMissingError, ToolVersionError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are scripts")


def program(path: Path, says: str) -> Path:
    """Make a program that says one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit 3\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin on a machine without Mosquitto."""
    for name in ("LABKIT_MOSQUITTO", "CONDA_PREFIX", "LABKIT_KIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr("labkit.broker.mosquitto._FOLDERS", (str(tmp_path / "sbin"),))


def test_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins over conda, conda over PATH, PATH over the folders of packages, those over a fetched one."""
    places = {
        "fetched before": tmp_path / "home/mosquitto/usr/sbin/mosquitto",
        "system package": tmp_path / "sbin/mosquitto",
        "PATH": tmp_path / "path/mosquitto",
        "conda": tmp_path / "conda/sbin/mosquitto",
        "LABKIT_MOSQUITTO": tmp_path / "chosen one",
    }
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    for number, (source, path) in enumerate(places.items()):
        program(path, f"mosquitto version 2.{number}.7")
        if source == "LABKIT_MOSQUITTO":
            monkeypatch.setenv(source, str(path))
        found = find_mosquitto(fetch=False)
        assert (source, path, (2, number, 7)) == (found.source, found.path, found.version)
    assert found.version_text == "2.4.7"


def test_a_fetched_one_gets_its_libraries(tmp_path: Path) -> None:
    """A fetched program is run with its libraries, which the rest of the system never sees."""
    program(tmp_path / "home/mosquitto/usr/sbin/mosquitto", "mosquitto version 2.0.11")
    library = tmp_path / "home/mosquitto/usr/lib/any/libx.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    assert {"LD_LIBRARY_PATH": str(library.parent)} == find_mosquitto(fetch=False).env
    assert "LD_LIBRARY_PATH" not in os.environ or str(library.parent) not in os.environ["LD_LIBRARY_PATH"]


def test_an_old_one_does_not_hide_a_newer_one(tmp_path: Path) -> None:
    """A Mosquitto that is too old is passed over for one that is not, and named if there is none."""
    program(tmp_path / "path/mosquitto", "mosquitto version 1.6.9")
    with pytest.raises(ToolVersionError) as caught:
        find_mosquitto(fetch=False)
    assert ("1.6.9", "2.0") == (caught.value.found, caught.value.needed)
    program(tmp_path / "sbin/mosquitto", "mosquitto version 2.0.20")
    assert find_mosquitto(fetch=False).source == "system package"


def test_a_chosen_one_is_never_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the variable names is used or refused, though another would do."""
    program(tmp_path / "path/mosquitto", "mosquitto version 2.0.20")
    chosen = tmp_path / "chosen"
    monkeypatch.setenv("LABKIT_MOSQUITTO", str(chosen))
    with pytest.raises(ToolMissingError, match="not a program"):
        find_mosquitto()
    chosen.mkdir()
    with pytest.raises(ToolMissingError, match="not a program"):
        find_mosquitto()
    chosen.rmdir()
    chosen.write_text("no program at all")
    with pytest.raises(ToolMissingError, match="not a program"):
        find_mosquitto()
    chosen.chmod(0o755)
    with pytest.raises(ToolMissingError, match="not a program"):
        find_mosquitto()
    program(chosen, "hello")
    with pytest.raises(ToolVersionError, match="hello") as caught:
        find_mosquitto()
    assert caught.value.found == "unknown"


def test_where_there_is_none_the_install_line_is_given() -> None:
    """Where there is none and none may be fetched, one message says how to install it."""
    with pytest.raises(ToolMissingError) as caught:
        find_mosquitto(fetch=False)
    assert "LABKIT_MOSQUITTO" in caught.value.advice
    assert "nstall" in caught.value.advice
