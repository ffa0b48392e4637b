"""Lessons executed on real components: solved copies hold every claim, unsolved ones pass no check."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from labkit.broker import Mosquitto, attach
from labkit.clock import Deadline
from labkit.course import Claim, Lesson, notebooks
from labkit.course.lessons import find, slugs
from labkit.course.runner import Report, run_lessons
from labkit.errors import BrokerNotRunningError, ToolMissingError
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

# The first test makes the run of all lessons, which may share its core with another worker.
pytestmark = [pytest.mark.broker, pytest.mark.notebook, pytest.mark.timeout(900)]

SOURCES = Path("notebooks/source").absolute()


@pytest.fixture(scope="module")
def out(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all lessons once, in order, in one fresh workspace; or take the run that CI has just made that way."""
    if made := os.environ.get("LABKIT_TEST_RUN"):
        return Path(made)
    folder = tmp_path_factory.mktemp("run out")
    report = run_lessons(SOURCES, folder)
    assert [] == [(lesson.slug, lesson.problem) for lesson in report.lessons if lesson.problem]
    assert report.exit_status == 0
    return folder


def test_every_claim_holds(out: Path) -> None:
    """The report has every lesson passed, every claim held with evidence, and the versions."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert list(slugs()) == [lesson["slug"] for lesson in report["lessons"]]
    for lesson in report["lessons"]:
        assert lesson["status"] == "passed"
        assert [claim.id for claim in find(lesson["slug"]).claims] == [
            claim["claim"] for claim in lesson["claims"]
        ]
        assert all(claim["held"] and claim["evidence"] for claim in lesson["claims"])
    assert {"python", "mosquitto", "openssl"} <= set(report["versions"])


def test_checks_pass_in_the_solved_copies(out: Path) -> None:
    """Every exercise of every lesson passed its check in the run."""
    progress = json.loads((out / "workspace/course/progress.json").read_text(encoding="utf-8"))["lessons"]
    for slug in slugs():
        expected = {check.id: "passed" for check in find(slug).checks}
        assert expected == progress[slug]["checks"]


def test_nothing_secret_or_local_in_what_is_left(out: Path) -> None:
    """Executed notebooks and pages hold no key, no path of this machine, and nothing is left running."""
    for path in [*out.glob("*.ipynb"), *out.glob("*.html"), out / "report.json"]:
        text = path.read_text(encoding="utf-8")
        assert "PRIVATE KEY-----" not in text
        assert str(out) not in text
    with pytest.raises(BrokerNotRunningError):
        attach(out / "workspace" / "broker")


def test_pages_load_nothing(out: Path) -> None:
    """A page of the report fetches no script, style, picture or font from anywhere."""
    pages = list(out.glob("*.html"))
    assert len(pages) == len(slugs()) + 1
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text) == []
        assert re.findall(r"url\((?!['\"]?data:)['\"]?https?:[^)]*\)|@import", text) == []
        assert '<html lang="en"' in text


@pytest.mark.parametrize("source", notebooks.sources(SOURCES), ids=lambda source: source.slug)
def test_unsolved_copies_pass_no_check(
    mosquitto: Mosquitto, source: notebooks.Source, tmp_path: Path
) -> None:
    """A student's copy, run as it is, leaves every exercise not attempted."""
    notebook = nbformat.reads(notebooks.student(source), as_version=4)
    env = {**os.environ, "LABKIT_WORKSPACE": str(tmp_path / "w"), "LABKIT_NO_WIDGETS": "1"}
    NotebookClient(notebook, timeout=60, allow_errors=True).execute(env=env)
    progress = json.loads((tmp_path / "w/course/progress.json").read_text(encoding="utf-8"))["lessons"][
        source.slug
    ]
    assert set(progress["checks"].values()) == {"not-attempted"}


@pytest.mark.slow
@pytest.mark.parametrize("source", notebooks.sources(SOURCES), ids=lambda source: source.slug)
def test_lessons_run_alone_and_again(mosquitto: Mosquitto, source: notebooks.Source, tmp_path: Path) -> None:
    """Each notebook runs in a fresh workspace, and again in the same one; all claims hold both times."""
    claims = tmp_path / "claims.jsonl"
    for _ in range(2):
        notebook = nbformat.reads(notebooks.solved(source), as_version=4)
        env = {**os.environ, "LABKIT_WORKSPACE": str(tmp_path / "w"), "LABKIT_REPORT": str(claims)}
        NotebookClient(notebook, timeout=60).execute(env=env)
    lines = [json.loads(line) for line in claims.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 2 * len(find(source.slug).claims)
    assert all(line["held"] for line in lines)


# --- the runner's own behaviour, on small lessons -----------------------------------------------------------------

SMALL = """# %% [markdown]
# # Try
#
# **What you'll do** **What you'll learn** **What you'll need**
#
# ## What you proved
#
# ## In practice
#
# ## Questions
#
# ## Further reading

# %%
from labkit.course import lab as l
x = 1

# %%
BODY

# %%
pass  # lab.close()
"""


def small(folder: Path, body: str, *, claims: tuple[Claim, ...] = ()) -> tuple[Report, dict[str, Any]]:
    """Run a lesson with one cell of our own."""
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "00_try.py").write_text(SMALL.replace("BODY", body), encoding="utf-8")
    lesson = Lesson("try", "Try", 1, claims, needs_broker=False)
    report = run_lessons(source, folder / "out", lesson_of=lambda _: lesson, cell_timeout=10)
    return report, json.loads((folder / "out/report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("raise ValueError('on purpose')", "ValueError: on purpose"),
        ("import os; os._exit(1)", "died"),
        pytest.param("import threading; threading.Event().wait()", "timed out", marks=pytest.mark.slow),
    ],
)
def test_a_broken_lesson_is_a_failed_lesson(tmp_path: Path, body: str, word: str) -> None:
    """An error, a dead kernel or a cell without end fails the lesson in one line, and the report is written."""
    report, written = small(tmp_path, body)
    assert report.exit_status == 1
    (lesson,) = written["lessons"]
    assert lesson["status"] == "failed"
    assert word.lower() in lesson["problem"].lower()
    assert "\n" not in lesson["problem"]
    assert (tmp_path / "out/index.html").exists()


def test_a_claim_that_was_not_run_does_not_hold(tmp_path: Path) -> None:
    """A lesson that runs through without trying its claim has failed."""
    report, written = small(tmp_path, "y = 2", claims=(Claim("c", "Something.", "tls", "x"),))
    assert report.exit_status == 1
    assert written["lessons"][0]["claims"] == [{"claim": "c", "held": False, "evidence": "not run"}]


def test_a_claim_refuted_once_is_refuted(tmp_path: Path) -> None:
    """A claim that held and then did not hold is not held, in whatever order."""
    body = (
        "import json, os\n"
        "with open(os.environ['LABKIT_REPORT'], 'a') as f:\n"
        "    for held in (False, True):\n"
        "        f.write(json.dumps({'lesson': 'try', 'claim': 'c', 'held': held, 'evidence': 'e'}) + '\\n')"
    )
    report, _ = small(tmp_path, body, claims=(Claim("c", "Something.", "tls", "x"),))
    assert report.exit_status == 1


def test_a_missing_tool_skips_the_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Mosquitto a lesson is skipped with the advice, and the exit status is 3."""

    def missing(**_: object) -> None:
        raise ToolMissingError("Mosquitto is not here.", advice="Install it.", tool="mosquitto")

    monkeypatch.setattr("labkit.broker.find_mosquitto", missing)
    report = run_lessons(SOURCES, tmp_path / "out", slugs=["start-here"])
    assert report.exit_status == 3
    assert report.lessons[0].status == "skipped"
    assert "Install it." in report.lessons[0].problem


def test_what_an_earlier_run_left_is_gone(tmp_path: Path) -> None:
    """A second run starts from an empty folder: no old page, no old workspace."""
    (tmp_path / "out").mkdir()
    for name in ("99_old.html", "99_old.ipynb", "claims.jsonl"):
        (tmp_path / "out" / name).write_text("old")
    small(tmp_path, "y = 2")
    assert not (tmp_path / "out/99_old.html").exists()


def test_ctrl_c_leaves_a_report_and_nothing_running(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Stopped in the middle, a run exits with 130, writes what it has, and leaves no broker."""
    argv = [sys.executable, "-m", "labkit", "run", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        state = tmp_path / "out/workspace/broker/state.json"
        deadline = Deadline(60)
        while not state.exists() and not deadline.passed:
            deadline.pause(0.05)
        pid = json.loads(state.read_text(encoding="utf-8"))["pid"]
        os.killpg(child.pid, signal.SIGINT)
        child.communicate(timeout=30)
    assert child.returncode == 130
    assert json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))["interrupted"] is True
    deadline = Deadline(8)
    while Path(f"/proc/{pid}").exists() and not deadline.passed:
        deadline.pause(0.05)
    assert not Path(f"/proc/{pid}").exists()


OPENS = """from labkit.course import open_lab
from labkit.course.lesson import Lesson
lab = open_lab("try", lesson=Lesson("try", "Try", 1, (), needs_broker=False))
"""


def kernels() -> list[int]:
    """Return the kernels that this process has started and that still run."""
    mine = str(os.getpid())
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = status.read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if parent == mine and b"ipykernel_launcher" in status.with_name("cmdline").read_bytes():
                found.append(int(status.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_failed_lesson_does_not_stand_in_the_next_ones_way(tmp_path: Path) -> None:
    """A lesson that breaks with its lab open gives the workspace back: the next one runs, and no kernel is left."""
    before = kernels()
    source = tmp_path / "source"
    source.mkdir()
    for name, body in (("00_one", OPENS + "1 / 0"), ("01_two", OPENS + "lab.close()")):
        (source / f"{name}.py").write_text(SMALL.replace("BODY", body), encoding="utf-8")
    lesson = Lesson("try", "Try", 1, (), needs_broker=False)
    report = run_lessons(source, tmp_path / "out", lesson_of=lambda _: lesson, cell_timeout=30)
    assert [lesson.status for lesson in report.lessons] == ["failed", "passed"]
    assert before == kernels()


def test_an_error_of_ours_is_named_with_its_words(tmp_path: Path) -> None:
    """Where a lesson fails with an error of labkit, the report says which, and the page shows the advice."""
    report, _ = small(tmp_path, OPENS + "lab.check('nope')")
    assert "ClaimUnknownError: This lesson has no 'nope'" in report.lessons[0].problem
    shown = nbformat.read(tmp_path / "out/00_try.ipynb", as_version=4).cells[2].outputs[-1]
    assert (shown.output_type, shown.ename) == ("error", "ClaimUnknownError")
    assert ["ClaimUnknownError: This lesson has no 'nope'.", "  It has: ."] == shown.traceback


def test_a_kernel_that_does_not_start_is_a_failed_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where no kernel can be started the lesson has failed in one line, and the report is written."""
    monkeypatch.setattr("labkit.course.runner.sys.executable", str(tmp_path / "no python"))
    report, written = small(tmp_path, "y = 2")
    assert report.exit_status == 1
    assert written["lessons"][0]["status"] == "failed"
    assert "the kernel" in written["lessons"][0]["problem"]
    assert (tmp_path / "out/index.html").exists()
    assert "Traceback" not in capfd.readouterr().err


def test_a_torn_line_is_a_claim_that_was_not_run(tmp_path: Path) -> None:
    """What a dying kernel wrote half is no evidence, and no reason to lose the report."""
    body = "import os; open(os.environ['LABKIT_REPORT'], 'a').write('{\"lesson\": \"try\", \"cl')"
    report, written = small(tmp_path, body, claims=(Claim("c", "Something.", "tls", "x"),))
    assert report.exit_status == 1
    assert written["lessons"][0]["claims"] == [{"claim": "c", "held": False, "evidence": "not run"}]


def test_evidence_and_problems_name_no_place(tmp_path: Path) -> None:
    """What the report quotes is scrubbed as the notebooks are."""
    body = (
        "import json, os\n"
        "line = {'lesson': 'try', 'claim': 'c', 'held': True, 'evidence': os.environ['LABKIT_WORKSPACE']}\n"
        "open(os.environ['LABKIT_REPORT'], 'a').write(json.dumps(line))\n"
        "raise ValueError(os.getcwd())"
    )
    _, written = small(tmp_path, body, claims=(Claim("c", "Something.", "tls", "x"),))
    (lesson,) = written["lessons"]
    assert lesson["claims"][0]["evidence"] == "workspace"
    assert "ValueError: course" in lesson["problem"]


# --- kernels that are interrupted, restarted and killed -----------------------------------------------------------

CELLS = """
from labkit.course import open_lab
lab = open_lab("start-here")
from labkit.pki import Store
from labkit.scenarios import mutual_tls
store = Store(lab.workspace)
store.ensure_authority()
site = lab.enter(mutual_tls(store))
print("broker", site.broker.pid)
"""


def answered(client: Any, code: str, listen: Callable[[dict[str, Any]], None]) -> str:
    """Execute code in a kernel; return the status of its reply."""
    reply = client.execute_interactive(code, output_hook=listen, timeout=30)
    return str(reply["content"]["status"])


def gone(pid: int, seconds: float = 8.0) -> bool:
    """Wait until a process has ended; say whether it did."""
    deadline = Deadline(seconds)
    while Path(f"/proc/{pid}").exists() and not deadline.passed:
        deadline.pause(0.05)
    return not Path(f"/proc/{pid}").exists()


def interrupted(manager: Any, client: Any) -> None:
    """Press stop until the cell has ended; one that comes while the kernel itself is busy with the output may be lost."""
    for _ in range(4):
        manager.interrupt_kernel()
        try:
            client.get_shell_msg(timeout=30)
        except Empty:
            continue
        return
    pytest.fail("the cell goes on, however often it is stopped")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("end", ["restart", "kill", "shutdown"])
def test_kernels_leave_no_broker(mosquitto: Mosquitto, tmp_path: Path, end: str) -> None:
    """The stop button spares the broker; restart, kill and shutdown of the kernel end it."""
    env = {**os.environ, "LABKIT_WORKSPACE": str(tmp_path / "w"), "LABKIT_NO_WIDGETS": "1"}
    manager, client = start_new_kernel(env=env)
    said: list[str] = []

    def listen(message: dict[str, Any]) -> None:
        said.append(str(message["content"].get("text", "")))

    try:
        client.execute_interactive(CELLS, output_hook=listen, timeout=60)
        pid = int(re.search(r"broker (\d+)", "".join(said))[1])  # type: ignore[index]
        client.execute("import threading; print('waiting', flush=True); threading.Event().wait()")
        while "waiting" not in str(client.get_iopub_msg(timeout=30)["content"].get("text")):
            pass
        interrupted(manager, client)
        asked = Deadline(30)
        # After an interrupt a kernel throws away what is waiting, and says so: only then is it right to ask again.
        while answered(client, "print('alive', site.broker.alive)", listen) == "aborted":
            assert not asked.passed
        assert "alive True" in "".join(said)
        if end == "restart":
            manager.restart_kernel(now=False)
        elif end == "kill":
            os.kill(manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
        else:
            manager.shutdown_kernel()
        assert gone(pid)
        with Workspace.open(tmp_path / "w").hold("the next one"):
            pass
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
