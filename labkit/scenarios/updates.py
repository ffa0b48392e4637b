"""An update service that runs, a key that signs, an operator, and devices that ask."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit.devices import Registry, identify
from labkit.firmware.signing_keys import SigningKeys
from labkit.firmware.update import Version, sign_update
from labkit.mqtt import Identity
from labkit.pki import IdentityFiles, Operators
from labkit.serving import RunningService
from labkit.updates import Operations, UpdateClient, prepare
from labkit.updates.depot import Depot
from labkit.updates.service import DECISIONS, LOG
from labkit.workspace import make_folder, write_together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from labkit.firmware.update import Signer
    from labkit.pki import Store
    from labkit.updates.messages import ReleaseView

NAME = "updates.local"
PRODUCT = "course-node"
PASSPHRASE = b"correct horse battery staple"
"""Of the scenario's own signing key, in a workspace of its own; a real one is typed by a person."""


class UpdateSite:
    """A running update service and those who deal with it. Get one from `update_site`.

    Attributes:
        store: The devices' authority.
        service: The service.
        keys: The keys that sign.
    """

    def __init__(self, store: Store, service: RunningService) -> None:
        self.store = store
        self.service = service
        self.keys = SigningKeys(store.workspace)

    def __repr__(self) -> str:
        return f"<UpdateSite {self.service.url}>"

    @property
    def registry(self) -> Registry:
        """The fleet and the releases, opened once more."""
        return Registry.open(self.service.settings.options["registry"])

    @property
    def signer(self) -> Signer:
        """Who signs; the key is made where there is none."""
        if not self.keys.all():
            self.keys.create(PASSPHRASE)
        return self.keys.signer(PASSPHRASE)

    def client(self, files: IdentityFiles | None) -> UpdateClient:
        """Return a client with an identity, or without one."""
        identity = None if files is None else Identity(files.certificate, files.key)
        return UpdateClient(self.service.url, trust=self.store.trust_anchor, identity=identity, name=NAME)

    def operator(self) -> UpdateClient:
        """Return a client with an operator's certificate."""
        return self.client(Operators(self.store.workspace).identity("admin"))

    def identity(self, device_id: str) -> IdentityFiles:
        """Return a new device's identity; it is on record as if it had come off the line."""
        folder = make_folder(self.store.workspace.path("scratch", "updates"), private=True)
        files = IdentityFiles(device_id, folder / f"{device_id}.crt", folder / f"{device_id}.key")
        with self.registry as registry:
            with registry.begin() as tx:
                tx.fleet.add([identify(device_id)], actor="factory")
            issued = self.store.authority().recording(registry.ledger).issue_device(device_id)
        write_together([(files.key, issued.key_pem, True), (files.certificate, issued.chain_pem, False)])
        return files

    def device(self, device_id: str) -> UpdateClient:
        """Return a new device, as it talks to the service."""
        return self.client(self.identity(device_id))

    def release(
        self, version: str, *, percent: int | None = None, size: int = 4096, secure_version: int = 0
    ) -> bytes:
        """Sign and publish a release with an image of its own, and roll it out; return the update.

        Args:
            version: Its version.
            percent: How far it is rolled out; without it, it is held.
            size: Bytes of its image.
            secure_version: Its secure version.
        """
        image = hashlib.shake_128(f"{PRODUCT} {version}".encode()).digest(size)
        update = sign_update(
            image,
            product=PRODUCT,
            version=Version.parse(version),
            signer=self.signer,
            secure_version=secure_version,
        )
        with self.registry as registry:
            operations = Operations(registry, Depot(self.store.workspace), self.keys)
            operations.publish(update, actor="admin")
            if percent is not None:
                operations.roll_out(PRODUCT, version, percent, actor="admin")
        return update

    def view(self, version: str) -> ReleaseView:
        """Return how a release stands."""
        with self.registry as registry:
            found = Operations(registry, Depot(self.store.workspace), self.keys).releases()
        return next(each for each in found if each.version == version)

    @property
    def decisions(self) -> Path:
        """The service's log of decisions."""
        return self.store.workspace.path(DECISIONS)

    @property
    def log(self) -> Path:
        """Where its processes write what went wrong."""
        return self.store.workspace.path(LOG)


@contextmanager
def update_site(
    store: Store,
    *,
    registry: str | None = None,
    workers: int = 1,
    limits: Mapping[str, float] | None = None,
) -> Iterator[UpdateSite]:
    """Stage the update service for the length of the block.

    Args:
        store: The devices' authority; made where there is none.
        registry: The URL of a database; the workspace's own without it.
        workers: How many processes.
        limits: See `serving.Limits`.

    Raises:
        ServiceStartError, PortTakenError, RegistryUnusableError: It does not come up.
    """
    settings = prepare(store, registry=registry, workers=workers, limits=limits)
    with RunningService(settings) as service:
        yield UpdateSite(store, service)
