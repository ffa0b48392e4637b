"""Targets of those who have not staged a plant: a workspace, an address, a dump, a board's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.audit.target import BoardFiles, Target, verify_ours
from labkit.broker import attach
from labkit.mqtt import Endpoint, Identity
from labkit.provisioning.office import DECISIONS, REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.pki import Store

SERVICE_NAME = "provisioning.local"
CANARY = "revocation-canary"
OPERATOR = "admin"
FLASH, EFUSE = "flash.bin", "efuse.bin"


def workspace_target(store: Store, *, service_port: int | None = None) -> Target:
    """Return what a workspace shows of a plant: its broker, its certificates, its registry, its papers.

    Args:
        store: The workspace's authority, which must have been made.
        service_port: Where its provisioning service runs, if it does.

    Raises:
        BrokerNotRunningError: No broker runs there.
    """
    path = store.workspace.path
    attach(store.workspace)
    registry = path(REGISTRY)
    parts = {"door", "broker", "pki", "registry"}  # a plant without a list of its devices fails for that
    parts |= {"service"} if service_port else set()
    extras = {"network": path("network"), "documents": path("documents"), "monitoring": path("alerts.json")}
    parts |= {part for part, place in extras.items() if place.exists()}
    names = [name for name in store.devices() if name not in {OPERATOR, CANARY}]
    images = tuple(sorted(path("factory").rglob("*.bin"))) if path("factory").is_dir() else ()
    boards = tuple(_boards(path("boards")))
    parts |= ({"board"} if boards else set()) | ({"firmware"} if images or boards else set())
    return Target(
        title="the workspace's plant",
        parts=frozenset(parts),
        broker=path("broker"),
        trust=store.trust_anchor,
        issuer=store.intermediate,
        devices={name: _identity(store, name) for name in names[:2]},
        operator=_identity(store, OPERATOR) if OPERATOR in store.devices() else None,
        revoked=_identity(store, CANARY) if CANARY in store.devices() else None,
        certificates=(path("devices"), path("server/broker.crt")),
        registry=str(registry) if registry.exists() else None,
        service=Endpoint("127.0.0.1", service_port, SERVICE_NAME) if service_port else None,
        decisions=path(DECISIONS) if service_port else None,
        images=images,
        boards=boards,
        network=extras["network"] if "network" in parts else None,
        documents=extras["documents"] if "documents" in parts else None,
        alerts=extras["monitoring"] if "monitoring" in parts else None,
    )


def _identity(store: Store, name: str) -> Identity:
    files = store.device(name)
    return Identity(files.certificate, files.key)


def _boards(folder: Path) -> Iterator[BoardFiles]:
    for flash in sorted(folder.glob(f"*/{FLASH}")) if folder.is_dir() else []:
        yield BoardFiles(flash.parent.name, flash, flash.with_name(EFUSE))


def address_target(
    host: str,
    port: int,
    *,
    trust: Path,
    device: Identity | None = None,
    name: str = "",
    owned: str = "",
) -> Target:
    """Return a broker at an address as a target.

    Args:
        host: The address: this machine's, or one that you own.
        port: The port; 1883 at the same address is looked at too.
        trust: The root that its clients believe.
        device: An identity that it must let in.
        name: The name in its certificate.
        owned: The address again, if it is not this machine: so you say that it is yours.

    Raises:
        TargetRefusedError: It is neither this machine, nor was it named.
    """
    verify_ours(host, owned=owned)
    return Target(
        title=f"{host}:{port}",
        parts=frozenset({"door"}),
        doors=(Endpoint(host, port, name),),
        trust=trust,
        devices={"device": device} if device else {},
    )


def flash_target(dump: Path, *, efuses: Path | None = None, trust: Path | None = None) -> Target:
    """Return a dump of a flash, or an image, as a target.

    Args:
        dump: The bytes.
        efuses: The eFuses that belong to it, as the virtual board keeps them.
        trust: The root that its device should verify the broker with.
    """
    parts = {"firmware"} | ({"board"} if efuses else set())
    board = BoardFiles(dump.stem, dump, efuses)
    return Target(
        title=dump.name,
        parts=frozenset(parts),
        trust=trust,
        boards=(board,) if efuses else (),
        images=() if efuses else (dump,),
    )


def board_target(folder: Path, *, trust: Path | None = None) -> Target:
    """Return the folder of a virtual board as a target.

    Raises:
        FileNotFoundError: There is no dump in it.
    """
    flash = folder / FLASH
    if not flash.is_file():
        raise FileNotFoundError(2, "there is no flash.bin", str(folder))
    return flash_target(flash, efuses=folder / EFUSE, trust=trust)
