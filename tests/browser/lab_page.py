"""JupyterLab in a browser, for tests: open, run, click, stop, restart, look."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course import notebooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.conftest import Seen

SOURCES = [
    *notebooks.sources(Path("notebooks/source")),
    *notebooks.sources(Path("notebooks/exercises/source")),
]

WHOLE = ("start-here", "mutual-tls", "audit", "mtls-setup")
"""What is run from end to end in the browser; nbclient does that for the others."""

MINUTE = 60_000

_OPEN = """async path => {
    const app = window.jupyterapp;
    const widget = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
    await widget.context.ready;
    await widget.sessionContext.ready;
    await widget.sessionContext.session.kernel.info;
    window.notebook = widget;
    return widget.content.widgets.map(cell => [cell.model.type, cell.model.sharedModel.getSource()]);
}"""

_RUN = """async index => {
    const content = window.notebook.content;
    content.activeCellIndex = index;
    content.deselectAll();
    await window.jupyterapp.commands.execute('notebook:run-cell');
}"""

_OUTPUTS = """index => {
    const cell = window.notebook.content.widgets[index];
    return cell.model.type === 'code' ? cell.model.outputs.toJSON() : [];
}"""

WHERE = {"include": [[".jp-Notebook"]], "exclude": [[".cm-editor"]]}
"""Where axe looks: not at code, which JupyterLab draws, and of which a notebook has more than of all else."""

OF_LAB = re.compile(r'<[a-z0-9-]+ [^>]*class="[^"]*\b(?:jp|cm|lm)-')
"""Elements of JupyterLab and of its editor carry its classes; nothing of ours does."""


def path_of(source: notebooks.Source, *, solved: bool) -> str:
    """Return where a notebook lies for JupyterLab."""
    return ("exercises/" if source.graded else "") + ("solved/" if solved else "") + source.notebook_name


class LabPage:
    """JupyterLab in a page.

    Attributes:
        page: Playwright's page.
        seen: What it said and where it went.
        cells: The cells of the notebook that is open: type and source.
    """

    def __init__(self, page: Any, address: str, token: str, seen: Seen) -> None:
        self.page = page
        self.seen = seen
        self.cells: list[tuple[str, str]] = []
        self._address = f"{address}/lab?token={token}&reset"

    def load(self) -> None:
        """Load JupyterLab and wait until it can be used."""
        self.page.goto(self._address)
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("async () => { await jupyterapp.started; await jupyterapp.restored; }")

    def open(self, source: notebooks.Source, *, solved: bool = False) -> None:
        """Open a notebook of the course and wait for its kernel."""
        self.open_file(path_of(source, solved=solved))

    def open_file(self, path: str) -> None:
        """Open a notebook file and wait for its kernel."""
        self.cells = [tuple(cell) for cell in self.page.evaluate(_OPEN, path)]

    def index(self, words: str, *, after: int = 0) -> int:
        """Return the number of the first code cell that has these words."""
        return next(
            number
            for number, (kind, source) in enumerate(self.cells)
            if number >= after and kind == "code" and words in source
        )

    def has(self, words: str) -> bool:
        """Return whether a code cell has these words."""
        return any(kind == "code" and words in source for kind, source in self.cells)

    def run(self, index: int) -> str:
        """Run a cell to its end; return what came out, as text."""
        self.page.evaluate(_RUN, index)
        return self.text(index)

    def type(self, code: str, *, at: int) -> None:
        """Type code in place of a cell's own."""
        self.page.evaluate(
            "([index, code]) => notebook.content.widgets[index].model.sharedModel.setSource(code)", [at, code]
        )

    def ask(self, code: str, *, at: int) -> str:
        """Type code in place of a cell's own, and run it."""
        self.type(code, at=at)
        return self.run(at)

    def start(self, index: int) -> None:
        """Begin to run a cell, and don't wait for its end."""
        self.page.evaluate(f"index => {{ ({_RUN})(index).catch(() => null); }}", index)

    def run_all(self) -> None:
        """Run all cells to their end."""
        self.page.evaluate("async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def errors(self) -> list[str]:
        """Return the errors that stand under cells."""
        return [
            f"cell {index}: {output['ename']}: {output['evalue']}"
            for index in range(len(self.cells))
            for output in self.page.evaluate(_OUTPUTS, index)
            if output["output_type"] == "error"
        ]

    def text(self, index: int) -> str:
        """Return what stands under a cell, as text."""
        parts = []
        for output in self.page.evaluate(_OUTPUTS, index):
            parts.append(str(output.get("text", "")))
            parts.append(str(output.get("data", {}).get("text/plain", "")))
            parts += [str(output.get("evalue", "")), "\n".join(output.get("traceback", []))]
        return "\n".join(part for part in parts if part)

    def node(self, index: int) -> Any:
        """Return a cell as an element of the page."""
        handle = self.page.evaluate_handle("index => window.notebook.content.widgets[index].node", index)
        element = handle.as_element()
        element.scroll_into_view_if_needed()
        return element

    def interrupt(self) -> None:
        """Press the stop button in the notebook's toolbar."""
        self.page.locator(
            ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-ToolbarButtonComponent[data-command='notebook:interrupt-kernel']"
        ).first.click()

    def restart(self) -> None:
        """Restart the kernel, without the question."""
        self.page.evaluate("async () => { await window.notebook.sessionContext.restartKernel(); }")

    def wait_idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        self.page.wait_for_function(
            "() => window.notebook.sessionContext.session?.kernel?.status === 'idle'", timeout=2 * MINUTE
        )

    def violations(self) -> dict[str, str]:
        """Return the rules that axe finds broken in the notebook by what is not JupyterLab's own, each with where."""
        from axe_playwright_python.sync_playwright import Axe

        options = {"resultTypes": ["violations"]}
        found = Axe().run(self.page, context=WHERE, options=options).response["violations"]
        places = {each["id"]: [node["html"][:160] for node in each["nodes"]] for each in found}
        ours = {rule: [html for html in nodes if not OF_LAB.match(html)] for rule, nodes in places.items()}
        return {rule: nodes[0] for rule, nodes in ours.items() if nodes}

    def complaints(self, *, beyond: set[str]) -> dict[str, str]:
        """Return the violations of rules that JupyterLab keeps by itself."""
        return {rule: where for rule, where in self.violations().items() if rule not in beyond}

    @contextmanager
    def opened_out(self) -> Iterator[None]:
        """Make the window as high as the notebook for the length of the block, so that everything is in sight."""
        height = self.page.evaluate(
            "() => Math.min(30000, [...window.notebook.content.widgets].reduce((sum, cell) => sum + cell.node.offsetHeight, 300))"
        )
        size = self.page.viewport_size
        self.page.set_viewport_size({"width": size["width"], "height": int(height)})
        # Running the cells has scrolled to the last one.
        self.page.evaluate(
            "() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(each => { each.scrollTop = 0; })"
        )
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        yield
        self.page.set_viewport_size(size)

    def shot(self, path: Path) -> None:
        """Take a picture of what the window shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))

    def close_all(self) -> None:
        """Close every notebook without saving, and end its kernel."""
        self.page.evaluate(
            """async () => {
                const app = window.jupyterapp;
                await app.serviceManager.sessions.shutdownAll();
                for (const widget of [...app.shell.widgets('main')]) {
                    if (widget.context) { widget.context.model.dirty = false; }
                    widget.dispose();
                }
                window.notebook = undefined;
            }"""
        )
