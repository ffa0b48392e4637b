"""docker/: what can be said of it without an engine: schema, Dockerfiles, scripts, and what compose must never do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.broker.container import IMAGE
from labkit.processes import find_tool
from tests.conftest import missing

COMPOSE = sorted(Path("docker").glob("*.yaml"))
DOCKERFILES = sorted(Path().glob("docker/*/Dockerfile"))
STAND_INS = sorted(Path().glob("tests/containers/stand-ins/*/Dockerfile"))
ROOT_FREE = re.compile(r"^USER (\d+):(\d+)$", re.MULTILINE)


def shell_scripts() -> list[Path]:
    """Return every shell script of the project, by its first line."""
    places = (Path("docker"), Path("scripts"), Path(".ci"), Path("tests/containers"))
    files = [
        path for place in places for path in place.rglob("*") if path.is_file() and path.suffix in {"", ".sh"}
    ]
    return [
        path
        for path in files
        if re.match(rb"#!(/bin/sh|/usr/bin/env bash|/bin/bash)\n", path.read_bytes()[:40])
    ]


def run(tool: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a linter of the extra `containers`."""
    found = find_tool(tool)
    if found is None:
        missing(f"{tool} is not here; python3 lab.py extras containers installs it")
    return subprocess.run([str(found), *words], capture_output=True, text=True, timeout=120, check=False)


def services(path: Path) -> dict[str, dict[str, Any]]:
    """Return a compose file's services, with what they share filled in."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["services"])


EACH = [pytest.param(path, name, id=f"{path.stem}-{name}") for path in COMPOSE for name in services(path)]


@pytest.mark.tool
@pytest.mark.parametrize("path", COMPOSE, ids=str)
def test_compose_files_keep_to_the_specification(path: Path, tmp_path: Path) -> None:
    """Each compose file holds to the published schema; a misspelt word does not."""
    ended = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)
    assert ended.returncode == 0, ended.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(
        path.read_text(encoding="utf-8").replace("services:\n", "services:\n  odd: {imagge: x}\n", 1)
    )
    ended = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", wrong)
    assert ended.returncode == 1
    assert "imagge" in ended.stdout


@pytest.mark.tool
def test_dockerfiles_are_clean(tmp_path: Path) -> None:
    """hadolint has nothing to say of our Dockerfiles, and something of a bad one."""
    ended = run("hadolint", *DOCKERFILES, *STAND_INS)
    assert (0, "") == (ended.returncode, ended.stdout)
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian:latest\nRUN cd /tmp && sudo apt-get install curl\n")
    ended = run("hadolint", bad)
    assert ended.returncode == 1
    assert "DL3007" in ended.stdout


@pytest.mark.tool
def test_shell_scripts_are_clean(tmp_path: Path) -> None:
    """shellcheck has nothing to say of our scripts, and something of a bad one."""
    found = shell_scripts()
    assert {"serve", "healthy", "lock", "run", "make"} <= {path.name for path in found}
    ended = run("shellcheck", *found)
    assert (0, "") == (ended.returncode, ended.stdout)
    (tmp_path / "bad").write_text("#!/bin/sh\nrm -rf $1\n")
    assert run("shellcheck", tmp_path / "bad").returncode == 1


@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_images_have_a_base_by_argument_and_a_plain_user(path: Path) -> None:
    """Each image takes its base from an argument with a tag, ends as a numbered user, and says how it is healthy."""
    text = path.read_text(encoding="utf-8")
    bases = re.findall(r"^ARG (\w+_IMAGE)=\S+/\S+:(?!latest)\S+$", text, re.MULTILINE)
    assert bases
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {f"${{{name}}}" for name in bases}
    users = ROOT_FREE.findall(text)
    assert len(users) == 1
    assert "0" not in users[0]
    assert text.rindex("\nUSER") > text.rindex("\nCOPY")
    assert "\nHEALTHCHECK" in text
    assert len(text.splitlines()) <= 90
    assert "\nADD " not in text


@pytest.mark.parametrize(("path", "name"), EACH)
def test_services_have_no_more_than_they_need(path: Path, name: str) -> None:
    """Each service is a plain user without capabilities on a read-only file system, whatever it is for."""
    service = services(path)[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert service["user"].startswith("${LABKIT_USER:-10001:")
    assert not service.get("privileged")
    assert service.get("network_mode") in {None, "none"}
    assert all("/var/run" not in str(each) for each in service.get("volumes", []))


@pytest.mark.parametrize(("path", "name"), EACH)
def test_ports_are_published_on_loopback(path: Path, name: str) -> None:
    """Whatever a service publishes, it publishes on 127.0.0.1."""
    assert all(str(port).startswith("127.0.0.1:") for port in services(path)[name].get("ports", []))


def test_only_who_needs_keys_mounts_them() -> None:
    """The broker mounts its own folder, to read; the authority's workspace is for those who issue."""
    found = services(Path("docker/compose.yaml"))
    mounts = {
        name: [each.rsplit("}", 1)[-1] for each in one.get("volumes", [])] for name, one in found.items()
    }
    assert mounts["broker"] == [":/broker:ro"]
    assert {name for name, each in mounts.items() if ":/workspace" in each} == {
        "pki-init",
        "courier",
        "provisioning",
        "lab",
    }
    networks = {name: set(one.get("networks", [])) for name, one in found.items()}
    assert networks["broker"] == networks["provisioning"] == {"plant", "edge"}
    assert networks["lab"] == {"plant", "desk"}
    assert yaml.safe_load(Path("docker/compose.yaml").read_text())["networks"]["plant"] == {"internal": True}


def test_no_secret_is_written_down() -> None:
    """No compose file and no Dockerfile sets a password, a token or a key to a value."""
    for path in (*COMPOSE, *DOCKERFILES):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.search(
                r"(?i)(password|passphrase|token|secret)\w*\s*[:=]\s*[\"']?\w", line.split("#")[0]
            ), line


def test_names_agree() -> None:
    """The broker's image has one name in compose and in labkit, and each base is the same in both places."""
    found = {name: one for path in COMPOSE for name, one in services(path).items()}
    assert found["broker"]["image"] == IMAGE
    for path in DOCKERFILES:
        for name, base in re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", path.read_text(), re.MULTILINE):
            named = [
                one["build"]["args"][name]
                for one in found.values()
                if name in one.get("build", {}).get("args", {})
            ]
            assert named
            assert set(named) == {f"${{{name}:-{base}}}"}


def test_our_images_are_made_here_and_once() -> None:
    """No registry is asked for an image of ours, not even one on this machine, and no image is built twice at a time."""
    found = [
        one for path in COMPOSE for one in services(path).values() if one["image"].startswith("localhost/")
    ]
    assert all(one["pull_policy"] == "never" for one in found)
    built = [one["image"] for one in found if "build" in one]
    assert sorted(built) == sorted({one["image"] for one in found})


def test_the_build_context_holds_no_keys() -> None:
    """What engines are sent begins with nothing, and adds sources only."""
    lines = [
        line for line in Path(".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!docker/lab", "!docker/provisioning", "!firmware", "!labkit", "!notebooks",
    }  # fmt: skip
