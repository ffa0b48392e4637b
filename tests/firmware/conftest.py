"""Fixtures for firmware: images made by the real esptool, keys made by the real espsecure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.firmware.description import AppDescription
from labkit.firmware.tools import build_app, build_bootloader, run_tool

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTION = AppDescription("course-node", "1.4.2", 3)


@pytest.fixture(scope="session", params=["esp32", "esp32c3"])
def app_image(request: pytest.FixtureRequest) -> bytes:
    """Return an application of the course, for each chip."""
    return build_app(request.param, DESCRIPTION, {"telemetry": 60}, min_revision=3)


@pytest.fixture(scope="session", params=["esp32", "esp32c3"])
def bootloader_image(request: pytest.FixtureRequest) -> bytes:
    """Return a bootloader look-alike, for each chip."""
    return build_bootloader(request.param)


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return private keys for Secure Boot V2 by name."""
    folder = tmp_path_factory.mktemp("signing")
    found = {}
    for name, scheme in (
        ("rsa", "rsa3072"),
        ("other", "rsa3072"),
        ("third", "rsa3072"),
        ("p192", "ecdsa192"),
        ("p256", "ecdsa256"),
        ("p384", "ecdsa384"),
    ):
        found[name] = folder / f"{name}.pem"
        run_tool("espsecure", "generate-signing-key", "--version", "2", "--scheme", scheme, found[name])
    return found
