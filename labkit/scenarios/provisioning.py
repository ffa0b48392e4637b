"""A provisioning service that runs, an operator, and devices on their first day."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.devices import Registry
from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.mqtt import Identity
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki import Key, Operators, make_request
from labkit.provisioning import Publication, prepare
from labkit.provisioning.client import Client, enrol
from labkit.provisioning.office import DECISIONS
from labkit.provisioning.operations import Operations
from labkit.provisioning.slots import Slots
from labkit.serving import RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from labkit.mqtt import Endpoint
    from labkit.pki import IdentityFiles, Store
    from labkit.provisioning.operations import Dossier

NAME = "provisioning.local"


class ProvisioningSite:
    """A running service and those who deal with it. Get one from `provisioning_site`.

    Attributes:
        store: The devices' authority.
        service: The service.
        operator: A client with an operator's certificate.
        anyone: A client without a certificate.
    """

    def __init__(self, store: Store, service: RunningService) -> None:
        self.store = store
        self.service = service
        self.anyone = Client(service.url, trust=store.trust_anchor, name=NAME)
        self.operator = self.client(Operators(store.workspace).identity("admin"))

    def __repr__(self) -> str:
        return f"<ProvisioningSite {self.service.url}>"

    def client(self, files: IdentityFiles) -> Client:
        """Return a client with an identity."""
        identity = Identity(files.certificate, files.key)
        return Client(self.service.url, trust=self.store.trust_anchor, identity=identity, name=NAME)

    def known(self, device_id: str) -> None:
        """See to it that the registry has a device."""
        try:
            self.operator.call("POST", "/devices", {"devices": [{"device_id": device_id}]})
        except RefusedError as error:
            if error.code != "device-exists":
                raise

    def token(self, device_id: str, *, hours: float = 24) -> str:
        """Return a token for a device; the registry takes the device in where it does not have it."""
        self.known(device_id)
        made = self.operator.call("POST", "/tokens", {"device_ids": [device_id], "hours": hours})
        return str(made["tokens"][device_id])

    def slots(self, device_id: str) -> Slots:
        """Return a device's own store."""
        return Slots(self.store.workspace.path("scratch", "boards", device_id))

    def new_board(self, device_id: str) -> Slots:
        """Return the store of a device that has just left the factory, with its token in it."""
        shutil.rmtree(self.store.workspace.path("scratch", "boards", device_id), ignore_errors=True)
        slots = self.slots(device_id)
        slots.put_token(self.token(device_id))
        return slots

    def enrolled(self, device_id: str) -> Slots:
        """Return the store of a device that has had its first boot."""
        slots = self.new_board(device_id)
        enrol(self.anyone, slots, device_id)
        return slots

    def act(self, device_id: str, action: str, value: Any = None) -> Any:
        """Do something with a device as an operator, such as `ship`, `renewal`, `quarantine` or `decommission`."""
        return self.operator.call("POST", f"/devices/{device_id}/{action}", value)

    def show(self, device_id: str) -> Mapping[str, Any]:
        """Return what the registry says of a device."""
        found: Mapping[str, Any] = self.operator.call("GET", f"/devices/{device_id}")
        return found

    def dossier(self, device_id: str) -> Dossier:
        """Return everything that is known of a device, straight from the registry."""
        where = self.service.settings.options["registry"]
        with Registry.open(where) as registry:
            return Operations(registry, Publication(registry, self.store)).dossier(device_id)

    def ask(self, token: str, *, subject: str = "sensor-001", key: Key | None = None) -> Outcome:
        """Ask for a certificate, and return what became of it; see `attempt`."""
        csr = make_request(key or Key.generate(), subject)
        return attempt(lambda: self.anyone.provision(token, csr))

    @property
    def decisions(self) -> Path:
        """The service's log of decisions."""
        return self.store.workspace.path(DECISIONS)


def attempt(action: Callable[[], Any]) -> Outcome:
    """Do something with the service and return what became of it: for refusals that are shown.

    Returns:
        An outcome at stage `http`, with the service's code as its reason and its reply in the detail; at stage `tls`
        where there was no connection.
    """
    try:
        reply = action()
    except RefusedError as error:
        return Outcome("http", accepted=False, reason=error.code, detail={"message": error.message})
    except ServiceUnreachableError as error:
        return Outcome("tls", accepted=False, reason="no-answer", detail={"message": error.message})
    return Outcome("http", accepted=True, reason=ACCEPTED, detail=reply if isinstance(reply, dict) else {})


@contextmanager
def provisioning_site(
    store: Store,
    *,
    registry: str | None = None,
    workers: int = 1,
    port: int = 0,
    limits: Mapping[str, float] | None = None,
    elsewhere: Endpoint | None = None,
) -> Iterator[ProvisioningSite]:
    """Stage the provisioning service for the length of the block.

    It tells the broker in the same workspace of revocations, if one runs there.

    Args:
        store: The devices' authority; made where there is none.
        registry: The URL of a database; the workspace's own without it.
        workers: How many processes.
        port: The port; 0 takes a free one.
        limits: See `serving.Limits`.
        elsewhere: Where the devices' broker is, if it is none that runs here.

    Raises:
        ServiceStartError, PortTakenError, RegistryUnusableError: It does not come up.
    """
    settings = prepare(
        store, registry=registry, workers=workers, port=port, limits=limits, elsewhere=elsewhere
    )
    with RunningService(settings) as service:
        yield ProvisioningSite(store, service)
