#!/usr/bin/env python3
"""Set the course up, then do what was asked. Needs Python 3.11 or newer and nothing else.

    python3 lab.py run          every lesson from end to end, without a person; a report in build/run/
    python3 lab.py lab          JupyterLab on the course
    python3 lab.py test         the tests, on all cores (--full for all of the long ones; other words go to pytest)
    python3 lab.py doctor       which tools are here, and how to get those that are not
    python3 lab.py bundle       an offline kit for a classroom: packages and Mosquitto, in kit/
    python3 lab.py extras       what only some need: fleet (PostgreSQL, Dask, PKCS #11), site (Sphinx), browser, nbgrader, containers; or all

Any other word goes to the command `labkit`: python3 lab.py ca --help

The first start makes a virtual environment in .lab/ from requirements.lock; later starts add nothing. Packages come
from the index that pip is configured with, each checked against its hash. Delete .lab/ to begin afresh.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "lab.py needs Python 3.11 or newer; this is %d.%d. Try: python3.12 lab.py" % sys.version_info[:2]
    )

import contextlib
import datetime
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

SCHEMA = 1
HERE = Path(__file__).resolve().parent
LAB = HERE / ".lab"
VENV = LAB / "venv"
BOOT = LAB / "boot"
KIT = HERE / "kit"
LOCK = HERE / "requirements.lock"
EXTRAS = {
    name: HERE / f"requirements-{name}.lock"
    for name in ("browser", "containers", "fleet", "nbgrader", "site")
}
LOG = LAB / "setup.log"
WINDOWS = os.name == "nt"
SCRIPTS = VENV / ("Scripts" if WINDOWS else "bin")
PYTHON = SCRIPTS / ("python.exe" if WINDOWS else "python")


class SetupError(Exception):
    """What went wrong, and what to do."""


def main(words: Sequence[str]) -> int:
    """Set up if that is needed, then hand over."""
    if not words or words[0] in {"-h", "--help", "help"}:
        print(__doc__)
        return 0
    try:
        set_up()
        if words[0] == "test":
            return test(list(words[1:]))
        if words[0] == "bundle":
            return bundle()
        if words[0] == "extras":
            return extras(words[1:] or list(EXTRAS))
        if words[0] == "site" and "--help" not in words:
            extras(["site"])
        return hand_over([str(PYTHON), "-m", "labkit", *words])
    except SetupError as error:
        print(f"lab.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab.py: stopped. The same command goes on where it can.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"lab.py: {error.strerror}: {error.filename or LAB}", file=sys.stderr)
        print("  Free some space, or move the course to a folder that you may write to.", file=sys.stderr)
        return 1


# --- set-up -------------------------------------------------------------------------------------------------------


def set_up() -> None:
    """Make .lab/venv what requirements.lock says, unless it is already."""
    if ready():
        return
    if importlib.util.find_spec("_ssl") is None:
        raise SetupError(
            "this Python was built without ssl, which TLS lessons can't do without. Use another one."
        )
    LAB.mkdir(exist_ok=True)
    with only_one():
        if ready():
            return
        started = time.monotonic()
        say("Setting up the course in .lab/ (once; about 20 seconds with a good network)")
        LOG.write_text("", encoding="utf-8")
        shutil.rmtree(VENV, ignore_errors=True)
        stamp_file().unlink(missing_ok=True)
        install(find_uv())
        stamp_file().write_text(stamp(), encoding="utf-8")
        say(f"Ready after {time.monotonic() - started:.0f} s")


def ready() -> bool:
    """Return whether the environment is the one that the lock, this Python and this folder ask for."""
    try:
        return stamp_file().read_text(encoding="utf-8") == stamp() and PYTHON.exists()
    except OSError:
        return False


def stamp_file() -> Path:
    """Return the file whose content says what the environment was made from; it is written last."""
    return LAB / "stamp"


def stamp() -> str:
    """Return what the environment depends on, as a hash."""
    parts = (str(SCHEMA), sys.version, sys.base_prefix, str(HERE), LOCK.read_text(encoding="utf-8"))
    return hashlib.sha256(
        "\0".join((*parts, (HERE / "pyproject.toml").read_text(encoding="utf-8"))).encode()
    ).hexdigest()


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Wait until no other set-up works in this folder. The system drops the lock when its holder dies."""
    with open(LAB / "lock", "a+b") as file:
        waiting = False
        while not try_lock(file.fileno()):
            if not waiting:
                say("Another set-up is at work in this folder; waiting for it")
                waiting = True
            time.sleep(0.2)
        yield


def try_lock(handle: int) -> bool:
    """Take the lock if nobody has it."""
    try:
        if WINDOWS:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def find_uv() -> "Path | None":
    """Return uv, fetched into .lab/boot by pip if it is not there; None where it can't be had."""
    if os.environ.get("LABKIT_INSTALLER") == "pip":
        return None
    program = BOOT / "bin" / ("uv.exe" if WINDOWS else "uv")
    if works(program):
        return program
    if not has("pip"):
        return uv_without_pip()
    # --target keeps off the system's own packages, so PEP 668 has nothing against it.
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--target",
        str(BOOT),
        *kit_options(),
        "uv",
    ]
    if step("Fetching uv", command, may_fail=True) and works(program):
        return program
    say("  uv can't be had here; pip will do, but takes longer")
    return None


def uv_without_pip() -> "Path | None":
    """Return uv by way of a virtual environment's own pip."""
    if not (has("venv") and has("ensurepip")):
        raise SetupError(f"this Python has neither pip nor venv. {how_to_get_pip()}")
    step("Making an environment", [sys.executable, "-m", "venv", str(VENV)])
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", *kit_options(), "uv"]
    program = SCRIPTS / ("uv.exe" if WINDOWS else "uv")
    return program if step("Fetching uv", command, may_fail=True) and works(program) else None


def install(uv: "Path | None") -> None:
    """Make the environment and put everything into it."""
    what = kit_requirements() if KIT.is_dir() else ["--require-hashes", "-r", str(LOCK)]
    ours = ["--no-deps", "--no-build-isolation", "--editable", str(HERE)]
    if uv is not None:
        settings = uv_settings(pip_config())
        if not PYTHON.exists():
            step(
                "Making an environment",
                [str(uv), "venv", "--quiet", "--python", sys.executable, str(VENV)],
                settings,
            )
        pip = [
            str(uv),
            "pip",
            "install",
            "--python",
            str(PYTHON),
            *([] if sys.stderr.isatty() else ["--quiet"]),
        ]
        if step("Installing packages", [*pip, *kit_options(), *what], settings, may_fail=not KIT.is_dir()):
            step("Installing labkit", [*pip, "--quiet", *kit_options(), *ours], settings)
            return
        say("  uv could not do it (.lab/setup.log says why); trying with pip")
        shutil.rmtree(VENV, ignore_errors=True)
    if not (has("venv") and has("ensurepip")):
        raise SetupError(f"this Python has no venv. {how_to_get_pip()}")
    step("Making an environment", [sys.executable, "-m", "venv", str(VENV)])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    step("Installing packages with pip (a few minutes)", [*pip, *kit_options(), *what])
    step("Installing labkit", [*pip, *kit_options(), *ours])


def step(
    what: str, command: Sequence[str], settings: "dict[str, str] | None" = None, *, may_fail: bool = False
) -> bool:
    """Run one part of the set-up, telling what it is and how long it took."""
    started = time.monotonic()
    say(f"  {what} …")
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"\n## {what}\n")
        log.flush()
        shown = None if sys.stderr.isatty() and "uv" in command[0] else log
        child = subprocess.Popen(
            command, env={**clean_environment(), **(settings or {})}, stdout=log, stderr=shown
        )
        try:
            status = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if status == 0:
        say(f"  {what}: {time.monotonic() - started:.1f} s")
        return True
    if may_fail:
        return False
    raise SetupError(f"{what} failed: {last_error()}\n  The whole story is in {LOG}. Is there a network? Behind a "
                     "proxy or with an index of your own, configure pip (pip config), and run this again.")  # fmt: skip


def last_error() -> str:
    """Return the most telling line of the log, without credentials."""
    lines = [
        line.strip()
        for line in LOG.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    telling = [line for line in lines if re.match(r"(ERROR|error|×|╰─▶|Caused by)", line)]
    return without_credentials((telling or lines or ["it said nothing"])[-1])


def without_credentials(text: str) -> str:
    """Return a text in which no URL carries a user name or password."""
    return re.sub(r"(https?://)[^/\s@]+@", r"\1", text)


def works(program: Path) -> bool:
    """Return whether a program starts."""
    try:
        return subprocess.run([str(program), "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def has(module: str) -> bool:
    """Return whether this Python has a module."""
    return importlib.util.find_spec(module) is not None


def how_to_get_pip() -> str:
    """Return the line that installs pip and venv on the system at hand."""
    if shutil.which("apt-get"):
        return "Install them: sudo apt install python3-pip python3-venv"
    if shutil.which("dnf"):
        return "Install it: sudo dnf install python3-pip"
    return "Install a complete Python 3.11 or newer, for example from python.org."


def clean_environment() -> "dict[str, str]":
    """Return our environment without what would lead Python to other packages."""
    misleading = {"PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT",
                  "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "__PYVENV_LAUNCHER__"}  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in misleading}


# --- the index that pip is configured with ------------------------------------------------------------------------


def pip_config() -> "dict[str, str]":
    """Return pip's settings by name; its environment variables win over its files, as in pip itself."""
    if not has("pip"):
        return parse_pip_config("\n".join(
            f":env:.{name[4:].lower().replace('_', '-')}={value!r}"
            for name, value in os.environ.items() if name.startswith("PIP_")
        ))  # fmt: skip
    command = [sys.executable, "-m", "pip", "config", "list"]
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    return parse_pip_config(ended.stdout)


def parse_pip_config(text: str) -> "dict[str, str]":
    """Return settings by name from what `pip config list` prints."""
    found: dict[tuple[int, str], str] = {}
    ranks = {"global": 0, "install": 1, ":env:": 2}
    for section, name, value in re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", text, re.MULTILINE):
        with contextlib.suppress(ValueError):
            found[ranks[section], name] = " ".join(shlex.split(value)).replace("\\n", " ").strip()
    return {name: value for (_, name), value in sorted(found.items())}


def uv_settings(pip: "dict[str, str]") -> "dict[str, str]":
    """Return uv's environment variables for pip's settings. What is set for uv already, stays."""
    lists = {name: pip.get(name, "").split() for name in ("extra-index-url", "find-links", "trusted-host")}
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(lists["extra-index-url"]),
        "UV_FIND_LINKS": ",".join(lists["find-links"]),
        "UV_INSECURE_HOST": " ".join(lists["trusted-host"]),
        "SSL_CERT_FILE": pip.get("cert", ""),
        "SSL_CLIENT_CERT": pip.get("client-cert", ""),
        "ALL_PROXY": pip.get("proxy", ""),
        "UV_HTTP_TIMEOUT": pip.get("timeout", pip.get("default-timeout", "")),
        # Like pip: every index is asked. Safe, because the lock names the hash of every file.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_LINK_MODE": "copy" if WINDOWS else "",
    }
    return {name: value for name, value in wanted.items() if value and name not in os.environ}


# --- what is asked for --------------------------------------------------------------------------------------------


def lab_environment() -> "dict[str, str]":
    """Return the environment in which labkit runs."""
    settings = {
        "LABKIT_HOME": str(LAB),
        "LABKIT_COURSE": str(HERE),
        "PATH": os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)]),
        "LABKIT_CALLED_AS": "python3 lab.py",
        "PYTHONUTF8": "1",
    }
    if KIT.is_dir():
        settings["LABKIT_KIT"] = str(KIT)
    return {
        **clean_environment(),
        **{n: v for n, v in settings.items() if n == "PATH" or n not in os.environ},
    }


def hand_over(command: Sequence[str], **more: str) -> int:
    """Become another program, so that signals and exit status are its own."""
    environment = {**lab_environment(), **more}
    if not WINDOWS:
        sys.stdout.flush()
        os.execve(command[0], list(command), environment)
    return subprocess.run(command, env=environment, check=False).returncode


def test(words: "list[str]") -> int:
    """Run the tests on every core; with --full all of the long ones, and write what came out into docs/."""
    full = "--full" in words
    words = [word for word in words if word != "--full"]
    pytest = [str(PYTHON), "-m", "pytest", *spread(words), *words]
    os.chdir(HERE)
    if not full:
        return hand_over(pytest)
    results = LAB / "results.xml"
    environment = {**lab_environment(), "LABKIT_TEST_FULL": "1"}
    child = subprocess.Popen([*pytest, f"--junitxml={results}"], env=environment)
    while True:
        try:
            status = child.wait()
            break
        except KeyboardInterrupt:
            pass  # pytest has heard it too, and first ends what its tests have started
    if status in {0, 1}:
        write_report(results, covered(words))
    return status


def covered(words: Sequence[str]) -> "set[str] | None":
    """Return the parts of the tests that pytest is to run whole, by their names in Python; None if it is all of them."""
    narrower = (
        "-k",
        "-m",
        "-x",
        "--exitfirst",
        "--maxfail",
        "--lf",
        "--last-failed",
        "--deselect",
        "--ignore",
    )
    if any(word.startswith(narrower) for word in words):
        return set()
    named = [word.rstrip("/") for word in words if (HERE / word.partition("::")[0]).exists()]
    if not named or "tests" in named:
        return None
    return {
        word.removesuffix(".py").replace("/", ".") for word in named if re.fullmatch(r"tests/[\w.]+", word)
    }


def spread(words: Sequence[str]) -> "list[str]":
    """Return what has pytest use every core, unless the reader looks at one test or has chosen how many.

    One more than there are cores, since tests wait for other programs most of the time. Four are enough: the longest
    group of tests that must stay together takes a quarter of the time.
    """
    chosen = (
        "-n",
        "--numprocesses",
        "--dist",
        "-s",
        "--capture",
        "--pdb",
        "--trace",
        "--collect-only",
        "no:xdist",
    )
    if "--co" in words or any("::" in word or word.startswith(chosen) for word in words):
        return []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ["-n", str(min(cores + 1, 4))] if cores > 1 else []


def write_report(results: Path, parts: "set[str] | None") -> None:
    """Write what a full run of some parts, or of all, has come to into docs/test-report.md; other rows stay."""
    page = HERE / "docs" / "test-report.md"
    old = (
        re.findall(r"^\| (tests\S+) ((?:\| \d+ ){4}\|.*\|)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        if page.exists()
        else []
    )
    there = [(name, HERE / name.replace(".", "/")) for name, _ in old]
    kept = {name for name, path in there if path.is_dir() or path.with_suffix(".py").is_file()}
    rows = {name: text for name, text in old if parts is not None and name in kept}
    by_part: dict[str, list[ET.Element]] = {}
    for case in ET.parse(results).getroot().iter("testcase"):
        name = ".".join(str(case.get("classname") or case.get("name")).split(".")[:2])
        by_part.setdefault(name, []).append(case)
    for name, cases in by_part.items():
        if parts is None or name in parts:
            skipped = sum(case.find("skipped") is not None for case in cases)
            failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
            took = sum(float(case.get("time", 0)) for case in cases)
            day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, Python {platform.python_version()} on {sys.platform}"
            rows[name] = f"| {len(cases) - failed - skipped} | {failed} | {skipped} | {took:.0f} | {day} |"
    every = {
        f"tests.{path.relative_to(HERE / 'tests').parts[0].removesuffix('.py')}"
        for path in HERE.glob("tests/**/test_*.py")
    }
    absent = ", ".join(sorted(every - set(rows)))
    numbers = [[int(cell) for cell in text.split("|")[1:4]] for text in rows.values()]
    total = (
        "{:,} passed, {:,} failed, {:,} skipped".format(*map(sum, zip(*numbers, strict=True)))
        if numbers
        else ""
    )
    lines = "".join(f"| {name} {text}\n" for name, text in sorted(rows.items()))
    page.write_text(
        "# Full test runs\n\nWritten by `python3 lab.py test --full`.\nAll of it takes an hour and more, so that a part can "
        "be run by itself, such as `python3 lab.py test --full tests/pki`; each row is its part's last run.\n"
        "Seconds are those of the tests, which share the cores.\n\n"
        f"{total}.{f' No row yet: {absent}.' if absent else ''}\n\n| part | passed | failed | skipped | seconds | last run |\n"
        f"| --- | ---: | ---: | ---: | ---: | --- |\n{lines}",
        encoding="utf-8",
    )


def extras(names: Sequence[str]) -> int:
    """Add what only some need to the environment, unless it is there."""
    unknown = [name for name in names if name not in EXTRAS]
    if unknown:
        raise SetupError(f"there is no extra {unknown[0]!r}. There are: {', '.join(EXTRAS)}")
    with only_one():
        for name in names:
            done = VENV / f"extra-{name}"  # goes when the environment goes
            if not done.exists() or done.read_text(encoding="utf-8") != digest(EXTRAS[name]):
                add(name)
                done.write_text(digest(EXTRAS[name]), encoding="utf-8")
    return 0


def add(name: str) -> None:
    """Install one extra."""
    what = ["--require-hashes", "-r", str(EXTRAS[name])]
    uv = find_uv()
    if uv is None:
        step(f"Adding {name} with pip", [str(PYTHON), "-m", "pip", "install", "--quiet", *what])
    else:
        pip = [str(uv), "pip", "install", "--python", str(PYTHON), "--quiet"]
        step(f"Adding {name}", [*pip, *what], uv_settings(pip_config()))
    if name == "fleet":
        say(
            "PostgreSQL: labkit provision … --registry postgresql+psycopg:///NAME. Dask: any of its executors."
        )
        say("PKCS #11: labkit hsm --help")


# --- the offline kit ----------------------------------------------------------------------------------------------


def bundle() -> int:
    """Collect wheels and Mosquitto into kit/, from which lab.py then sets up without a network."""
    if not has("pip"):
        raise SetupError(f"the kit is collected by pip. {how_to_get_pip()}")
    fresh = HERE / "kit.new"
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "wheels").mkdir(parents=True)
    (fresh / "debs").mkdir()
    pinned = fresh / "requirements.txt"
    pinned.write_text(
        "".join(re.sub(r" *\\$", "", line) + "\n" for line in LOCK.read_text(encoding="utf-8").splitlines()
                if line and not line.startswith(" ")), encoding="utf-8")  # fmt: skip
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(fresh / "wheels"),
    ]
    step("Collecting packages for this system", [*wheel, "-r", str(pinned)])
    step("Collecting uv", [*wheel, "uv"])
    code = "import sys; from pathlib import Path; from labkit.broker.fetch import fetch_debs; fetch_debs(Path(sys.argv[1]))"
    if shutil.which("apt-get"):
        step("Collecting Mosquitto", [str(PYTHON), "-c", code, str(fresh / "debs")])
    sums = {
        str(p.relative_to(fresh)).replace(os.sep, "/"): digest(p)
        for p in sorted(fresh.rglob("*"))
        if p.is_file()
    }
    (fresh / "sha256.json").write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(KIT, ignore_errors=True)
    fresh.rename(KIT)
    size = sum(p.stat().st_size for p in KIT.rglob("*") if p.is_file()) / 1e6
    say(
        f"kit/ holds {len(sums)} files, {size:.0f} MB. Copy the course's folder with it (without .lab/ and workspace/)"
    )
    say(
        "to machines of the same system and Python version: python3 lab.py run works there without a network."
    )
    return 0


def kit_options() -> "list[str]":
    """Return what makes pip and uv take packages from the kit, where there is one."""
    return ["--no-index", "--find-links", str(KIT / "wheels")] if KIT.is_dir() else []


def kit_requirements() -> "list[str]":
    """Return what to install from the kit, after comparing every file with its hash."""
    sums: dict[str, str] = json.loads((KIT / "sha256.json").read_text(encoding="utf-8"))
    changed = [
        name for name, wanted in sums.items() if not (KIT / name).is_file() or digest(KIT / name) != wanted
    ]
    if changed:
        raise SetupError(
            f"the offline kit is damaged: {changed[0]} is not what it was. Make it again: lab.py bundle"
        )
    return ["-r", str(KIT / "requirements.txt")]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def say(text: str) -> None:
    """Tell the person what is going on; standard output stays clean for what they asked for."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
