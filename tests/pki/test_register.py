"""labkit.pki.register: what was revoked, on disk."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from labkit.clock import FixedClock
from labkit.errors import (
    DiskFullError,
    NotIssuedError,
    PassphraseError,
    RevocationRefusedError,
    WorkspaceCorruptError,
)
from labkit.pki import Reason, Store, openssl, read_list, register, verify_list

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.workspace import Workspace

DAY = dt.timedelta(days=1)


@pytest.fixture
def clock() -> FixedClock:
    """Return a clock that we can move."""
    return FixedClock(dt.datetime.now(dt.UTC).replace(microsecond=0))


@pytest.fixture
def store(workspace: Workspace, clock: FixedClock) -> Store:
    """Return an authority with two devices."""
    made = Store(workspace, clock=clock)
    made.create(passphrase=b"secret")
    for name in ("sensor-001", "sensor-007"):
        made.issue_device(name)
    return made


def serial(store: Store, name: str) -> int:
    """Return the serial number of a device's certificate."""
    return store.certificate(name).serial_number


def files(store: Store) -> dict[str, bytes]:
    """Return the register's files."""
    folder = store.revocations.path.parent
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".pem", ".jsonl"}}


def test_nothing_revoked_nothing_published(store: Store) -> None:
    """At first there is no list; ensure makes one, and makes no second as long as it is fresh."""
    assert store.revocations.current() is None
    first = store.revocations.ensure()
    assert ([1, 1], 0) == ([first.number, store.revocations.ensure().number], len(first))


def test_a_list_is_renewed_when_due(store: Store, clock: FixedClock) -> None:
    """After a day ensure publishes the next number, with the same entries."""
    store.revocations.revoke("sensor-007", "key-compromise")
    clock.advance(DAY)
    renewed = store.revocations.ensure()
    assert (2, clock.now()) == (renewed.number, renewed.this_update)
    assert serial(store, "sensor-007") in renewed


def test_revoking_takes_one_and_spares_the_other(store: Store, clock: FixedClock) -> None:
    """The revoked device is on the list with its reason, the other one is not, and the list is the intermediate's."""
    made = store.revocations.revoke("sensor-007", Reason.KEY_COMPROMISE)
    assert [(serial(store, "sensor-007"), clock.now(), Reason.KEY_COMPROMISE)] == list(made)
    assert serial(store, "sensor-001") not in made
    verify_list(
        read_list(store.revocations.path.read_bytes()), store.certificate("intermediate"), now=clock.now()
    )


@pytest.mark.tool
def test_openssl_agrees(store: Store, openssl: object) -> None:
    """openssl verify -x509_strict -crl_check lets one in and refuses the other as revoked (error 23)."""
    before = verdicts(store, [])
    store.revocations.revoke("sensor-007", Reason.SUPERSEDED)
    after = verdicts(store, [store.revocations.path])
    assert ([0, 0], [0, 23]) == (before, after)


def verdicts(store: Store, crls: list[Path]) -> list[int]:
    """Return what openssl verify says of both devices."""
    return [
        openssl.verify(
            store.device(name).certificate, trust=store.trust_anchor, untrusted=store.intermediate, crls=crls
        ).code
        for name in ("sensor-001", "sensor-007")
    ]


def test_every_valid_certificate_of_the_name_goes(store: Store) -> None:
    """Renewed devices have two valid certificates; both are revoked, or one by its serial number."""
    old = serial(store, "sensor-007")
    store.issue_device("sensor-007", renew=True)
    new = serial(store, "sensor-007")
    assert {old} == store.revocations.revoke("sensor-007", "superseded", serial=f"{old:x}").serials
    assert {old, new} == store.revocations.revoke("sensor-007", "key-compromise").serials


@pytest.mark.parametrize(("name", "rule"), [("sensor-007", "already-revoked"), ("sensor-001", "expired")])
def test_there_must_be_something_to_revoke(store: Store, clock: FixedClock, name: str, rule: str) -> None:
    """What is revoked or has run out is refused by its reason, and nothing on disk changes."""
    store.revocations.revoke("sensor-007")
    if rule == "expired":
        clock.advance(400 * DAY)
    before = files(store)
    with pytest.raises(RevocationRefusedError) as caught:
        store.revocations.revoke(name)
    assert (name, rule) == (caught.value.name, caught.value.rule)
    assert before == files(store)


def test_strangers_and_bad_reasons_are_refused(store: Store) -> None:
    """A name that was never issued, a serial that is another's, and a reason that there is not, change nothing."""
    before = files(store)
    theirs = f"{serial(store, 'sensor-001'):x}"
    for name, wanted in (("sensor-999", None), ("sensor-007", theirs), ("IoT Labs Device CA", None)):
        with pytest.raises(NotIssuedError) as caught:
            store.revocations.revoke(name, serial=wanted)
        assert name == caught.value.name
    with pytest.raises(ValueError, match="boredom"):
        store.revocations.revoke("sensor-007", "boredom")
    assert before == files(store)


def test_only_a_hold_can_be_taken_back(store: Store) -> None:
    """A certificate on hold comes back; one that was revoked for good does not, and one that never was can't."""
    held, gone, never = (f"{serial(store, name):x}" for name in ("sensor-007", "sensor-001", "broker"))
    store.revocations.revoke("sensor-007", Reason.CERTIFICATE_HOLD)
    store.revocations.revoke("sensor-001", Reason.KEY_COMPROMISE)
    assert {int(gone, 16)} == store.revocations.release(held).serials
    for number, rule in ((gone, "final"), (held, "not-revoked"), (never, "not-revoked")):
        with pytest.raises(RevocationRefusedError) as caught:
            store.revocations.release(number)
        assert rule == caught.value.rule


def test_expired_entries_leave_the_list_and_stay_on_record(store: Store, clock: FixedClock) -> None:
    """A year later the entry is on one more list and then on none; the register still has it."""
    store.revocations.revoke("sensor-007")
    clock.advance(366 * DAY)
    sizes = [len(store.revocations.publish()) for _ in range(2) if clock.advance(DAY) is None]
    assert ([1, 0], 1) == (sizes, len(store.revocations.revoked()))


def test_the_root_revokes_its_intermediate(store: Store) -> None:
    """The root's register asks for its passphrase; with it the intermediate is on the root's list."""
    with pytest.raises(PassphraseError):
        store.root_revocations(b"wrong").revoke("IoT Labs Device CA", "ca-compromise")
    made = store.root_revocations(b"secret").revoke("IoT Labs Device CA", "ca-compromise")
    assert {serial(store, "intermediate")} == made.serials
    assert store.revocations.current() is None


def test_a_crash_before_the_list_costs_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fills up after the journal was written, the next list has what the journal has."""

    def full(*_: object, **__: object) -> None:
        raise DiskFullError("full", advice="", path=store.revocations.path)

    with monkeypatch.context() as patched:
        patched.setattr(register, "issue_list", full)
        with pytest.raises(DiskFullError):
            store.revocations.revoke("sensor-007")
    assert store.revocations.current() is None
    assert serial(store, "sensor-007") in store.revocations.publish()


@pytest.mark.parametrize(
    "line",
    [b"junk\n", b"[]\n", b'{"event": "revoked"}\n', b'{"event": "published", "number": "x"}\n', b"\xff\n"],
)
def test_a_damaged_journal_stops_everything(store: Store, line: bytes) -> None:
    """A line that is no event is named by its number, and nothing is forgotten or overwritten."""
    store.revocations.revoke("sensor-007")
    path = store.revocations.path.with_name(register.REGISTER)
    path.write_bytes(path.read_bytes() + line)
    before = files(store)
    with pytest.raises(WorkspaceCorruptError) as caught:
        store.revocations.revoke("sensor-001")
    assert (path, before) == (caught.value.path, files(store))


def test_a_damaged_list_is_mended_by_the_next(store: Store) -> None:
    """A list that does not parse is told; publishing makes a new one with a greater number."""
    store.revocations.revoke("sensor-007")
    store.revocations.path.write_text("junk")
    with pytest.raises(WorkspaceCorruptError) as caught:
        store.revocations.current()
    assert store.revocations.path == caught.value.path
    assert (2, 1) == (store.revocations.publish().number, len(store.revocations.ensure()))


def test_numbers_grow_also_when_the_list_is_lost(store: Store) -> None:
    """The number is the journal's, so a lost list does not start again at one (RFC 5280 §5.2.3)."""
    store.revocations.publish()
    store.revocations.path.unlink()
    assert store.revocations.publish().number == 2
    events = store.revocations.path.with_name(register.REGISTER).read_text().splitlines()
    assert [json.loads(line)["number"] for line in events] == [1, 2]
