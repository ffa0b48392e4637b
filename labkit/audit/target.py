"""What is audited: addresses, files and identities, as data. Whoever stages a plant says what it consists of."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.errors import TargetRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from labkit.mqtt import Endpoint, Identity

PARTS = (
    "door", "broker", "pki", "registry", "service", "tools", "firmware", "board", "updates", "network", "monitoring",
    "documents",
)  # fmt: skip
"""What a target can consist of: a `door` is a port to knock at, a `broker` has files and people too. An item about parts that it does not have is not applicable; one about a part that it
has, and of which nothing can be found, fails."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program beside the plant: a dashboard, a database, a flow editor.

    Attributes:
        name: What it is called.
        url: Where it is, `http://127.0.0.1:port`.
        paths: Paths that nobody may read without credentials.
    """

    name: str
    url: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoardFiles:
    """What was read from one board.

    Attributes:
        name: What it is called.
        flash: The dump of its flash.
        efuses: Its eFuses, where they were read.
    """

    name: str
    flash: Path
    efuses: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A plant, or a part of one.

    Attributes:
        title: What it is called in the report.
        parts: Which of `PARTS` it consists of.
        doors: Where its broker listens, as far as that is known beforehand.
        broker: The broker's folder: configuration, rules, log.
        trust: The root that clients believe.
        issuer: The certificate of the authority that issues for devices.
        devices: Identities of two devices, by name, to try things with.
        operator: The identity of an operator who may read everything; its eyes decide on deliveries.
        fence: A topic that the operator may write and read.
        revoked: An identity that was revoked, to be refused for it.
        certificates: Folders and files with the certificates that are in service.
        crl: The revocation list that the broker goes by.
        registry: The registry of devices: a file, or a URL.
        service: The provisioning service, its certified name in it.
        decisions: The service's log of decisions.
        tools: Dashboard, database, flow editor.
        client_settings: Settings of the tools' own MQTT clients (Node-RED's flows).
        images: Firmware images as they were built.
        boards: What was read from boards.
        updates: The folder of published updates.
        test_boards: What was read from boards on the bench, on which drills are done.
        signing_keys: The keys that updates are signed with: digests as `espsecure digest-sbv2-public-key` writes them
            for signature blocks, public keys in PEM for signed headers.
        network: The folder with zones, flows and rules; see `plans`.
        alerts: The alert rules that are in force.
        documents: The folder of plans and records.
    """

    title: str
    parts: frozenset[str]
    doors: tuple[Endpoint, ...] = ()
    broker: Path | None = None
    trust: Path | None = None
    issuer: Path | None = None
    devices: Mapping[str, Identity] = field(default_factory=dict)
    operator: Identity | None = None
    fence: str = "devices/observer/commands/fence"
    revoked: Identity | None = None
    certificates: tuple[Path, ...] = ()
    crl: Path | None = None
    registry: str | None = None
    service: Endpoint | None = None
    decisions: Path | None = None
    tools: tuple[Tool, ...] = ()
    client_settings: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    boards: tuple[BoardFiles, ...] = ()
    test_boards: tuple[BoardFiles, ...] = ()
    updates: Path | None = None
    signing_keys: tuple[Path, ...] = ()
    network: Path | None = None
    alerts: Path | None = None
    documents: Path | None = None

    def __post_init__(self) -> None:
        if strange := self.parts - set(PARTS):
            text = f"a target has no part {', '.join(sorted(strange))}"
            raise ValueError(text)


def verify_ours(host: str, *, owned: str = "") -> None:
    """Verify that we may try things at an address: it is this machine, or one that its owner has named.

    Args:
        host: The address.
        owned: The address that whoever asks says is theirs; it must be the same word for word.

    Raises:
        TargetRefusedError: It is neither.

    Does not check: that it is theirs. That is on their conscience.
    """
    try:
        ours = ipaddress.ip_address(host).is_loopback
    except ValueError:
        ours = host == "localhost"
    if not ours and host != owned:
        raise TargetRefusedError(
            f"{host} is not this machine.",
            advice=f"An audit tries intruders and passwords. If {host} is yours, say so: --i-own {host}",
            host=host,
        )
