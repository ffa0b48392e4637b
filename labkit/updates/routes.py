"""The paths of the update service: what devices ask for, and what operators do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response

from labkit.firmware.update import Version
from labkit.serving import Problem, Refused, common
from labkit.serving.caller import decision_of
from labkit.serving.house import in_thread
from labkit.updates.desk import refused
from labkit.updates.download import DOWNLOADS, Download
from labkit.updates.messages import PROBLEMS, PRODUCT, VERSION, ReleaseView, Report, RolloutRequest
from labkit.updates.ranges import parse_range

if TYPE_CHECKING:
    from labkit.updates.desk import Image
    from labkit.updates.service import Office

Product = Annotated[str, Path(max_length=31, pattern=PRODUCT)]
VersionText = Annotated[str, Path(max_length=17, pattern=VERSION)]

_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "Header and image.", "content": {"application/octet-stream": {}}},
    206: {"description": "A range of them.", "content": {"application/octet-stream": {}}},
}
_MANIFEST: dict[int | str, dict[str, Any]] = {
    200: {"description": "The manifest, see docs/formats/update.md.", "content": {"application/json": {}}},
    204: {"description": "There is nothing for this device now."},
}
_UPDATE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def add_public(app: FastAPI, office: Office) -> None:
    """Add what needs no certificate."""

    @app.get("/healthz", tags=["public"])
    async def healthz() -> dict[str, Any]:
        """Say whether the registry answers."""
        await in_thread(office.check)
        return {"status": "ok"}


def add_device(app: FastAPI, office: Office) -> None:
    """Add what devices ask for."""
    busy: Counter[str] = Counter()

    @app.get("/updates/{product}", tags=["device"], response_class=Response, responses=_MANIFEST)
    async def manifest(
        request: Request,
        product: Product,
        hardware: Annotated[int | None, Query(ge=0, le=65_535)] = None,
        version: Annotated[str | None, Query(max_length=17, pattern=VERSION)] = None,
    ) -> Response:
        """Return the manifest of what the device that asks is offered."""
        der = office.caller.device(request)
        runs = None if version is None else version_of(version)
        choice, body = await in_thread(
            lambda: office.desk.manifest(der, product, hardware=hardware, version=runs)
        )
        decision_of(request).code = choice.code
        return Response(body, media_type="application/json") if body else Response(status_code=204)

    @app.get("/updates/{product}/{version}.bin", tags=["device"], response_class=Response, responses=_IMAGE)
    async def image(request: Request, product: Product, version: VersionText) -> Response:
        """Return an update, or the range of it that was asked for."""
        der, wanted = office.caller.device(request), version_of(version)
        found = await in_thread(lambda: office.desk.image(der, product, wanted))
        start, end = _range_of(request, found)
        if busy[found.device_id] >= DOWNLOADS:
            raise refused("too-many-downloads")
        part = end - start < found.size
        decision_of(request).code = "image-part" if part else "image"
        headers = {
            "ETag": found.tag,
            "Accept-Ranges": "bytes",
            "Content-Length": str(end - start),
            **({"Content-Range": f"bytes {start}-{end - 1}/{found.size}"} if part else {}),
        }
        return Download(
            found, (start, end), headers, busy=busy, aborted=lambda: office.desk.aborted(product, wanted)
        )

    @app.post("/updates/{product}/report", tags=["device"])
    async def report(request: Request, product: Product, body: Report) -> dict[str, str]:
        """Take note of what became of a release on the device that asks."""
        der, version = office.caller.device(request), version_of(body.version)
        device_id, state = await in_thread(lambda: office.desk.report(der, product, version, body.code))
        decision_of(request).code = f"reported-{'ok' if body.code == 'ok' else 'failure'}"
        return {"device_id": device_id, "rollout": state.value}


def _range_of(request: Request, image: Image) -> tuple[int, int]:
    unchanged = request.headers.get("if-range", image.tag) == image.tag
    try:
        found = parse_range(request.headers.get("range", ""), image.size) if unchanged else None
    except ValueError as error:
        headers = {"Content-Range": f"bytes */{image.size}"}
        raise Refused(Problem("range-wrong", PROBLEMS["range-wrong"], str(error), headers)) from None
    return found or (0, image.size)


def add_operator(app: FastAPI, office: Office) -> None:
    """Add what operators do."""
    operations = office.operations

    @app.get("/releases", tags=["operator"])
    async def releases(request: Request) -> list[ReleaseView]:
        """List the releases, and what devices said of them."""
        office.caller.operator(request)
        return await in_thread(operations.releases)

    @app.post("/releases", tags=["operator"], status_code=201, openapi_extra=_UPDATE)
    async def publish(request: Request) -> ReleaseView:
        """Publish an update: header and image, as devices will get them."""
        actor = office.caller.operator(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/octet-stream":
            raise Refused(common("media-type", "Send the update as application/octet-stream."))
        update = await request.body()
        return _noted(request, await in_thread(lambda: operations.publish(update, actor=actor)), "published")

    @app.post("/releases/{product}/{version}/rollout", tags=["operator"])
    async def roll_out(
        request: Request, product: Product, version: VersionText, body: RolloutRequest
    ) -> ReleaseView:
        """Offer a release to a share of the fleet."""
        actor = office.caller.operator(request)
        first = body.first if "first" in body.model_fields_set else None
        return _noted(
            request,
            await in_thread(
                lambda: operations.roll_out(product, version, body.percent, actor=actor, first=first)
            ),
            "rolled-out",
        )

    @app.post("/releases/{product}/{version}/pause", tags=["operator"])
    async def pause(request: Request, product: Product, version: VersionText) -> ReleaseView:
        """Offer a release to nobody new."""
        actor = office.caller.operator(request)
        return _noted(
            request, await in_thread(lambda: operations.pause(product, version, actor=actor)), "paused"
        )

    @app.post("/releases/{product}/{version}/abort", tags=["operator"])
    async def abort(request: Request, product: Product, version: VersionText) -> ReleaseView:
        """Take a release back for good."""
        actor = office.caller.operator(request)
        return _noted(
            request, await in_thread(lambda: operations.abort(product, version, actor=actor)), "aborted"
        )


def _noted(request: Request, view: ReleaseView, code: str) -> ReleaseView:
    decision = decision_of(request)
    decision.code, decision.subject = code, f"{view.product}/{view.version}"
    return view


def version_of(text: str) -> Version:
    """Return a version.

    Raises:
        Refused: It is none; a number of it is too large.
    """
    try:
        return Version.parse(text)
    except ValueError as error:
        raise Refused(common("malformed", str(error))) from None
