"""Everything that the service works with, put together in one place: authorities, registry, desk, list."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.broker import attach
from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.devices import Registry
from labkit.errors import BrokerNotRunningError
from labkit.mqtt import Endpoint
from labkit.pki import Operators, Store
from labkit.pki.identities import read_certificate
from labkit.provisioning.desk import Desk
from labkit.provisioning.operations import Operations
from labkit.provisioning.publication import Publication
from labkit.serving import ServiceSettings
from labkit.serving.house import Watched, in_thread, service_identity
from labkit.workspace import Workspace, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography import x509

    from labkit.pki import Authority

_T = TypeVar("_T")

NAME = "provisioning"
REGISTRY = "registry/fleet.db"
DECISIONS = "registry/decisions.jsonl"
LOG = "registry/service.log"


@dataclass(frozen=True)
class Office:
    """The service's insides.

    Attributes:
        store: The devices' authority.
        registry: The fleet.
        broker: The folder of the broker that is told of revocations.
        elsewhere: Where the devices' broker is, if it is none that runs here.
        decisions: The log of decisions.
        clock: What time it is.
    """

    store: Store
    registry: Registry
    broker: Path | None
    elsewhere: Endpoint | None
    decisions: Path
    clock: Clock = field(default=SYSTEM_CLOCK, repr=False)

    @classmethod
    def open(cls, options: Mapping[str, Any]) -> Office:
        """Open what `options` describes.

        Raises:
            RegistryUnusableError, AuthorityMissingError, WorkspaceCorruptError: It can't be opened.
        """
        workspace = Workspace.open(options["workspace"])
        store = Store(workspace)
        office = cls(
            store,
            Registry.open(options["registry"]),
            Path(options["broker"]) if options.get("broker") else None,
            Endpoint(*options["elsewhere"]) if options.get("elsewhere") else None,
            workspace.path(DECISIONS),
        )
        office.check()
        office.publication.publish()  # what a crash left undone
        return office

    @cached_property
    def issuer(self) -> Authority:
        """Who signs for devices."""
        return self.store.authority()

    @cached_property
    def root_certificate(self) -> x509.Certificate:
        """The root above it."""
        return self.store.certificate("root")

    @cached_property
    def operators_certificate(self) -> x509.Certificate:
        """The operators' authority."""
        return read_certificate(Operators(self.store.workspace).trust_anchor)

    @cached_property
    def publication(self) -> Publication:
        """What brings decisions to the list and to the broker."""
        return Publication(self.registry, self.store, broker=self.broker, elsewhere=self.elsewhere)

    @cached_property
    def desk(self) -> Desk:
        """Who decides on devices' requests."""
        return Desk(self.registry, self.issuer, revoked=Watched(self.store))

    @cached_property
    def operations(self) -> Operations:
        """What operators do."""
        return Operations(self.registry, self.publication)

    async def decide(self, work: Callable[[], _T]) -> _T:
        """Do what decides on a request.

        On SQLite it is done here and now: a decision takes a fraction of a millisecond, only one can be written at a
        time anyhow, and carrying it to a thread and back costs as much again. PostgreSQL may keep us waiting, so that a
        thread waits for it.
        """
        return work() if self.registry.is_file else await in_thread(work)

    def check(self) -> None:
        """Raise if registry or authority do not answer."""
        with self.registry.read() as tx:
            tx.fleet.list(limit=1)
        if self.issuer.certificate.not_valid_after_utc <= self.clock.now():
            from labkit.provisioning.desk import refused

            raise refused("issuance-refused", "The authority's own certificate has run out.")

    def broker_address(self) -> dict[str, Any]:
        """Return where devices find the broker; its usual place where none runs here."""
        if self.elsewhere is not None:
            return {"host": self.elsewhere.host, "port": self.elsewhere.port}
        if self.broker is not None:
            try:
                running = attach(self.broker)
            except BrokerNotRunningError:
                pass
            else:
                return {"host": running.host, "port": running.port}
        return {"host": "127.0.0.1", "port": 8883}

    @staticmethod
    def hours(number: float) -> dt.timedelta:
        """Return hours as a span of time."""
        return dt.timedelta(hours=number)


def prepare(
    store: Store,
    *,
    registry: str | None = None,
    broker: Path | None = None,
    elsewhere: Endpoint | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
    workers: int = 1,
    limits: Mapping[str, float] | None = None,
) -> ServiceSettings:
    """Make everything that the service needs in a workspace, and return what to start it with.

    Args:
        store: The devices' authority; made where there is none.
        registry: The URL of a database; the workspace has one of its own without it.
        broker: The folder of the broker that is told of revocations; the lab's own without it.
        elsewhere: Where the devices' broker is, if it is none that runs here.
        port: The port; 0 takes a free one.
        host: The address.
        workers: How many processes.
        limits: See `serving.Limits`.

    Raises:
        RegistryUnusableError: The database can't be used.
        BrokerError: A device was to be shut out when the service ended last, and the broker refuses.
        LabError: Whatever keeps the authority from being made; see `Store.ensure_authority`.
    """
    workspace = store.workspace
    store.ensure_authority()
    make_folder(workspace.path("registry"), private=True)
    operators = Operators(workspace)
    operators.identity("admin")
    files = service_identity(store, NAME)
    where = registry or str(workspace.path(REGISTRY))
    told = broker or workspace.path("broker")
    with Registry.open(where) as opened:  # the tables, before several workers would make them
        Publication(opened, store, broker=told, elsewhere=elsewhere).catch_up()
    return ServiceSettings(
        application="labkit.provisioning.service:application",
        options={
            "workspace": str(workspace.root),
            "registry": where,
            "broker": str(told),
            "elsewhere": (elsewhere.host, elsewhere.port) if elsewhere else None,
            "limits": dict(limits or {}),
        },
        certificate=files.certificate,
        key=files.key,
        client_authorities=(store.trust_bundle, operators.trust_anchor),
        log=workspace.path(LOG),
        host=host,
        port=port,
        workers=workers,
    )
