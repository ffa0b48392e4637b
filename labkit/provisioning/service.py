"""The provisioning service: HTTPS in front, `Desk` and `Operations` behind. It decides nothing itself.

| path | who asks | what for |
| --- | --- | --- |
| POST /provision | a device with a token | its first certificate |
| POST /renew, /renew/confirm | a device with its certificate | the next one |
| GET /config | a device with its certificate | what it needs for its work |
| GET /crl, /healthz | anybody | the revocation list; whether the service works |
| /devices, /tokens, … | an operator with a certificate of another authority | the fleet |
| /.well-known/est/… | devices that speak EST (RFC 7030) | see `est` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from labkit import errors
from labkit.provisioning import device_routes, est, operator_routes
from labkit.provisioning.caller import Caller, decision_of
from labkit.provisioning.device_routes import SECRETS
from labkit.provisioning.messages import PROBLEMS
from labkit.provisioning.office import Office
from labkit.serving import DecisionLog, Gate, Limits, Problem, Refused, common, of_status
from labkit.serving.problems import MEDIA_TYPE

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
    return Gate(
        _routes(office),
        limits=Limits(**options.get("limits", {})),
        log=DecisionLog(office.decisions),
    )


def problem_of(error: errors.LabError) -> Problem:
    """Return how an error is told to the other side."""
    if isinstance(error, errors.RefusedError):
        return Problem(error.code, PROBLEMS[error.code], error.message)
    code = next((code for kind, code in _BY_ERROR.items() if isinstance(error, kind)), "internal")
    # What is wrong with our own house is nobody else's business; the names of devices are.
    detail = error.message if code in PROBLEMS and code != "issuance-refused" else ""
    return Problem(code, PROBLEMS[code], detail) if code in PROBLEMS else common(code)


def _routes(office: Office) -> FastAPI:
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
    caller = Caller(office.operators_certificate, office.issuer.certificate)
    _add_handlers(app)
    device_routes.add_public(app, office)
    for add in (device_routes.add_device, operator_routes.add_fleet, operator_routes.add_life, est.add):
        add(app, office, caller)
    return app


def _add_handlers(app: FastAPI) -> None:
    def answer(request: Request, problem: Problem) -> Response:
        decision_of(request).code = problem.code
        return Response(problem.body(), problem.kind.status, problem.headers, MEDIA_TYPE)

    @app.exception_handler(errors.LabError)
    async def ours(request: Request, error: errors.LabError) -> Response:
        decision_of(request).failed_secret |= getattr(error, "code", "") in SECRETS
        return answer(request, problem_of(error))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        decision_of(request).failed_secret |= error.problem.code in SECRETS
        return answer(request, error.problem)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        # Where it is wrong and why; never what was sent, which may be a token.
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
        return answer(request, common("malformed", said))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return answer(request, of_status(error.status_code))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        del error  # the gate writes it to the log, with all there is to know; nobody else learns of it
        return answer(request, common("internal"))
