"""The registry, on SQLite and on PostgreSQL."""

from __future__ import annotations

import datetime as dt
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc

from labkit.clock import FixedClock
from labkit.devices import Registry, State, Status, digest_of, identify, is_token, new_token
from labkit.devices.schema import REVISION, Moment, metadata
from labkit.errors import (
    AlreadyIssuedError,
    DeviceExistsError,
    DeviceUnknownError,
    IssuanceRefusedError,
    MoveRefusedError,
    RegistryUnusableError,
)
from labkit.pki import Authority, Key, Reason, make_request, read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def clock() -> FixedClock:
    """Return a clock that stands still."""
    return FixedClock(NOW)


@pytest.fixture
def registry(database: str, clock: FixedClock) -> Iterator[Registry]:
    """Return a registry with two devices."""
    with Registry.open(database, clock=clock) as made:
        first = identify("sensor-001", serial="LAB-0001", mac="24:0a:c4:00:01:10")
        with made.begin() as tx:
            tx.fleet.add([first, identify("sensor-002")], actor="admin")
        yield made


@pytest.fixture
def issuer(registry: Registry, clock: FixedClock) -> Authority:
    """Return an authority whose ledger is the registry."""
    return Authority.new_root("Registry Test Root", ledger=registry.ledger, clock=clock)


def test_what_was_put_in_comes_out(registry: Registry) -> None:
    """A device has its labels, its state and the moment at which it came."""
    with registry.read() as tx:
        found = tx.fleet.get("sensor-001")
        assert ("LAB-0001", "24:0a:c4:00:01:10") == (found.serial, found.mac)
        assert (State.MADE, NOW) == (found.state, found.made_at)
        assert ["sensor-001", "sensor-002"] == [each.device_id for each in tx.fleet.list()]
        assert ["sensor-002"] == [each.device_id for each in tx.fleet.list(after="sensor-001")]
        assert {State.MADE: 2} == tx.fleet.count()
        assert {"sensor-002"} == tx.fleet.known(["sensor-002", "sensor-003"])


def test_a_second_opening_finds_everything(registry: Registry, database: str) -> None:
    """What was committed is there for the next process."""
    with Registry.open(database) as again, again.read() as tx:
        assert 2 == len(tx.fleet.list())
    assert "Registry" in repr(registry)


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        ({"device_id": "sensor-001"}, "id"),
        ({"device_id": "sensor-009", "serial": "LAB-0001"}, "serial"),
        ({"device_id": "sensor-009", "mac": "24:0a:c4:00:01:10"}, "mac"),
        ({"device_id": "sensor-008"}, "id"),
    ],
)
def test_nobody_takes_another_ones_label(registry: Registry, labels: dict[str, str], rule: str) -> None:
    """An id, a serial number or a MAC belongs to one device; of a batch with a clash nothing is taken in."""
    with pytest.raises(DeviceExistsError) as caught, registry.begin() as tx:
        tx.fleet.add([identify("sensor-008"), identify(**labels)], actor="admin")
    assert (rule, labels["device_id"]) == (caught.value.rule, caught.value.name)
    with registry.read() as tx:
        assert {"sensor-001", "sensor-002"} == {each.device_id for each in tx.fleet.list()}


def test_an_unknown_device_is_named(registry: Registry) -> None:
    """The error says which device it is that nobody knows."""
    with pytest.raises(DeviceUnknownError) as caught, registry.read() as tx:
        tx.fleet.get("sensor-404")
    assert "sensor-404" == caught.value.name


def test_a_move_leaves_a_line(registry: Registry) -> None:
    """Who moved a device from where to where is in the trail; a move to where it is leaves none."""
    for _ in range(2):
        with registry.begin() as tx:
            tx.fleet.move(tx.fleet.get("sensor-001"), State.SHIPPED, actor="admin")
    with registry.read() as tx:
        found = [(e.actor, e.action, dict(e.detail)) for e in tx.trail.events("sensor-001")]
    assert [("admin", "made", {"batch": None}), ("admin", "shipped", {"before": "made"})] == found


def test_a_move_that_is_refused_changes_nothing(registry: Registry) -> None:
    """A device that was never in service can't be gone; it stays where it was, and so does the trail."""
    with pytest.raises(MoveRefusedError), registry.begin() as tx:
        tx.fleet.move(tx.fleet.get("sensor-001"), State.GONE, actor="admin")
    with registry.read() as tx:
        assert State.MADE is tx.fleet.get("sensor-001").state
        assert 1 == len(tx.trail.events("sensor-001"))


def test_the_database_itself_keeps_the_trail(registry: Registry) -> None:
    """Neither a change nor a deletion of a line gets past the database; the next line is still written."""
    refusals = (exc.DBAPIError, RegistryUnusableError)
    replacing = "INSERT OR REPLACE INTO trail SELECT number, at, 'nobody', action, subject, detail FROM trail"
    statements = ["UPDATE trail SET actor = 'nobody'", "DELETE FROM trail"]
    for statement in [*statements, replacing if registry.is_file else "TRUNCATE trail"]:
        with pytest.raises(refusals, match="only grows"), registry.begin() as tx:
            tx.connection.execute(sa.text(statement))
    with registry.begin() as tx:
        tx.trail.note("admin", "looked", "sensor-001")
        assert ["made", "looked"] == [e.action for e in tx.trail.events("sensor-001")]
        assert ["looked"] == [e.action for e in tx.trail.events(limit=1)]


def test_settings_are_counted(registry: Registry) -> None:
    """Each change of settings has a version of its own."""
    for version in (1, 2):
        with registry.begin() as tx:
            device = tx.fleet.get("sensor-001", lock=True)
            assert version == tx.fleet.set(device, {"telemetry_seconds": version * 10}, actor="admin")
    with registry.read() as tx:
        assert {"telemetry_seconds": 20} == tx.fleet.get("sensor-001").settings


def test_an_error_undoes_everything(registry: Registry) -> None:
    """A transaction that ends with an error leaves nothing behind, not even its first half."""
    with pytest.raises(ZeroDivisionError), registry.begin() as tx:
        tx.fleet.add([identify("sensor-003")], actor="admin")
        raise ZeroDivisionError
    with registry.read() as tx:
        assert 2 == len(tx.fleet.list())


# --- the ledger ---------------------------------------------------------------------------------------------------


def test_the_registry_is_a_ledger(registry: Registry, issuer: Authority) -> None:
    """What an authority issues is on record with the certificate itself, and a second one needs `renew`."""
    issued = issuer.issue_device("sensor-001")
    with pytest.raises(AlreadyIssuedError) as caught:
        issuer.issue_device("sensor-001")
    assert f"{issued.certificate.serial_number:x}" == caught.value.serial
    issuer.issue_device("sensor-001", renew=True)
    with registry.read() as tx:
        found = tx.certificates.of("sensor-001")
        assert 2 == len(found)
        assert issued.certificate in [each.x509 for each in found]
    assert {"Registry Test Root", "sensor-001"} == {entry.name for entry in registry.ledger.entries()}


def test_a_key_belongs_to_one_certificate(registry: Registry, issuer: Authority) -> None:
    """The same key for another device, or for the same one again, is refused by the database."""
    request = read_request(make_request(Key.generate(), "sensor-001"))
    issuer.issue_device("sensor-001", request=request)
    for name in ("sensor-002", "sensor-001"):
        with pytest.raises(IssuanceRefusedError) as caught:
            issuer.issue_device(name, request=request, renew=True)
        assert "key-reused" == caught.value.rule
    with registry.read() as tx:
        assert 1 == len(tx.certificates.of("sensor-001"))


def test_many_are_recorded_together(registry: Registry, issuer: Authority) -> None:
    """The batch path of the authority works on this ledger too."""
    made = list(issuer.issue_many([f"fleet-{n:03d}" for n in range(20)], batch=7))
    assert 20 == len(made)
    assert 21 == len(registry.ledger.entries())


def test_a_certificate_ends_for_a_reason(registry: Registry, issuer: Authority, clock: FixedClock) -> None:
    """What has ended is listed with its reason until it would have run out anyway."""
    serial = f"{issuer.issue_device('sensor-001').certificate.serial_number:x}"
    with registry.begin() as tx:
        assert [serial] == tx.certificates.end_all("sensor-001", Reason.KEY_COMPROMISE)
    with registry.read() as tx:
        (ended,) = tx.certificates.ended()
        assert (Status.ENDED, Reason.KEY_COMPROMISE, NOW) == (ended.status, ended.reason, ended.ended_at)
    clock.advance(400 * DAY)
    with registry.read() as tx:
        assert not tx.certificates.ended()


# --- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_is_kept_as_its_digest(registry: Registry, database: str) -> None:
    """The registry finds a token that it has never stored."""
    with registry.begin() as tx:
        text = tx.tokens.issue(["sensor-001"], lifetime=DAY, actor="admin")["sensor-001"]
    with registry.read() as tx:
        found = tx.tokens.find(text)
        assert found is not None
        assert ("sensor-001", NOW + DAY, None) == (found.device, found.ends_at, found.used_at)
        assert tx.tokens.find(new_token()) is None
        assert text not in str(tx.connection.execute(sa.text("SELECT * FROM tokens")).all())
    assert is_token(text)
    assert not is_token(text + "\n")
    assert digest_of(text) == found.digest
    if "://" not in database:
        registry.close()
        assert text.encode() not in b"".join(p.read_bytes() for p in Path(database).parent.iterdir())


def test_of_many_spenders_one_succeeds(registry: Registry) -> None:
    """Eight at once spend a token: one is told that it was there to be spent, seven are not."""
    with registry.begin() as tx:
        text = tx.tokens.issue(["sensor-001"], lifetime=DAY, actor="admin")["sensor-001"]
    barrier = threading.Barrier(8)

    def spend(number: int) -> bool:
        barrier.wait()
        with registry.begin() as tx:
            token = tx.tokens.find(text)
            assert token
            return tx.tokens.spend(token, str(number))

    with ThreadPoolExecutor(8) as pool:
        assert 1 == sum(pool.map(spend, range(8)))


def test_a_token_that_was_taken_back_is_not_spent(registry: Registry) -> None:
    """Revocation counts only tokens that were still good."""
    with registry.begin() as tx:
        text = tx.tokens.issue(["sensor-001"], lifetime=DAY, actor="admin")["sensor-001"]
        assert 1 == tx.tokens.revoke("sensor-001")
        assert 0 == tx.tokens.revoke("sensor-001")
        token = tx.tokens.find(text)
        assert token
        assert not tx.tokens.spend(token, "1")
        assert [NOW] == [each.revoked_at for each in tx.tokens.of("sensor-001")]


# --- tables -------------------------------------------------------------------------------------------------------


def test_migrations_make_what_the_schema_says(registry: Registry) -> None:
    """Alembic finds no difference between the tables that the migrations made and those that the code uses."""
    with registry.begin() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": _same_type})
        assert [] == compare_metadata(context, metadata)
        assert REVISION == context.get_current_revision()


def _same_type(*types: object) -> bool | None:
    found, wanted = types[-2:]
    return False if isinstance(wanted, Moment) and isinstance(found, sa.String) else None


def test_an_older_registry_is_brought_up_to_date(database: str) -> None:
    """A registry of the first version keeps what is in it and gets what it lacks; one of tomorrow's is left alone."""
    with Registry.open(database) as made, made.begin() as tx:
        tx.fleet.add([identify("sensor-001")], actor="admin")
        if made.is_file:
            tx.connection.execute(sa.text("DROP TRIGGER trail_no_replace"))
        for later in ("reports", "releases"):
            tx.connection.execute(sa.text(f"DROP TABLE {later}"))
        tx.connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    with Registry.open(database) as again, again.begin() as tx:
        assert REVISION == MigrationContext.configure(tx.connection).get_current_revision()
        assert ["made"] == [e.action for e in tx.trail.events("sensor-001")]
        assert {"reports", "releases"} <= set(sa.inspect(tx.connection).get_table_names())
        tx.connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RegistryUnusableError, match="another labkit"):
        Registry.open(database)


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    """A database with tables of others is refused, and has the same tables afterwards."""
    path = tmp_path / "other.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE theirs (n INTEGER)"))
    with pytest.raises(RegistryUnusableError, match="none of ours"):
        Registry.open(path)
    assert ["theirs"] == sa.inspect(engine).get_table_names()
    engine.dispose()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A file that is no database is refused by its name, and is as it was."""
    path = tmp_path / "fleet.db"
    path.write_bytes(b"this is not a database, and it is long enough to be one" * 100)
    before = path.read_bytes()
    with pytest.raises(RegistryUnusableError) as caught:
        Registry.open(path)
    assert "fleet.db" in caught.value.url
    assert before == path.read_bytes()


@pytest.mark.parametrize(
    "url", ["nosuchthing://host/db", "postgresql+psycopg://me:secret@/nobody?host=/nowhere"]
)
def test_an_unreachable_database_is_named_without_its_password(url: str) -> None:
    """The error says which database, and never the password."""
    with pytest.raises(RegistryUnusableError) as caught:
        Registry.open(url)
    assert "secret" not in caught.value.message + caught.value.url


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The database and the files that SQLite keeps beside it can be read by nobody else."""
    path = tmp_path / "registry" / "fleet.db"
    with Registry.open(path) as registry, registry.begin() as tx:
        tx.fleet.add([identify("sensor-001")], actor="admin")
        assert {0o600} == {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}


def test_commits_are_durable(tmp_path: Path) -> None:
    """SQLite syncs each commit, because a spent token must stay spent after a power cut."""
    with Registry.open(tmp_path / "fleet.db") as registry, registry.read() as tx:
        assert 2 == tx.connection.execute(sa.text("PRAGMA synchronous")).scalar()
        assert "wal" == tx.connection.execute(sa.text("PRAGMA journal_mode")).scalar()
