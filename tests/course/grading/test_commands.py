"""`labkit grade`, `labkit release`, `labkit check` and `labkit submit`, as they are typed."""

from __future__ import annotations

import base64
import csv
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.clock import Deadline
from labkit.course.exercises import find, slugs
from labkit.course.grading import packs, release
from labkit.course.notebooks import BEGIN, TEXT_BEGIN
from labkit.course.solutions import RELEASED
from labkit.workspace import Workspace
from tests.course.grading.submissions import KEY, left_over

if TYPE_CHECKING:
    from labkit.course.grading.sandbox import Sandbox

COURSE = Path(__file__).parents[3]
SLUG = "mtls-setup"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a workspace of Ada's, with answers, a key and a certificate in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "lab"))
    monkeypatch.setenv("LABKIT_COURSE", str(COURSE))
    workspace = Workspace.open()
    workspace.write(f"answers/{SLUG}/mosquitto.conf", "listener 8883 127.0.0.1\n")
    workspace.write(f"answers/{SLUG}/server.key", KEY, secret=True)
    workspace.write("devices/one/device.crt", "-----BEGIN CERTIFICATE-----\n")
    workspace.write("devices/one/device.key", KEY, secret=True)
    return workspace


def test_a_pack_holds_evidence_and_no_key(lab: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The pack holds notebook, answers and certificates; keys stay at home and are named; the receipt is its hash."""
    assert 0 == main(["submit", SLUG, "--student", "ada", "--json"])
    told = json.loads(capsys.readouterr().out)
    data = Path(told["pack"]).read_bytes()
    assert packs.receipt(data) == told["receipt"]
    with zipfile.ZipFile(told["pack"]) as archive:
        assert {
            "manifest.json",
            "notebook.ipynb",
            f"workspace/answers/{SLUG}/mosquitto.conf",
            "workspace/devices/one/device.crt",
        } == set(archive.namelist())
        assert not any(b"PRIVATE KEY" in archive.read(name) for name in archive.namelist())
    assert [f"answers/{SLUG}/server.key"] == told["left out"]
    assert 0 == main(["submit", SLUG])  # who it is was remembered
    assert "receipt" in capsys.readouterr().out
    assert 0 == main(["submit", SLUG, "--out", "not/there/ada.zip"])  # the folder is made
    assert Path("not/there/ada.zip").is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.md", f"my key:\n{KEY}"),
        ("plan.json", json.dumps({"kty": "EC", "crv": "P-256", "d": "x"})),
        ("form.txt", base64.b64encode(KEY.encode()).decode()),
    ],
    ids=["pem", "jwk", "base64"],
)
def test_an_answer_with_a_key_is_refused_and_named(
    lab: Workspace, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    """A key where nobody looks for one stops the pack, and the file is named; nothing is written."""
    lab.write(f"answers/{SLUG}/{name}", content)
    assert 1 == main(["submit", SLUG, "--student", "ada"])
    assert f"answers/{SLUG}/{name} holds a private key" in capsys.readouterr().err
    assert [] == list(Path.cwd().glob("*.zip"))


def test_a_key_in_der_is_found(lab: Workspace) -> None:
    """A key in DER, bare, with a passphrase or as hexadecimal digits, is a key; a certificate is none."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    from labkit.course.evidence import key_in
    from labkit.pki import Authority

    key = ec.generate_private_key(ec.SECP256R1())
    for hidden in (s.NoEncryption(), s.BestAvailableEncryption(b"x")):
        der = key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, hidden)
        assert key_in(der)
    assert key_in(key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption()).hex().encode())
    certificate = Authority.new_root("A root").certificate
    assert not key_in(certificate.public_bytes(s.Encoding.DER))
    assert not key_in(certificate.public_bytes(s.Encoding.PEM))
    assert not key_in(b"")


def test_a_notebook_with_a_key_is_refused_by_its_cell(
    lab: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key in a cell stops the pack; one that a cell printed is left behind with the outputs."""
    raw: Any = json.loads((COURSE / f"notebooks/exercises/{SLUG}.ipynb").read_text())
    code = next(cell for cell in raw["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": KEY}]
    path = tmp_path / "mine.ipynb"
    path.write_text(json.dumps(raw))
    assert 0 == main(["submit", SLUG, "--student", "ada", "--notebook", str(path)])
    code["source"] = f"KEY = {KEY!r}"
    path.write_text(json.dumps(raw))
    capsys.readouterr()
    assert 1 == main(["submit", SLUG, "--student", "ada", "--notebook", str(path)])
    assert "cell 3 of mine.ipynb holds a private key" in capsys.readouterr().err


def test_nobody_hands_in_for_nobody(lab: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an id there is no pack, and the advice says how to give one."""
    assert 1 == main(["submit", SLUG])
    assert "--student" in capsys.readouterr().err


def test_checks_are_asked_without_a_notebook(lab: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """An exercise's checks judge the workspace; one that did not pass gives status 1; an unknown one is told."""
    assert 1 == main(["check", SLUG, "1", "--student", "ada", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (f"{SLUG}.1", "not-attempted") == (found["check"], found["status"])
    assert 1 == main(["check", SLUG, "99"])
    assert f"{SLUG}.1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the students' copy of the course."""
    folder = tmp_path_factory.mktemp("release") / "course"
    release.export(COURSE, folder)
    return folder


def test_a_release_holds_no_solution(released: Path) -> None:
    """No marker of a solution, no sample answer, no source, no test, no instructor's guide is in the copy."""
    assert not (released / "tests").exists()
    assert [] == list(released.rglob("source"))
    assert (released / RELEASED).is_file()
    assert not (released / "docs/instructors.md").exists()
    texts = {
        path: path.read_text(encoding="utf-8", errors="replace")
        for path in released.rglob("*")
        if path.suffix in {".py", ".ipynb", ".md", ".json", ".yml", ".toml"}
    }
    own = {"notebooks.py", "release.py", "nbgrader.py"}  # which name the markers, and hold none
    marked = [path for path, text in texts.items() if BEGIN in text or TEXT_BEGIN in text]
    assert [] == [path for path in marked if path.name not in own]
    samples = [
        text for slug in slugs() for rubric in find(slug).rubrics for text in (rubric.good, rubric.weak)
    ]
    assert samples
    for sample in samples:
        words = " ".join(sample.split())[:50]
        assert [] == [path for path, text in texts.items() if words in " ".join(text.split())]
    for slug in slugs():
        assert (released / f"notebooks/exercises/{slug}.ipynb").is_file()


def test_a_released_copy_runs(released: Path) -> None:
    """In the copy labkit answers, exercises load, and what needs the sources says that they are not there."""

    def labkit(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(released), "PYTHONDONTWRITEBYTECODE": "1"}
        env.pop("LABKIT_COURSE", None)
        return subprocess.run(
            [sys.executable, "-m", "labkit", *words], cwd=released, env=env, capture_output=True, text=True, check=False
        )  # fmt: skip

    assert (
        0
        == subprocess.run(
            [sys.executable, "lab.py"], cwd=released, check=False, capture_output=True
        ).returncode
    )
    asked = labkit("check", SLUG, "--student", "ada", "--json")
    assert "not-attempted" in asked.stdout, asked.stderr
    assert "for students" in labkit("notebooks", "check").stderr
    assert "for students" in labkit("run").stderr
    assert "for students" in labkit("site", "build").stderr
    assert "for students" in labkit("nbgrader", "source", "elsewhere").stderr


def test_a_release_goes_to_an_empty_folder_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds something is left as it is."""
    (tmp_path / "mine.txt").write_text("mine")
    assert 1 == main(["release", str(tmp_path)])
    assert "is not empty" in capsys.readouterr().err
    assert ["mine.txt"] == [path.name for path in tmp_path.iterdir()]


def test_samples_are_cut_wherever_they_stand() -> None:
    """Samples by name, by place, and in a constant go; the rest of the module is as it was."""
    text = (
        'GOOD = "a sample" " in two parts"\n'
        'R = Rubric("a", "b", 1, ((1, "c"),), good=GOOD, weak=(\n    "weak"\n    " one"\n))\n'
        'S = Rubric("a", "b", 1, (), "good ü", "weak", minutes=3)\n'
        'KEPT = "good"\n'
    )
    found = release.without_samples(text)
    assert not any(word in found for word in ("sample", "two parts", 'weak"', " one", "ü"))
    assert 'KEPT = "good"' in found
    compile(found, "module", "exec")


def hand_in(folder: Path, student: str, *, extra: str = "") -> None:
    """Hand in the unfinished notebook, with a cell more."""
    raw: Any = json.loads((COURSE / f"notebooks/exercises/{SLUG}.ipynb").read_text())
    if extra:
        raw["cells"] = [
            raw["cells"][0],
            {"cell_type": "code", "source": extra, "id": "mine", "metadata": {}, "outputs": []},
        ]
    (folder / student).mkdir(parents=True)
    (folder / student / f"{SLUG}.ipynb").write_text(json.dumps(raw))


def test_a_folder_is_graded_with_one_command(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table, sheet, platform's table, feedback, class view and similarity are written; the sandbox is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_COURSE", str(COURSE))
    hand_in(tmp_path / "s", "ada", extra="print('hello')")
    (tmp_path / "s/bob").mkdir()
    words = [
        "grade",
        "s",
        "--csv",
        "out/grades.csv",
        "--html",
        "feedback",
        "--lms",
        "canvas",
        "--late-penalty",
        "0.1",
    ]
    assert 0 == main([*words, "--deadline", "2020-01-01", "--json"])
    said = capsys.readouterr()
    assert "Sandbox: bubblewrap" in said.err
    found = {one["student"]: one for one in json.loads(said.out)["submissions"]}
    assert {"ada": "graded", "bob": "unreadable"} == {name: one["status"] for name, one in found.items()}
    assert found["ada"]["late_days"] > 1000
    with Path("out/grades.csv").open(newline="") as file:
        assert ["ada", "bob"] == [line["student"] for line in csv.DictReader(file)]
    for name in (
        "out/rubrics.csv",
        "out/grades-canvas.csv",
        f"feedback/ada/{SLUG}.html",
        "s.graded/class.html",
    ):
        assert Path(name).is_file(), name
    assert Path("s.graded/similarity.html").is_file()
    assert 0o700 == Path("s.graded").stat().st_mode & 0o777


def test_no_sandbox_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing confines a notebook, it says so before it begins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s/bob").mkdir(parents=True)
    assert 0 == main(["grade", "s", "--sandbox", "none", "--exercise", SLUG])
    assert "NO SANDBOX" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_and_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    """After Ctrl-C nothing runs, what was done is kept, and the same command does the rest."""
    hand_in(tmp_path / "s", "ada", extra="print('quick')")
    hand_in(tmp_path / "s", "bob", extra="import time\nwhile True: time.sleep(1)")
    words = [sys.executable, "-m", "labkit", "grade", "s", "--jobs", "1", "--cell-timeout"]
    env = {**os.environ, "LABKIT_COURSE": str(COURSE)}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([*words, "100"], cwd=tmp_path, stderr=log, env=env, start_new_session=True)
        deadline = Deadline(100)
        while not list(tmp_path.glob("s.graded/*/bob/run/notebook")) and not deadline.passed:
            deadline.pause(0.2)
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(60)
        log.seek(0)
        assert "goes on where it stopped" in log.read()
    assert set() == left_over()
    assert [] == list(tmp_path.glob("s.graded/*/bob"))
    ended = subprocess.run([*words, "3"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stderr
    assert "ada  mtls-setup  kept" in ended.stderr
    assert "bob  mtls-setup  done" in ended.stderr
