"""lab.py: from a bare Python to a course that runs, on real copies of the repository."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.processes import find_tool

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PYTHON = str(Path(sys.base_prefix) / ("python.exe" if os.name == "nt" else "bin/python3"))
HIDDEN = ("LABKIT_HOME", "LABKIT_COURSE", "LABKIT_WORKSPACE", "LABKIT_KIT", "LABKIT_INSTALLER")


@pytest.fixture
def script() -> ModuleType:
    """Return lab.py as a module."""
    spec = importlib.util.spec_from_file_location("lab_script", ROOT / "lab.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy(target: Path) -> Path:
    """Copy what is under git."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def environment(**more: str) -> dict[str, str]:
    """Return our environment without what would point at this checkout."""
    return {name: value for name, value in os.environ.items() if name not in HIDDEN} | more


def lab(folder: Path, *words: str, python: str = PYTHON, **more: str) -> subprocess.CompletedProcess[str]:
    """Run lab.py in a copy."""
    argv = [python, str(folder / "lab.py"), *words]
    return subprocess.run(
        argv, cwd=folder.parent, env=environment(**more), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy, in a path with spaces and an umlaut, that has been set up."""
    folder = copy(tmp_path_factory.mktemp("a course") / "für mich")
    misleading = {"PYTHONPATH": "/nowhere", "VIRTUAL_ENV": "/nowhere"}
    first = lab(folder, "--version", **misleading)
    assert (first.returncode, "Ready after" in first.stderr) == (0, True), first.stderr
    return folder


def test_help_needs_no_set_up(tmp_path: Path) -> None:
    """Without words, or with --help, it explains itself and makes nothing."""
    folder = copy(tmp_path / "c")
    assert lab(folder).stdout == lab(folder, "--help").stdout
    assert "python3 lab.py run" in lab(folder).stdout
    assert not (folder / ".lab").exists()


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10"])
def test_old_pythons_are_told(version: str) -> None:
    """A Python that is too old gets one line that says so, not a syntax error."""
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    old = homes[-1] if homes else find_tool(f"python{version}")
    if old is None or subprocess.run([old, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} here")
    ended = subprocess.run([old, str(ROOT / "lab.py"), "run"], capture_output=True, text=True, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "needs Python 3.11" in ended.stderr


@pytest.mark.slow
def test_second_start_is_quick_and_quiet(ready: Path) -> None:
    """A second start sets nothing up, says nothing of its own, and hands words and status over."""
    again = lab(ready, "--version")
    assert (again.stdout.startswith("labkit, version"), again.stderr) == (True, "")
    assert lab(ready, "ca", "nonsense").returncode == 2
    stamps = [(ready / ".lab/stamp").stat().st_mtime_ns]
    started = time.monotonic()
    lab(ready, "--version")
    assert stamps == [(ready / ".lab/stamp").stat().st_mtime_ns]
    print(f"a second start took {time.monotonic() - started:.2f} s")


@pytest.mark.slow
def test_an_interrupted_set_up_is_repaired(ready: Path) -> None:
    """Without its stamp, as after a kill in the middle, the environment is made anew."""
    (ready / ".lab/stamp").unlink()
    (ready / ".lab/venv/pyvenv.cfg").unlink()
    again = lab(ready, "--version")
    assert (again.returncode, "Ready after" in again.stderr) == (0, True)


@pytest.mark.slow
def test_a_changed_lock_is_noticed(ready: Path) -> None:
    """When requirements.lock changes, the environment follows."""
    with (ready / "requirements.lock").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert "Ready after" in lab(ready, "--version").stderr
    assert lab(ready, "--version").stderr == ""


@pytest.mark.slow
def test_two_at_once(tmp_path: Path) -> None:
    """Two first starts at the same time end in one environment, and both do what was asked."""
    folder = copy(tmp_path / "c")
    argv = [PYTHON, str(folder / "lab.py"), "--version"]
    racers = [
        subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [racer.communicate(timeout=200) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted("waiting for it" in err for _, err in said) == [False, True]
    assert sum("Ready after" in err for _, err in said) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)  # pip takes minutes for what uv does in seconds
def test_falls_back_to_pip(tmp_path: Path) -> None:
    """Where uv can't be had, pip sets the course up."""
    folder = copy(tmp_path / "c")
    first = lab(folder, "--version", LABKIT_INSTALLER="pip")
    assert first.returncode == 0, first.stderr
    assert "with pip" in first.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)
def test_as_a_plain_user(tmp_path: Path) -> None:
    """A user without rights, with the system's Python if it can, sets up and gets a version."""
    folder = copy(tmp_path / "c")
    for path in (tmp_path, *tmp_path.parents):
        if path.name.startswith(("test_", "popen-", "pytest-")):
            path.chmod(0o755)
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else PYTHON
    newer = subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False)
    setpriv = find_tool("setpriv")
    if newer.returncode or setpriv is None:
        pytest.skip("no system Python 3.11, or no setpriv")
    subprocess.run(["chown", "-R", "nobody", str(folder)], check=True)
    argv = [str(setpriv), "--reuid=nobody", "--clear-groups", python, str(folder / "lab.py"), "--version"]
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    env = environment(HOME=str(home), XDG_CACHE_HOME=str(home))
    ended = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, check=False)
    if "neither pip nor venv" in ended.stderr:
        assert "sudo apt install" in ended.stderr
    else:
        assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_the_offline_kit(ready: Path, tmp_path: Path) -> None:
    """The kit sets a fresh copy up with no index to reach; a damaged kit is refused by name."""
    assert lab(ready, "bundle").returncode == 0
    folder = copy(tmp_path / "c")
    shutil.copytree(ready / "kit", folder / "kit")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    done = lab(folder, "--version", **nowhere)
    assert (done.returncode, "Ready after" in done.stderr) == (0, True), done.stderr
    if list((folder / "kit/debs").glob("*.deb")):
        found = lab(folder, "doctor", "--json", PATH=str(Path(PYTHON).parent), LABKIT_MOSQUITTO="")
        assert found.returncode in {0, 1}
    victim = min((folder / "kit/wheels").iterdir())
    victim.write_bytes(b"other")
    (folder / ".lab/stamp").unlink()
    refused = lab(folder, "--version", **nowhere)
    assert (refused.returncode, victim.name in refused.stderr) == (1, True)


def test_an_unreachable_index_is_one_message(tmp_path: Path) -> None:
    """Without a network there is one message with advice, no traceback, and the next start tries again."""
    folder = copy(tmp_path / "c")
    nowhere = {
        "PIP_INDEX_URL": "http://user:secret@127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0",
        "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "UV_HTTP_RETRIES": "0", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    ended = lab(folder, "--version", **nowhere)
    assert ended.returncode == 1
    assert "Is there a network?" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr
    assert not (folder / ".lab/stamp").exists()


def test_a_python_without_ssl_is_told(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that was built without ssl is refused with one sentence."""
    real = importlib.util.find_spec
    monkeypatch.setattr(script, "ready", lambda: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "_ssl" else real(name))
    with pytest.raises(script.SetupError, match="without ssl"):
        script.set_up()


def test_a_python_without_pip_and_venv_is_told(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both pip and venv are missing, one line says how to get them."""
    monkeypatch.setattr(script, "has", lambda _: False)
    monkeypatch.setattr(script, "works", lambda _: False)
    monkeypatch.delenv("LABKIT_INSTALLER", raising=False)
    with pytest.raises(script.SetupError, match="neither pip nor venv. Install"):
        script.find_uv()


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("global.index-url='https://a.example/simple'", {"UV_DEFAULT_INDEX": "https://a.example/simple"}),
        (
            "global.index-url='https://a.example/simple'\n:env:.index-url='https://b.example/simple'",
            {"UV_DEFAULT_INDEX": "https://b.example/simple"},
        ),
        (
            "global.extra-index-url='file:///opt/one file:///opt/two'",
            {"UV_INDEX": "file:///opt/one file:///opt/two"},
        ),
        ("global.extra-index-url='\\nfile:///one\\nfile:///two'", {"UV_INDEX": "file:///one file:///two"}),
        ("install.find-links='/w1 /w2'", {"UV_FIND_LINKS": "/w1,/w2"}),
        ("global.cert='/etc/ssl/own.pem'", {"SSL_CERT_FILE": "/etc/ssl/own.pem"}),
        ("global.trusted-host='a.example b.example'", {"UV_INSECURE_HOST": "a.example b.example"}),
        ("global.proxy='http://proxy:3128'", {"ALL_PROXY": "http://proxy:3128"}),
        ("global.no-index='true'", {"UV_NO_INDEX": "1"}),
        (":env:.default-timeout='180'", {"UV_HTTP_TIMEOUT": "180"}),
    ],
)
def test_pips_settings_become_uvs(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str, settings: dict[str, str]
) -> None:
    """Index, certificates, proxy and the rest are taken over from pip; what is set for uv stays."""
    for name in list(os.environ):
        if name.startswith(("UV_", "SSL_", "ALL_PROXY")):
            monkeypatch.delenv(name)
    always = {"UV_INDEX_STRATEGY", "UV_PYTHON_DOWNLOADS", "UV_NO_CONFIG"}
    found = script.uv_settings(script.parse_pip_config(text))
    assert settings == {name: value for name, value in found.items() if name not in always}
    for name in settings:
        monkeypatch.setenv(name, "mine")
        assert name not in script.uv_settings(script.parse_pip_config(text))


def test_credentials_are_not_shown(script: ModuleType) -> None:
    """A URL with a password loses it before anything is printed."""
    text = "error: could not fetch https://me:secret@index.example/simple/x"
    assert script.without_credentials(text) == "error: could not fetch https://index.example/simple/x"


def test_full_report_is_written_from_results(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has a row for each part, from pytest's own results; a run of one part leaves the others, but for those that are gone."""
    for folder in ("docs", "tests/pki", "tests/broker"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests/pki/test_x.py").touch()
    (tmp_path / "tests/test_late.py").touch()
    monkeypatch.setattr(script, "HERE", tmp_path)
    results, page = tmp_path / "r.xml", tmp_path / "docs/test-report.md"
    results.write_text(
        '<testsuites><testsuite><testcase classname="tests.pki.test_x" time="2"><failure/></testcase>'
        '<testcase classname="tests.pki.test_y" time="1"/><testcase classname="" name="tests.gone.test_w" time="0"/>'
        '<testcase classname="tests.broker.test_z" time="2"><skipped/></testcase></testsuite></testsuites>'
    )
    script.write_report(results, None)
    text = page.read_text(encoding="utf-8")
    assert "2 passed, 1 failed, 1 skipped. No row yet: tests.test_late.\n" in text
    assert "| tests.pki | 1 | 1 | 0 | 3 | " in text
    assert "| tests.broker | 0 | 0 | 1 | 2 | " in text
    results.write_text(
        '<testsuites><testsuite><testcase classname="tests.pki.test_x" time="1"/>'
        '<testcase classname="tests.broker.test_z" time="9"/></testsuite></testsuites>'
    )
    script.write_report(results, {"tests.pki"})
    text = page.read_text(encoding="utf-8")
    assert "1 passed, 0 failed, 1 skipped." in text
    assert "| tests.pki | 1 | 0 | 0 | 1 | " in text
    assert "| tests.broker | 0 | 0 | 1 | 2 | " in text
    assert "tests.gone" not in text


def test_kit_hashes_are_compared(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the kit that was changed, or is gone, stops the set-up."""
    monkeypatch.setattr(script, "KIT", tmp_path)
    (tmp_path / "a.whl").write_bytes(b"x")
    (tmp_path / "sha256.json").write_text(json.dumps({"a.whl": script.digest(tmp_path / "a.whl")}))
    assert script.kit_requirements()[0] == "-r"
    for change in (lambda: (tmp_path / "a.whl").write_bytes(b"y"), (tmp_path / "a.whl").unlink):
        change()
        with pytest.raises(script.SetupError, match=r"a\.whl"):
            script.kit_requirements()
