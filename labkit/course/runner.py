"""Run lessons without a person: execute the solved copies on real components, and collect what held."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.course import notebooks, state
from labkit.course.lessons import find
from labkit.course.scrub import Places, scrub
from labkit.errors import LabError, ToolError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from labkit.course.lesson import Lesson
    from labkit.course.notebooks import Source

CELL_TIMEOUT = 120
"""Seconds that one cell may take."""

STARTING, DONE = "starting", "done"
"""What `on_event` is told before the first cell and after the last."""

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class ClaimRun:
    """What became of one claim."""

    claim: str
    text: str
    held: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class LessonRun:
    """What became of one lesson.

    Attributes:
        slug: The lesson.
        title: Its title.
        status: `passed`, `failed` or `skipped`.
        seconds: How long it took.
        claims: What became of its claims, in order.
        problem: Why it failed or was skipped.
        notebook: The file name of the executed copy.
    """

    slug: str
    title: str
    status: str
    seconds: float
    claims: tuple[ClaimRun, ...]
    problem: str = ""
    notebook: str = ""


@dataclass(slots=True)
class Report:
    """What became of a run."""

    lessons: list[LessonRun] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        """0 if every claim of every lesson held, 1 if one did not, 3 if one was skipped, 130 if stopped."""
        found = {lesson.status for lesson in self.lessons}
        if self.interrupted:
            return 128 + signal.SIGINT
        if FAILED in found or not found:
            return 1
        return 3 if SKIPPED in found else 0

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable report."""
        return {
            "lessons": [
                {
                    "slug": lesson.slug,
                    "status": lesson.status,
                    "seconds": round(lesson.seconds, 2),
                    "claims": [
                        {"claim": c.claim, "held": c.held, "evidence": c.evidence} for c in lesson.claims
                    ],
                    **({"problem": lesson.problem} if lesson.problem else {}),
                }
                for lesson in self.lessons
            ],
            "versions": self.versions,
            **({"interrupted": True} if self.interrupted else {}),
        }


def run_lessons(
    source_folder: Path,
    out: Path,
    *,
    slugs: Sequence[str] = (),
    on_event: Callable[[str, int, int, str], None] = lambda *_: None,
    lesson_of: Callable[[str], Lesson] = find,
    cell_timeout: int = CELL_TIMEOUT,
) -> Report:
    """Execute lessons in order in one fresh workspace, and write what came out.

    Args:
        source_folder: Where the sources are.
        out: Where to write: executed notebooks, their pages, `index.html`, `report.json`. What an earlier run left
            there is removed.
        slugs: Which lessons; all without any.
        on_event: Told of lesson, cell, number of cells, and what goes on.
        lesson_of: Finds a lesson, for tests.
        cell_timeout: Seconds that one cell may take.

    Returns:
        What became of each lesson. After Ctrl-C it holds the lessons that were run.
    """
    chosen = [source for source in notebooks.sources(source_folder) if not slugs or source.slug in slugs]
    _fresh(out)
    report = Report(versions=state.versions(fetch=True))
    try:
        for source in chosen:
            run = _Run(source, lesson_of(source.slug), out, on_event, cell_timeout)
            report.lessons.append(run.result())
    except KeyboardInterrupt:
        report.interrupted = True
    write_atomic(out / "report.json", json.dumps(report.to_json(), indent=2) + "\n")
    from labkit.course.report import write_pages

    write_pages(report, out)
    return report


def _fresh(out: Path) -> None:
    make_folder(out)
    for old in (
        out / "workspace",
        out / "claims.jsonl",
        out / "report.json",
        *out.glob("*.ipynb"),
        *out.glob("*.html"),
    ):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)


class _Run:
    """One lesson on its way through nbclient."""

    def __init__(
        self,
        source: Source,
        lesson: Lesson,
        out: Path,
        on_event: Callable[[str, int, int, str], None],
        cell_timeout: int,
    ) -> None:
        self.source, self.lesson, self.out = source, lesson, out
        self.on_event, self.cell_timeout = on_event, cell_timeout
        self.cell = self.cells = 0
        self.claims_file = out / "claims.jsonl"
        self.places = Places(workspace=out / "workspace", course=source.path.parent.parent.parent)

    def result(self) -> LessonRun:
        started = time.monotonic()
        self.on_event(self.lesson.slug, 0, 0, STARTING)
        try:
            status, problem = self._attempted()
        finally:
            self.on_event(self.lesson.slug, self.cell, self.cells, DONE)
        claims = self._claims()
        if status == PASSED and not all(claim.held for claim in claims):
            status, problem = FAILED, "a claim did not hold, or was not run"
        return LessonRun(
            self.lesson.slug, self.lesson.title, status, time.monotonic() - started, claims,
            self.places.without(problem),
            self.source.notebook_name if (self.out / self.source.notebook_name).exists() else "",
        )  # fmt: skip

    def _attempted(self) -> tuple[str, str]:
        try:
            if self.lesson.needs_broker:
                from labkit.broker import find_mosquitto

                find_mosquitto()
        except ToolError as error:
            return SKIPPED, f"{error.message} {error.advice}"
        try:
            return self._executed()
        except LabError as error:
            return FAILED, error.message

    def _executed(self) -> tuple[str, str]:
        import nbformat
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

        notebook = nbformat.reads(notebooks.solved(self.source), as_version=4)
        self.cells = len(notebook.cells)
        client = self._client(notebook)
        try:
            self._execute(client)
        except CellTimeoutError:
            return FAILED, f"{self._where}: timed out after {self.cell_timeout} s"
        except CellExecutionError as error:
            return FAILED, f"{self._where}: {_one_line(f'{error.ename}: {error.evalue}')}"
        except DeadKernelError as error:
            return FAILED, f"{self._where}: {_one_line(str(error))}"
        except (RuntimeError, OSError) as error:
            return FAILED, f"the kernel did not start: {_one_line(str(error))}"
        finally:
            scrub(notebook, self.places)
            write_atomic(self.out / self.source.notebook_name, nbformat.writes(notebook) + "\n")
        return PASSED, ""

    @property
    def _where(self) -> str:
        return f"cell {self.cell} of {self.cells}"

    def _execute(self, client: Any) -> None:
        # In a thread of its own nbclient leaves SIGINT alone, so that Ctrl-C is ours: end the kernel, then go.
        def work() -> None:
            try:
                # nbclient ends only kernels of its own making unless it is told to: this one would live on, and hold
                # the workspace against the next lesson. Its synchronous twin would leave an event loop open.
                folder = str(self.source.path.parent.parent)
                asyncio.run(client.async_execute(cleanup_kc=True, env=self._environment(), cwd=folder))
            except Exception as error:  # noqa: BLE001 - raised again below, in the thread that waits
                problems.append(error)
            finally:
                atexit.unregister(client._cleanup_kernel)  # noqa: SLF001 - left behind where no kernel started

        problems: list[Exception] = []
        worker = threading.Thread(target=work)
        worker.start()
        try:
            while worker.is_alive():
                worker.join(0.2)
        except KeyboardInterrupt:
            with suppress(
                OSError, TypeError, AttributeError
            ):  # the kernel may not be there yet, or not any more
                os.kill(client.km.provisioner.pid, signal.SIGTERM)
            worker.join()
            raise
        if problems:
            raise problems[0]

    def _client(self, notebook: Any) -> Any:
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient

        manager = AsyncKernelManager()
        # Our own Python, whatever kernel somebody has installed under the name python3.
        manager._kernel_spec = KernelSpec(  # noqa: SLF001 - there is no public way to hand one over
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"],
            language="python",
            display_name="course",
        )
        return NotebookClient(
            notebook,
            km=manager,
            timeout=self.cell_timeout,
            on_cell_start=self._cell_started,
            store_widget_state=False,
        )

    def _cell_started(self, cell: Any, cell_index: int) -> None:
        self.cell = cell_index + 1
        what = next((line for line in cell.source.split("\n") if line.strip()), "")
        self.on_event(self.lesson.slug, self.cell, self.cells, what)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LABKIT_WORKSPACE": str(self.out / "workspace"),
            "LABKIT_REPORT": str(self.claims_file),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }

    def _claims(self) -> tuple[ClaimRun, ...]:
        found: dict[str, dict[str, Any]] = {}
        with suppress(FileNotFoundError):
            for line in self.claims_file.read_text(encoding="utf-8").splitlines():
                entry = _entry(line)
                if entry and entry["lesson"] == self.lesson.slug:
                    # Claimed twice and refuted once is refuted.
                    held = entry["held"] and found.get(entry["claim"], entry)["held"]
                    found[entry["claim"]] = {**entry, "held": held}
        missing = {"held": False, "evidence": "not run"}
        results = [(claim, found.get(claim.id, missing)) for claim in self.lesson.claims]
        return tuple(
            ClaimRun(c.id, c.text, held=r["held"], evidence=self.places.without(r["evidence"]))
            for c, r in results
        )


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None  # a kernel died while it wrote: what it claimed was not proved
    return entry


def _one_line(text: str) -> str:
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    return lines[0].strip() if lines else "no words"
