"""The update service: HTTPS in front, `Desk` and `Operations` behind. It decides nothing itself.

| path | who asks | what for |
| --- | --- | --- |
| GET /updates/{product} | a device with its certificate | the manifest of what it is offered; 204 where that is nothing |
| GET /updates/{product}/{version}.bin | a device with its certificate | header and image, whole or a range of them |
| POST /updates/{product}/report | a device with its certificate | what became of a release on it |
| GET /healthz | anybody | whether the service works |
| /releases… | an operator with a certificate of another authority | publish, roll out, pause, abort |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from labkit import errors
from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.devices import Registry
from labkit.firmware.signing_keys import KeyState, SigningKeys
from labkit.pki import Operators, Store
from labkit.pki.identities import read_certificate
from labkit.serving import DecisionLog, Gate, Limits, Problem, ServiceSettings, common
from labkit.serving.answers import add_handlers
from labkit.serving.caller import Caller
from labkit.serving.gate import BODY_BYTES
from labkit.serving.house import Watched, service_identity
from labkit.updates import routes
from labkit.updates.depot import LONGEST_UPDATE, Depot
from labkit.updates.desk import Desk
from labkit.updates.messages import PROBLEMS
from labkit.updates.operations import Operations
from labkit.workspace import Workspace, make_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "updates"
REGISTRY = "registry/fleet.db"
DECISIONS = "registry/updates.jsonl"
LOG = "registry/updates.log"

_BY_ERROR: Mapping[type[errors.LabError], str] = {
    errors.UpdateRefusedError: "update-refused",
    errors.ReleaseUnknownError: "release-unknown",
    errors.RegistryUnusableError: "unavailable",
    errors.WorkspaceError: "unavailable",
}


@dataclass(frozen=True)
class Office:
    """The service's insides.

    Attributes:
        store: The devices' authority.
        registry: The fleet, and the releases.
        decisions: The log of decisions.
        clock: What time it is.
    """

    store: Store
    registry: Registry
    decisions: Path
    clock: Clock = field(default=SYSTEM_CLOCK, repr=False)

    @cached_property
    def depot(self) -> Depot:
        """The images."""
        return Depot(self.store.workspace)

    @cached_property
    def desk(self) -> Desk:
        """Who decides on what devices ask."""
        book = SigningKeys(self.store.workspace)

        def dead_keys() -> set[bytes]:
            return {bytes.fromhex(one.key_id) for one in book.all() if one.state is KeyState.REVOKED}

        return Desk(self.registry, self.depot, revoked=Watched(self.store), dead_keys=dead_keys)

    def check(self) -> None:
        """Raise if the registry does not answer."""
        with self.registry.read() as tx:
            tx.fleet.list(limit=1)

    @cached_property
    def operations(self) -> Operations:
        """What operators do."""
        return Operations(self.registry, self.depot, SigningKeys(self.store.workspace))

    @cached_property
    def caller(self) -> Caller:
        """Who finds out who asks."""
        operators = read_certificate(Operators(self.store.workspace).trust_anchor)
        return Caller(operators, self.store.certificate("intermediate"), clock=self.clock)


def application(options: Mapping[str, Any]) -> Gate:
    """Return the service as an ASGI application; what a worker process calls.

    Args:
        options: Where workspace and registry are, and the limits.

    Raises:
        RegistryUnusableError, AuthorityMissingError: It can't work like that.
    """
    workspace = Workspace.open(options["workspace"])
    registry = Registry.open(options["registry"])
    office = Office(Store(workspace), registry, workspace.path(DECISIONS))
    app = FastAPI(
        title="Updates",
        version="1",
        summary="Firmware for a fleet of small devices, a share of it at a time.",
        description="Refusals are problem details (RFC 9457) with a stable `code`.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        responses={"4XX": {"description": "A refusal, with a code and advice."}},
    )
    add_handlers(app, problem_of)
    for add in (routes.add_public, routes.add_device, routes.add_operator):
        add(app, office)
    return Gate(
        app,
        limits=Limits(**options.get("limits", {})),
        log=DecisionLog(office.decisions),
        body_bytes=partial(_body_bytes, office.caller),
    )


def _body_bytes(caller: Caller, scope: Mapping[str, Any]) -> int:
    """Return how long a body may be: nobody but an operator sends anything long."""
    return LONGEST_UPDATE if caller.presents_operator(scope) else BODY_BYTES


def problem_of(error: errors.LabError) -> Problem:
    """Return how an error is told to the other side."""
    if isinstance(error, errors.RefusedError):
        return Problem(error.code, PROBLEMS[error.code], error.message)
    if isinstance(error, errors.UpdateRefusedError):
        return Problem("update-refused", PROBLEMS["update-refused"], f"{error.stage}: {error.rule}")
    if isinstance(error, errors.ReleaseRefusedError):
        code = "release-exists" if error.rule == "exists" else "release-refused"
        return Problem(code, PROBLEMS[code], error.message)
    code = next((code for kind, code in _BY_ERROR.items() if isinstance(error, kind)), "internal")
    # What is wrong with our own house is nobody else's business.
    return Problem(code, PROBLEMS[code], error.message) if code in PROBLEMS else common(code)


def prepare(
    store: Store,
    *,
    registry: str | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
    workers: int = 1,
    limits: Mapping[str, float] | None = None,
) -> ServiceSettings:
    """Make everything that the service needs in a workspace, and return what to start it with.

    Args:
        store: The devices' authority; made where there is none.
        registry: The URL of a database; the workspace has one of its own without it.
        port: The port; 0 takes a free one.
        host: The address.
        workers: How many processes.
        limits: See `serving.Limits`.

    Raises:
        RegistryUnusableError: The database can't be used.
        LabError: Whatever keeps the authority from being made; see `Store.ensure_authority`.
    """
    workspace = store.workspace
    store.ensure_authority()
    make_folder(workspace.path("registry"), private=True)
    operators = Operators(workspace)
    operators.identity("admin")
    files = service_identity(store, NAME)
    where = registry or str(workspace.path(REGISTRY))
    Registry.open(where).close()  # the tables, before several workers would make them
    return ServiceSettings(
        application="labkit.updates.service:application",
        options={"workspace": str(workspace.root), "registry": where, "limits": dict(limits or {})},
        certificate=files.certificate,
        key=files.key,
        client_authorities=(store.trust_bundle, operators.trust_anchor),
        log=workspace.path(LOG),
        host=host,
        port=port,
        workers=workers,
    )
