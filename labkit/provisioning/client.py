"""The device's side: asks for its certificate, renews it in time, and never loses the one that works."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import random
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from labkit.clock import SYSTEM_CLOCK, Clock, Deadline
from labkit.errors import RefusedError, ServiceUnreachableError, SlotsError
from labkit.mqtt import Identity
from labkit.mqtt.contexts import client_context
from labkit.pki import make_request
from labkit.pki.template import common_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.provisioning.slots import Slot, Slots

_T = TypeVar("_T")

TIMEOUT = 10.0
LONGEST_REPLY = 64 * 1024 * 1024
"""Longest reply that is read: a revocation list of a million entries has 39 MB, everything else a few kB."""

TEMPORARY = frozenset({"rate-limited", "unavailable", "internal", "request-timeout", "service-unavailable"})
"""Refusals after which it makes sense to ask again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service answered.

    Attributes:
        status: The HTTP status.
        media_type: What the body is.
        body: The body.
        retry_after: Seconds that it asks us to wait.
    """

    status: int
    media_type: str
    body: bytes
    retry_after: float = 0.0

    def json(self) -> Any:
        """Return the body's value."""
        return json.loads(self.body)


class Client:
    """Talks to the service; one TLS connection a request, as a small device does.

    Args:
        url: Where it is, `https://host:port`.
        trust: The root that the service's certificate must come from.
        identity: Who we are; None before the first enrolment.
        name: The name that its certificate must have, where that is not the host's.
    """

    def __init__(
        self, url: str, *, trust: Path, identity: Identity | None = None, name: str | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            text = f"the service is reached by https only, not {url!r}"
            raise ValueError(text)
        self.url = url
        self._host, self._port = parts.hostname, parts.port or 443
        self._trust = trust
        self._identity = identity
        self._name = name or self._host

    def as_device(self, slot: Slot) -> Client:
        """Return a client that presents the identity in a slot."""
        return Client(self.url, trust=self._trust, identity=Identity(slot.chain, slot.key), name=self._name)

    def provision(self, token: str, csr: bytes) -> dict[str, Any]:
        """Ask for the first certificate.

        Raises:
            RefusedError: The service said no; see `Desk.provision` for the codes.
            ServiceUnreachableError: It did not answer, or it is not the one that we trust.
        """
        granted: dict[str, Any] = self.call("POST", "/provision", {"token": token, "csr": csr.decode()})
        return granted

    def renew(self, csr: bytes) -> dict[str, Any]:
        """Ask for the next certificate.

        Raises:
            RefusedError: The service said no; see `Desk.renew` for the codes.
            ServiceUnreachableError: It did not answer.
        """
        granted: dict[str, Any] = self.call("POST", "/renew", {"csr": csr.decode()})
        return granted

    def call(self, method: str, path: str, value: Any = None) -> Any:
        """Send a request with JSON, and return the reply's value.

        Raises:
            RefusedError: The service said no; the error carries its code.
            ServiceUnreachableError: It did not answer, or not in our language.
        """
        body = None if value is None else json.dumps(value).encode()
        reply = self.send(method, path, body, media_type="application/json")
        if reply.status >= 400:
            raise self._refusal(reply)
        try:
            return reply.json()
        except (ValueError, RecursionError) as error:
            raise self._unreachable("its reply is not JSON") from error

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        media_type: str = "application/octet-stream",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send a request and return the reply, whatever it says.

        Raises:
            ServiceUnreachableError: There was none, or the service's certificate does not verify.
        """
        context = client_context(self._trust, self._identity, name=self._name)
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=context)
        try:
            connection.request(
                method,
                path,
                body,
                {**({"Content-Type": media_type} if body is not None else {}), **(headers or {})},
            )
            answer = connection.getresponse()
            if answer.chunked:  # ours sends none, and http.client reads a chunk of negative length to the end
                raise self._unreachable("its reply comes in pieces of unknown length")
            content = answer.read(LONGEST_REPLY)
        except ssl.SSLCertVerificationError as error:
            raise self._unreachable(f"its certificate does not verify: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        wait = answer.headers.get("Retry-After", "0")
        return Reply(
            answer.status,
            answer.headers.get_content_type(),
            content,
            float(wait) if wait.isdigit() else 0.0,
        )

    @staticmethod
    def _refusal(reply: Reply) -> RefusedError:
        try:
            told = reply.json()
            code, title, advice = told["code"], told.get("detail") or told["title"], told["advice"]
        except (ValueError, KeyError, TypeError, RecursionError):
            code, title, advice = (
                "internal",
                f"The service answered {reply.status}",
                "Look at the service's log.",
            )
        return RefusedError(f"{title}", advice=advice, code=code)

    def _unreachable(self, why: str) -> ServiceUnreachableError:
        return ServiceUnreachableError(
            f"No answer from {self.url}: {why}.",
            advice="Is it running? labkit provision serve",
            url=self.url,
        )


def enrol(client: Client, slots: Slots, device_id: str) -> Slot:
    """Take a device through its first boot: key, request, certificate, and the token is erased.

    A device that is enrolled already stays as it is. After a crash at any point it does the right thing when it is
    called again.

    Args:
        client: A client without an identity.
        slots: The device's store, with its token.
        device_id: The device's id.

    Raises:
        RefusedError, ServiceUnreachableError: See `Client.provision`; the token is still there.
        SlotsError: There is no token.
    """
    current = slots.current
    if current is None:
        token = slots.token
        if token is None:
            raise SlotsError(
                f"{device_id} has neither an identity nor a token.",
                advice=f"Make one for it: labkit provision token {device_id}",
                path=slots.folder,
            )
        granted = client.provision(token, make_request(slots.stage(), device_id))
        slots.install(granted["chain"])
        current = slots.switch()
    slots.erase_token()
    return current


def renew(client: Client, slots: Slots, *, device_id: str | None = None) -> Slot:
    """Take a device through a renewal: a new key, its certificate, confirmed, and only then the slots are switched.

    After a crash at any point it goes on where it was when it is called again; the old identity works until the new
    one has been confirmed.

    Args:
        client: A client for the service.
        slots: The device's store.
        device_id: The name to ask for; the present one's without it.

    Raises:
        RefusedError, ServiceUnreachableError: See `Client.renew`; the old identity is in use.
        SlotsError: The device has no identity yet.
    """
    current = slots.current
    if current is None:
        raise SlotsError("The device has no identity to renew.", advice="Enrol it first.", path=slots.folder)
    spare = slots.installed
    if spare is None:
        name = device_id or common_name(current.certificate.subject)
        granted = client.as_device(current).renew(make_request(slots.stage(), name))
        spare = slots.install(granted["chain"])
    client.as_device(spare).call("POST", "/renew/confirm")
    used = slots.switch()
    slots.discard_spare()
    return used


def renewal_due(client: Client, slots: Slots, *, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Ask the service from when on the device may renew, and return whether that time has come.

    Raises:
        RefusedError, ServiceUnreachableError: See `Client.call`.
    """
    current = slots.current
    if current is None:
        return False
    told = client.as_device(current).call("GET", "/config")["renew_after"]
    return clock.now() >= dt.datetime.fromisoformat(told)


def waits(*, base: float = 1.0, cap: float = 60.0, source: random.Random | None = None) -> Iterator[float]:
    """Yield how long to wait before each next try: doubled each time, up to a cap, and scattered below that.

    Scattered over the whole span ("full jitter"), so that a fleet that lost its service together does not come back
    together.

    Args:
        base: Seconds before the second try, at most.
        cap: Seconds, at most.
        source: Where randomness comes from.
    """
    chance = source or random.SystemRandom()
    span = base
    while True:
        yield chance.uniform(0, min(span, cap))
        span = min(span * 2, cap)


def persist(attempt: Callable[[], _T], *, patience: float, pauses: Iterator[float] | None = None) -> _T:
    """Try again while it makes sense, and return what the first success returns.

    Args:
        attempt: What to try.
        patience: For how many seconds.
        pauses: How long to wait before each next try; `waits()` without it.

    Raises:
        RefusedError: The service said no for good, or is still saying that it can't when patience ends.
        ServiceUnreachableError: It has not answered until then.
    """
    deadline, pauses = Deadline(patience), pauses or waits()
    while True:
        try:
            return attempt()
        except (ServiceUnreachableError, RefusedError) as error:
            temporary = not isinstance(error, RefusedError) or error.code in TEMPORARY
            if not temporary or deadline.passed:
                raise
        deadline.pause(next(pauses))
