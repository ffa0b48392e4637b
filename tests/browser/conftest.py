"""A real browser on a real JupyterLab: one of each for a file of tests, on this machine alone."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from labkit.clock import Deadline
from labkit.course import notebooks
from labkit.course.site import serve
from labkit.ports import reserve_port
from tests.browser.lab_page import SOURCES, LabPage, path_of
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

COURSE = Path(__file__).resolve().parents[2]
SHOTS = COURSE / "build" / "screenshots"
"""Where pictures of the lessons are kept: build artefacts, to be looked at."""

DESK, PHONE = (1280, 900), (390, 844)
"""Windows in which the site is looked at."""

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Chromium's names; the first is the one without a window, which costs a fifth less of a core."""

TOKEN = "test"

PLAIN = [
    nbformat.v4.new_markdown_cell(
        "# Title\n\n## Part\n\nWords and [a link](https://jupyter.org).\n\n| a | b |\n| - | - |\n| 1 | 2 |"
    ),
    nbformat.v4.new_code_cell(
        "import ipywidgets\nlong = '" + "x" * 300 + "'\nprint(long)\nipywidgets.Button(description='a')"
    ),
    nbformat.v4.new_code_cell(
        "from IPython.display import HTML\nHTML('<select><option>a</option></select>')"
    ),
]
"""A notebook without anything of ours, and with a fault that is not JupyterLab's: a choice without a name."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a running Chromium.

    A module's, not the run's: while Playwright runs, its thread has an event loop, and other tests can't have theirs.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        missing("no Chromium is on this machine; apt install chromium")
    if importlib.util.find_spec("playwright") is None:
        missing("Playwright is not installed; python3 lab.py extras browser")
    from playwright.sync_api import sync_playwright

    here = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"  # nothing can leave this machine
    quiet = [
        "--no-sandbox",
        here,
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[*quiet, "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the notebooks, student's and solved, that a browser may write to."""
    folder = tmp_path_factory.mktemp("course")
    for each in SOURCES:
        for solved, text in ((False, notebooks.student(each)), (True, notebooks.solved(each))):
            path = folder / "notebooks" / path_of(each, solved=solved)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    (folder / "notebooks" / "source").mkdir()  # what says that this is the course
    return folder


@pytest.fixture(scope="module")
def server(course: Path) -> Iterator[str]:
    """Return the address of JupyterLab on that copy, as `labkit lab` starts it."""
    settings = course / "settings"
    tracker = settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    # By itself JupyterLab detaches cells out of sight now and then: nobody can look at those, and closing them is an error of its own.
    tracker.write_text(json.dumps({"windowingMode": "none"}), encoding="utf-8")
    with reserve_port() as port:
        pass  # JupyterLab binds without SO_REUSEADDR
    env = {
        **os.environ,
        "LABKIT_COURSE": str(course),
        "LABKIT_WORKSPACE": str(course / "workspace"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(course / "views"),
        "JUPYTER_CONFIG_DIR": str(course / "config"),
        "JUPYTER_DATA_DIR": str(course / "data"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    argv = [
        sys.executable, "-m", "labkit", "lab", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    log = course / "server.log"
    with log.open("wb") as out, subprocess.Popen(argv, env=env, stdout=out, stderr=out, cwd=course) as child:
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", child, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait(timeout=30)


def wait_for(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    deadline = Deadline(90)
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own
                return
        except (urllib.error.URLError, OSError):
            assert child.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            assert not deadline.passed, log.read_text(encoding="utf-8")[-2000:]
            deadline.pause(0.2)


@pytest.fixture(scope="module")
def lab_page(chromium: Any, server: str) -> Iterator[LabPage]:
    """Return JupyterLab in a page that all tests of a run share; each opens and closes its notebooks."""
    with watched(chromium, width=1280, height=900) as (page, seen):
        lab = LabPage(page, server, TOKEN, seen)
        lab.load()
        yield lab


@pytest.fixture
def lab(lab_page: LabPage) -> Iterator[LabPage]:
    """Return JupyterLab with nothing open; afterwards nothing complained, and nothing left this machine."""
    lab_page.seen.clear()
    yield lab_page
    lab_page.close_all()
    assert lab_page.seen.problems() == []


@pytest.fixture(scope="module")
def of_jupyter(lab_page: LabPage, course: Path) -> set[str]:
    """Return the rules that JupyterLab breaks by itself, measured on a notebook without anything of ours."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}  # without it JupyterLab asks which
    notebook = nbformat.v4.new_notebook(cells=PLAIN, metadata={"kernelspec": kernel})
    (course / "notebooks" / "plain.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    lab_page.open_file("plain.ipynb")
    lab_page.run_all()
    lab_page.wait_idle()
    found = lab_page.violations()
    lab_page.close_all()
    assert "select-name" in found, "axe does not see what a notebook shows"
    return set(found) - {"select-name"}


OF_JUPYTER = "Could not restore the debugger state: Canceled future"
"""JupyterLab's own complaint where a kernel was ended while its debugger still asked it something."""


class Seen:
    """What a page said and where it went."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.strangers: list[str] = []

    def clear(self) -> None:
        """Forget."""
        self.complaints.clear()
        self.strangers.clear()

    def problems(self) -> list[str]:
        """Return errors of the console, and addresses outside this machine."""
        return [*(said for said in self.complaints if not said.startswith(OF_JUPYTER)), *self.strangers]


@contextmanager
def watched(chromium: Any, *, width: int, height: int) -> Iterator[tuple[Any, Seen]]:
    """Open a page that is watched: errors of its console, and every request that is not for this machine."""
    seen = Seen()
    context = chromium.new_context(viewport={"width": width, "height": height})

    def asked(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            seen.strangers.append(request.url)

    context.on("request", asked)  # a route would do without the browser's cache
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda said: seen.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    try:
        yield page, seen
    finally:
        context.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine for as long as the tests run."""
    urls: Queue[str] = Queue()
    threading.Thread(target=serve, args=(folder,), kwargs={"on_ready": urls.put}, daemon=True).start()
    yield urls.get(timeout=10)


@pytest.fixture(scope="module")
def address(built_site: Path) -> Iterator[str]:
    """Return where the site is served."""
    with served(built_site) as url:
        yield url


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return an empty page of a size; afterwards nothing complained, and nothing left this machine."""
    width, height = request.param
    with watched(chromium, width=width, height=height) as (fresh, seen):
        fresh.set_default_timeout(20_000)
        yield fresh
        assert seen.problems() == []


def keep(page: Any, name: str, *, whole: bool = True) -> None:
    """Keep a picture of a page, or of what a window shows of it."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    path = SHOTS / f"site-{name.replace('/', '-')}.jpg"  # png takes twice as long
    page.screenshot(path=str(path), full_page=whole)
