"""The devices within a transaction: who they are, where they stand, what they are set to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from labkit.devices.lifecycle import State, verify_move
from labkit.devices.schema import devices
from labkit.devices.schema import trail as lines
from labkit.errors import DeviceExistsError, DeviceUnknownError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from labkit.devices.identity import DeviceIdentity
    from labkit.devices.trail import Trail


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the registry has it.

    Attributes:
        device_id: Its id.
        serial: The maker's serial number, if known.
        mac: Its MAC address, if known.
        state: Where it stands in its life.
        batch: The factory batch that it comes from, if any.
        settings: What it is set to, by name.
        version: Counts the changes of its settings.
        renew_now: Whether an operator lets it renew before it is due.
        made_at: When it came into the registry.
        moved_at: When it came into its state.
    """

    device_id: str
    serial: str | None
    mac: str | None
    state: State
    batch: str | None
    settings: Mapping[str, Any]
    version: int
    renew_now: bool
    made_at: dt.datetime
    moved_at: dt.datetime


_BY_ID = sa.select(devices).where(devices.c.id == sa.bindparam("wanted"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
_MOVE = (
    sa.update(devices)
    .where(devices.c.id == sa.bindparam("wanted"))
    .values(state=sa.bindparam("new"), moved_at=sa.bindparam("moment"))
)

_AT_ONCE = 10_000
"""Values in one statement; SQLite takes 32,766 of them."""


class Fleet:
    """The devices within a transaction."""

    def __init__(self, connection: sa.Connection, now: dt.datetime, trail: Trail) -> None:
        self._connection = connection
        self._now = now
        self._trail = trail

    def add(self, identities: Sequence[DeviceIdentity], *, actor: str, batch: str | None = None) -> None:
        """Take devices into the registry, all or none.

        Args:
            identities: Who they are.
            actor: Who takes them in.
            batch: The factory batch that they come from.

        Raises:
            DeviceExistsError: One is there already; `rule` is `id`, `serial` or `mac`.
        """
        rows = [
            {
                "id": each.device_id, "serial": each.serial, "mac": each.mac, "state": State.MADE.value,
                "batch": batch, "settings": "{}", "version": 0, "renew_now": False,
                "made_at": self._now, "moved_at": self._now,
            }
            for each in identities
        ]  # fmt: skip
        if not rows:
            return
        try:
            with self._connection.begin_nested():
                self._connection.execute(sa.insert(devices), rows)
        except exc.IntegrityError as error:
            raise self._exists(identities) from error
        self._trail.note_all(actor, "made", [each.device_id for each in identities], batch=batch)

    def get(self, device_id: str, *, lock: bool = False) -> Device:
        """Return a device.

        Args:
            device_id: Its id.
            lock: Let no other transaction change it until this one ends.

        Raises:
            DeviceUnknownError: There is none of that id.
        """
        chosen = _BY_ID_LOCKED if lock else _BY_ID
        row = self._connection.execute(chosen, {"wanted": device_id}).first()
        if row is None:
            raise DeviceUnknownError(
                f"The registry has no device {device_id[:70]!r}.",
                advice=f"Take it in: labkit provision add {device_id[:63]}",
                name=device_id,
            )
        return _device(row)

    def known(self, device_ids: Sequence[str]) -> set[str]:
        """Return those of these ids that the registry has."""
        found: set[str] = set()
        for start in range(0, len(device_ids), _AT_ONCE):
            some = device_ids[start : start + _AT_ONCE]
            chosen = sa.select(devices.c.id).where(devices.c.id.in_(some))
            found |= set(self._connection.execute(chosen).scalars())
        return found

    def not_shut_out(self) -> Sequence[str]:
        """Return the ids of devices that were taken out of service, and whose shutting out was never finished."""
        locked = (State.QUARANTINED.value, State.REVOKED.value)
        decided, done = (
            sa.select(sa.func.max(lines.c.number))
            .where(lines.c.subject == devices.c.id, lines.c.action.in_(actions))
            .scalar_subquery()
            for actions in (locked, ("shut-out",))
        )
        chosen = sa.select(devices.c.id).where(
            devices.c.state.in_(locked), decided > sa.func.coalesce(done, 0)
        )
        return self._connection.execute(chosen.order_by(devices.c.id)).scalars().all()

    def list(
        self,
        *,
        state: State | None = None,
        batch: str | None = None,
        find: str | None = None,
        after: str = "",
        limit: int = 1000,
    ) -> list[Device]:
        """Return devices in the order of their ids.

        Args:
            state: Only those in this state.
            batch: Only those of this batch.
            find: Only those whose id, serial number or MAC is this.
            after: Only those whose ids come later, to go on where a page ended.
            limit: At most so many.
        """
        chosen = sa.select(devices).where(devices.c.id > after).order_by(devices.c.id).limit(limit)
        if state is not None:
            chosen = chosen.where(devices.c.state == state.value)
        if batch is not None:
            chosen = chosen.where(devices.c.batch == batch)
        if find is not None:
            labels = (devices.c.id == find, devices.c.serial == find.upper(), devices.c.mac == find.lower())
            chosen = chosen.where(sa.or_(*labels))
        return [_device(row) for row in self._connection.execute(chosen)]

    def count(self) -> dict[State, int]:
        """Return how many devices are in each state."""
        chosen = sa.select(devices.c.state, sa.func.count()).group_by(devices.c.state)
        return {State(state): number for state, number in self._connection.execute(chosen)}

    def move(self, device: Device, wanted: State, *, actor: str, **detail: Any) -> None:
        """Bring a device into another state; it keeps the one it is in without a word.

        Raises:
            MoveRefusedError: It can't go there.
        """
        if device.state is wanted:
            return
        verify_move(device.device_id, device.state, wanted)
        self._connection.execute(
            _MOVE, {"wanted": device.device_id, "new": wanted.value, "moment": self._now}
        )
        self._trail.note(actor, wanted.value, device.device_id, before=device.state.value, **detail)

    def allow_renewal(self, device_id: str, *, actor: str, allowed: bool = True) -> None:
        """Let a device renew before it is due, once; or take that back."""
        self._change(device_id, renew_now=allowed)
        if allowed:
            self._trail.note(actor, "renewal-allowed", device_id)

    def set(self, device: Device, settings: Mapping[str, Any], *, actor: str) -> int:
        """Give a device other settings, and return their version.

        Does not check: what the settings mean; the service's policy does.
        """
        version = device.version + 1
        self._change(device.device_id, settings=json.dumps(dict(settings)), version=version)
        self._trail.note(actor, "settings", device.device_id, version=version)
        return version

    def _change(self, device_id: str, **values: Any) -> None:
        self._connection.execute(sa.update(devices).where(devices.c.id == device_id).values(**values))

    def _exists(self, identities: Sequence[DeviceIdentity]) -> DeviceExistsError:
        seen: set[tuple[str, str]] = set()
        for each in identities:
            labels = (("id", each.device_id), ("serial", each.serial), ("mac", each.mac))
            for rule, text in labels:
                column = devices.c[rule]
                if text is None:
                    continue
                if (rule, text) in seen or self._connection.execute(
                    sa.select(column).where(column == text)
                ).first():
                    return DeviceExistsError(
                        f"There is a device with the {rule} {text} already.",
                        advice=f"Nothing was taken in. Look at what there is: labkit provision list --find {text}",
                        name=each.device_id,
                        rule=rule,
                    )
                seen.add((rule, text))
        text = "the database refused these devices, and none of them is known"
        raise RuntimeError(text)


def _device(row: Any) -> Device:
    return Device(
        row.id, row.serial, row.mac, State(row.state), row.batch, json.loads(row.settings), row.version,
        bool(row.renew_now), row.made_at, row.moved_at,
    )  # fmt: skip
