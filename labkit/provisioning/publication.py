"""From a decision to its effect: the revocation list, the broker that goes by it, and the session that is open."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from labkit.broker import attach
from labkit.clock import Deadline
from labkit.errors import BrokerError, BrokerNotRunningError, LabError, NotConnectedError
from labkit.mqtt import Endpoint, Identity, open_session, probe
from labkit.pki import DEVICE, Reason, Revocation
from labkit.workspace import write_together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.devices import Registry
    from labkit.pki import RevocationList, Store

logger = logging.getLogger("labkit.provisioning")

REFRESH = dt.timedelta(hours=1)
"""How often somebody looks whether the list is due."""

TRIES = 3
"""How often a session is taken over before it is said that it can't be."""

NOT_CUT = "session not cut, because the broker did not answer; the service's next start tries again"

READS_WITHIN = 8.0
"""Seconds for which it is waited that a broker elsewhere has read a list; `client.TIMEOUT` is longer."""

NOT_READ = f"session not cut for good, because the broker had not read the list after {READS_WITHIN:.0f} s; the service's next start tries again"

UNFINISHED = {NOT_CUT, NOT_READ}

LATER = dt.timedelta(minutes=5)
"""How long superseded certificates wait for the next list: nobody has an interest in using them."""


class Publication:
    """Brings what the registry has decided to the places that act on it.

    The registry comes first. A crash between its decision and the list costs nothing: the next publication takes up
    everything that is not on the list yet.

    Args:
        registry: The fleet.
        store: The devices' authority, whose register and list are used.
        broker: The folder of the broker to tell, if it runs.
        elsewhere: Where a broker is that nobody here can tell, and that somebody brings the list to.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        *,
        broker: Path | None = None,
        elsewhere: Endpoint | None = None,
    ) -> None:
        self._registry = registry
        self._store = store
        self._broker = broker
        self._elsewhere = elsewhere
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._told: int | None = None  # the number of the list that the broker has read

    def publish(self) -> RevocationList:
        """Put on the list what the registry has ended, and return the list; a new one only where one is needed.

        Raises:
            AuthorityMissingError, WorkspaceCorruptError, DiskFullError: The list is as it was.
        """
        register = self._store.revocations
        with self._store.workspace.transaction():
            known = register.revoked()
            with self._registry.read() as tx:
                ended = [each for each in tx.certificates.ended() if each.entry.serial not in known]
            if not ended:
                return register.ensure()
            return register.enter(
                [
                    Revocation(
                        each.entry.serial,
                        each.entry.name,
                        each.ended_at or each.entry.not_before,
                        each.reason or Reason.UNSPECIFIED,
                        each.entry.not_after,
                    )
                    for each in ended
                ]
            )

    def publish_later(self) -> None:
        """Publish within a few minutes, once for all that comes until then."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(LATER.total_seconds(), self._publish_now)
                self._timer.daemon = True
                self._timer.start()

    def _publish_now(self) -> None:
        with self._lock:
            self._timer = None
        self._refresh_or_say()

    def refresh(self) -> bool:
        """Publish what is due, and have the broker read a list that it has not heard of; return whether it was told.

        A list runs out, and with it every device is locked out; so a new one is made long before, also when nobody is
        revoked for weeks.

        Raises:
            AuthorityMissingError, WorkspaceCorruptError, DiskFullError: The list is as it was.
            BrokerError: The broker refused; the next call tells it again.
        """
        listed = self.publish()
        if listed.number == self._told:
            return False
        done = self.reload()
        self._told = listed.number
        return done

    def keep_fresh(self) -> None:
        """Refresh every hour, from now until `close` or the end of the process."""
        threading.Thread(target=self._keep_fresh, daemon=True).start()

    def _keep_fresh(self) -> None:
        while not self._closed.wait(REFRESH.total_seconds()):
            self._refresh_or_say()

    def _refresh_or_say(self) -> None:
        try:
            self.refresh()
        except LabError as error:
            # Nobody waits for this thread. The list that is out counts for days; the log says what to mend until then.
            logger.error("the revocation list was not renewed: %s %s", error.message, error.advice)  # noqa: TRY400 - ours says all

    def close(self) -> None:
        """Forget what was to be published later; the next publication has it."""
        self._closed.set()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def reload(self) -> bool:
        """Have the broker read the list again, and return whether there is one that goes by it.

        Raises:
            BrokerError: There is one, and it refused.
        """
        if self._broker is None:
            return False
        try:
            running = attach(self._broker)
        except BrokerNotRunningError:
            return False
        if not any(listener.crlfile for listener in running.config.listeners):
            return False
        running.reload()
        return True

    def shut_out(self, device_id: str) -> list[str]:
        """Shut a device out that the registry has taken out of service, and return what was done, in words.

        The last step is a line in the trail; where it is missing, `catch_up` begins again.

        The list keeps it from coming back, the rules take its rights, and its session ends: the authority takes it over
        with a certificate made for that moment, which is on the list itself before anybody could use it again. A broker
        elsewhere keeps its rules, and its session ends once it has been seen to go by the list.

        Raises:
            BrokerError: The broker did not do as it was told. The list is published all the same.
        """
        self._end(device_id)  # with what an attempt that was cut off took the session over
        done = self._shut_out(device_id)
        if UNFINISHED.isdisjoint(done):
            with self._registry.begin() as tx:
                tx.trail.note("service", "shut-out", device_id, done=done)
        return done

    def _shut_out(self, device_id: str) -> list[str]:
        listed = self.publish()
        done = [f"list number {listed.number} published", *self._shut_out_here(device_id)]
        if self._elsewhere is not None:
            done += self._cut_elsewhere(device_id, self._elsewhere)
        elif len(done) == 1 and self._broker is not None:
            done.append("no broker runs here")
        self.publish()  # what sessions were taken over with is on the list too
        self.reload()
        return done

    def _shut_out_here(self, device_id: str) -> list[str]:
        if self._broker is None:
            return []
        try:
            running = attach(self._broker)
        except BrokerNotRunningError:
            return []
        if not self.reload():
            raise BrokerError(
                "The broker goes by no revocation list, so it lets the device in.",
                advice="Start it again, now that there is a list: labkit broker stop, labkit broker run",
            )
        running.deny(device_id)
        cut = any(self._take_over(device_id, Endpoint(running.host, running.port)) for _ in range(TRIES))
        return ["broker reloaded", "rights taken", "session cut" if cut else NOT_CUT]

    def let_in(self, device_id: str) -> bool:
        """Give a device that may come back its rights at the broker, and return whether they had been taken.

        Its old certificates stay on the list, so that this opens nothing before it has enrolled again.

        Raises:
            BrokerError: The broker did not do as it was told.
        """
        if self._broker is None:
            return False
        try:
            return attach(self._broker).allow(device_id)
        except BrokerNotRunningError:
            return False  # it reads its rules afresh when it starts

    def catch_up(self) -> list[str]:
        """Finish what a crash has left undone, and return the devices that were shut out only now.

        The registry's decision comes first and the broker hears of it afterwards. Who is killed in between leaves a
        device connected that the registry has out of service.

        Raises:
            BrokerError: The broker did not do as it was told.
        """
        self.refresh()
        with self._registry.read() as tx:
            left = list(tx.fleet.not_shut_out())
        for device_id in left:
            if not UNFINISHED.isdisjoint(self.shut_out(device_id)) and self._elsewhere:
                break  # the next would wait as long, and the broker may not even be up
        return left

    def _take_over(self, device_id: str, endpoint: Endpoint) -> bool:
        with self._stand_in(device_id) as identity:
            return self._connects(device_id, endpoint, identity)

    def _cut_elsewhere(self, device_id: str, endpoint: Endpoint) -> list[str]:
        # Whoever is cut before the broker goes by the list comes in again. So the certificate that has cut the session
        # goes on the list too, and is shown until the broker refuses it for that; then what came in meanwhile is cut.
        with self._stand_in(device_id) as identity:
            if not any(self._connects(device_id, endpoint, identity) for _ in range(TRIES)):
                return [NOT_CUT]
            self._end(device_id)
            self.publish()
            deadline = Deadline(READS_WITHIN)
            while self._refusal(device_id, endpoint, identity) != "certificate-revoked":
                if deadline.passed:
                    return [NOT_READ]
                deadline.pause(0.2)
        cut = any(self._take_over(device_id, endpoint) for _ in range(TRIES))
        return ["the broker has read the list", "session cut" if cut else NOT_CUT]

    def _refusal(self, device_id: str, endpoint: Endpoint, identity: Identity) -> str:
        outcome = probe(endpoint, trust=self._store.trust_anchor, identity=identity, client_id=device_id)
        return "" if outcome.accepted else outcome.reason

    def _connects(self, device_id: str, endpoint: Endpoint, identity: Identity) -> bool:
        with (
            suppress(NotConnectedError),
            open_session(endpoint, trust=self._store.trust_anchor, identity=identity, client_id=device_id),
        ):
            return True
        return False

    @contextmanager
    def _stand_in(self, device_id: str) -> Iterator[Identity]:
        # MQTT 5 §3.1.4: a second connection with the same client id ends the first; the broker takes client ids from
        # certificates, so it needs one with this name.
        issued = self._store.authority().recording(self._registry.ledger).issue_device(
            device_id, profile=replace(DEVICE, days=1), renew=True
        )  # fmt: skip
        serial = f"{issued.certificate.serial_number:x}"
        try:
            with TemporaryDirectory(prefix="labkit-") as folder:
                identity = Identity(Path(folder, "certificate"), Path(folder, "key"))
                write_together(
                    [
                        (identity.key, issued.key_pem, True),
                        (identity.certificate, issued.certificate_pem, False),
                    ]
                )
                yield identity
        finally:
            self._end(device_id)
            with self._registry.begin() as tx:
                tx.trail.note("service", "session-taken-over", device_id, serial=serial)

    def _end(self, device_id: str) -> None:
        with self._registry.begin() as tx:
            tx.certificates.end_all(device_id, Reason.CESSATION_OF_OPERATION)
