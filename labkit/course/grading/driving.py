"""Runs alone, as a process: executes a notebook by nbclient and tells, line by line, how it goes.

It is started as `python -I driving.py` inside the sandbox, and reads on standard input one JSON object: the cells, the
seconds, and the limits. What it tells is for people: a notebook may kill it or forge what it says, and earns nothing by
that. It imports nothing of labkit, so that it starts quickly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from typing import Any

PR_SET_DUMPABLE = 4
GRACE = 5.0

# jsonschema would build a grammar of internationalised links from it, for seconds, and no notebook's schema has one.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def limit(most: dict[str, int]) -> None:
    """Take no more than we were given; keep others of the same user out of our memory."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        for name, value in most.items():
            what = getattr(resource, name, None)
            if what is not None:
                with contextlib.suppress(OSError, ValueError):
                    resource.setrlimit(what, (value, value))
        os.nice(2)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


class Teller:
    """Writes one JSON line for each thing that happens."""

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def __call__(self, **what: Any) -> None:
        """Tell."""
        self.out.write(json.dumps(what) + "\n")
        self.out.flush()


def one_line(text: str) -> str:
    """Return the first line of a text that has one, without colours."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    return lines[0][:300] if lines else ""


def size(value: Any) -> int:
    """Return about how many characters an output holds."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(size(item) for item in value.values())
    return sum(size(item) for item in value) if isinstance(value, list) else 8


def client_for(notebook: Any, spec: dict[str, Any]) -> Any:
    """Return nbclient on a kernel of our own Python, that keeps no more output than it was allowed."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class Client(NotebookClient):  # type: ignore[misc]
        """nbclient, with a limit on outputs."""

        spent = 0

        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
            """Take an output, unless there was too much of it."""
            self.spent += size(msg["content"])
            if self.spent <= spec["output_limit"]:
                return super().output(outs, msg, display_id, cell_index)
            return None

        def _update_display_id(self, display_id: str, msg: Any) -> None:
            if self.spent <= spec["output_limit"]:
                super()._update_display_id(display_id, msg)

    manager = AsyncKernelManager()
    manager.shutdown_wait_time = GRACE
    manager._kernel_spec = KernelSpec(  # noqa: SLF001 - there is no public way to hand one over
        argv=[
            sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR",
            "--HistoryManager.enabled=False",
        ],
        language="python",
        display_name="course",
    )  # fmt: skip
    return Client(
        notebook, km=manager, timeout=None, allow_errors=True, store_widget_state=False, iopub_timeout=10
    )


class Drive:
    """One notebook on its way."""

    def __init__(self, spec: dict[str, Any], tell: Teller) -> None:
        from nbformat import v4

        make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}
        self.spec, self.tell = spec, tell
        cells = [make[cell["kind"]](cell["source"]) for cell in spec["cells"]]
        self.notebook = v4.new_notebook(cells=cells)
        self.client = client_for(self.notebook, spec)
        self.end = time.monotonic() + spec["seconds"]

    async def run(self) -> str:
        """Execute all cells; return why not to the end, or nothing."""
        from nbclient.exceptions import DeadKernelError

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        async with self.client.async_setup_kernel(cleanup_kc=True, cwd=self.spec["cwd"], **quiet):
            await self.client.async_wait_for_reply(self.client.kc.kernel_info())
            for index, cell in enumerate(self.notebook.cells):
                self.tell(cell=index)
                try:
                    why = await self.one(cell, index)
                except DeadKernelError:
                    return f"cell {index + 1} ended its own kernel"
                if why:
                    return why
        return ""

    async def one(self, cell: Any, index: int) -> str:
        """Execute a cell; return why there is no going on, or nothing."""
        seconds = min(self.spec["cell_seconds"], self.end - time.monotonic())
        if seconds <= 0:
            return f"the time was up before cell {index + 1}: {self.spec['seconds']:g} s for all"
        task = asyncio.ensure_future(self.client.async_execute_cell(cell, index))
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            self.tell(error=index, text=f"stopped after {seconds:.0f} s")
            await self.client.km.interrupt_kernel()
            done, _ = await asyncio.wait({task}, timeout=GRACE)
        if not done:
            await self.client.km.shutdown_kernel(now=True)
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
            return f"cell {index + 1} hung for {seconds:.0f} s and could not be interrupted"
        task.result()
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                self.tell(error=index, text=one_line(f"{output.ename}: {output.evalue}"))
        return ""


def main() -> int:
    """Execute one notebook."""
    spec = json.loads(sys.stdin.buffer.read())
    limit(spec["limits"])
    tell = Teller()
    try:
        import nbformat

        drive = Drive(spec, tell)
        why = asyncio.run(drive.run())
        tell(notebook=nbformat.writes(drive.notebook))
        tell(end=True, why=why)
    except MemoryError:
        tell(end=True, why="it took more memory than it may")
    except Exception as error:  # noqa: BLE001 - told to whoever grades
        tell(end=True, why=f"the kernel broke down ({one_line(f'{type(error).__name__}: {error}')})")
    return 0


if __name__ == "__main__":
    os._exit(main())  # threads of a kernel's client must not hold us
