"""labkit.broker.fetch: Mosquitto from the distribution's archive, without root."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import fetch, find_client, find_mosquitto
from labkit.errors import ToolFailedError, ToolMissingError, WorkspaceUnwritableError
from labkit.processes import run

if TYPE_CHECKING:
    from collections.abc import Sequence

APT = sys.platform == "linux" and all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))


def beside_only(name: str, *, folders: Sequence[Path | str] = ()) -> Path | None:
    """Find a program in folders that are named, and nowhere else."""
    found = shutil.which(name, path=os.pathsep.join(map(str, folders))) if folders else None
    return Path(found) if found else None


def test_without_clients_their_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no client of Mosquitto's own, the advice is what to install."""
    monkeypatch.setattr("labkit.broker.mosquitto.processes.find_tool", lambda *_, **__: None)
    with pytest.raises(ToolMissingError) as caught:
        find_client("mosquitto_pub")
    assert "mosquitto" in caught.value.advice.rpartition(" ")[2]


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
    monkeypatch.setattr("labkit.broker.mosquitto.processes.find_tool", beside_only)
    client, env = find_client("mosquitto_pub")
    assert tmp_path in client.parents
    assert "mosquitto_pub" in run([client, "--help"], env=env, check=False).output


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

    def unreachable(_: Path, **__: object) -> None:
        raise ToolFailedError(
            "apt-get ended with status 100", advice="-", tool="apt-get", argv=(), returncode=100, output=""
        )

    monkeypatch.delenv("LABKIT_KIT", raising=False)
    monkeypatch.setattr(fetch, "fetch_debs", unreachable)
    assert fetch.fetch_mosquitto(tmp_path) is None
    assert "could not be fetched" in capsys.readouterr().err
    assert [".fetch.lock"] == [path.name for path in tmp_path.iterdir()]


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty offline kit that is in use."""
    (tmp_path / "kit" / "debs").mkdir(parents=True)
    monkeypatch.setenv("LABKIT_KIT", str(tmp_path / "kit"))
    return tmp_path / "kit" / "debs"


def pack(kit: Path, script: str) -> None:
    """Put a package into a kit whose Mosquitto is a script."""
    tree = kit.parent / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: mosquitto\nVersion: 1\nArchitecture: all\nMaintainer: Lab <lab@example.org>\nDescription: x\n"
    )
    program = tree / "usr" / "sbin" / "mosquitto"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    run(["dpkg-deb", "-b", tree, kit / "mosquitto_1_all.deb"])
    shutil.rmtree(tree)


GOOD = "echo mosquitto version 2.0.99"


@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_a_kit_is_unpacked(tmp_path: Path, kit: Path) -> None:
    """The packages of a kit give a program that runs, in a folder with a space in its name."""
    pack(kit, GOOD)
    found = fetch.fetch_mosquitto(tmp_path / "my home")
    assert found
    assert found.program == tmp_path / "my home" / "mosquitto" / "usr" / "sbin" / "mosquitto"
    assert {".fetch.lock", "mosquitto"} == {path.name for path in (tmp_path / "my home").iterdir()}


@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_a_kit_for_another_system_is_refused(
    tmp_path: Path, kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packages whose program does not run here are not kept, and one line says why; the right ones then are."""
    pack(kit, "exit 126")
    assert fetch.fetch_mosquitto(tmp_path / "home") is None
    assert "for another system" in capsys.readouterr().err
    assert {".fetch.lock"} == {path.name for path in (tmp_path / "home").iterdir()}
    (kit / "mosquitto_1_all.deb").write_bytes(b"half a download")
    assert fetch.fetch_mosquitto(tmp_path / "home") is None
    pack(kit, GOOD)
    assert fetch.fetch_mosquitto(tmp_path / "home")


@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_what_does_not_run_any_more_is_replaced(
    tmp_path: Path, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetched program that stopped working, after an upgrade for example, is fetched again."""
    pack(kit, GOOD)
    found = fetch.fetch_mosquitto(tmp_path / "home")
    assert found
    found.program.write_text("#!/bin/sh\nexit 127\n")
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("labkit.broker.mosquitto._FOLDERS", ())
    monkeypatch.setattr("labkit.broker.mosquitto.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(fetch, "_TOOLS", ())
    monkeypatch.delenv("LABKIT_MOSQUITTO", raising=False)
    mended = find_mosquitto()
    assert ("fetched without root", (2, 0, 99)) == (mended.source, mended.version)
    assert find_mosquitto().source == "fetched before"


@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_two_at_once_take_turns(tmp_path: Path, kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who fetch at the same time get the same program, unpacked once."""
    pack(kit, GOOD)
    unpacked: list[str] = []

    def counting(argv: list[str], **options: Any) -> Any:
        unpacked.extend(word for word in map(str, argv) if word == "-x")
        return run(argv, **options)

    monkeypatch.setattr(fetch.processes, "run", counting)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(fetch.fetch_mosquitto, [tmp_path / "home"] * 2))
    assert found[0] == found[1] is not None
    assert unpacked == ["-x"]


@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_a_closed_folder_is_named(tmp_path: Path, kit: Path) -> None:
    """Where nothing can be kept, the advice names the variable for downloads."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceUnwritableError) as caught:
        fetch.fetch_mosquitto(tmp_path / "file" / "home")
    assert "LABKIT_HOME" in caught.value.advice


@pytest.mark.slow
@pytest.mark.skipif(not APT, reason="only Debian and Ubuntu")
def test_a_kit_is_complete_wherever_it_is_made(tmp_path: Path) -> None:
    """A kit holds the libraries too, on a machine that has them already; the C library stays the system's."""
    try:
        names = {path.name.split("_")[0] for path in fetch.fetch_debs(tmp_path)}
    except ToolFailedError as error:
        pytest.skip(f"the archive can't be reached: {error.message}")
    assert {"mosquitto", "mosquitto-clients"} <= names
    assert {"libmosquitto1", "libcjson1"} & names
    assert any(name.startswith("libssl3") for name in names)
    assert "libc6" not in names
