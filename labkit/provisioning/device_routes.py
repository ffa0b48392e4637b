"""What devices ask for: their first certificate, the next one, and what they need for their work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI, Request, Response

from labkit import errors
from labkit.provisioning.messages import (
    Configuration,
    DeviceSettings,
    Granted,
    ProvisionRequest,
    RenewRequest,
)
from labkit.provisioning.policy import renewal_opens, topics_of
from labkit.serving.caller import Caller, decision_of
from labkit.serving.house import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.pki import RevocationList
    from labkit.provisioning.desk import Grant
    from labkit.provisioning.office import Office

logger = logging.getLogger("labkit.provisioning")

SECRETS = frozenset({"token-unknown", "token-expired", "token-revoked", "token-spent"})
"""Refusals that count against an address: a wrong secret."""


def add_public(app: FastAPI, office: Office) -> None:
    """Add what needs no certificate."""
    held = [b""]

    def encoded(listed: RevocationList) -> bytes:
        # A list of a million entries has 39 MB, and many ask for the same one: all of them are sent one copy.
        der = listed.crl.public_bytes(Encoding.DER)
        if der != held[0]:
            held[0] = der
        return held[0]

    @app.post("/provision", tags=["device"], status_code=200)
    async def provision(request: Request, body: ProvisionRequest) -> Granted:
        """Grant a device its first certificate, for a token that is spent by that."""
        decision_of(request).actor = "token"
        address = request.client.host if request.client else ""
        csr = body.csr.encode()
        grant = await office.decide(lambda: office.desk.provision(body.token, csr, address=address))
        if not grant.repeated:
            office.publication.publish_later()
        return granted(request, grant)

    @app.get(
        "/crl",
        tags=["public"],
        response_class=Response,
        responses={200: {"content": {"application/pkix-crl": {}}}},
    )
    async def crl() -> Response:
        """Return the revocation list of the devices' authority, in DER (RFC 2585 §4.2)."""
        der = encoded(await in_thread(office.store.revocations.ensure))
        return Response(der, media_type="application/pkix-crl", headers={"cache-control": "max-age=300"})

    @app.get("/healthz", tags=["public"])
    async def healthz() -> dict[str, Any]:
        """Say whether registry and authority answer."""
        await in_thread(office.check)
        return {"status": "ok"}


def add_device(app: FastAPI, office: Office, caller: Caller) -> None:
    """Add what a device asks for with its certificate."""

    @app.post("/renew", tags=["device"])
    async def renew(request: Request, body: RenewRequest) -> Granted:
        """Grant the device that asks its next certificate, for a new key."""
        der = caller.device(request)
        grant = await renewed(
            office, lambda: office.desk.renew(der, body.csr.encode()), decision_of(request).subject
        )
        return granted(request, grant)

    @app.post("/renew/confirm", tags=["device"])
    async def confirm(request: Request) -> dict[str, str]:
        """Confirm a renewal with the new certificate; the one before counts no more."""
        der = caller.device(request)
        name = await office.decide(lambda: office.desk.confirm(der))
        office.publication.publish_later()
        return {"device_id": name, "status": "active"}

    @app.get("/config", tags=["device"])
    async def config(request: Request) -> Configuration:
        """Return what the device that asks needs for its work."""
        der = caller.device(request)
        certificate, device = await office.decide(lambda: office.desk.present(der))
        entry = certificate.entry
        return Configuration(
            device_id=device.device_id,
            broker=office.broker_address(),
            topics=dict(topics_of(device.device_id)),
            settings=DeviceSettings(**device.settings),
            version=device.version,
            renew_after=renewal_opens(
                device.device_id, entry.not_before, entry.not_after, office.desk.policy
            ),
        )


def granted(request: Request, grant: Grant) -> Granted:
    """Return a grant as a message, and note it."""
    decision = decision_of(request)
    decision.subject = grant.device_id
    decision.code = "repeated" if grant.repeated else "issued"
    certificate = grant.certificate
    return Granted.model_construct(
        device_id=grant.device_id,
        certificate=grant.certificate_pem,
        chain=grant.chain_pem,
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_after=certificate.not_valid_after_utc,
        renew_after=grant.renew_after,
        ignored=list(grant.ignored),
        repeated=grant.repeated,
    )


async def renewed(office: Office, work: Callable[[], Grant], device_id: str) -> Grant:
    """Do a renewal; after a clone alarm, shut the device out before anybody is told."""
    try:
        grant = await office.decide(work)
    except errors.RefusedError as error:
        if error.code == "clone-alarm":
            try:
                await in_thread(lambda: office.publication.shut_out(device_id))
            except errors.BrokerError:
                # The alarm is out all the same, and on the list; the next start tells the broker again.
                logger.exception("%s was not shut out of the broker", device_id)
        raise
    return grant
