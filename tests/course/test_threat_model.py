"""What lesson threat-model makes of its exercises and experiments; answers are in `tests/answers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.threat_model import (
    EXPECTED,
    MODELS,
    TO_SCORE,
    closed,
    hand_in_exposed,
    hand_in_register,
    judged_life,
    judged_price,
    lives,
    to_score,
    what_closes,
)
from labkit.course.progress import Progress
from labkit.scenarios.handshake_cost import HandshakeCost
from labkit.threats import THREATS, load_register

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult
    from labkit.threats import Model

pytestmark = pytest.mark.broker


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("threat-model", workspace=tmp_path / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("threat-model").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was handed in, every exercise is not attempted."""
    assert {"not-attempted"} == {check.run(lab).status for check in find("threat-model").checks}


def test_the_twin_gives_the_expected_answer() -> None:
    """The library's own method says the same on all three models, where there is more than enough protection too."""
    assert {name: sorted(flow.id for flow in model.exposed()) for name, model in MODELS.items()} == EXPECTED


def test_a_stub_leaves_nothing(lab: Lab) -> None:
    """A function that raises hands in nothing."""

    def stub(_: Model) -> list[str]:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        hand_in_exposed(lab, stub)
    assert "not-attempted" == check(lab, 1).status


# --- scores -------------------------------------------------------------------------------------------------------

Row = tuple[str, int, int, str, str]


def scores(**changes: tuple[int, int, str]) -> list[Row]:
    """Return the course's own scores as rows, some of them changed: likelihood, impact, treatment."""
    rows: list[Row] = []
    for threat in to_score():
        likelihood, impact, treatment = changes.get(
            threat.id.replace("-", "_"), (threat.likelihood, threat.impact, "mitigate")
        )
        rows.append((threat.id, likelihood, impact, treatment, "three good words"))
    return rows


def test_numbers_outside_the_scales_are_refused(lab: Lab) -> None:
    """A number that the scale does not have is refused at once, and the register stays as it was."""
    hand_in_register(lab, scores())
    with pytest.raises(ValueError, match="from 1 to 5"):
        hand_in_register(lab, scores(pivot=(6, 5, "mitigate")))
    with pytest.raises(ValueError, match="pray"):
        hand_in_register(lab, scores(pivot=(3, 5, "pray")))
    assert len(TO_SCORE) == len(load_register(lab.workspace).risks)


# --- what closes what ---------------------------------------------------------------------------------------------


def test_a_threat_is_closed_by_all_of_its_evidence(lab: Lab) -> None:
    """A threat counts as closed when every claim that it takes has held in this workspace, and not before."""
    hand_in_register(lab, scores())
    assert set() == closed(lab)
    threat = next(t for t in THREATS if t.id == "sniffed-password")
    for number, evidence in enumerate(threat.evidence, start=1):
        lesson, _, claim = evidence.partition(":")
        Progress(lab.workspace, lesson).set("claims", claim, value=True)
        assert (threat.id in closed(lab)) == (number == len(threat.evidence))
    (row,) = [row for row in what_closes(lab) if row[0] == threat.id]
    assert ("threat-model, tls", "yes", threat.residual * threat.impact) == row[3:]
    Progress(lab.workspace, "tls").set("claims", "tls-overheard", value=False)
    assert threat.id not in closed(lab)


def test_strange_threats_are_left_out(lab: Lab) -> None:
    """A risk of a threat that the plant does not have stays in the register and out of the comparison."""
    hand_in_register(lab, [*scores(), ("meteor", 1, 5, "accept", "who would mitigate that")])
    assert (len(TO_SCORE), len(TO_SCORE) + 1) == (
        len(what_closes(lab)),
        len(load_register(lab.workspace).risks),
    )


def test_lives_are_the_same_each_time() -> None:
    """The simulation gives the same shares for the same seed, others for another, and verdicts that can go both ways."""
    shares = [share for _, share, _ in lives()]
    assert shares == [share for _, share, _ in lives()] != [share for _, share, _ in lives(seed=2)]
    assert ("open-too-long", "accepted") == (judged_life(shares[0]).reason, judged_life(shares[-1]).reason)


def test_a_price_can_be_too_high() -> None:
    """If small keys sent more than large ones, the claim would not hold."""

    def cost(kind: str, sent: int, *, resumed: bool = False) -> HandshakeCost:
        return HandshakeCost(kind, "1.3", resumed, sent, 0, 1, 1.0, 1.0)

    good = [cost("p256", 5), cost("p256", 2, resumed=True), cost("rsa2048", 8)]
    assert judged_price(good).accepted
    assert "too-dear" == judged_price([*good[:2], cost("rsa2048", 4)]).reason
