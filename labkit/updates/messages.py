"""What goes over the wire about updates: requests, replies, and every reason to say no."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - pydantic reads the annotations when the program runs
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from labkit.serving import WHO, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

PRODUCT = r"^[a-z0-9][a-z0-9-]{0,30}$"
VERSION = r"^(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})$"

PROBLEMS: Mapping[str, Kind] = {
    **WHO,
    "product-unknown": Kind(404, "Nothing was released for this product", "Look at the product's name."),
    "release-unknown": Kind(404, "There is no such release", "Ask for the manifest first."),
    "image-missing": Kind(
        503, "The release's image is not where it should be", "Tell an operator; try again later."
    ),
    "rollout-aborted": Kind(410, "This release was taken back", "Throw away what you have of it."),
    "not-its-turn": Kind(
        403, "The roll-out has not come to this device", "Ask for the manifest again later."
    ),
    "too-many-downloads": Kind(
        429, "This device is fetching too much at once", "End the other downloads first."
    ),
    "range-wrong": Kind(416, "The range lies outside of the file", "Begin anew."),
    "update-refused": Kind(400, "Devices would refuse this update", "The detail has the reason's code."),
    "release-exists": Kind(409, "This version was published already", "Publish the next one."),
    "release-refused": Kind(409, "The roll-out can't do that", "Look at how it stands."),
}
"""Every reason of the service's own, by its stable code."""

CODE = r"^[a-z][a-z0-9-]{0,31}$"
DeviceId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Report(_Message):
    """What became of a release on a device: `ok` once it was confirmed, or the code of what went wrong."""

    version: Annotated[str, StringConstraints(pattern=VERSION, max_length=17)]
    code: Annotated[str, StringConstraints(pattern=CODE)]


class RolloutRequest(_Message):
    """How far a release is to be rolled out."""

    percent: Annotated[int, Field(ge=0, le=100)]
    first: Annotated[list[DeviceId], Field(max_length=200)] = []


class ReleaseView(_Message):
    """A release as operators see it."""

    product: str
    version: str
    secure_version: int
    hardware: tuple[int, int]
    size: int
    sha256: str
    key_id: str
    state: str
    percent: int
    first: list[str]
    published_at: dt.datetime
    reported: dict[str, int]
