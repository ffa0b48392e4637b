"""The folders that two RabbitMQ nodes in containers work from; `docker/compose.cluster.yaml` mounts them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.broker import DEVICE_ACL
from labkit.broker.rabbit_nodes import furnish
from labkit.scenarios.conformance import asking
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from labkit.pki import Store

NODES = ("rabbit1", "rabbit2")
"""What the nodes' containers are called."""

PORT = 8883
SEEN_AS = Path("/cluster")
"""Where the containers have the folder."""

REMEMBER = 60
"""Seconds for which the nodes go by an answer of the service: the most that a device stays heard when it is taken out."""


def write_cluster(store: Store, folder: Path, *, service: str) -> None:
    """Write a folder for each node, and the secret that the two know each other by. A second time keeps that secret.

    Args:
        store: The authority, which must have been made.
        folder: Where to.
        service: The URL of the provisioning service, as the nodes see it.

    Raises:
        WorkspaceUnwritableError, DiskFullError: There is no place for it.
    """
    store.revocations.ensure()
    make_folder(folder, private=True)
    cookie = folder / ".erlang.cookie"
    if not cookie.exists():
        write_atomic(cookie, secrets.token_hex(32), secret=True)
    (listener,) = (plain := configuration(store, folder, port=PORT, crlfile=store.revocations.path)).listeners
    # In a container, loopback would be for itself alone; compose publishes the port on the machine's loopback.
    config = replace(plain, listeners=(replace(listener, host="0.0.0.0"),))  # noqa: S104
    for name in NODES:
        furnish(
            make_folder(folder / name, private=True),
            config,
            DEVICE_ACL,
            authorisation=asking(store, service, remember=REMEMBER),
            peers=[f"lab@{node}" for node in NODES],
            seen_as=SEEN_AS / name,
        )
