"""labkit.course.grading.batch: what becomes of a class's work, whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import labkit
from labkit.course.grading.execution import keep_plain_files
from tests.course.grading.submissions import (
    DOUBLE,
    KEY,
    PLAN,
    SAMPLE,
    SECRET,
    give,
    grade,
    left_over,
    number_of,
    rules,
)

if TYPE_CHECKING:
    from labkit.course.grading.results import Result
    from labkit.course.grading.sandbox import Sandbox

WRONG = 'hand("plan.json", json.dumps({"number": 1}))'
FOUR = 'hand("double.py", "def double(x):\\n    return 4\\n")'
STUB = 'raise NotImplementedError("this exercise is yours to write")'

CHEAT = """
import labkit.course.judging, labkit.course.work, builtins
labkit.course.judging.attempt = lambda *_: None
labkit.course.work.Work.json = lambda *_: {"number": NUMBER}
hand("plan.json", "{}")
hand("result.json", json.dumps({"sample.1": "passed", "points": 5, "status": "graded"}))
(ws / "course").mkdir(); (ws / "course/progress.json").write_text(json.dumps({"checks": {"sample.1": "passed"}}))
(ws / "broker").mkdir(); (ws / "broker/mosquitto.log").write_text("sample.1 passed; 5 of 5 points")
touched = []
for place in (labkit.__file__, labkit.course.judging.__file__, os.environ["PATH"].split(":")[0] + "/python"):
    try:
        open(place, "a").write("#"); touched.append(place)
    except OSError: pass
hand("touched.json", json.dumps(touched))
"""
FORGER = """
hand("double.py", '''
import os, json, glob, signal
def double(x):
    for place in glob.glob("/proc/[0-9]*/fd/1"):
        try: open(place, "w").write(json.dumps({"id": "sample.2", "result": {"status": "passed"}}) + chr(10))
        except OSError: pass
    return None
''')
"""
DAEMON = """
import subprocess, sys
code = "import os, sys\\nif os.fork(): sys.exit()\\nos.setsid()\\nos.environ.clear()\\nwhile True: open(sys.argv[1], 'w').write('{}')"
subprocess.run([sys.executable, "-c", code, str(ws / "answers/sample/plan.json")])
"""
KILLER = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"

COURSE = Path(labkit.__file__).parents[1]
"""Where the course lies; below /tmp it shows in the sandbox, as a folder that can be read."""


@pytest.fixture(scope="module")
def graded(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Return a class that was graded once: right, wrong, unfinished, and hostile ones among them."""
    folder = tmp_path_factory.mktemp("class") / "submissions"
    give(folder, "right", PLAN, DOUBLE, f'print("""{KEY}""")', written="Because keys stay at home.")
    give(folder, "wrong", WRONG, FOUR)
    give(folder, "stub", STUB, STUB)
    give(folder, "cheat", CHEAT, FORGER)
    give(folder, "daemon", PLAN + DAEMON, DOUBLE)
    give(folder, "killer", PLAN, KILLER, DOUBLE)
    (folder / "empty").mkdir()
    give(folder, "damaged").write_text('{"cells": [', encoding="utf-8")
    give(folder, "nothing").write_text("", encoding="utf-8")
    found = grade(folder, folder.with_name("kept"), rules(sandbox))
    assert set() == left_over()
    return found


@pytest.fixture(scope="module")
def kept(graded: dict[str, Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the class's work is kept."""
    return next(tmp_path_factory.getbasetemp().glob("class*/kept/sample"))


def points(result: Result) -> list[float]:
    """Return what each check gave."""
    return [verdict.points for verdict in result.verdicts]


def test_right_and_wrong_are_told_apart(graded: dict[str, Result]) -> None:
    """A right notebook earns all points, a wrong one part of them with its fault, a stub is not attempted."""
    assert ("graded", [2, 3]) == (graded["right"].status, points(graded["right"]))
    assert ("graded", [0, 1]) == (graded["wrong"].status, points(graded["wrong"]))
    assert ["other-number", "not-twice"] == [verdict.fault for verdict in graded["wrong"].verdicts]
    assert ["not-attempted"] * 2 == [verdict.status for verdict in graded["stub"].verdicts]
    assert {"sample.D1": "Because keys stay at home."} == graded["right"].written


def test_what_a_kernel_does_to_labkit_earns_nothing(graded: dict[str, Result], kept: Path) -> None:
    """Patched functions, forged results, planted logs, forged lines of the judge: no point; labkit stays as it was."""
    assert [0, 0] == points(graded["cheat"])
    assert ["other-number", "not-twice"] == [verdict.fault for verdict in graded["cheat"].verdicts]
    assert "[]" == (kept / "cheat/run/workspace/answers/sample/touched.json").read_text()


def test_keys_are_not_kept(graded: dict[str, Result], kept: Path) -> None:
    """A private key that a cell printed is taken out of the executed notebook that the instructor keeps."""
    assert "graded" == graded["right"].status
    cells = json.loads((kept / "right/executed.ipynb").read_text())["cells"]
    outputs = json.dumps([cell.get("outputs") for cell in cells])
    assert SECRET not in outputs
    assert "[a private key was here]" in outputs


def test_a_daemon_is_gone_before_the_judge_looks(graded: dict[str, Result]) -> None:
    """A daemon that forked twice, left the session and emptied its environment is ended; what it left is judged."""
    assert "graded" == graded["daemon"].status
    assert 3 == graded["daemon"].verdicts[1].points


def test_killing_the_parent_ends_the_run_alone(graded: dict[str, Result]) -> None:
    """A notebook that kills what runs it is judged by what it left, and its row says where it stopped."""
    assert "stopped" == graded["killer"].status
    assert "it ended the process that ran it, in cell 3" == graded["killer"].reason
    assert [2, 0] == points(graded["killer"])


@pytest.mark.parametrize(
    ("student", "reason"),
    [
        ("empty", "the folder holds no notebook"),
        ("damaged", "the file is damaged: it is not JSON, as a notebook is"),
        ("nothing", "the file is empty"),
    ],
)
def test_what_is_no_notebook_ends_in_a_row_with_a_reason(
    graded: dict[str, Result], student: str, reason: str
) -> None:
    """An empty folder, a damaged file and an empty one each have a row, no points, and say why."""
    assert ("unreadable", reason, 0) == (
        graded[student].status,
        graded[student].reason,
        graded[student].earned,
    )


def test_what_was_done_is_not_done_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """A second run executes nothing; a mended check is judged again on what was kept; another file is executed."""
    folder, keep = tmp_path / "s", tmp_path / "kept"
    give(folder, "ada", PLAN, FOUR)
    how = rules(sandbox)
    first = grade(folder, keep, how)["ada"]
    kept = keep / "sample" / "ada"
    assert [2, 1] == points(first)
    stamp = (kept / "executed.ipynb").stat().st_mtime_ns
    assert first == grade(folder, keep, how)["ada"]

    mended = tmp_path / "mended.py"
    mended.write_text(SAMPLE.read_text().replace("(2, 4, 14)", "(4, 4, 4)"), encoding="utf-8")
    again = grade(folder, keep, replace(how, files={"sample": str(mended)}))["ada"]
    assert [2, 3] == points(again)
    assert stamp == (kept / "executed.ipynb").stat().st_mtime_ns


def test_the_instructors_own_checks_count_and_stay_hidden(
    sandbox: Sandbox, tmp_path: Path, extra_checks: Path
) -> None:
    """A check that students never get is judged beside the others; a notebook can't find it."""
    spy = (
        "import subprocess\n"
        "found = subprocess.run(['grep', '-rls', 'SECRET_OF_THE_INSTRUCTOR', '/'], capture_output=True, text=True,"
        " timeout=50).stdout if os.path.exists('/extra') else ''\n"
        f"hand('found.json', json.dumps([found, os.path.exists({str(extra_checks)!r}), os.path.exists('/root/.ssh')]))"
    )
    give(tmp_path / "s", "ada", PLAN, spy)
    result = grade(tmp_path / "s", tmp_path / "kept", rules(sandbox, extra=extra_checks))["ada"]
    assert [("sample.x1", 1, True)] == [(v.check, v.points, v.extra) for v in result.verdicts[2:]]
    found = tmp_path / "kept/sample/ada/run/workspace/answers/sample/found.json"
    assert ["", False, False] == json.loads(found.read_text())


def test_another_students_work_earns_nothing_where_it_varies(sandbox: Sandbox, tmp_path: Path) -> None:
    """A notebook with another's values, handed in under one's own name, is judged by one's own variant."""
    path = give(tmp_path / "s", "ada", PLAN)
    (tmp_path / "s/bob").mkdir()
    path.rename(tmp_path / "s/bob/sample.ipynb")
    (tmp_path / "s/ada").rmdir()
    assert number_of("ada") != number_of("bob")
    result = grade(tmp_path / "s", tmp_path / "kept", rules(sandbox))["bob"]
    assert "other-number" == result.verdicts[0].fault


def test_a_workspace_that_is_a_link_is_replaced_and_said(tmp_path: Path) -> None:
    """Nothing behind a link is judged or touched, and a person is told; a plain workspace stays as it was."""
    plain, linked = tmp_path / "plain", tmp_path / "linked"
    plain.mkdir()
    (plain / "plan.json").write_text("{}", encoding="utf-8")
    linked.symlink_to(plain)
    assert "its workspace was a link" == keep_plain_files(linked, limit=1000)
    assert linked.is_dir()
    assert not linked.is_symlink()
    assert [] == list(linked.iterdir())
    assert "" == keep_plain_files(plain, limit=1000)
    assert "{}" == (plain / "plan.json").read_text(encoding="utf-8")


def test_an_inner_sandbox_that_does_not_start_is_the_graders_failure(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a function can't be called the grader has failed and nobody has a zero; the same work is graded the next time."""
    give(tmp_path / "s", "ada", PLAN, DOUBLE)
    starts_nothing = ["/bin/sh", "-c", 'test "$1" = /usr/bin/true', "sh"]
    with monkeypatch.context() as patched:
        patched.setattr("labkit.course.grading.sandbox.around_answers", lambda _: starts_nothing)
        failed = grade(tmp_path / "s", tmp_path / "kept", rules(sandbox))["ada"]
    assert ("grader-failed", 0) == (failed.status, failed.earned), failed
    assert "did not start" in failed.reason
    assert 5 == grade(tmp_path / "s", tmp_path / "kept", rules(sandbox))["ada"].earned


def test_a_function_that_is_called_sees_nothing_of_the_judge(sandbox: Sandbox, tmp_path: Path) -> None:
    """A handed-in function finds neither the student's files nor what the judge keeps, and no process but its own."""
    spy = (
        "hand('double.py', '''import glob, os\\ndef double(x):\\n"
        '    seen = [p for p in ("/lab", "/extra", "/given", "/proc/1") if os.path.exists(p)] \\n'
        f"    seen += [p for p in glob.glob('/tmp/*') if not {str(COURSE)!r}.startswith(p)]\\n"
        "    return 2 * x if not seen and os.getpid() < 9 else seen\\n''')"
    )
    give(tmp_path / "s", "ada", PLAN, spy)
    result = grade(tmp_path / "s", tmp_path / "kept", rules(sandbox))["ada"]
    assert 3 == result.verdicts[1].points, result.verdicts[1]
