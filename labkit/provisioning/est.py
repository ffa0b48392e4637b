"""Enrolment over Secure Transport (RFC 7030): the same desk, the same policy, another language.

`cacerts`, `simpleenroll` and `simplereenroll`; replies are certs-only PKCS #7, in base64.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fastapi import FastAPI, Request, Response

from labkit import errors
from labkit.provisioning.device_routes import SECRETS, granted, renewed
from labkit.provisioning.messages import PROBLEMS
from labkit.serving import Problem, Refused, common
from labkit.serving.caller import Caller, decision_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from labkit.provisioning.office import Office

PATH = "/.well-known/est"

_REPLY: dict[int | str, dict[str, Any]] = {
    200: {"description": "Certificates, as certs-only PKCS #7.", "content": {"application/pkcs7-mime": {}}}
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/pkcs10": {"schema": {"type": "string", "format": "byte", "maxLength": 16384}}
        },
    }
}


def add(app: FastAPI, office: Office, caller: Caller) -> None:
    """Add the paths of EST to the service."""

    @app.get(f"{PATH}/cacerts", tags=["est"], response_class=Response, responses=_REPLY)
    async def cacerts() -> Response:
        """Return the authorities (RFC 7030 §4.1)."""
        return _certificates([*office.issuer.presented, office.root_certificate])

    @app.post(
        f"{PATH}/simpleenroll", tags=["est"], response_class=Response, responses=_REPLY, openapi_extra=_BODY
    )
    async def simpleenroll(request: Request) -> Response:
        """Grant a first certificate; id and token come as HTTP Basic (RFC 7030 §3.2.3, §4.2.1)."""
        device_id, token = _basic(request)
        decision_of(request).actor = "token"
        csr = _request(request, await request.body())
        try:
            grant = await office.decide(lambda: office.desk.provision(token, csr, device_id=device_id))
        except errors.RefusedError as error:
            if error.code not in SECRETS:
                raise
            raise Refused(_unauthorised(error.code, error.message)) from error
        granted(request, grant)
        return _certificates([grant.certificate, *grant.chain])

    @app.post(
        f"{PATH}/simplereenroll", tags=["est"], response_class=Response, responses=_REPLY, openapi_extra=_BODY
    )
    async def simplereenroll(request: Request) -> Response:
        """Grant the next certificate; the present one authenticates (RFC 7030 §4.2.2)."""
        der = caller.device(request)
        csr = _request(request, await request.body())
        subject = decision_of(request).subject
        grant = await renewed(office, lambda: office.desk.renew(der, csr, strict=True), subject)
        granted(request, grant)
        return _certificates([grant.certificate, *grant.chain])


_REALM = 'Basic realm="device id and token"'


def _certificates(certificates: Sequence[x509.Certificate]) -> Response:
    der = pkcs7.serialize_certificates(list(certificates), Encoding.DER)
    return Response(
        base64.encodebytes(der),
        media_type="application/pkcs7-mime; smime-type=certs-only",
        headers={"Content-Transfer-Encoding": "base64"},
    )


def _basic(request: Request) -> tuple[str, str]:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(credentials, validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        user = colon = password = ""
    if scheme.lower() != "basic" or not colon:
        raise Refused(_unauthorised("credentials-missing", "Send id and token."))
    return user, password


def _request(request: Request, body: bytes) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/pkcs10":
        raise Refused(common("media-type", "EST takes application/pkcs10."))
    try:
        # Clients break lines, and some send DER in base64 with none of it; PEM is not base64 and is refused.
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(common("malformed", "The body is not base64.")) from None
    lines = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"-----END CERTIFICATE REQUEST-----\n"


def _unauthorised(code: str, detail: str) -> Problem:
    # RFC 7030 §3.2.3: a wrong password is 401 here, so that a client asks its user for another.
    return Problem(code, replace(PROBLEMS[code], status=401), detail, {"WWW-Authenticate": _REALM})
