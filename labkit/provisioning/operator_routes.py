"""What operators ask for: the fleet, its tokens, and the life of each device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Query, Request

from labkit.devices import State, identify
from labkit.pki import Reason
from labkit.provisioning.messages import (
    DeviceSettings,
    DeviceView,
    NewDevices,
    Reasoned,
    Tokens,
    TokensRequest,
)
from labkit.serving import Refused, common
from labkit.serving.caller import Caller, decision_of
from labkit.serving.house import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.provisioning.office import Office
    from labkit.provisioning.operations import Dossier

DeviceName = Annotated[str, Path(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def add_fleet(app: FastAPI, office: Office, caller: Caller) -> None:
    """Add what takes devices in, lists them, and makes tokens for them."""
    operations = office.operations

    act = partial(_act, caller)

    @app.post("/devices", tags=["operator"], status_code=201)
    async def add(request: Request, body: NewDevices) -> dict[str, int]:
        """Take devices into the registry, all or none."""
        actor = caller.operator(request)
        identities = [identify(each.device_id, serial=each.serial, mac=each.mac) for each in body.devices]
        await in_thread(lambda: operations.add(identities, actor=actor))
        return {"added": len(identities)}

    @app.get("/devices", tags=["operator"])
    async def devices(
        request: Request,
        state: Annotated[State | None, Query()] = None,
        after: Annotated[str, Query(max_length=63, pattern=r"^[a-z0-9-]*$")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """List devices in the order of their ids."""
        caller.operator(request)

        def look() -> list[dict[str, Any]]:
            with office.registry.read() as tx:
                found = tx.fleet.list(state=state, after=after, limit=limit)
            return [
                {"device_id": each.device_id, "state": each.state.value, "batch": each.batch}
                for each in found
            ]

        return await in_thread(look)

    @app.get("/devices/{device_id}", tags=["operator"])
    async def show(request: Request, device_id: DeviceName) -> DeviceView:
        """Show one device with its certificates."""
        return _view(await act(request, device_id, lambda _: operations.dossier(device_id)))

    @app.post("/tokens", tags=["operator"], status_code=201)
    async def tokens(request: Request, body: TokensRequest) -> Tokens:
        """Make a token for each device; this reply is the only place where they are shown."""
        actor = caller.operator(request)
        return await in_thread(lambda: _tokens(office, body, actor))

    @app.delete("/devices/{device_id}/tokens", tags=["operator"])
    async def revoke_tokens(request: Request, device_id: DeviceName) -> dict[str, int]:
        """Take back the tokens of a device that were not spent."""
        number = await act(request, device_id, lambda who: operations.revoke_tokens(device_id, actor=who))
        return {"revoked": number}

    @app.post("/devices/{device_id}/ship", tags=["operator"])
    async def ship(request: Request, device_id: DeviceName) -> DeviceView:
        """Note that a device has left the house."""
        await act(request, device_id, lambda who: operations.ship(device_id, actor=who))
        return _view(await in_thread(lambda: operations.dossier(device_id)))

    @app.post("/devices/{device_id}/renewal", tags=["operator"])
    async def renewal(request: Request, device_id: DeviceName) -> DeviceView:
        """Let a device renew once before it is due."""
        await act(request, device_id, lambda who: operations.allow_renewal(device_id, actor=who))
        return _view(await in_thread(lambda: operations.dossier(device_id)))

    @app.put("/devices/{device_id}/settings", tags=["operator"])
    async def settings(request: Request, device_id: DeviceName, body: DeviceSettings) -> dict[str, int]:
        """Give a device settings, which it fetches with its next `GET /config`."""
        work = act(request, device_id, lambda who: operations.configure(device_id, body, actor=who))
        return {"version": await work}


def add_life(app: FastAPI, office: Office, caller: Caller) -> None:
    """Add what moves a device through its life."""
    operations = office.operations
    act = partial(_act, caller)

    @app.post("/devices/{device_id}/quarantine", tags=["operator"])
    async def quarantine(request: Request, device_id: DeviceName, body: Reasoned) -> dict[str, list[str]]:
        """Lock a device out until somebody has looked at it."""
        work = act(
            request, device_id, lambda who: operations.quarantine(device_id, actor=who, why=body.reason)
        )
        return {"done": await work}

    @app.post("/devices/{device_id}/release", tags=["operator"])
    async def release(request: Request, device_id: DeviceName) -> DeviceView:
        """Let a device out of quarantine; it needs a fresh token."""
        await act(request, device_id, lambda who: operations.release(device_id, actor=who))
        return _view(await in_thread(lambda: operations.dossier(device_id)))

    @app.post("/devices/{device_id}/decommission", tags=["operator"])
    async def decommission(request: Request, device_id: DeviceName, body: Reasoned) -> dict[str, list[str]]:
        """Take a device out of service for good."""
        reason = reason_of(body.reason)
        work = act(request, device_id, lambda who: operations.decommission(device_id, reason, actor=who))
        return {"done": await work}

    @app.post("/devices/{device_id}/erase", tags=["operator"])
    async def erase(request: Request, device_id: DeviceName) -> DeviceView:
        """Note that a device was erased or destroyed."""
        await act(request, device_id, lambda who: operations.erase(device_id, actor=who))
        return _view(await in_thread(lambda: operations.dossier(device_id)))


async def _act(caller: Caller, request: Request, device_id: str, work: Callable[[str], Any]) -> Any:
    actor = caller.operator(request)
    decision_of(request).subject = device_id
    return await in_thread(lambda: work(actor))


def _tokens(office: Office, body: TokensRequest, actor: str) -> Tokens:
    lifetime = office.hours(body.hours)
    made = office.operations.issue_tokens(body.device_ids, lifetime=lifetime, actor=actor)
    return Tokens(tokens=dict(made), expires_at=office.clock.now() + lifetime)


def _view(dossier: Dossier) -> DeviceView:
    device = dossier.device
    return DeviceView(
        device_id=device.device_id,
        serial=device.serial,
        mac=device.mac,
        state=device.state.value,
        batch=device.batch,
        certificates=[
            {
                "serial": each.entry.serial,
                "status": each.status.value,
                "reason": each.reason.value if each.reason else None,
                "not_after": each.entry.not_after.isoformat(),
            }
            for each in dossier.certificates
        ],
        settings=dict(device.settings),
        version=device.version,
    )


def reason_of(text: str) -> Reason:
    """Return a reason for a revocation.

    Raises:
        Refused: There is no such reason.
    """
    try:
        return Reason(text)
    except ValueError:
        raise Refused(common("malformed", f"reason is one of: {', '.join(Reason)}")) from None
