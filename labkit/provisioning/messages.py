"""What goes over the wire: requests, replies, and every reason to say no."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - pydantic reads the annotations when the program runs
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from labkit.serving import WHO, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_REQUEST = 16 * 1024

TokenText = Annotated[str, StringConstraints(min_length=1, max_length=128)]
RequestText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REQUEST)]
DeviceId = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
]

PROBLEMS: Mapping[str, Kind] = {
    **WHO,
    # Tokens
    "credentials-missing": Kind(401, "Id and token are needed", "Send them as HTTP Basic."),
    "token-unknown": Kind(403, "There is no such token", "Ask an operator for one."),
    "token-expired": Kind(403, "The token has run out", "Ask an operator for a fresh one."),
    "token-revoked": Kind(403, "The token was taken back", "Ask an operator for a fresh one."),
    "token-spent": Kind(
        409, "The token was spent with another key", "If that was not this device, tell an operator."
    ),
    # Requests for certificates
    "csr-too-long": Kind(400, "The certificate request is too long", "Send one PKCS #10 request."),
    "csr-not-one-request": Kind(
        400, "This is not one certificate request", "Send one PEM block, and never a key."
    ),
    "csr-unreadable": Kind(400, "The certificate request does not parse", "Make it with a library."),
    "csr-no-proof": Kind(
        400, "The request's signature does not fit its key", "Sign it with the key that is in it."
    ),
    "key-kind": Kind(400, "This kind of key is not allowed", "Use P-256, or RSA with 2048 bits."),
    "key-curve": Kind(400, "This curve is not allowed", "Use P-256."),
    "key-rsa-too-short": Kind(400, "This RSA key is too short", "Use P-256, or RSA with 2048 bits."),
    "key-rsa-exponent": Kind(400, "This RSA exponent is not allowed", "Use 65537."),
    "key-reused": Kind(409, "Another certificate has this key", "Make a fresh key."),
    "key-not-new": Kind(400, "A renewal needs a new key", "Make a fresh key."),
    "subject-differs": Kind(
        400, "A renewal keeps the subject", "Ask for the subject of the present certificate."
    ),
    # Renewal
    "renewal-not-due": Kind(403, "It is too early to renew", "Wait, or ask an operator to allow it."),
    "renewal-unconfirmed": Kind(
        409, "The last renewal was not confirmed", "POST /renew/confirm with the new one."
    ),
    "nothing-to-confirm": Kind(409, "This certificate replaces none", "Go on; nothing is to be done."),
    "clone-alarm": Kind(
        409, "Two devices use this identity", "Both are locked out until an operator has looked."
    ),
    # Devices
    "device-unknown": Kind(404, "The registry has no such device", "Take it in first."),
    "device-exists": Kind(409, "The registry has this device already", "Look at it first."),
    "move-refused": Kind(409, "The device can't go into this state", "Look at the state that it is in."),
    "name-refused": Kind(400, "This can't be the name of a device", "Use 1 to 63 of a-z, 0-9 and -."),
    "settings-refused": Kind(400, "These settings are not allowed", "Compare them with /openapi.json."),
    "issuance-refused": Kind(503, "The authority can't sign now", "Tell an operator."),
}
"""Every reason of the service's own, by its stable code."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProvisionRequest(_Message):
    """A device's first request: the token that it was shipped with, and a request for its own key."""

    token: TokenText
    csr: RequestText


class RenewRequest(_Message):
    """A request for the next key of a device that has a certificate."""

    csr: RequestText


class Granted(_Message):
    """A certificate."""

    device_id: str
    certificate: str
    chain: str
    serial: str
    fingerprint: str
    not_after: dt.datetime
    renew_after: dt.datetime
    ignored: list[str]
    repeated: bool


class NewDevice(_Message):
    """A device to take into the registry."""

    device_id: DeviceId
    serial: Annotated[str, StringConstraints(max_length=32)] | None = None
    mac: Annotated[str, StringConstraints(max_length=17)] | None = None


class NewDevices(_Message):
    """Devices to take into the registry, all or none."""

    devices: Annotated[list[NewDevice], Field(min_length=1, max_length=200)]


class TokensRequest(_Message):
    """A request for tokens, one a device."""

    device_ids: Annotated[list[DeviceId], Field(min_length=1, max_length=200)]
    hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)] = 24


class Tokens(_Message):
    """Tokens, shown this once."""

    tokens: dict[str, str]
    expires_at: dt.datetime


class Reasoned(_Message):
    """Why something is done."""

    reason: Annotated[str, Field(pattern=r"^[a-z-]{1,32}$")] = "unspecified"


class DeviceSettings(_Message):
    """What a device is set to."""

    telemetry_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    label: Annotated[str, StringConstraints(max_length=64, pattern=r"^[ -~]*$")] = ""


class DeviceView(_Message):
    """A device as operators see it."""

    device_id: str
    serial: str | None
    mac: str | None
    state: str
    batch: str | None
    certificates: list[dict[str, Any]]
    settings: dict[str, Any]
    version: int


class Configuration(_Message):
    """What a device needs for its work."""

    device_id: str
    broker: dict[str, Any]
    topics: dict[str, str]
    settings: DeviceSettings
    version: int
    renew_after: dt.datetime
