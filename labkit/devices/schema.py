"""The registry's tables. `migrations/` makes them; a test holds both to the same."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql, sqlite

REVISION = "0003"
"""The newest migration."""


class Moment(TypeDecorator[dt.datetime]):
    """An aware point in time, kept as text in UTC that sorts as time does, on every database alike."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Any) -> str | None:
        """Write it; a naive time is a mistake of ours."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            text = "the registry takes aware times only"
            raise ValueError(text)
        return value.astimezone(dt.UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Any) -> dt.datetime | None:
        """Read it."""
        del dialect
        return None if value is None else dt.datetime.fromisoformat(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

devices = Table(
    "devices",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("serial", String(32), unique=True),
    Column("mac", String(17), unique=True),
    Column("state", String(16), nullable=False),
    Column("batch", String(63), index=True),
    Column("settings", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("renew_now", Boolean, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("moved_at", Moment, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", String(40), primary_key=True),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("name", String(64), nullable=False, index=True),
    Column("profile", String(16), nullable=False),
    Column("issuer", String(64), nullable=False),
    # A key belongs to one certificate: who asks again with the same key gets the same certificate.
    Column("key", String(64), nullable=False, unique=True),
    Column("not_before", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32)),
    Column("ended_at", Moment),
    # Unique: of two renewals of one certificate at the same time, the database lets one through.
    Column("replaces", String(40), unique=True),
    Column("der", LargeBinary, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("device", String(63), ForeignKey("devices.id"), nullable=False, index=True),
    Column("made_at", Moment, nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("used_at", Moment),
    Column("certificate", String(40)),
    Column("revoked_at", Moment),
)

trail = Table(
    "trail",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_trail_subject", "subject"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("batch", String(63), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
)
"""The parts of factory batches that are on record, with SHA-256 of the file of each."""

releases = Table(
    "releases",
    metadata,
    Column("product", String(31), primary_key=True),
    Column("version", String(17), primary_key=True),
    # The signed header, which says all else; whoever offers the release reads it.
    Column("header", LargeBinary, nullable=False),
    Column("published_at", Moment, nullable=False),
    Column("state", String(16), nullable=False),
    Column("percent", Integer, nullable=False),
    Column("first", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("product", String(31), primary_key=True),
    Column("version", String(17), primary_key=True),
    Column("device", String(63), ForeignKey("devices.id"), primary_key=True),
    Column("code", String(32), nullable=False),
    Column("at", Moment, nullable=False),
)
"""What became of a release on each device that was offered it, as the device said last."""


def insert_if_new(table: Table) -> dict[str, Any]:
    """Return, for each kind of database, the statement that inserts a row unless it clashes with another.

    The row count of 0 then tells of a clash without an error, so that the transaction can go on and say what it was.
    """
    kinds: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return {
        # SQLAlchemy forgets the count of an INSERT unless it is asked to keep it.
        name: insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
        for name, insert in kinds.items()
    }
