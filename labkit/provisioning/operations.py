"""What operators do: take devices in, make tokens, ship, quarantine, release, decommission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.devices import DeviceIdentity, State
from labkit.pki import Reason

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from labkit.devices import Certificate, Device, Event, Registry, Token
    from labkit.provisioning.messages import DeviceSettings
    from labkit.provisioning.publication import Publication


@dataclass(frozen=True, slots=True)
class Dossier:
    """Everything that is known of a device.

    Attributes:
        device: The device.
        certificates: Its certificates, oldest first.
        tokens: Its tokens, oldest first.
        events: What happened to it, oldest first.
    """

    device: Device
    certificates: Sequence[Certificate]
    tokens: Sequence[Token]
    events: Sequence[Event]


class Operations:
    """What operators do.

    Args:
        registry: The fleet.
        publication: What brings decisions to the list and to the broker.
    """

    def __init__(self, registry: Registry, publication: Publication) -> None:
        self.registry = registry
        self.publication = publication

    def add(self, identities: Sequence[DeviceIdentity], *, actor: str) -> None:
        """Take devices in, all or none.

        Raises:
            DeviceExistsError: One of them is there already.
        """
        with self.registry.begin() as tx:
            tx.fleet.add(identities, actor=actor)

    def issue_tokens(
        self, device_ids: Sequence[str], *, lifetime: dt.timedelta, actor: str, add: bool = False
    ) -> Mapping[str, str]:
        """Make a token for each device, and return them by device; nobody can show them again.

        Args:
            device_ids: For whom.
            lifetime: How long they count.
            actor: Who makes them.
            add: Take in devices that the registry does not have.

        Raises:
            DeviceUnknownError: The registry has no such device.
            MoveRefusedError: The device is out of service, or in quarantine.
        """
        with self.registry.begin() as tx:
            names = list(dict.fromkeys(device_ids))
            if add:
                there = tx.fleet.known(names)
                tx.fleet.add([DeviceIdentity(name) for name in names if name not in there], actor=actor)
            for name in names:
                device = tx.fleet.get(name)
                if device.state not in {State.MADE, State.SHIPPED, State.ENROLLED}:
                    tx.fleet.move(device, State.ENROLLED, actor=actor)  # raises, and says where it may go
            made = tx.tokens.issue(names, lifetime=lifetime, actor=actor)
            tx.trail.note_all(actor, "token-made", names, hours=lifetime.total_seconds() / 3600)
            return made

    def revoke_tokens(self, device_id: str, *, actor: str) -> int:
        """Take back the tokens of a device that were not spent, and return how many there were.

        Raises:
            DeviceUnknownError: The registry has no such device.
        """
        with self.registry.begin() as tx:
            tx.fleet.get(device_id)
            number = tx.tokens.revoke(device_id)
            if number:
                tx.trail.note(actor, "token-revoked", device_id, number=number)
            return number

    def ship(self, device_id: str, *, actor: str) -> None:
        """Note that a device has left the house.

        Raises:
            DeviceUnknownError, MoveRefusedError: It can't.
        """
        with self.registry.begin() as tx:
            tx.fleet.move(tx.fleet.get(device_id, lock=True), State.SHIPPED, actor=actor)

    def allow_renewal(self, device_id: str, *, actor: str) -> None:
        """Let a device renew once before it is due.

        Raises:
            DeviceUnknownError: The registry has no such device.
        """
        with self.registry.begin() as tx:
            tx.fleet.get(device_id, lock=True)
            tx.fleet.allow_renewal(device_id, actor=actor)

    def configure(self, device_id: str, settings: DeviceSettings, *, actor: str) -> int:
        """Give a device settings, and return their version; the device fetches them.

        Raises:
            DeviceUnknownError: The registry has no such device.
        """
        with self.registry.begin() as tx:
            return tx.fleet.set(tx.fleet.get(device_id, lock=True), settings.model_dump(), actor=actor)

    def quarantine(self, device_id: str, *, actor: str, why: str = "") -> list[str]:
        """Lock a device out until somebody has looked at it, and return what was done.

        Raises:
            DeviceUnknownError, MoveRefusedError: It can't.
            BrokerError: The broker did not do as it was told; everything else is done.
        """
        return self._take_out(device_id, State.QUARANTINED, Reason.CERTIFICATE_HOLD, actor=actor, why=why)

    def release(self, device_id: str, *, actor: str) -> None:
        """Let a device out of quarantine; it needs a fresh token, because its certificates stay on the list.

        Said again after a crash or after the broker's refusal, it goes on where it was.

        Raises:
            DeviceUnknownError, MoveRefusedError: It is not in quarantine.
            BrokerError: The broker did not give it its rights back; everything else is done.
        """
        with self.registry.begin() as tx:
            tx.fleet.move(tx.fleet.get(device_id, lock=True), State.SHIPPED, actor=actor)
        self.publication.let_in(device_id)

    def decommission(self, device_id: str, reason: Reason, *, actor: str) -> list[str]:
        """Take a device out of service for good, and return what was done.

        Raises:
            DeviceUnknownError, MoveRefusedError: It can't.
            BrokerError: The broker did not do as it was told; everything else is done.
        """
        return self._take_out(device_id, State.REVOKED, reason, actor=actor, why=reason.value)

    def erase(self, device_id: str, *, actor: str) -> None:
        """Note that a device was erased or destroyed. Its id is never given out again.

        Raises:
            DeviceUnknownError, MoveRefusedError: It is not out of service yet.
        """
        with self.registry.begin() as tx:
            tx.fleet.move(tx.fleet.get(device_id, lock=True), State.GONE, actor=actor)

    def dossier(self, device_id: str) -> Dossier:
        """Return everything that is known of a device.

        Raises:
            DeviceUnknownError: The registry has no such device.
        """
        with self.registry.read() as tx:
            return Dossier(
                tx.fleet.get(device_id),
                tx.certificates.of(device_id),
                tx.tokens.of(device_id),
                tx.trail.events(device_id),
            )

    def _take_out(self, device_id: str, state: State, reason: Reason, *, actor: str, why: str) -> list[str]:
        with self.registry.begin() as tx:
            device = tx.fleet.get(device_id, lock=True)
            tx.fleet.move(device, state, actor=actor, why=why)
            ended = tx.certificates.end_all(device_id, reason)
            tx.tokens.revoke(device_id)
        done = [f"{len(ended)} certificate{'' if len(ended) == 1 else 's'} ended"]
        return done + self.publication.shut_out(device_id)
