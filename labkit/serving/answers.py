"""Every way in which a handler can end badly, turned into problem details and a code in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from labkit.errors import LabError
from labkit.serving.caller import decision_of
from labkit.serving.gate import Refused
from labkit.serving.problems import MEDIA_TYPE, Problem, common, of_status

if TYPE_CHECKING:
    from collections.abc import Callable


def add_handlers(
    app: FastAPI, problem_of: Callable[[LabError], Problem], *, secrets: frozenset[str] = frozenset()
) -> None:
    """Let an application answer with problem details, whatever happens.

    Args:
        app: The application.
        problem_of: Returns how an error of ours is told to the other side.
        secrets: Codes of refusals that count against an address: a wrong secret.
    """

    def answer(request: Request, problem: Problem) -> Response:
        decision = decision_of(request)
        decision.code = problem.code
        decision.failed_secret |= problem.code in secrets
        return Response(problem.body(), problem.kind.status, problem.headers, MEDIA_TYPE)

    @app.exception_handler(LabError)
    async def ours(request: Request, error: LabError) -> Response:
        return answer(request, problem_of(error))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
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
