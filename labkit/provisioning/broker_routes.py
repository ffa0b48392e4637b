"""The four paths that RabbitMQ asks at: a form in, `allow` or `deny` out, always with status 200."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response

from labkit.broker import DEVICE_ACL
from labkit.provisioning.broker_door import BrokerDoor
from labkit.serving import Refused, common
from labkit.serving.caller import Caller, decision_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from labkit.provisioning.office import Office

PATH = "/broker-auth"
FIELDS = 32
"""Most values of one question; RabbitMQ sends about ten."""

_FORM = "application/x-www-form-urlencoded"
_NAMES = ("username", "password", "vhost", "client_id", "resource", "name", "permission", "routing_key")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {"schema": {"type": "object", "properties": {name: {"type": "string"} for name in _NAMES}}}
        },
    }
}


def add(app: FastAPI, office: Office, caller: Caller) -> None:
    """Add the broker's four questions."""
    door = BrokerDoor(office.registry, DEVICE_ACL)
    questions = {"user": door.user, "vhost": door.vhost, "resource": door.resource, "topic": door.topic}
    for name, question in questions.items():
        _add(app, name, question, office, caller)


def _add(
    app: FastAPI, name: str, question: Callable[[Mapping[str, str]], bool], office: Office, caller: Caller
) -> None:
    @app.post(
        f"{PATH}/{name}",
        tags=["broker"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
        openapi_extra=_BODY,
        name=f"broker_{name}",
        summary=f"Say whether the broker may let a client do it: {name}",
    )
    async def answer(request: Request) -> Response:
        caller.broker(request)
        asked = _form(await request.body(), request.headers.get("content-type", ""))
        allowed = await office.decide(lambda: question(asked))
        decision = decision_of(request)
        decision.subject = asked.get("username", "")[:64]
        decision.code = "allow" if allowed else "deny"
        return Response(decision.code, media_type="text/plain")


def _form(body: bytes, media_type: str) -> dict[str, str]:
    """Return the values of a form.

    Raises:
        Refused: It is none, or has a name twice, so that two readers could read two things.
    """
    if media_type.partition(";")[0].strip().lower() != _FORM:
        raise Refused(common("media-type", f"Send {_FORM}."))
    try:
        # Blank values count: an empty password is a password.
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=FIELDS,
        )  # fmt: skip
    except ValueError as error:
        raise Refused(common("malformed", "It is no form.")) from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Refused(common("malformed", "A name stands twice."))
    return values
