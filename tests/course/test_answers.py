"""The answer-quality tables: every wrong answer is told what is wrong with it, and every right one passes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.catalogue import find_any
from labkit.course.lesson import NOT_ATTEMPTED
from tests.answers.shape import Answers, Right, Wrong, judged_rightly, tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto

FOLDER = Path(__file__).parent.parent / "answers"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in {"shape", "__main__"})
TABLES: dict[str, tuple[Answers, ...]] = {
    name: importlib.import_module(f"tests.answers.{name}").TABLE for name in MODULES
}
CASES = [
    pytest.param(
        module,
        answers,
        answer,
        id=f"{answers.check}-{type(answer).__name__.lower()}-{answer.name}",
        marks=[pytest.mark.slow] if answer.slow else [],
    )
    for module, table in TABLES.items()
    for answers in table
    for answer in (*answers.right, *answers.wrong)
]

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def subjects(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Keep the subject of the table that is being tried, and no other: each in its turn."""
    open_now: dict[str, Any] = {}
    yield open_now
    for stack, _ in open_now.values():
        stack.__exit__(None, None, None)


def subject_of(module: str, subjects: dict[str, Any], factory: pytest.TempPathFactory) -> Any:
    """Return the subject of a table; entering another one leaves the last."""
    if module not in subjects:
        for stack, _ in subjects.values():
            stack.__exit__(None, None, None)
        subjects.clear()
        stack = importlib.import_module(f"tests.answers.{module}").prepared(factory.mktemp(module))
        subjects[module] = (stack, stack.__enter__())
    return subjects[module][1]


@pytest.mark.parametrize(("module", "answers", "answer"), CASES)
def test_an_answer_gets_the_verdict_that_it_deserves(
    subjects: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    module: str,
    answers: Answers,
    answer: Right | Wrong,
) -> None:
    """Right answers pass with all points; wrong ones don't, and are told their own fault."""
    result = tried(answers, answer, subject_of(module, subjects, tmp_path_factory))
    assert judged_rightly(answer, result) == ""


@pytest.mark.parametrize("module", MODULES)
def test_a_table_is_complete(module: str) -> None:
    """Each check has at least two right answers and three wrong ones, of two faults or more."""
    lesson = find_any(module.replace("_", "-"))
    tables = {answers.check: answers for answers in TABLES[module]}
    assert [check.id for check in lesson.checks] == list(tables)
    for answers in tables.values():
        assert len(answers.right) >= 2, answers.check
        assert len([wrong for wrong in answers.wrong if wrong.status != NOT_ATTEMPTED]) >= 3, answers.check
        assert len({wrong.fault for wrong in answers.wrong}) >= 2, answers.check
