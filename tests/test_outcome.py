"""labkit.outcome: the two result shapes."""

from __future__ import annotations

import json

import pytest

from labkit.outcome import Finding, Outcome, Severity


def test_outcome_reads_as_a_sentence() -> None:
    """An outcome says stage and reason in a few words."""
    assert str(Outcome("tls", accepted=False, reason="unknown-ca")) == "refused at tls: unknown-ca"
    assert str(Outcome("mqtt", accepted=True, reason="accepted")) == "accepted (mqtt)"


def test_verdict_and_reason_must_agree() -> None:
    """An outcome can't be accepted for a reason of refusal, nor refused as accepted."""
    with pytest.raises(ValueError, match="contradicts"):
        Outcome("tls", accepted=True, reason="unknown-ca")
    with pytest.raises(ValueError, match="contradicts"):
        Outcome("tls", accepted=False, reason="accepted")


def test_stage_is_from_a_known_vocabulary() -> None:
    """A stage outside the vocabularies is the programmer's mistake."""
    with pytest.raises(ValueError, match="unknown stage 'handshake'"):
        Outcome("handshake", accepted=False, reason="unknown-ca")


def test_detail_grows_without_changing_the_original() -> None:
    """More evidence makes a new outcome."""
    first = Outcome("tls", accepted=False, reason="unknown-ca", detail={"alert": "x"})
    second = first.with_detail(verify="y")
    assert dict(first.detail) == {"alert": "x"}
    assert dict(second.detail) == {"alert": "x", "verify": "y"}


def test_both_shapes_are_ready_for_json() -> None:
    """Outcomes and findings turn into plain values."""
    outcome = Outcome("tcp", accepted=False, reason="timeout")
    finding = Finding("r1", Severity.ERROR, "ca.crt", "no key usage", "issue it again")
    assert json.loads(json.dumps(outcome.to_json())) == {
        "stage": "tcp",
        "accepted": False,
        "reason": "timeout",
        "detail": {},
    }
    assert json.loads(json.dumps(finding.to_json()))["severity"] == "error"
