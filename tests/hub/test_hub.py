"""The set-ups for classes: nobody gets in by default, students' containers are fenced in, and the parts fit each other."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    import pytest

HUB = Path("hub")
VALUES = yaml.safe_load((HUB / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))
README = (HUB / "README.md").read_text(encoding="utf-8")


class Settings:
    """Stands in for JupyterHub's configuration object: it takes any section and any setting, and remembers."""

    def __init__(self) -> None:
        self.sections: dict[str, Settings] = {}

    def __getattr__(self, name: str) -> Any:
        if name[:1].isupper():
            return self.sections.setdefault(name, Settings())
        raise AttributeError(name)


def hub(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Return what the DockerSpawner set-up configures; JupyterHub itself is no part of the course."""
    for name in ("LAB_IMAGE", "LAB_NETWORK", "LAB_AUTHENTICATOR", "LAB_USERS", "LAB_ADMINS", "LAB_HUB_IP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = Settings()
    runpy.run_path(str(HUB / "dockerspawner" / "jupyterhub_config.py"), {"get_config": lambda: made})
    return made


def test_nobody_gets_in_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an authenticator of one's own there is none, on one machine and in a cluster; named users are let in."""
    plain, named = hub(monkeypatch), hub(monkeypatch, LAB_USERS="ann,bob", LAB_AUTHENTICATOR="pam")
    assert ("null", set()) == (plain.JupyterHub.authenticator_class, plain.Authenticator.allowed_users)
    assert {"ann", "bob"} == named.Authenticator.allowed_users
    assert "null" == VALUES["hub"]["config"]["JupyterHub"]["authenticator_class"]
    assert not VALUES["hub"]["config"]["Authenticator"]["allow_all"]


def test_students_are_fenced_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers have no capabilities, no way to get any, nothing to write on but their own, and a limit of memory."""
    spawner = hub(monkeypatch).DockerSpawner
    limits = spawner.extra_host_config
    assert (["ALL"], ["no-new-privileges"], True) == (
        limits["cap_drop"],
        limits["security_opt"],
        limits["read_only"],
    )
    assert all("{username}" in name for name in spawner.volumes)
    user = VALUES["singleuser"]
    assert user["memory"]["limit"] == spawner.mem_limit == "1G"
    assert not user["allowPrivilegeEscalation"]
    assert not user["extraPodConfig"]["automountServiceAccountToken"]
    allowed = {name for name, yes in user["networkPolicy"]["egressAllowRules"].items() if yes}
    assert {"dnsPortsKubeSystemNamespace"} == allowed


def test_the_hub_listens_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the world sees of the hub is what you put in front of it."""
    made = hub(monkeypatch).JupyterHub
    assert made.bind_url.startswith("http://127.0.0.1:")
    assert "127.0.0.1" == made.hub_ip
    assert "ClusterIP" == VALUES["proxy"]["service"]["type"]


def test_the_images_are_the_ones_that_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The set-ups start what hub/image builds, which is built on what docker/ builds, as the same user."""
    image = hub(monkeypatch).DockerSpawner.image
    recipe = (HUB / "image" / "Dockerfile").read_text(encoding="utf-8")
    assert f"--tag {image} hub/image" in recipe
    assert VALUES["singleuser"]["image"]["name"].endswith(image.rpartition("/")[2])
    (number,) = set(re.findall(r"^USER ([1-9]\d*):", recipe, re.MULTILINE))
    assert int(number) == VALUES["singleuser"]["uid"]


def test_links_open_the_first_lesson() -> None:
    """The links to give out are well-formed and lead to the first lesson's notebook."""
    links = re.findall(r"https://\S+urlpath=\S+", README)
    assert 2 == len(links)
    for link in links:
        (path,) = parse_qs(urlsplit(link).query)["urlpath"]
        assert path.endswith("notebooks/00_start-here.ipynb")
    assert Path("notebooks/00_start-here.ipynb").exists()


def test_binder_has_its_files() -> None:
    """postBuild is a program that stops at the first thing that goes wrong, and apt.txt has the lessons' tools."""
    assert os.access("postBuild", os.X_OK)
    assert "set -euo pipefail" in Path("postBuild").read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", "postBuild"], check=True)
    assert {"mosquitto", "openssl"} <= set(Path("apt.txt").read_text(encoding="utf-8").split())
