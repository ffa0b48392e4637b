"""The provisioning service: HTTPS in front, `Desk` and `Operations` behind. It decides nothing itself.

| path | who asks | what for |
| --- | --- | --- |
| POST /provision | a device with a token | its first certificate |
| POST /renew, /renew/confirm | a device with its certificate | the next one |
| GET /config | a device with its certificate | what it needs for its work |
| GET /crl, /healthz | anybody | the revocation list; whether the service works |
| /devices, /tokens, … | an operator with a certificate of another authority | the fleet |
| POST /broker-auth/… | a broker, with the certificate that was made for it | what its clients may do |
| /.well-known/est/… | devices that speak EST (RFC 7030) | see `est` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from labkit import errors
from labkit.provisioning import broker_routes, device_routes, est, operator_routes
from labkit.provisioning.device_routes import SECRETS
from labkit.provisioning.messages import PROBLEMS
from labkit.provisioning.office import Office
from labkit.serving import DecisionLog, Gate, Limits, Problem, common
from labkit.serving.answers import add_handlers
from labkit.serving.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_ERROR: Mapping[type[errors.LabError], str] = {
    errors.DeviceUnknownError: "device-unknown",
    errors.DeviceExistsError: "device-exists",
    errors.MoveRefusedError: "move-refused",
    errors.NameRefusedError: "name-refused",
    errors.BrokerError: "unavailable",
    errors.RegistryUnusableError: "unavailable",
    errors.WorkspaceError: "unavailable",
    errors.PkiError: "issuance-refused",
}


def application(options: Mapping[str, Any]) -> Gate:
    """Return the service as an ASGI application; what a worker process calls.

    Args:
        options: What `Office.options` returns: where workspace, registry, broker and log are, and the limits.

    Raises:
        RegistryUnusableError, AuthorityMissingError: It can't work like that.
    """
    office = Office.open(options)
    office.publication.keep_fresh()
    caller = Caller(office.operators_certificate, office.issuer.certificate)
    return Gate(
        _routes(office, caller),
        limits=Limits(**options.get("limits", {})),
        log=DecisionLog(office.decisions),
        unlimited=caller.is_broker,
    )


def problem_of(error: errors.LabError) -> Problem:
    """Return how an error is told to the other side."""
    if isinstance(error, errors.RefusedError):
        return Problem(error.code, PROBLEMS[error.code], error.message)
    code = next((code for kind, code in _BY_ERROR.items() if isinstance(error, kind)), "internal")
    # What is wrong with our own house is nobody else's business; the names of devices are.
    detail = error.message if code in PROBLEMS and code != "issuance-refused" else ""
    return Problem(code, PROBLEMS[code], detail) if code in PROBLEMS else common(code)


def _routes(office: Office, caller: Caller) -> FastAPI:
    app = FastAPI(
        title="Provisioning",
        version="1",
        summary="Certificates for a fleet of small devices.",
        description="Refusals are problem details (RFC 9457) with a stable `code`.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        responses={"4XX": {"description": "A refusal, with a code and advice."}},
    )
    app.state.office = office
    add_handlers(app, problem_of, secrets=SECRETS)
    device_routes.add_public(app, office)
    for add in (
        device_routes.add_device,
        operator_routes.add_fleet,
        operator_routes.add_life,
        broker_routes.add,
        est.add,
    ):
        add(app, office, caller)
    return app
