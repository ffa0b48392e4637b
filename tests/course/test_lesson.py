"""labkit.course.lesson and lessons: what a lesson declares holds together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.course.lesson import KINDS, Claim, Lesson, evidence, judge
from labkit.course.lessons import find, slugs
from labkit.course.prompts import _lettered, feedback
from labkit.errors import LessonUnknownError
from labkit.outcome import Outcome

CLAIM = Claim("a", "No one gets in.", "tls", "no-certificate")
REFUSED = Outcome("tls", accepted=False, reason="no-certificate")


@pytest.mark.parametrize(
    ("outcome", "held"),
    [
        (REFUSED, True),
        (Outcome("mqtt", accepted=False, reason="no-certificate"), False),
        (Outcome("tls", accepted=False, reason="unknown-ca"), False),
        (Outcome("mqtt", accepted=True, reason="accepted"), False),
    ],
)
def test_a_claim_wants_stage_and_reason(outcome: Outcome, held: bool) -> None:  # noqa: FBT001
    """Refused elsewhere or for another reason is not what was claimed."""
    found, why = judge(CLAIM, outcome)
    assert held == found
    assert "no-certificate at tls" in why


def test_evidence_is_short_and_complete() -> None:
    """The evidence names the verdict and each witness."""
    detail = {"alert": "x_y", "broker_log": ["New connection from …", "peer did not"], "openssl": "error 20"}
    text = evidence(Outcome("tls", accepted=False, reason="unknown-ca", detail=detail))
    assert text == "refused at tls: unknown-ca; alert x_y; broker: peer did not; openssl verify: error 20"


def test_unknown_lesson_lists_the_others() -> None:
    """A slug that there is not is answered with those that there are."""
    with pytest.raises(LessonUnknownError) as caught:
        find("nope")
    assert slugs() == caught.value.known


@pytest.mark.parametrize("slug", slugs())
class TestEveryLesson:
    """Rules for every lesson."""

    def test_ids_are_unique_and_used(self, slug: str) -> None:
        """Each id is declared once and used in the notebook, and the notebook uses no other."""
        lesson = find(slug)
        (source,) = Path("notebooks/source").glob(f"*_{slug}.py")
        text = source.read_text(encoding="utf-8")
        for call, items in (
            ("claim", lesson.claims),
            ("predict", lesson.predictions),
            ("check", lesson.checks),
        ):
            ids = [item.id for item in items]
            assert len(set(ids)) == len(ids)
            used = re.findall(rf'lab\.{call}\(f?"([^"]+)"', text)
            assert {name for name in used if "{" not in name} <= set(ids)
            patterns = [re.sub(r"\{.*?\}", ".+", name) for name in used]
            assert [name for name in ids if not any(re.fullmatch(p, name) for p in patterns)] == []

    def test_predictions_are_answerable(self, slug: str) -> None:
        """Each prediction's answer is one of its options, and every wrong one is told why."""
        lesson = find(slug)
        for prediction in lesson.predictions:
            assert prediction.answer in prediction.options
            assert set(prediction.options) - {prediction.answer} <= set(prediction.feedback)
        asked = {prediction.id for prediction in lesson.predictions}
        assert {claim.prediction for claim in lesson.claims if claim.prediction} <= asked

    def test_checks_have_three_hints(self, slug: str) -> None:
        """Each exercise has an objective and three hints, and the core path has two exercises."""
        lesson = find(slug)
        assert len(lesson.checks) >= 2
        for check in lesson.checks:
            assert check.id.startswith(f"{slug}.")
            assert len(set(check.hints)) == 3

    def test_questions_have_one_right_answer(self, slug: str) -> None:
        """Each question has one right answer, feedback for all, and the letter tells nothing."""
        lesson: Lesson = find(slug)
        letters = []
        for question in (q for quiz in lesson.quizzes.values() for q in quiz):
            lettered = _lettered(question)
            right = [letter for letter, (_, is_right, _) in lettered.items() if is_right]
            assert len(right) == 1
            letters += right
            assert all(words for _, _, words in lettered.values())
            assert feedback(question, right[0]).startswith(f"{right[0]}: right.")
        assert len(set(letters)) >= 3
        assert 8 <= len(lesson.quizzes["questions"]) <= 12


@pytest.mark.parametrize("slug", slugs())
def test_there_is_enough_to_do(slug: str) -> None:
    """A lesson has five exercises or more, of three kinds or more; two are required, and each says why it matters."""
    checks = find(slug).checks
    assert len(checks) >= 5
    assert sum(check.required for check in checks) == 2
    assert len({check.kind for check in checks}) >= 3
    assert [check.id for check in checks if not (check.why.endswith(".") and 1 <= check.minutes <= 20)] == []


@pytest.mark.parametrize("slug", slugs())
def test_exercises_are_of_the_kind_that_their_cells_say(slug: str) -> None:
    """An exercise is of the same kind in the lesson's data and in the notebook, and the notebook has them in order."""
    (source,) = Path("notebooks/source").glob(f"*_{slug}.py")
    cells = re.findall(r'exercise="([^"]+)" kind="([^"]+)"', source.read_text(encoding="utf-8"))
    assert [(check.id, check.kind) for check in find(slug).checks] == cells
    assert {kind for _, kind in cells} <= set(KINDS)
