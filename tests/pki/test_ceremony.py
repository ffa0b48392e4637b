"""labkit.pki.ceremony: a log that shows what was done to it."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError
from labkit.pki import ceremony

NOW = dt.datetime(2030, 1, 1, 9, 0, tzinfo=dt.UTC)
WITNESSES = ("Ada", "Grace")


def log_of(*actions: str) -> str:
    """Return a log with these steps, a minute apart."""
    log = ""
    for minute, action in enumerate(actions):
        log = ceremony.record(
            log,
            action,
            present=WITNESSES,
            now=NOW + dt.timedelta(minutes=minute),
            facts={"serial": f"{minute:x}"},
        )
    return log


LOG = log_of("root made", "intermediate signed", "root put away")


def test_what_was_done_can_be_read() -> None:
    """Steps come back with who was there, what was done and to what."""
    steps = ceremony.verify_log(LOG, seal=ceremony.seal(LOG))
    assert ["root made", "intermediate signed", "root put away"] == [step.action for step in steps]
    assert (WITNESSES, {"serial": "1"}) == (steps[1].present, steps[1].facts)


@given(st.integers(0, len(LOG) - 1), st.sampled_from("x0Z \n{"))
def test_no_letter_can_be_changed(position: int, letter: str) -> None:
    """Whatever letter is changed, log and paper no longer fit."""
    changed = LOG[:position] + letter + LOG[position + 1 :]
    if changed == LOG:
        return
    with pytest.raises(FormatError) as caught:
        ceremony.verify_log(changed, seal=ceremony.seal(LOG))
    assert caught.value.what == "ceremony log"


@pytest.mark.parametrize("lost", [0, 1])
def test_a_line_that_is_taken_out_is_missed(lost: int) -> None:
    """Without a line before the last, the next one does not follow."""
    lines = LOG.splitlines(keepends=True)
    with pytest.raises(FormatError) as caught:
        ceremony.verify_log("".join(lines[:lost] + lines[lost + 1 :]))
    assert lost + 1 == caught.value.offset


def test_the_paper_shows_a_cut_and_a_forgery() -> None:
    """A log whose end was cut off, or that was written anew, holds by itself and not against the paper."""
    paper = ceremony.seal(LOG)
    for forged in ("".join(LOG.splitlines(keepends=True)[:2]), log_of("root made", "nothing else"), ""):
        ceremony.verify_log(forged)
        with pytest.raises(FormatError):
            ceremony.verify_log(forged, seal=paper)


def test_one_person_is_no_witness() -> None:
    """A step with one person, named twice or not, is not recorded, and neither is one from the past."""
    for present in (("Ada",), ("Ada", "Ada"), ()):
        with pytest.raises(ValueError, match="two people"):
            ceremony.record(LOG, "x", present=present, now=NOW + dt.timedelta(hours=1))
    with pytest.raises(ValueError, match="last step"):
        ceremony.record(LOG, "x", present=WITNESSES, now=NOW)


def test_nothing_is_added_to_a_log_that_was_tampered_with() -> None:
    """A tampered log takes no further step."""
    with pytest.raises(FormatError):
        ceremony.record(
            LOG.replace("root made", "root lost"), "x", present=WITNESSES, now=NOW + dt.timedelta(days=1)
        )
