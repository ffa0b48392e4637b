"""Whole notebooks that mean harm, on the way that all submissions go: each ends in a row, and stops nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.course import notebooks
from labkit.course.grading.batch import Batch
from labkit.course.grading.collecting import collect, places
from labkit.course.grading.execution import Patience
from tests.course.grading.submissions import DOUBLE, PLAN, give, grade, left_over, rules

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.course.grading.sandbox import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HANGS = "while True: pass"
DEAF = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)"
DIES = "import os\nos._exit(3)"
FLOODS = "for _ in range(400): print('x' * 100_000)"
BIG = "print('x' * (70 << 20))"
FORKS = "import os\nwhile True: os.fork()"
FILLS = "n = 0\nwhile True:\n    n += 1\n    (ws / f'{n}').write_bytes(bytes(4 << 20))"
DIGS = "import os\nos.chdir(ws)\nfor _ in range(3000):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)"

CASES = {
    # student: cell, status, a word of the reason, points of what was done before it and after it
    "hangs": (HANGS, "graded", "", 5),
    "deaf": (DEAF, "stopped", "could not be interrupted", 2),
    "digs": (DIGS, "graded", "", 5),
    "dies": (DIES, "stopped", "ended its own kernel", 2),
    "floods": (FLOODS, "graded", "", 5),
    "big": (BIG, None, "", None),
    "forks": (FORKS, "stopped", "cell 3", 2),
    "fills": (FILLS, "stopped", "wrote more than 64 MB to the disk, in cell 3", 2),
}


def test_each_ends_in_its_row_and_stops_nobody(sandbox: Sandbox, tmp_path: Path) -> None:
    """Hanging, deaf, dying, flooding, digging, forking and filling notebooks; what they did before counts; nothing is left."""
    folder = tmp_path / "s"
    for student, (cell, *_) in CASES.items():
        give(folder, student, PLAN, cell, DOUBLE)
    give(folder, "zoe", PLAN, DOUBLE)
    how = rules(sandbox, patience=Patience(cell=12, notebook=90, check=90))
    found = grade(folder, tmp_path / "kept", how)
    assert ("graded", 5) == (found["zoe"].status, found["zoe"].earned)
    for student, (_, status, word, earned) in CASES.items():
        result = found[student]
        said = f"{student}: {result}"
        assert status in {None, result.status}, said
        assert word in result.reason, said
        assert earned in {None, result.earned}, said
        assert result.reason or result.status == "graded", said
    assert "cell 3: stopped after 12 s" in found["hangs"].run.errors
    assert set() == left_over()


TRICKS = """
from labkit.course import judging, lesson
folder = lab.workspace.path("answers/mtls-setup")
lesson.CheckResult.__init__ = lambda self, *a, **k: None
judging.attempt = lambda *a: None
conf = (folder / "mosquitto.conf").read_text()
(folder / "mosquitto.conf").write_text(conf.replace("require_certificate true", "require_certificate false"))
(folder / "result.json").write_text('{"mtls-setup.2": "passed"}')
import contextlib, os, sys
from pathlib import Path
ws, evil = lab.workspace.root, "#!/bin/sh\\nexit 0\\n"
for place in (ws, folder, Path.cwd(), Path.home(), Path("/tmp"), Path(sys.executable).parent):
    for name in ("sitecustomize.py", "usercustomize.py", "x.pth", "json.py", "ssl.py", "conftest.py", "labkit.py",
                 "mosquitto", "openssl", "mosquitto_pub", "results.json", ".config/mosquitto_pub"):
        with contextlib.suppress(OSError):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(evil)
            (place / name).chmod(0o755)
os.environ["PATH"] = f"{ws}:{os.environ['PATH']}"
(folder / "acl.conf").unlink()
os.mkfifo(folder / "acl.conf")
for name in ("mosquitto.log", "broker.log"):
    (folder / name).write_text("OpenSSL Error: peer did not return a certificate\\nNew client connected u'gate-1'\\n")
"""


def test_tricks_in_a_real_exercise_gain_no_point(
    sandbox: Sandbox, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """A broker that refuses everybody, planted logs, forged results, a patched labkit, programs and modules: less than honest work."""
    (source,) = (
        one
        for one in notebooks.sources(Path("notebooks/exercises/source").absolute())
        if one.slug == "mtls-setup"
    )
    honest: Any = json.loads(notebooks.solved(source))
    last = next(n for n, cell in reversed(list(enumerate(honest["cells"]))) if cell["cell_type"] == "code")
    tricky = json.loads(json.dumps(honest))
    tricky["cells"].insert(
        last, {"cell_type": "code", "source": TRICKS, "id": "tricks", "metadata": {}, "outputs": []}
    )
    for student, text in (("ada", honest), ("eve", tricky)):
        (tmp_path / "s" / student).mkdir(parents=True)
        (tmp_path / "s" / student / "mtls-setup.ipynb").write_text(json.dumps(text))
    found = collect(tmp_path / "s")
    how = rules(sandbox, files={}, patience=Patience())
    results = {result.student: result for result in Batch(found, places(found), tmp_path / "k", how).run()}
    assert (90, 90) == (results["ada"].earned, results["ada"].most)
    verdicts = {verdict.check: verdict for verdict in results["eve"].verdicts}
    assert () == results["eve"].run.errors
    assert "failed" == verdicts["mtls-setup.2"].status or verdicts["mtls-setup.2"].points < 15
    assert verdicts["mtls-setup.4"].points < 10
    assert (0, 0) == tuple(
        verdicts[f"mtls-setup.{step}"].points for step in (3, 6)
    )  # there are no rules to start with
    assert results["eve"].earned < 90
