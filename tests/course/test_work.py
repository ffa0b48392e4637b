"""What a judge reads of a student's files, and how it calls a student's functions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from labkit.board.nor_flash import PowerCut
from labkit.course import answers
from labkit.course.answers import Answer, hand_in
from labkit.course.catalogue import whose
from labkit.course.exercise import NOBODY, Draw, Exercise
from labkit.course.judging import attempt
from labkit.course.lesson import Check, CheckResult, RejectedError
from labkit.course.work import Work
from labkit.errors import (
    AnswerUnreadableError,
    GraderFaultError,
    NotebookError,
    RefusedError,
    ToolMissingError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.workspace import Workspace

SAMPLE = Exercise(
    "sample", "Sample", 1, (), needs_broker=False, vary=lambda draw: {"n": draw.number("n", 1, 9)}
)


@pytest.fixture
def work(tmp_path: Path) -> Any:
    """Return the work of a student, who has written one file."""
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers/plan.json").write_text('{"a": 1}', encoding="utf-8")
    with Work(SAMPLE, tmp_path, "ada") as opened:
        yield opened


def test_plain_files_are_read(work: Work) -> None:
    """A plain file is read; one that is not there is None; neither is changed."""
    assert {"a": 1} == work.json("answers/plan.json")
    assert work.json("answers/other.json") is None
    assert work.data("answers/plan.json/below") is None
    assert ["plan.json"] == work.names("answers")
    assert [] == work.names("nowhere")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
@pytest.mark.parametrize(
    "trick", ["link", "folder-link", "pipe", "folder", "large", "outside", "binary", "deep"]
)
def test_what_an_enemy_left_is_refused(work: Work, tmp_path: Path, trick: str) -> None:
    """A link, a pipe, a folder, too much, another folder, or text that is none: one clear error each, and no wait."""
    secret = tmp_path.parent / f"secret-{tmp_path.name}"
    secret.write_text('{"password": "x"}', encoding="utf-8")
    target, name = tmp_path / "answers/trick.json", "answers/trick.json"
    if trick == "link":
        target.symlink_to(secret)
    elif trick == "folder-link":
        (tmp_path / "linked").symlink_to(tmp_path / "answers")
        name = "linked/plan.json"
    elif trick == "pipe":
        os.mkfifo(target)
    elif trick == "folder":
        target.mkdir()
    elif trick == "large":
        target.write_bytes(b" " * (1 << 21))
    elif trick == "outside":
        name = f"answers/../../{secret.name}"
    elif trick == "binary":
        target.write_bytes(b"\xff\xfe\x00")
    else:
        target.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(AnswerUnreadableError):
        work.json(name)
    assert {"a": 1} == work.json("answers/plan.json")


def test_the_judges_place_is_gone_afterwards(tmp_path: Path) -> None:
    """What the judge made is its own, and removed at the end."""
    with Work(SAMPLE, tmp_path, "ada") as work:
        place = work.scratch.root
        assert place.exists()
        assert tmp_path not in place.parents
    assert not place.exists()
    assert [] == list(tmp_path.iterdir())


def test_what_checks_share_is_made_once(work: Work) -> None:
    """What a check made for all of them is made by the first, and named."""
    first: list[str] = work.once("broker", lambda: ["running"])
    assert first is work.once("broker", lambda: ["another"])
    assert ["another"] == work.once("board", lambda: ["another"])


def test_a_check_ends_where_a_mistake_is_found() -> None:
    """A rejection becomes the check's result, with its fault, and what it earns all the same."""

    def run(share: float) -> CheckResult:
        raise RejectedError("odd", "three", advice="count again", share=share)

    for share, status in ((0.0, "failed"), (0.5, "partly")):
        result = attempt(Check("s.1", "", ("", "", ""), run), share)
        assert (status, "odd", "three", "count again", share) == (
            result.status, result.fault, result.observed, result.advice, result.share,
        )  # fmt: skip


def test_what_is_not_the_answers_fault_is_no_result() -> None:
    """An error of what was handed in fails the check; one of whoever judges is raised, and fails nobody."""

    def run(error: Exception) -> CheckResult:
        raise error

    check = Check("s.1", "", ("", "", ""), run)
    assert "RefusedError" == attempt(check, RefusedError("no", advice="another", code="no-such")).fault
    for ours in (
        GraderFaultError("no judge", advice="again", place="here"),
        ToolMissingError("no mosquitto", advice="install it", tool="mosquitto"),
    ):
        with pytest.raises(type(ours)):
            attempt(check, ours)


def test_functions_are_called_in_a_process_of_their_own() -> None:
    """Values come back as they are, errors by name, and what is printed counts for nothing."""
    double = Answer("import math\nprint('[]')\ndef double(x):\n    return x * 2\n", "double")
    assert [2, "abab", b"\x01\x01", [1, 1]] == [r.value for r in double.ask([[1], ["ab"], [b"\x01"], [[1]]])]
    (reply,) = double.ask([[None]])
    assert "TypeError" in reply.error
    assert ("TypeError", "Exception") == reply.kinds[:2]


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("import os; os._exit(0)", "ended the process"),
        (
            'import os; os.write(1, b\'[{"value": 2, "error": ""}] \')\ndef f(x): os._exit(0)',
            "ended the process",
        ),
        ("def f(x):\n    while True: pass", "did not come back"),
        ("def f(x): raise NotImplementedError('no')", "NotImplementedError: no"),
        ("def g(x): return 2", "KeyError"),
        ("def f(x", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("def f(x): return x.__class__.__mro__[-1].__subclasses__()[0]", ""),
    ],
)
def test_functions_that_misbehave_are_an_answer_too(source: str, word: str) -> None:
    """A function that ends its process, forges output, hangs or is none replies with an error, not with a value."""
    (reply,) = Answer(source, "f").ask([[1]], seconds=5)
    assert word in reply.error
    assert reply.value != 2


@pytest.mark.skipif(os.name != "posix", reason="a shell stands in for what confines")
@pytest.mark.parametrize(
    ("around", "why"),
    [
        (["/nowhere/bwrap"], "No such file"),
        (["/bin/sh", "-c", "exit 1"], "ended at once"),
        (["/bin/sh", "-c", "echo '[]'"], "ended at once"),
        (["/bin/sh", "-c", "exec sleep 60"], "not in time"),
    ],
)
def test_a_function_is_not_charged_where_its_process_does_not_start(
    monkeypatch: pytest.MonkeyPatch, around: list[str], why: str
) -> None:
    """What fails before anything of the function was read is the judge's fault; the same function has its reply otherwise."""
    double = Answer("def double(x):\n    return x * 2\n", "double")

    def run(_: object) -> CheckResult:
        return CheckResult("passed" if double.ask([[2]], seconds=2)[0].value == 4 else "failed")

    check = Check("s.1", "", ("", "", ""), run)
    assert "passed" == attempt(check, None).status
    monkeypatch.setattr(answers, "_around", tuple(around))
    with pytest.raises(GraderFaultError, match=why):
        attempt(check, None)


def test_a_function_is_handed_in_where_nothing_was_before(tmp_path: Path) -> None:
    """The first thing that is handed in makes its folder."""

    def twice(x: int) -> int:
        return x * 2

    assert "def twice" in hand_in(tmp_path / "answers/sample", twice).read_text(encoding="utf-8")


def test_a_stub_is_no_answer(work: Work) -> None:
    """What was not handed in and what is still the stub are both none; what was written is an answer."""
    place = work.root / "answers/sample"
    place.mkdir()
    for name, body in (("stub", 'raise NotImplementedError("yours")'), ("done", "return 1")):
        (place / f"{name}.py").write_text(f"def {name}():\n    {body}\n", encoding="utf-8")
    assert [work.answer(name) for name in ("stub", "absent")] == [None, None]
    answer = work.answer("done")
    assert answer is not None
    assert [1] == [reply.value for reply in answer.ask([[]])]


class Shelf:
    """Something of the judge's that functions may use."""

    def __init__(self, name: str) -> None:
        self.name, self.secret = name, "s"

    def put(self, value: Any, times: int = 1) -> Any:
        """Return a value as often as asked for."""
        if value == "dark":
            raise PowerCut
        if value == "none":
            raise RefusedError("no", advice="another", code="no-such")
        return [value] * times


CONVERSES = """
from labkit.errors import RefusedError
def f(there, more):
    try:
        there.put("none")
    except RefusedError as error:
        return [there.id, error.code, there.put(b"x", times=2), more, hasattr(there, "secret")]
"""


def test_functions_talk_to_what_they_are_given() -> None:
    """Calls are done here and answered, errors of ours arrive as such, and nothing else can be reached."""
    reply = Answer(CONVERSES, "f").converse(Shelf("a"), ["put"], arguments=[{"n": 1}], facts={"id": "a-1"})
    assert ["a-1", "no-such", [b"x", b"x"], {"n": 1}, False] == reply.value, reply
    each = Answer("def f(there):\n    return there.put(2)[0]", "f").converse_each(
        [Shelf("a"), Shelf("b")], ["put"]
    )
    assert [2, 2] == [one.value for one in each]


def test_a_power_cut_ends_the_function_for_good() -> None:
    """An exception that is none of ours ends the process where it stands, and is raised here."""
    with pytest.raises(PowerCut):
        Answer("def f(there):\n    try: there.put('dark')\n    finally: there.put(1)", "f").converse(
            Shelf("a"), ["put"]
        )


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("while True: pass", "did not come back"),
        ("import os; os._exit(0)", "ended the process"),
        ("return there.secret", "AttributeError"),
        ("return there.put()", "TypeError"),
        ("return there._method(0, 'secret', None, None)()", "AttributeError"),
        ("raise NotImplementedError", "NotImplementedError"),
    ],
)
def test_functions_that_misbehave_while_they_talk(body: str, word: str) -> None:
    """Whatever goes wrong there is an error of the answer, and no error of the judge."""
    reply = Answer(f"def f(there):\n    {body}", "f").converse(Shelf("a"), ["put"], seconds=4)
    assert word in reply.error, reply


def test_variants_are_for_ever_and_differ() -> None:
    """The same student draws the same values in any order, and a class does not draw all the same."""
    one, other = Draw("sample", "ada"), Draw("sample", "ada")
    assert other.number("b", 1, 99) == [one.number("a", 1, 99), one.number("b", 1, 99)][1]
    assert 6 < len({Draw("sample", f"s{i}").number("a", 1, 9) for i in range(99)}) <= 9
    assert 2 == len(set(one.several("c", ("x", "y", "z"), 2)))
    assert SAMPLE.variant("ada") == SAMPLE.variant("ada")
    assert 1 <= SAMPLE.variant("ada").n <= 9


def test_who_works_here_is_remembered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student id is kept; the grader's word is stronger than the notebook's; nonsense is refused."""
    assert NOBODY == whose(workspace)
    assert "ada" == whose(workspace, "ada") == whose(workspace)
    with pytest.raises(NotebookError):
        whose(workspace, "../../etc")
    assert "ada" == whose(workspace)
    monkeypatch.setenv("LABKIT_STUDENT", "grace")
    assert "grace" == whose(workspace, "ada")


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("raise NotImplementedError('yours')", False),
        ("raise NotImplementedError", False),
        ("rows = []\n    raise NotImplementedError('yours')\n    return rows", False),
        ("return x", True),
        ("return x\n    raise NotImplementedError('yours')", True),
        ("if x:\n        return 1\n    else:\n        return 2\n    raise NotImplementedError", True),
        ("def inner():\n        return 1\n    raise NotImplementedError", False),
        ("class Door:\n        def open(self): raise NotImplementedError\n    return x", True),
        ("return (", True),
        ("return " + "-" * 20_000 + "1", True),
    ],
)
def test_what_is_left_of_the_stub(body: str, written: bool) -> None:  # noqa: FBT001 - a case
    """A function that comes to the stub's line is not written; the line may stay behind a return, or in another place."""
    assert written is Answer(f"def f(x):\n    {body}\n", "f").written
