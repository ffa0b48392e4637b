"""Scores, registers, and the file that a register is kept in."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError
from labkit.threats import (
    IMPACT,
    LIKELIHOOD,
    THREATS,
    Level,
    Register,
    Risk,
    Treatment,
    load_register,
    reference,
    residual,
    save_register,
)
from labkit.threats.risk import level, score

if TYPE_CHECKING:
    from labkit.workspace import Workspace


def test_scales_say_what_their_numbers_mean() -> None:
    """Both scales go from 1 to 5, and every number has a sentence of its own."""
    for scale in (LIKELIHOOD, IMPACT):
        assert ([1, 2, 3, 4, 5], 5) == (sorted(scale), len(set(scale.values())))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (1, "low"),
        (5, "low"),
        (6, "medium"),
        (11, "medium"),
        (12, "high"),
        (19, "high"),
        (20, "critical"),
        (25, "critical"),
    ],
)
def test_levels(points: int, expected: str) -> None:
    """A score is read as one of four levels."""
    assert Level(expected) is level(points)


@pytest.mark.parametrize(
    ("likelihood", "impact"), [(0, 3), (6, 3), (3, 0), (3, 6), (3, True), ("3", 3), (2.5, 3)]
)
def test_numbers_outside_the_scales(likelihood: Any, impact: Any) -> None:
    """A number that the scales don't have is the caller's mistake; the ones that they have are taken."""
    with pytest.raises(ValueError, match="from 1 to 5"):
        score(likelihood, impact)
    assert 25 == score(5, 5)


def test_ranking() -> None:
    """Risks are ranked by score, then by impact, then by name."""
    risks = [Risk("b", 2, 3), Risk("a", 2, 3), Risk("c", 3, 2), Risk("d", 5, 5)]
    register = Register()
    for risk in risks:
        register = register.with_risk(risk)
    assert ["d", "a", "b", "c"] == [risk.threat for risk in register.ranked()]
    assert (25, Level.CRITICAL) == (register.ranked()[0].score, register.ranked()[0].level)
    assert 4 == register.with_risk(Risk("a", 4, 1)).risks["a"].score


def test_what_is_left() -> None:
    """A threat that was shown closed keeps its impact and is less likely; one that was not stays as it was."""
    for threat in THREATS:
        open_, shut = residual(threat, closed=False), residual(threat, closed=True)
        assert (threat.likelihood, threat.residual, open_.impact) == (
            open_.likelihood,
            shut.likelihood,
            shut.impact,
        )


RISKS = st.builds(
    Risk,
    threat=st.text(max_size=20),
    likelihood=st.integers(1, 5),
    impact=st.integers(1, 5),
    treatment=st.sampled_from(Treatment),
    reason=st.text(max_size=60),
)


@given(st.lists(RISKS, max_size=8))
def test_a_register_is_read_as_it_was_written(risks: list[Risk]) -> None:
    """What is written is read back, whatever the texts are."""
    register = Register({risk.threat: risk for risk in risks})
    assert register == Register.from_json(register.to_json())


GOOD = {"threat": "x", "likelihood": 1, "impact": 1, "treatment": "accept", "reason": ""}


@pytest.mark.parametrize(
    "value",
    [
        [], {}, {"format": 2, "risks": []}, {"format": 1, "risks": {}}, {"format": 1, "risks": [1]},
        {"format": 1, "risks": [{**GOOD, "likelihood": 6}]}, {"format": 1, "risks": [{**GOOD, "impact": True}]},
        {"format": 1, "risks": [{**GOOD, "treatment": "pray"}]}, {"format": 1, "risks": [{**GOOD, "reason": "x" * 501}]},
        {"format": 1, "risks": [{**GOOD, "more": 1}]}, {"format": 1, "risks": [{**GOOD, "threat": 1}]},
    ],
)  # fmt: skip
def test_what_is_no_register(value: Any) -> None:
    """A file that is none of ours is refused; the good one beside it is read."""
    with pytest.raises(FormatError) as caught:
        Register.from_json(json.dumps(value))
    assert "risk register" == caught.value.what
    assert 1 == Register.from_json(json.dumps({"format": 1, "risks": [GOOD]})).risks["x"].score


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is in the file, there is a register or a FormatError."""
    with contextlib.suppress(FormatError):
        assert isinstance(Register.from_json(text), Register)


def test_too_long_and_too_deep() -> None:
    """A file that is too long, or nested without end, is refused."""
    for text in ("[" * 100_000, " " * (1 << 20) + "{}"):
        with pytest.raises(FormatError):
            Register.from_json(text)


def test_a_register_is_kept(workspace: Workspace) -> None:
    """A register is kept in the workspace; where there is none it is empty; a damaged one is named."""
    assert {} == load_register(workspace).risks
    save_register(workspace, reference(THREATS))
    assert len(THREATS) == len(load_register(workspace).risks)
    workspace.write("course/register.json", b"\xff\xfe")
    with pytest.raises(FormatError):
        load_register(workspace)
