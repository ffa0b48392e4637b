"""The trail: who did what to whom and when. The database itself refuses to change a line of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from labkit.devices.schema import trail

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

_INSERT = sa.insert(trail)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the trail.

    Attributes:
        number: Its number; later lines have larger ones.
        at: When.
        actor: Who: an operator's name, `device:` and its id, `token`, `factory` or `service`.
        action: What was done, in one stable word.
        subject: To which device.
        detail: Values that tell more. Never a token, never a key.
    """

    number: int
    at: dt.datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


class Trail:
    """The trail within a transaction.

    Does not check: whoever owns the database can drop its triggers. Ship the service's log elsewhere too.
    """

    def __init__(self, connection: sa.Connection, now: dt.datetime) -> None:
        self._connection = connection
        self._now = now

    def note(self, actor: str, action: str, subject: str, **detail: Any) -> None:
        """Write a line."""
        self._connection.execute(
            _INSERT,
            {
                "at": self._now,
                "actor": actor,
                "action": action,
                "subject": subject,
                "detail": json.dumps(detail),
            },
        )

    def note_all(self, actor: str, action: str, subjects: list[str], **detail: Any) -> None:
        """Write the same line for many devices."""
        if not subjects:
            return
        same = {"at": self._now, "actor": actor, "action": action, "detail": json.dumps(detail)}
        self._connection.execute(_INSERT, [{**same, "subject": subject} for subject in subjects])

    def events(self, subject: str | None = None, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return lines, oldest first.

        Args:
            subject: Only those about this device.
            after: Only those with larger numbers.
            limit: At most so many, the newest ones.
        """
        chosen = sa.select(trail).where(trail.c.number > after)
        if subject is not None:
            chosen = chosen.where(trail.c.subject == subject)
        rows = self._connection.execute(chosen.order_by(trail.c.number.desc()).limit(limit)).all()
        return [
            Event(row.number, row.at, row.actor, row.action, row.subject, json.loads(row.detail))
            for row in reversed(rows)
        ]
