"""environment.yml, the lock and pyproject.toml name the same packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
OTHER_NAMES = {"matplotlib-base": "matplotlib"}
NOT_OURS = {"python", "pip", "openssl"}
NOT_IN_CONDA = {"pkilint", "pytm", "esp-idf-nvs-partition-gen"}


def conda() -> dict[str, str]:
    """Return conda's specs by the names that PyPI uses."""
    lines = re.findall(
        r"^  - ([a-z0-9-]+)([<>=!~][^\s#]*)?",
        Path("environment.yml").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {
        OTHER_NAMES.get(name, name): spec
        for name, spec in lines
        if name not in NOT_OURS and name != "conda-forge"
    }


def test_conda_has_what_the_project_asks_for() -> None:
    """Each dependency stands in environment.yml with the same bound, and nothing else does."""
    assert {r.name: str(r.specifier) for r in WANTED if r.name not in NOT_IN_CONDA} == {
        n: str(Requirement(n + s).specifier) for n, s in conda().items()
    }


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("fleet", ("fleet", "hsm")),
        ("site", ("site",)),
        ("nbgrader", ("nbgrader",)),
        ("containers", ("containers",)),
        ("browser", ("browser",)),
    ],
)
def test_the_extras_agree_with_the_lock(name: str, extras: tuple[str, ...]) -> None:
    """What `lab.py extras` adds changes no version that the course has, and has all of the extra."""
    pins = [pinned(lock) for lock in ("requirements.lock", f"requirements-{name}.lock")]
    assert {} == {
        each: pins[1][each] for each in pins[0].keys() & pins[1].keys() if pins[0][each] != pins[1][each]
    }
    wanted = [Requirement(text) for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    assert all(r.specifier.contains(pins[1].get(r.name, "0"), prereleases=True) for r in wanted)


def pinned(lock: str) -> dict[str, str]:
    """Return the version of each package of a lock."""
    line = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)
    return dict(line.findall(Path(lock).read_text(encoding="utf-8")))


def test_lock_covers_the_project() -> None:
    """Every dependency is locked at a version that its bound allows, with hashes, for every platform."""
    text = Path("requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))
    assert [] == [
        r.name for r in WANTED if not r.specifier.contains(locked.get(r.name, "0"), prereleases=True)
    ]
    pins = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert all(line.endswith("\\") for line in pins)
    assert text.count("--hash=sha256:") >= len(pins)


@pytest.mark.parametrize("word", ["http://", "https://", "file:", "--index", "--find-links", "--extra"])
def test_lock_names_no_place(word: str) -> None:
    """The lock does not say where packages come from; pip's configuration does."""
    assert word not in Path("requirements.lock").read_text(encoding="utf-8")
