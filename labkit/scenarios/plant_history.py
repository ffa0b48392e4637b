"""The past of a plant's fleet: enrolments, a renewal, a decommissioning, made by the real desk at the times they took."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK, FixedClock
from labkit.devices import Registry
from labkit.pki import IdentityFiles, Key, Reason, make_request
from labkit.provisioning import Publication
from labkit.provisioning.desk import Desk
from labkit.provisioning.operations import Operations
from labkit.workspace import make_folder, write_together

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki import Store

DAY = dt.timedelta(days=1)
IN_SERVICE = ("sensor-001", "sensor-002", "sensor-003")
RETIRED = "sensor-008"
"""A device that was taken out of service, as it should be."""

FORGOTTEN = "sensor-009"
"""A device that was taken out of service in the registry, and nowhere else."""


class History:
    """Lets things happen to a fleet in the past.

    Args:
        store: The devices' authority.
        registry: Where the registry is to be.
        folder: Where the devices' identities are kept.
    """

    def __init__(self, store: Store, registry: str, folder: Path) -> None:
        self._store = store
        self._where = registry
        self._folder = make_folder(folder, private=True)
        self._clock = FixedClock(SYSTEM_CLOCK.now())
        self._registry = Registry.open(registry, clock=self._clock)

    def close(self) -> None:
        """Close the registry."""
        self._registry.close()

    def at(self, days_ago: float) -> None:
        """Set the time at which things happen."""
        self._clock = FixedClock(SYSTEM_CLOCK.now() - DAY * days_ago)
        self._registry.close()
        self._registry = Registry.open(self._where, clock=self._clock)

    @property
    def _desk(self) -> Desk:
        from labkit.pki import Authority

        made = self._store.authority()
        return Desk(self._registry, Authority(made.certificate, made.key, clock=self._clock))

    @property
    def _operations(self) -> Operations:
        return Operations(self._registry, Publication(self._registry, self._store))

    def token(self, name: str, *, hours: float = 24) -> str:
        """Make a token for a device."""
        made = self._operations.issue_tokens(
            [name], lifetime=dt.timedelta(hours=hours), actor="admin", add=True
        )
        return made[name]

    def enrol(self, name: str) -> IdentityFiles:
        """Let a device have its first boot."""
        key = Key.generate()
        grant = self._desk.provision(self.token(name), make_request(key, name))
        return self._saved(name, key, grant.certificate_pem)

    def renew(self, files: IdentityFiles) -> IdentityFiles:
        """Let a device renew and confirm."""
        from cryptography.hazmat.primitives.serialization import Encoding

        from labkit.pki.identities import read_certificate

        self._operations.allow_renewal(files.name, actor="admin")
        old, key, desk = read_certificate(files.certificate), Key.generate(), self._desk
        grant = desk.renew(old.public_bytes(Encoding.DER), make_request(key, files.name))
        desk.confirm(grant.certificate.public_bytes(Encoding.DER))
        return self._saved(files.name, key, grant.certificate_pem)

    def retire(self, name: str, *, publish: bool = True) -> None:
        """Take a device out of service, and put it on the list, or forget that."""
        if publish:
            self._operations.decommission(name, Reason.CESSATION_OF_OPERATION, actor="admin")
            return
        from labkit.devices import State

        with self._registry.begin() as tx:
            tx.fleet.move(tx.fleet.get(name), State.REVOKED, actor="admin", why="sold")
            tx.certificates.end_all(name, Reason.CESSATION_OF_OPERATION)

    def _saved(self, name: str, key: Key, certificate: str) -> IdentityFiles:
        files = IdentityFiles(name, self._folder / f"{name}.crt", self._folder / f"{name}.key")
        write_together([(files.key, key.pem(), True), (files.certificate, certificate.encode(), False)])
        return files
