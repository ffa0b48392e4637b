"""labkit.pki.ledger: what only a complete list can refuse."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import AlreadyIssuedError, IssuanceRefusedError
from labkit.pki import Entry, MemoryLedger

NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)

ENTRY = Entry(
    serial="1a", fingerprint="f1", name="sensor-001", profile="device", issuer="Middle", key="k1",
    not_before=NOW, not_after=NOW + dt.timedelta(days=365),
)  # fmt: skip


def test_entry_survives_json() -> None:
    """An entry comes back from its line as it was."""
    assert Entry.from_json(json.loads(json.dumps(ENTRY.to_json()))) == ENTRY


@given(
    st.dictionaries(
        st.sampled_from(["serial", "name", "not_before", "not_after", "more"]),
        st.none() | st.integers() | st.text() | st.just("2030-06-01T00:00:00"),
    )
)
def test_what_is_no_entry_is_refused(change: dict[str, object]) -> None:
    """Whatever is changed, the values make an entry of texts with dates that have a zone, or they are refused."""
    try:
        entry = Entry.from_json({**ENTRY.to_json(), **change})  # type: ignore[dict-item]
    except (KeyError, TypeError, ValueError):
        return
    assert isinstance(entry.serial, str)
    assert entry.not_after.tzinfo


def test_recorded_all_or_none() -> None:
    """One refused entry keeps the others of its transaction out."""
    ledger = MemoryLedger()
    twin = replace(ENTRY, serial="2b", name="sensor-002")
    with pytest.raises(IssuanceRefusedError) as caught:
        ledger.record([ENTRY, twin], now=NOW)
    assert caught.value.rule == "key-reused"
    assert ledger.entries() == []
    ledger.record([ENTRY, replace(twin, key="k2")], now=NOW)
    assert len(ledger.entries()) == 2


def test_serial_is_unique() -> None:
    """A serial number that was given out before is refused, also to renew."""
    ledger = MemoryLedger()
    ledger.record([ENTRY], now=NOW)
    with pytest.raises(IssuanceRefusedError) as caught:
        ledger.record([replace(ENTRY, name="sensor-002", key="k2")], now=NOW, renew=True)
    assert caught.value.rule == "serial-reused"


def test_longest_certificate_counts() -> None:
    """A name is taken as long as any of its certificates is valid, in whatever order they came."""
    ledger = MemoryLedger()
    short = replace(ENTRY, serial="2b", not_after=NOW + dt.timedelta(days=1))
    ledger.record([ENTRY], now=NOW)
    ledger.record([short], now=NOW, renew=True)
    with pytest.raises(AlreadyIssuedError) as caught:
        ledger.record([replace(ENTRY, serial="3c")], now=NOW + dt.timedelta(days=2))
    assert caught.value.serial == ENTRY.serial


def test_same_name_in_another_profile_is_another() -> None:
    """A server may be called as a device is: the two are told apart by their purpose."""
    ledger = MemoryLedger()
    ledger.record([ENTRY, replace(ENTRY, serial="2b", profile="server")], now=NOW)
    assert len(ledger.entries()) == 2
