"""Judge a workspace in a process of its own: it shares nothing with the notebook that made it.

This module is both sides. `python -I -m labkit.course.grading.judging` is the judge: it reads what to judge on standard
input, sees the student's files read-only, and says a line for each check. `judge_work` starts it, holds each check to its
time, and starts another one for the rest when a check takes too long or brings its judge down.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course.clearing import remove
from labkit.course.grading.results import Verdict, verdict
from labkit.course.lesson import FAILED, CheckResult
from labkit.errors import GraderFaultError, ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.course.exercise import Exercise
    from labkit.course.grading.confined import Limits
    from labkit.course.grading.sandbox import Sandbox
    from labkit.course.lesson import Check

JUDGED = "/lab"
_EXTRA = "/extra"
_GIVEN = "/given"
_SCRATCH = "/tmp"  # noqa: S108 - of the sandbox
_START = 120.0
_TRIES = 3


def load_exercise(slug: str, file: str = "") -> Exercise:
    """Return an exercise of the course, or the one that a file defines as `EXERCISE`."""
    if file:
        exercise: Exercise = _module(Path(file)).EXERCISE
        return exercise
    from labkit.course.exercises import find

    return find(slug)


def load_extra(slug: str, folder: Path | None) -> tuple[Check, ...]:
    """Return the instructor's own checks for an exercise: `CHECKS` of `slug_with_underscores.py` in a folder.

    Raises:
        Exception: Whatever the file raises; it is the instructor's.
    """
    path = folder / f"{slug.replace('-', '_')}.py" if folder else None
    if path is None or not path.is_file():
        return ()
    return tuple(_module(path).CHECKS)


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"labkit_given_{path.stem}", path)
    assert spec is not None  # noqa: S101 - it ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def judge_work(
    exercise: Exercise,
    folder: Path,
    *,
    student: str,
    sandbox: Sandbox,
    limits: Limits,
    seconds: float,
    file: str = "",
    extra: Path | None = None,
    only: Sequence[str] | None = None,
    source: str = "run",
) -> list[Verdict]:
    """Judge what a student left.

    Args:
        exercise: The exercise.
        folder: The submission's folder; `workspace/` in it is judged.
        student: Whose variant it is.
        sandbox: What confines the judge, so that what it reads and calls can't reach further.
        limits: What the judge may take.
        seconds: How long one check may take.
        file: The file that defines the exercise, if it is not of the course.
        extra: The folder of the instructor's own checks.
        only: The checks to judge; all without.
        source: What the verdicts say about where the files come from.

    Returns:
        A verdict for each check, in order.

    Raises:
        GraderFaultError: No judge could be started, or it could not do its work, several times.

    Does not check: written answers; they are a person's to judge.
    """
    own = load_extra(exercise.slug, extra)
    checks = {check.id: (check, check in own) for check in (*exercise.checks, *own)}
    waiting = [name for name in checks if only is None or name in only]
    verdicts: dict[str, Verdict] = {}
    tries = _TRIES
    while waiting:
        try:
            said, why, fault = _one_judge(
                exercise, folder, waiting, student=student, sandbox=sandbox, limits=limits, seconds=seconds,
                file=file, extra=extra,
            )  # fmt: skip
        except GraderFaultError:
            # A neighbour may just be bringing the machine down, and be ended for it in a moment.
            tries -= 1
            if not tries:
                raise
            continue
        for name in list(waiting):
            if name in said:
                check, is_extra = checks[name]
                verdicts[name] = verdict(check, CheckResult(**said[name]), source=source, extra=is_extra)
                waiting.remove(name)
        if waiting and why:
            check, is_extra = checks[waiting[0]]
            found = CheckResult(FAILED, observed=why, fault=fault)
            verdicts[waiting.pop(0)] = verdict(check, found, source=source, extra=is_extra)
    return [verdicts[name] for name in checks if name in verdicts]


def _one_judge(
    exercise: Exercise,
    folder: Path,
    names: Sequence[str],
    *,
    student: str,
    sandbox: Sandbox,
    limits: Limits,
    seconds: float,
    file: str,
    extra: Path | None,
) -> tuple[dict[str, Any], str, str]:
    """Run one judge; return what it said, and why it said no more: nothing, where that is our fault and another may go on."""
    from labkit.course.grading.confined import Confined, fresh_name
    from labkit.course.grading.sandbox import BWRAP, View, around_answers, base_env

    token = secrets.token_hex(16)
    scratch = Path(tempfile.mkdtemp(prefix="labkit-judge-"))
    readable = {JUDGED: folder}
    if extra:
        readable[_EXTRA] = extra.resolve()
    if file:
        readable[f"{_GIVEN}/{Path(file).name}"] = Path(file)
    inside = sandbox.confines
    where = _SCRATCH if inside else str(scratch)
    spec = {
        "exercise": exercise.slug,
        "file": f"{_GIVEN}/{Path(file).name}" if file and inside else file,
        "extra": (_EXTRA if inside else str(extra.resolve())) if extra else "",
        "root": f"{JUDGED if inside else folder}/workspace",
        "student": student,
        "checks": list(names),
        "token": token,
        "limits": {**limits.of_each(), "RLIMIT_DATA": 2 << 30},
        "alone": sandbox.kind == BWRAP,
        "around": around_answers(sandbox),
    }
    view = View(
        readable=readable, writable={_SCRATCH: scratch}, cwd=where, name=fresh_name(), memory=2 << 30,
        env={**base_env(), "HOME": where, "TMPDIR": where, "LABKIT_STUDENT": student, "LABKIT_GRADED": "1"},
    )  # fmt: skip
    command = [sys.executable, "-I", "-m", "labkit.course.grading.judging"]
    said: dict[str, Any] = {}
    ready, broken = False, ""
    try:
        with Confined(sandbox, view, command, limits=limits, spec=json.dumps(spec).encode()) as judge:
            patience = _START
            while (line := judge.line(patience)) is not None:
                found = _heard(line, token)
                ready = ready or bool(found)
                broken = found.get("broken", broken)
                if "result" in found:
                    said[found["id"]] = found["result"]
                patience = seconds if "begin" in found or "result" in found else patience
            exceeded = judge.exceeded
    finally:
        remove(scratch)
    if not ready:
        raise GraderFaultError(
            f"The judge did not start ({exceeded or 'it ended at once'}).",
            advice="LABKIT_DEBUG=1 labkit grade … shows what it says; --sandbox none tries without a sandbox.",
            place=str(folder),
        )
    if broken:
        # Another judge begins with nothing that an answer may have left in this one; only if that fails too, it is us.
        if not said:
            raise GraderFaultError(
                broken, advice="LABKIT_DEBUG=1 labkit grade … shows what it says.", place=str(folder)
            )
        return said, "", ""
    if exceeded:
        why = "it took longer than it may" if "in time" in exceeded else exceeded
        return said, f"This could not be judged: {why}.", "judge-stopped"
    return said, "This could not be judged: what was handed in ended the judge.", "judge-ended"


def _heard(line: bytes, token: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict) and found.get("token") == token:
            return found
    return {}


def main() -> int:
    """Be the judge."""
    from labkit.course.answers import confine
    from labkit.course.grading.driving import Teller, limit
    from labkit.course.judging import attempt
    from labkit.course.work import Work
    from labkit.processes import run

    spec = json.loads(sys.stdin.buffer.read())
    limit(spec["limits"])
    tell = Teller()
    exercise = load_exercise(spec["exercise"], spec["file"])
    own = load_extra(exercise.slug, Path(spec["extra"]) if spec["extra"] else None)
    checks = {check.id: check for check in (*exercise.checks, *own)}
    # A kernel that lets us have one sandbox may refuse a second one within.
    apart = bool(spec["around"]) and run([*spec["around"], "/usr/bin/true"], check=False).returncode == 0
    if apart:
        confine(spec["around"])
    tell(token=spec["token"], ready=True)
    # What a student's function starts ends with its own sandbox, so the broker or service of one check is good for the
    # next. Without that sandbox each check begins with nothing.
    for names in [spec["checks"]] if apart else [[name] for name in spec["checks"]]:
        with Work(exercise, Path(spec["root"]), spec["student"]) as work:
            for name in names:
                tell(token=spec["token"], begin=name)
                try:
                    result = asdict(attempt(checks[name], work))
                except (GraderFaultError, ToolMissingError) as error:
                    tell(token=spec["token"], broken=error.message)
                    return 1
                except Exception as error:  # noqa: BLE001 - the check's own fault: this one fails, the others are judged
                    result = asdict(_stumbled(error))
                tell(token=spec["token"], id=name, result=result)
        if spec["alone"]:  # nobody who came with one check stays for the next
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(-1, signal.SIGKILL)
    return 0


def _stumbled(error: Exception) -> CheckResult:
    said = f"{type(error).__name__}: {error}"[:200]
    return CheckResult(
        FAILED,
        observed=f"The check itself stumbled over what is there ({said}).",
        advice="Tell whoever grades: this one needs a person.",
        fault="check-stumbled",
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
