"""labkit.course.lab: what a notebook holds in its hand."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from labkit.course import Check, CheckResult, Claim, Lab, Lesson, Prediction, Question, open_lab, refused
from labkit.errors import (
    ClaimUnknownError,
    NotConnectedError,
    NotRefusedError,
    TopicRefusedError,
    WorkspaceBusyError,
    WorkspaceCorruptError,
)
from labkit.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFUSED = Outcome("tls", accepted=False, reason="unknown-ca", detail={"alert": "unknown_ca"})


def judged(lab: Lab) -> CheckResult:
    """Look for an answer."""
    answer = lab.workspace.path("answers", "x.txt")
    if not answer.exists():
        return CheckResult("not-attempted", expected="write x.txt")
    if answer.read_text() == "raise":
        raise TopicRefusedError("Bad topic.", advice="Mend it.", topic="x", rule="empty")
    return CheckResult(
        "passed" if answer.read_text() == "right" else "failed", observed="something", advice="there"
    )


SAMPLE = Lesson(
    slug="sample",
    title="A sample",
    minutes=1,
    claims=(Claim("c1", "Rogues are refused.", "tls", "unknown-ca", "p1"), Claim("c2", "Second.", "mqtt")),
    predictions=(
        Prediction("p1", "What happens?", {"in": "gets in", "tls": "refused"}, "tls", {"in": "No, because."}),
    ),
    checks=(Check("sample.1", "an answer is there", ("one", "two", "three"), judged),),
    quizzes={"q": (Question("1 + 1?", (("2", True, "Yes."), ("3", False, "No."))),)},
    needs_broker=False,
    prepare=lambda lab: lab.workspace.write("devices/prepared.txt", "x"),
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Return the lab of the sample lesson."""
    opened = open_lab("sample", workspace=tmp_path / "w", lesson=SAMPLE)
    yield opened
    opened.close()


def test_open_prepares_and_shows(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Opening builds what the lesson needs, and the status lists tools and state."""
    assert lab.workspace.path("devices", "prepared.txt").exists()
    text = str(lab.status())
    assert "claims that held  0 of 2" in text
    assert "openssl" in text


def test_what_is_at_rest_is_counted(lab: Lab) -> None:
    """The state names no broker that doesn't run, and says where a reset leads."""
    for name in ("one", "two"):
        lab.workspace.write(f"broker/{name}/mosquitto.conf", b"")
    text = str(lab.status())
    assert "brokers at rest   2" in text
    assert "broker in" not in text
    assert "reset goes to     before-sample" in text


def test_opening_another_closes_the_first(tmp_path: Path, lab: Lab) -> None:
    """In one kernel a second lab takes over, and stops what the first had started."""
    ended: list[str] = []

    @contextmanager
    def resource() -> Iterator[str]:
        yield "running"
        ended.append("stopped")

    assert lab.enter(resource()) == "running"
    second = open_lab("sample", workspace=tmp_path / "w", lesson=SAMPLE)
    assert ended == ["stopped"]
    second.close()
    second.close()


def test_closing_gives_the_lab_back_whatever_happens(tmp_path: Path, lab: Lab) -> None:
    """A resource that fails to stop is told of, and the workspace is free all the same."""

    @contextmanager
    def stubborn() -> Iterator[None]:
        yield
        raise OSError("it does not stop")

    lab.enter(stubborn())
    with pytest.raises(OSError, match="does not stop"):
        lab.close()
    with lab.workspace.hold("the next one"):
        pass
    open_lab("sample", workspace=tmp_path / "w", lesson=SAMPLE).close()


def test_second_process_is_told_who_holds_the_lab(lab: Lab) -> None:
    """Another notebook in the same folder is refused, with the name of the lesson that holds it."""
    program = (
        "import sys; from labkit.course import open_lab; from labkit.errors import WorkspaceBusyError\n"
        "try: open_lab('start-here', workspace=sys.argv[1])\n"
        "except WorkspaceBusyError as error: print(error.holder)"
    )
    argv = [sys.executable, "-c", program, str(lab.workspace.root)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "lesson sample (process" in said
    with pytest.raises(WorkspaceBusyError), lab.workspace.hold("x"):
        pass


def test_claims_are_judged_and_recorded(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A claim shows and records whether it held, for the reader and for the report of a run."""
    monkeypatch.setenv("LABKIT_REPORT", str(tmp_path / "report.jsonl"))
    lab.claim("c1", REFUSED)
    lab.claim("c2", REFUSED)
    assert lab.record.all("claims") == {"c1": True, "c2": False}
    lines = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [(line["claim"], line["held"]) for line in lines] == [("c1", True), ("c2", False)]
    shown = capsys.readouterr().out
    assert "DOES NOT HOLD" in shown
    assert "claimed: accepted at mqtt; observed: unknown-ca at tls" in shown
    assert "DID NOT HOLD" in str(lab.summary())


def test_predictions_are_recorded_and_looked_back_on(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A prediction is kept, and the claim that answers it says what became of it."""
    lab.predict("p1")
    assert 'lab.predict("p1", "in")' in capsys.readouterr().out
    lab.claim("c1", REFUSED)
    assert "nothing; next time" in capsys.readouterr().out
    lab.predict("p1", "in")
    lab.claim("c1", REFUSED)
    assert "No, because." in capsys.readouterr().out
    lab.predict("p1", "tls")
    lab.claim("c1", REFUSED)
    assert "refused: right" in capsys.readouterr().out
    lab.predict("p1", "maybe")
    assert "not one of: in, tls" in capsys.readouterr().out
    assert lab.record.get("predictions", "p1") == "tls"


def test_checks_judge_files(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """An exercise goes from not attempted over not yet to passed, and an error of ours is a finding."""
    words = []
    for answer in (None, "wrong", "raise", "right"):
        if answer:
            lab.workspace.write("answers/x.txt", answer)
        lab.check("sample.1")
        words.append(lab.record.get("checks", "sample.1"))
    assert words == ["not-attempted", "failed", "failed", "passed"]
    shown = capsys.readouterr().out
    assert "Bad topic." in shown
    assert "Mend it." in shown


def test_hints_come_one_by_one(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """There are three hints, and after the last they are repeated."""
    for _ in range(4):
        lab.hint("sample.1")
    shown = capsys.readouterr().out
    assert "Hint 1 of 3: one" in shown
    assert "That was the last hint" in shown


def test_quiz_without_a_mouse(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A quiz is answered by letters, and each answer is told why."""
    lab.quiz("q")
    lab.quiz("q", "a")
    lab.quiz("q", "b")
    lab.quiz("q", "z")
    shown = capsys.readouterr().out
    assert "right. Yes." in shown
    assert "not quite. No." in shown
    assert "1 of 1 right." in shown
    assert "'z': not one of the answers" in shown


def test_unknown_ids_list_the_known(lab: Lab) -> None:
    """A claim, prediction, check or quiz that is not declared is answered with those that are."""
    for call in (lab.predict, lab.check, lab.hint, lab.quiz, lambda name: lab.claim(name, REFUSED)):
        with pytest.raises(ClaimUnknownError) as caught:
            call("nope")
        assert caught.value.known


def test_reset_goes_back_to_the_start(lab: Lab) -> None:
    """Reset brings back what the lesson began with, progress included."""
    lab.workspace.write("devices/later.txt", "x")
    lab.claim("c1", REFUSED)
    lab.reset()
    assert not lab.workspace.path("devices", "later.txt").exists()
    assert lab.workspace.path("devices", "prepared.txt").exists()
    assert lab.record.all("claims") == {}


def test_damaged_progress_is_named(lab: Lab) -> None:
    """Progress that does not parse, or is of another format, is named and left alone."""
    for text in ("{half", "[]", '{"format": 9}', '{"format": 1, "lessons": {"sample": {"claims": []}}}'):
        path = lab.workspace.write("course/progress.json", text)
        with pytest.raises(WorkspaceCorruptError) as caught:
            lab.claim("c1", REFUSED)
        assert path == caught.value.path
        assert path.read_text() == text


def test_refused_wants_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """The block goes on only if something was refused, for the reason, at the stage."""
    with refused("unknown-ca", stage="tls") as seen:
        seen.append(REFUSED)
    with refused("unknown-ca"):
        raise NotConnectedError("no", advice="-", outcome=REFUSED)
    accepted = Outcome("mqtt", accepted=True, reason="accepted")
    for reason, stage, outcome in (
        ("expired", None, REFUSED),
        ("unknown-ca", "mqtt", REFUSED),
        ("unknown-ca", None, accepted),
    ):
        with pytest.raises(NotRefusedError) as caught, refused(reason, stage=stage) as seen:
            seen.append(outcome)
        assert caught.value.outcome == outcome
    with pytest.raises(NotRefusedError, match="nothing was refused"), refused("unknown-ca"):
        pass
    with pytest.raises(NotConnectedError), refused("unknown-ca"):
        raise NotConnectedError("lost", advice="-", outcome=None)
