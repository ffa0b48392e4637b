"""scripts/pin-images: a digest is what a registry answers, and without an answer nothing changes.

The registry is a real one on loopback (Debian's docker-registry), with a manifest that we push to it.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.clock import Deadline
from labkit.ports import is_listening, reserve_port
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def script() -> Any:
    """Return the script as a module."""
    loader = importlib.machinery.SourceFileLoader("pin_images", str(Path("scripts/pin-images").absolute()))
    spec = importlib.util.spec_from_loader("pin_images", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Return the address of a real registry, empty."""
    program = shutil.which("docker-registry")
    if program is None:
        missing("docker-registry is not on this machine; apt install docker-registry")
    with reserve_port() as port:
        pass
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(settings))
    with subprocess.Popen(
        [str(program), "serve", tmp_path / "registry.yml"], stderr=subprocess.DEVNULL
    ) as child:
        deadline = Deadline(20)
        while not is_listening(port) and not deadline.passed and child.poll() is None:
            deadline.pause(0.05)
        yield f"127.0.0.1:{port}"
        child.terminate()


def push(registry: str, name: str, tag: str, content: bytes) -> str:
    """Push an image of one small piece, and return its digest."""

    def send(method: str, url: str, data: bytes, kind: str) -> Any:
        # Our own registry's address, on loopback.
        request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})  # noqa: S310
        return urllib.request.urlopen(request, timeout=20)  # noqa: S310

    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with send("POST", f"http://{registry}/v2/{name}/blobs/uploads/", b"", "text/plain") as begun:
        place = begun.headers["Location"]
    send("PUT", f"{place}&digest={digest}", content, "application/octet-stream").close()
    piece = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(content)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": piece, "layers": []}).encode()
    send("PUT", f"http://{registry}/v2/{name}/manifests/{tag}", manifest, KIND).close()
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def write(root: Path, image: str) -> tuple[Path, Path]:
    """Write files that name an image, as ours do."""
    (root / "docker" / "part").mkdir(parents=True)
    one, two = root / "docker" / "part" / "Dockerfile", root / "docker" / "compose.yaml"
    one.write_text(f"ARG PART_IMAGE={image}\nFROM ${{PART_IMAGE}}\n")
    two.write_text(f'services:\n  part:\n    build: {{args: {{PART_IMAGE: "${{PART_IMAGE:-{image}}}"}}}}\n')
    return one, two


@pytest.mark.tool
def test_digests_come_from_the_registry(script: Any, registry: str, tmp_path: Path) -> None:
    """Both files get the digest that the registry has; a tag that moved is followed; a check writes nothing."""
    image = f"{registry}/course/part:1.2"
    first = push(registry, "course/part", "1.2", b"{}")
    one, two = write(tmp_path, image)
    before = one.read_text()
    assert script.main(["--check"], tmp_path) == 1
    assert one.read_text() == before
    assert script.main([], tmp_path) == 0
    assert f"PART_IMAGE={image}@{first}\n" in one.read_text()
    assert f":-{image}@{first}}}" in two.read_text()
    assert script.main(["--check"], tmp_path) == 0
    second = push(registry, "course/part", "1.2", b'{"more": 1}')
    assert first != second
    assert script.main([], tmp_path) == 0
    assert f"PART_IMAGE={image}@{second}\n" in one.read_text()


@pytest.mark.tool
def test_a_tag_that_is_not_there_changes_nothing(script: Any, registry: str, tmp_path: Path) -> None:
    """For a tag that the registry has not got, the status is 2 and the files are as they were."""
    push(registry, "course/part", "1.2", b"{}")
    one, _ = write(tmp_path, f"{registry}/course/part:1.3")
    before = one.read_text()
    assert script.main([], tmp_path) == 2
    assert one.read_text() == before


def test_without_a_registry_nothing_changes(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody answers it says so, changes nothing, and keeps a digest that was found before."""
    with reserve_port() as port:
        known = f"127.0.0.1:{port}/course/part:1@sha256:{'0' * 64}"
        one, _ = write(tmp_path, known)
        assert script.main([], tmp_path) == 2
    assert known in one.read_text()
    assert "no digest" in capsys.readouterr().out


def test_our_own_files_name_images_that_it_knows(script: Any) -> None:
    """Every image of docker/ has a tag, none is `latest`, and the firmware's is the one that labkit builds with."""
    from labkit.firmware.idf import IMAGE

    named = {match[1] for path in script.files(Path()) for match in script.NAMED.finditer(path.read_text())}
    assert f"docker.io/{IMAGE}" in named
    assert len(named) >= 3
    assert not any(image.endswith(":latest") for image in named)
    for path in script.files(Path()):
        for line in path.read_text().splitlines():
            if line.startswith("ARG ") and "_IMAGE=" in line:
                assert script.NAMED.search(line), line
