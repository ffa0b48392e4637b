"""The exercises of lesson threat-model: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.threat_model import (
    EXPECTED,
    MODELS,
    SHELF,
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
from labkit.threats import CLIENT_KNOWN, ENCRYPTED, SERVER_KNOWN, THREATS, load_register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    """Before anything was handed in, both exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in (1, 2)}


# --- borders ------------------------------------------------------------------------------------------------------


def crossing(model: Model) -> list[str]:
    """Return every flow that crosses a border, protected or not."""
    return [f.id for f in model.flows if model.element(f.source).boundary != model.element(f.target).boundary]


def right(model: Model) -> list[str]:
    """Return the right answer."""
    unsafe = [f.id for f in model.flows if not {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN} <= f.before]
    return [each for each in crossing(model) if each in unsafe]


def counting(model: Model) -> list[str]:
    """Count the protections instead of naming them."""
    few = [f.id for f in model.flows if len(f.before) < 3]
    return [each for each in crossing(model) if each in few]


def exact(model: Model) -> list[str]:
    """Ask for exactly three, so that a fourth is a fault."""
    other = [f.id for f in model.flows if {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN} != f.before]
    return [each for each in crossing(model) if each in other]


def encrypted_only(model: Model) -> list[str]:
    """Take encryption for everything."""
    bare = [f.id for f in model.flows if ENCRYPTED not in f.before]
    return [each for each in crossing(model) if each in bare]


def without_borders(model: Model) -> list[str]:
    """Forget the borders."""
    return [f.id for f in model.flows if not {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN} <= f.before]


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (right, "passed", "the riddle among them"),
        (counting, "failed", "a riddle: 1 missing"),
        (exact, "failed", "a riddle: 0 missing, 1 too much (more for example)"),
        (encrypted_only, "failed", "the plant as it was found: 2 missing"),
        (without_borders, "failed", "too much (credentials for example)"),
        (crossing, "failed", "the plant as built: 0 missing, 8 too much"),
        (lambda _: [], "failed", "9 missing"),
    ],
)
def test_borders(lab: Lab, answer: Callable[[Model], list[str]], status: str, words: str) -> None:
    """The right function passes; each way of taking one thing for another is told on which model it shows."""
    hand_in_exposed(lab, answer)
    result = check(lab, 1)
    assert (status, True) == (result.status, words in result.observed), result


def test_the_twin_gives_the_expected_answer() -> None:
    """The library's own method says the same on all three models."""
    assert EXPECTED == {
        name: sorted(flow.id for flow in model.exposed() if flow.id != "more")
        for name, model in MODELS.items()
    }


def test_a_stub_leaves_nothing(lab: Lab) -> None:
    """A function that raises hands in nothing, and a damaged answer is told so."""

    def stub(_: Model) -> list[str]:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        hand_in_exposed(lab, stub)
    assert "not-attempted" == check(lab, 1).status
    lab.workspace.write(f"{SHELF}/exposed.json", b"{}")
    assert ("failed", True) == ((result := check(lab, 1)).status, "can't be read" in result.observed)


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


@pytest.mark.parametrize(
    ("rows", "status", "words"),
    [
        (scores(), "passed", "twelve risks; the first is"),
        (scores()[:-1], "failed", "1 threats have no score"),
        ([(*row[:4], "because") for row in scores()], "failed", "12 reasons"),
        (scores(default_password=(2, 4, "mitigate")), "failed", "default-password has likelihood 2"),
        (scores(secret_in_image=(3, 5, "mitigate")), "failed", "secret-in-image has likelihood 3"),
        (scores(opened_later=(5, 3, "mitigate")), "failed", "opened-later has likelihood 5"),
        (scores(stolen_authority=(2, 3, "mitigate")), "failed", "stolen-authority has impact 3"),
        (scores(never_patched=(5, 4, "accept")), "failed", "1 critical risks are accepted"),
        ([(name, 4 - (name == "opened-later"), 4 + (name == "stolen-authority"), "mitigate", "three good words") for name in TO_SCORE], "failed", "nearly all scores are the same"),
    ],
)  # fmt: skip
def test_scores(lab: Lab, rows: list[Row], status: str, words: str) -> None:
    """Scores that agree with what was seen and with each other pass; each kind of disagreement is told."""
    hand_in_register(lab, rows)
    result = check(lab, 2)
    assert (status, True) == (result.status, words in result.observed), result


def test_a_disagreement_with_the_course_is_no_fault(lab: Lab) -> None:
    """Somebody who finds the pivot unlikely and harmless passes all the same: there is no one right answer."""
    hand_in_register(lab, scores(pivot=(1, 2, "transfer"), foreign_topic=(2, 2, "accept")))
    assert "passed" == check(lab, 2).status


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
