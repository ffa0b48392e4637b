"""What a broker in a container is given: a folder with its configuration and the files that this names, and no more.

A container sees one folder, at one place. So the files are copied there and the configuration is rendered with their
new places. The authority's keys, which lie beside those of the broker in a workspace, stay where they are.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from labkit.broker import config as configuration
from labkit.workspace import make_folder, os_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.broker.config import BrokerConfig

PLACE = PurePosixPath("/broker")
"""Where a container finds the folder; `docker/broker/serve` looks there too."""

FOLDER = "container"
"""The folder inside a broker's own, for a broker of this workspace that runs in a container."""

USER = 10001
"""Whom the broker's image is made to run as; root stages files for that user."""

_NAMES = {
    "cafile": "ca.crt",
    "capath": "authorities",
    "certfile": "server.crt",
    "keyfile": "server.key",
    "crlfile": "revoked.crl",
    "acl_file": "acl.conf",
    "password_file": "passwords",
}


def stage(
    config: BrokerConfig, folder: Path, *, openssl_conf: str, more: Mapping[str, bytes] | None = None
) -> BrokerConfig:
    """Fill a folder for a container, and return the configuration that is in it.

    Files appear whole or not at all, readable by their owner alone; what the configuration does not name is removed.
    A file that is missing stays so, and Mosquitto says it in its own words.

    Args:
        config: The configuration, with the places of this machine.
        folder: The folder; made where there is none.
        openssl_conf: OpenSSL's settings.
        more: Other files, by name.

    Raises:
        DiskFullError, WorkspaceUnwritableError: There is no place for them.

    Does not check: that the files belong together; the broker does when it starts.
    """
    make_folder(folder, private=True)
    names: dict[Path, str] = {}
    general = _moved(config, names, "")
    listeners = tuple(
        dataclasses.replace(each, **_moved(each, names, f"{number}-" if number else ""))
        for number, each in enumerate(config.listeners)
    )
    # Nobody is root in there, so there is nobody to become.
    staged = dataclasses.replace(config, listeners=listeners, user=None, **general)
    texts = {"openssl.cnf": openssl_conf.encode(), **(more or {})}
    for source, name in names.items():
        _copy(source, folder / name)
    for name, text in texts.items():
        write_atomic(folder / name, text, secret=True)
    write_atomic(folder / "mosquitto.conf", configuration.render(staged), secret=True)
    with os_errors(folder):
        _remove_others(folder, {*names.values(), *texts, "mosquitto.conf"})
        _hand_over(folder)
    return staged


def renew(home: Path) -> None:
    """Copy again what a broker's configuration names, for a broker in a container; nothing for any other.

    Args:
        home: The broker's own folder.

    Raises:
        BrokerConfigError, WorkspaceUnwritableError, DiskFullError: What is staged is as it was.
    """
    folder = home / FOLDER
    if folder.is_dir():
        with os_errors(home):
            config = configuration.parse((home / "mosquitto.conf").read_text(encoding="utf-8"))
            settings = (folder / "openssl.cnf").read_text(encoding="utf-8")
        stage(config, folder, openssl_conf=settings)


def clear(home: Path) -> None:
    """Remove what was staged in a broker's own folder; nothing where nothing was."""
    shutil.rmtree(home / FOLDER, ignore_errors=True)


def _moved(part: Any, names: dict[Path, str], prefix: str) -> dict[str, Any]:
    """Return a part's paths as the container has them, and note which file comes from where."""
    moved = {}
    for field, name in _NAMES.items():
        source = getattr(part, field, None)
        if source is not None:
            moved[field] = cast("Path", PLACE / names.setdefault(source, prefix + name))
    return moved


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        make_folder(target, private=True)
        files = [path for path in source.iterdir() if path.is_file()]  # a link to a file is one
        for path in files:
            _copy(path, target / path.name)
        with os_errors(target):
            _remove_others(target, {path.name for path in files})
    elif source.is_file():
        with os_errors(source):
            data = source.read_bytes()
        write_atomic(target, data, secret=True)
    else:
        with os_errors(target):
            target.unlink(missing_ok=True)


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hand_over(folder: Path) -> None:
    """Give the files to the image's own user, where we are root and could give them to anybody."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER, USER)
