"""Tokens within a transaction: each lets one device ask for one certificate, once, and not for ever.

The registry never has a token, only its SHA-256. A token has 256 random bits, so nobody guesses one back from that.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from labkit.devices.schema import tokens

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from typing import Any

PREFIX = "labtok_"
"""How a token begins, so that scanners of logs and repositories can find one."""

_GRAMMAR = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the registry has it.

    Attributes:
        digest: SHA-256 of it, in hexadecimal.
        device: The device that it is for.
        made_at: When it was made.
        made_by: By whom.
        ends_at: When it stops counting.
        used_at: When it was spent.
        certificate: The serial number of what it was spent on.
        revoked_at: When it was taken back.
    """

    digest: str
    device: str
    made_at: dt.datetime
    made_by: str
    ends_at: dt.datetime
    used_at: dt.datetime | None
    certificate: str | None
    revoked_at: dt.datetime | None


def new_token() -> str:
    """Return a new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Return whether a text could be a token."""
    return _GRAMMAR.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """Return what the registry keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


_BY_DIGEST = sa.select(tokens).where(tokens.c.digest == sa.bindparam("wanted"))
_SPEND = (
    sa.update(tokens)
    .where(
        tokens.c.digest == sa.bindparam("wanted"), tokens.c.used_at.is_(None), tokens.c.revoked_at.is_(None)
    )
    .values(used_at=sa.bindparam("moment"), certificate=sa.bindparam("serial"))
)


class Tokens:
    """The tokens within a transaction."""

    def __init__(self, connection: sa.Connection, now: dt.datetime) -> None:
        self._connection = connection
        self._now = now

    def issue(self, device_ids: Sequence[str], *, lifetime: dt.timedelta, actor: str) -> Mapping[str, str]:
        """Make a token for each device, and return them by device. Nobody can show them a second time.

        Args:
            device_ids: For whom; the registry must have them.
            lifetime: How long they count.
            actor: Who makes them.
        """
        made = {name: new_token() for name in device_ids}
        rows = [
            {
                "digest": digest_of(token), "device": name, "made_at": self._now, "made_by": actor,
                "ends_at": self._now + lifetime,
            }
            for name, token in made.items()
        ]  # fmt: skip
        if rows:
            self._connection.execute(sa.insert(tokens), rows)
        return made

    def find(self, token: str) -> Token | None:
        """Return what is known of a token."""
        digest = digest_of(token)
        row = self._connection.execute(_BY_DIGEST, {"wanted": digest}).first()
        # The database compared digests, whose first bytes tell nothing of the token's; this compares in constant time.
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        return Token(*row)

    def spend(self, token: Token, serial: str) -> bool:
        """Spend a token on a certificate, and return whether it was still there to be spent.

        One statement looks and writes, so of many at the same time one succeeds, on every database.
        """
        spent = self._connection.execute(
            _SPEND, {"wanted": token.digest, "moment": self._now, "serial": serial}
        )
        return spent.rowcount == 1

    def revoke(self, device_id: str) -> int:
        """Take back every token of a device that was not spent, and return how many there were."""
        ended = self._connection.execute(
            sa.update(tokens)
            .where(tokens.c.device == device_id, tokens.c.used_at.is_(None), tokens.c.revoked_at.is_(None))
            .values(revoked_at=self._now)
        )
        return int(ended.rowcount)

    def of(self, device_id: str) -> list[Token]:
        """Return every token of a device, oldest first."""
        chosen: Any = sa.select(tokens).where(tokens.c.device == device_id).order_by(tokens.c.made_at)
        return [Token(*row) for row in self._connection.execute(chosen)]
