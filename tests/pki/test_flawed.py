"""labkit.pki.flawed: right in everything but one thing."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from labkit.clock import FixedClock
from labkit.pki import Authority, Description, Issued, describe, flawed

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)
CLOCK = FixedClock(NOW)
MIDDLE = Authority.new_root("Root", organisation="Somebody", clock=CLOCK).new_intermediate("Middle")
TRUE = describe(MIDDLE.issue_device("sensor-001").certificate)

INHERENT = {"serial", "fingerprint"}
"""What differs from one certificate to the next, flawed or not."""

CASES: dict[str, tuple[Callable[[], Issued], set[str]]] = {
    "expired": (lambda: flawed.expired(MIDDLE, "sensor-001", clock=CLOCK), {"not_before", "not_after"}),
    "not-yet-valid": (
        lambda: flawed.not_yet_valid(MIDDLE, "sensor-001", clock=CLOCK),
        {"not_before", "not_after"},
    ),
    "rogue": (lambda: flawed.rogue(MIDDLE, "sensor-001", clock=CLOCK), set()),
    "self-signed": (lambda: flawed.self_signed("sensor-001", clock=CLOCK), {"subject", "issuer"}),
}


def differences(one: Description, other: Description) -> set[str]:
    """Return the fields in which two certificates differ, beyond what always does."""
    fields = set(Description.__slots__) - INHERENT
    return {field for field in fields if getattr(one, field) != getattr(other, field)}


@pytest.mark.parametrize("label", CASES)
def test_only_the_defect_differs(label: str) -> None:
    """A flawed certificate differs from a true one in its defect alone, and leaves no line in our ledger."""
    before = MIDDLE.ledger.entries()
    maker, defect = CASES[label]
    assert defect == differences(TRUE, describe(maker().certificate))
    assert before == MIDDLE.ledger.entries()


def test_rogue_authority_has_our_names_and_other_keys() -> None:
    """The rogue's authorities are called like ours to the last field; their keys are others."""
    rogue = flawed.rogue_authority(MIDDLE, clock=CLOCK)
    ours = MIDDLE.certificate
    assert (ours.subject, ours.issuer) == (rogue.certificate.subject, rogue.certificate.issuer)
    assert MIDDLE.key.fingerprint != rogue.key.fingerprint


def test_dates_lie_on_the_wrong_side() -> None:
    """Expired means before now, not yet valid after it."""
    expired, early = (CASES[label][0]().certificate for label in ("expired", "not-yet-valid"))
    assert expired.not_valid_after_utc < NOW < early.not_valid_before_utc
