"""How a device on a board comes by its certificate and renews it: the calls to the service, and what may go wrong.

The order of the steps is `states.first_boot`'s, what a reply may say is `replies`'; both are the firmware's. Whatever
happens, it ends in a code, and the identity that works stays in use.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit.errors import MessageRefusedError, RefusedError, ServiceUnreachableError, SlotsError
from labkit.firmware import NvsEntry
from labkit.node import layout, renewal, replies
from labkit.node.codes import CODES, refused
from labkit.node.states import Step, Stored, first_boot
from labkit.pki import make_request
from labkit.provisioning.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.clock import Clock
    from labkit.node.credentials import BoardSlots, Values
    from labkit.provisioning.client import Reply
    from labkit.provisioning.slots import Slot

LATER = frozenset({"service-unreachable", "service-later"})
"""Codes after which it makes sense to ask again."""

USELESS = ("renewal-not-due", "key-", "csr-")
"""How the reasons begin for which a renewal is refused before any certificate is made: its key has none waiting."""


class Enrolment:
    """The device's dealings with the provisioning service.

    Args:
        values: The device's values.
        slots: Its identity.
        device: Its id.
        trust: The root that it believes.
        clock: What time it is.
        log: Writes a line: tag, code, values.
    """

    def __init__(
        self,
        values: Values,
        slots: BoardSlots,
        device: str,
        *,
        trust: Path,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        self._values, self._slots, self._device = values, slots, device
        self._trust, self._clock, self._log = trust, clock, log

    @property
    def _client(self) -> Client:
        url = self._values.text(layout.SERVICE, layout.PROVISION_URL)
        if url is None:
            raise refused("nvs-missing", layout.PROVISION_URL)
        try:
            return Client(url, trust=self._trust)
        except ValueError as error:
            raise refused("nvs-content", layout.PROVISION_URL) from error

    @property
    def stored(self) -> Stored:
        """What is in the store."""
        slots = self._slots
        return Stored(
            token=slots.token is not None,
            in_use=slots.current is not None,
            staged=slots.staged,
            installed=slots.installed is not None,
        )

    def enrol(self) -> None:
        """Take the device through its first boot, from wherever it is.

        Raises:
            MessageRefusedError: With the code of what is wrong; the token is still there.
        """
        enrolled = False
        while (step := first_boot(self.stored)) is not Step.CONNECT:
            if step is Step.MAKE_KEY:
                self._slots.stage()
            elif step is Step.REQUEST:
                self._request()
            elif step is Step.SWITCH:
                self._slots.switch()
                enrolled = True
            elif step is Step.ERASE_TOKEN:
                self._slots.erase_token()
            else:
                raise refused("boot-no-token", "")
        if enrolled:
            self._log("lab_enrol", "enrol-done", device=self._device)
            self._report_for_duty()

    def _report_for_duty(self) -> None:
        # The service takes who fetches its configuration for one that works. Without it a device can work too.
        try:
            self.configure()
        except MessageRefusedError as error:
            self._log("lab_config", error.code, why=reason_of(error))
        else:
            self._log("lab_config", "config-done")

    def _request(self) -> None:
        csr = make_request(self._slots.stage(), self._device)
        message = {"token": self._slots.token, "csr": csr.decode()}
        self._install(self._ask(self._client, "POST", "/provision", message))

    def renew(self) -> None:
        """Take the device through a renewal, from wherever it is; the old identity works until the new one is confirmed.

        Raises:
            MessageRefusedError: With the code of what is wrong; the identity in use is the one before.
        """
        current = self._in_use()
        if self._slots.installed is None:
            self._ask_anew(current)
        spare = self._slots.spare
        self._ask(self._client.as_device(spare), "POST", "/renew/confirm")
        self._slots.switch()
        self._slots.discard_spare()
        self._log("lab_renew", "renew-done", device=self._device)

    def _ask_anew(self, current: Slot) -> None:
        csr = make_request(self._slots.stage(), self._device)
        try:
            body = self._ask(self._client.as_device(current), "POST", "/renew", {"csr": csr.decode()})
        except MessageRefusedError as error:
            # As in the firmware: any other refusal may come after a grant whose reply was lost, and to ask with a
            # second key then is what a clone does.
            if error.code == "service-refused" and reason_of(error).startswith(USELESS):
                self._slots.discard_spare()
            raise
        self._install(body)

    def configure(self) -> None:
        """Fetch what the service has set for the device, and store it.

        Raises:
            MessageRefusedError: With the code of what is wrong; what was set before counts.
        """
        body = self._ask(self._client.as_device(self._in_use()), "GET", "/config")
        found = replies.read_config(body, self._device)
        self._values.put(
            NvsEntry(layout.SETTINGS, layout.INTERVAL, "u32", found.interval),
            NvsEntry(layout.IDENTITY, layout.RENEW_AFTER, "u64", found.renew_after),
        )

    def verdict(self) -> renewal.Verdict:
        """Return whether the certificate in use is to be renewed now."""
        certificate = self._in_use().certificate
        validity = renewal.Validity(
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
            self._values.number(layout.IDENTITY, layout.RENEW_AFTER) or 0,
        )
        share = self._values.number(layout.IDENTITY, layout.SHARE) or 0
        return renewal.decide(int(self._clock.now().timestamp()), validity, share=share)

    def _in_use(self) -> Slot:
        try:
            current = self._slots.current
        except SlotsError as error:
            raise refused("identity-mismatch", "") from error
        if current is None:
            raise refused("boot-unprovisioned", "")
        return current

    def _install(self, body: bytes) -> None:
        granted = replies.read_grant(body, self._device)
        try:
            self._slots.install(granted.chain)
        except (SlotsError, ValueError) as error:
            raise refused("identity-mismatch", "") from error
        self._values.put(NvsEntry(layout.IDENTITY, layout.RENEW_AFTER, "u64", granted.renew_after))

    def _ask(self, client: Client, method: str, path: str, message: object = None) -> bytes:
        body = None if message is None else json.dumps(message).encode()
        try:
            reply: Reply = client.send(method, path, body, media_type="application/json")
        except (ServiceUnreachableError, RefusedError) as error:
            raise refused("service-unreachable", "") from error
        if reply.status >= 400:
            refusal = replies.read_refusal(reply.status, reply.body)
            raise refused(refusal.code, refusal.reason)
        return reply.body


def reason_of(error: MessageRefusedError) -> str:
    """Return what an error adds to its code, as one word for the log."""
    return error.message.removeprefix(CODES[error.code].meaning).strip().replace(" ", "-") or "-"
