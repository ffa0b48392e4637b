"""The registry: every device there is, its certificates and tokens, and who did what to them, in one database."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from sqlalchemy import event, exc

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.devices.certificates import Certificates
from labkit.devices.fleet import Fleet
from labkit.devices.releases import Releases
from labkit.devices.schema import REVISION
from labkit.devices.tokens import Tokens
from labkit.devices.trail import Trail
from labkit.errors import DiskFullError, RegistryUnusableError
from labkit.workspace import make_folder

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from labkit.pki import Entry

PATIENCE_MS = 30_000
"""How long a transaction on SQLite waits for another one's end."""


class Transaction:
    """One transaction: all of it is on disk when the block ends, or nothing is.

    Attributes:
        now: The time of everything in it.
        fleet: The devices.
        certificates: What was issued; a `pki.Ledger`.
        tokens: Tokens for first boot.
        releases: Releases of firmware, and their roll-outs.
        trail: Who did what; it only grows.
    """

    def __init__(self, connection: sa.Connection, now: dt.datetime) -> None:
        self.now = now
        self.connection = connection
        self.trail = Trail(connection, now)
        self.fleet = Fleet(connection, now, self.trail)
        self.certificates = Certificates(connection, now)
        self.tokens = Tokens(connection, now)
        self.releases = Releases(connection, now, self.trail)


class Registry:
    """The registry of a fleet. Open one with `Registry.open`; it is closed at the end of its `with` block.

    Args:
        engine: The database.
        clock: What time it is.
    """

    def __init__(self, engine: sa.Engine, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._engine = engine
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Registry {self.url}>"

    @classmethod
    def open(cls, where: Path | str, *, clock: Clock = SYSTEM_CLOCK) -> Registry:
        """Open a registry, and bring its tables up to date.

        Args:
            where: A file for SQLite, which is made where there is none; or the URL of a database, such as
                `postgresql+psycopg://user@/fleet?host=/run/postgresql`.
            clock: What time it is.

        Raises:
            RegistryUnusableError: The database can't be reached, is damaged, or is newer than this labkit; or its
                driver is missing.
        """
        engine = _engine(where)
        registry = cls(engine, clock=clock)
        try:
            with registry.translated():
                registry._migrate()
        except BaseException:
            engine.dispose()
            raise
        return registry

    @property
    def url(self) -> str:
        """Where the database is, without a password."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def is_file(self) -> bool:
        """Whether it is a file of ours, and not a server that may be busy."""
        return self._engine.dialect.name == "sqlite"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Begin a transaction that writes; on SQLite others wait for its end.

        Raises:
            RegistryUnusableError: The database does not answer.
            DiskFullError: No space is left. Nothing was changed.
        """
        with self.translated(), self._engine.begin() as connection:
            yield Transaction(connection, self._clock.now())

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Begin a transaction that only reads, and that nobody waits for.

        Raises:
            RegistryUnusableError: The database does not answer.
        """
        with self.translated(), self._engine.connect() as plain:
            connection = plain.execution_options(labkit_read=True)
            yield Transaction(connection, self._clock.now())
            connection.rollback()

    @property
    def ledger(self) -> RegistryLedger:
        """The certificates as a ledger for an authority, a transaction each time."""
        return RegistryLedger(self)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what a database says into errors of ours."""
        try:
            yield
        except exc.IntegrityError:
            raise  # a rule of ours: those who ask for it know which
        except exc.SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).splitlines()[0]
            if "disk is full" in said or "No space left" in said:
                raise DiskFullError(
                    f"No space is left for the registry {self.url}.",
                    advice="Free some space (df -h shows where) and ask again. Nothing was changed.",
                    path=Path(self._engine.url.database or ""),
                ) from error
            raise _unusable(self.url, said) from error

    def _migrate(self) -> None:
        from alembic.runtime.migration import MigrationContext

        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two that start at once: the second waits here, and finds the work done.
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7163)"))
            found = MigrationContext.configure(connection).get_current_revision()
            if found == REVISION:
                return
            if found is None and sa.inspect(connection).get_table_names():
                raise _unusable(self.url, "it holds tables, and none of ours")
            _upgrade(connection, self.url)


class RegistryLedger:
    """The registry as `pki.Ledger`: for whoever issues outside a transaction of their own.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def record(self, entries: Sequence[Entry], *, now: dt.datetime, renew: bool = False) -> None:
        """Record entries, all or none; see `Certificates.record`."""
        with self._registry.begin() as transaction:
            transaction.certificates.record(entries, now=now, renew=renew)

    def entries(self) -> list[Entry]:
        """Return everything that was issued, oldest first."""
        with self._registry.read() as transaction:
            return transaction.certificates.entries()


def _upgrade(connection: sa.Connection, url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise _unusable(url, f"its tables are of another labkit: {error}") from error


def _engine(where: Path | str) -> sa.Engine:
    text = str(where)
    if isinstance(where, Path) or "://" not in text:
        return _sqlite(Path(where))
    try:
        url = sa.make_url(text)
        if url.get_backend_name() == "sqlite":
            return _sqlite(Path(url.database or "fleet.db"))
        return sa.create_engine(url, pool_size=8, max_overflow=32, pool_pre_ping=True)
    except (exc.SQLAlchemyError, ImportError) as error:
        raise _unusable(_without_password(text), str(error).splitlines()[0]) from error


def _sqlite(path: Path) -> sa.Engine:
    path = path.expanduser().absolute()
    make_folder(path.parent, private=True)
    if not path.exists():
        # SQLite gives its side files the rights of the first.
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=32)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing of its own
        for pragma in (
            f"busy_timeout={PATIENCE_MS}",
            "journal_mode=WAL",  # readers don't wait for writers
            "synchronous=FULL",  # a spent token stays spent after a power cut; NORMAL may forget the last commits
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that will write asks for the lock at once. One that reads first and then asks may find that
        # another has written in between, and would have to start over.
        reads = connection.get_execution_options().get("labkit_read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _without_password(url: str) -> str:
    head, _, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if head else url


def _unusable(url: str, why: str) -> RegistryUnusableError:
    return RegistryUnusableError(
        f"The registry {url} can't be used: {why}.",
        advice="Without --registry the lab keeps one in its workspace. For PostgreSQL: labkit extras, and a URL like "
        "postgresql+psycopg:///fleet",
        url=url,
    )
