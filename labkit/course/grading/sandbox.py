"""What keeps a stranger's notebook away from this machine: bubblewrap or a container, or nothing, and then it is said.

Inside there is a network of its own with nothing but loopback, processes of its own, the system's programs, our Python
and labkit, all read-only, and one folder of the submission. There is no home, no other submission, and neither the
sources of the notebooks nor any instructor's check.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import labkit
from labkit.broker.fetch import home
from labkit.processes import find_tool, install_line
from labkit.workspace import write_atomic

LAB, TMP = "/lab", "/tmp"  # noqa: S108 - of the sandbox
"""Where a submission's folder is inside, and its folder for what is only for now."""

BWRAP, PODMAN, DOCKER, NONE = "bubblewrap", "podman", "docker", "none"

_ETC = ("ssl", "alternatives", "localtime", "mime.types", "ld.so.cache", "ld.so.conf", "ld.so.conf.d")
_TRIAL = 60.0
_SHARED = "/dev/shm"  # noqa: S108 - of the sandbox


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way to confine a process.

    Attributes:
        kind: `bubblewrap`, `podman`, `docker` or `none`.
        why: In a sentence, what it is, or why there is none.
        program: The program that makes it.
    """

    kind: str
    why: str
    program: str = ""

    @property
    def confines(self) -> bool:
        """Whether it keeps anything away from anything."""
        return self.kind != NONE

    def command(self, inner: list[str], view: View) -> list[str]:
        """Return the command that runs another one inside.

        Args:
            inner: The command.
            view: What it sees. Without a sandbox it sees everything.
        """
        if self.kind == BWRAP:
            return [self.program, *_bwrap(view), "--", *inner]
        if self.kind in {PODMAN, DOCKER}:
            return _container(self.program, self.kind, view, inner)
        return inner


@dataclass(frozen=True, slots=True)
class View:
    """What a confined process sees beside the system.

    Attributes:
        writable: Folders of ours by their place inside.
        readable: The same, read-only.
        cwd: Where it begins.
        env: Its whole environment.
        name: The container's name, where it is one.
        memory: Bytes it may take, where the sandbox can hold it to that.
    """

    writable: dict[str, Path] = field(default_factory=dict)
    readable: dict[str, Path] = field(default_factory=dict)
    cwd: str = LAB
    env: dict[str, str] = field(default_factory=dict)
    name: str = ""
    memory: int = 0


def choose(wanted: str = "auto") -> Sandbox:
    """Return the best sandbox of this machine.

    Args:
        wanted: `auto`, or one kind.

    Returns:
        The sandbox; of kind `none`, with the reason, where there is no other.
    """
    if wanted == NONE:
        return Sandbox(NONE, "it was switched off")
    reasons = []
    for kind, program in ((BWRAP, "bwrap"), (PODMAN, "podman"), (DOCKER, "docker")):
        if wanted in {"auto", kind}:
            found = _tried(kind, program)
            if found.confines:
                return found
            reasons.append(found.why)
    return Sandbox(NONE, "; ".join(reasons))


@cache
def _tried(kind: str, program: str) -> Sandbox:
    if sys.platform != "linux":
        return Sandbox(NONE, f"{kind} is used on Linux only")
    path = find_tool(program)
    if path is None:
        package = "bubblewrap" if kind == BWRAP else program
        return Sandbox(NONE, f"{program} is not on this machine ({install_line(package)})")
    sandbox = Sandbox(kind, f"{kind}: own processes, own network, no home", str(path))
    argv = sandbox.command([sys.executable, "-I", "-c", "import labkit.errors"], View(cwd="/"))
    try:
        ended = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL, check=False
        )
    except subprocess.TimeoutExpired:
        return Sandbox(NONE, f"{program} did not start within {_TRIAL:g} s")
    if ended.returncode == 0:
        return sandbox
    lines = ended.stderr.decode(errors="replace").strip().splitlines() or [f"status {ended.returncode}"]
    return Sandbox(NONE, f"{program} does not work here ({lines[-1][:200]})")


def system() -> dict[str, Path]:
    """Return the folders of this machine that every confined process may read, by their place inside."""
    package = Path(labkit.__file__).resolve().parent
    places = [Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).parent.parent]
    places += [package, package.parent / "firmware", home() / "mosquitto"]
    places += [Path("/", name) for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")]
    places += [Path("/etc", name) for name in _ETC]
    found = {str(place.absolute()): place for place in places if place.exists()}
    found |= {f"/etc/{path.name}": path for path in _own_etc().iterdir()}
    # Our Python is often a link to a link; each of them has to lead somewhere.
    python = Path(sys.executable)
    while python.is_symlink():
        python = python.parent / python.readlink()
        prefix = python.parent.parent
        if not any(str(prefix).startswith(f"{place}/") or str(prefix) == place for place in found):
            found[str(prefix)] = prefix
    return dict(sorted(found.items()))


@cache
def _own_etc() -> Path:
    """Return a folder with what programs look up in /etc: one user, and the name of this machine. Nothing of ours."""
    folder = home() / "sandbox-etc"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("hosts", "127.0.0.1 localhost lab\n::1 localhost\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("passwd", "root:x:0:0::/:/bin/sh\nstudent:x:1000:1000::/lab/home:/bin/sh\n"),
        ("group", "root:x:0:\nstudent:x:1000:\n"),
    ):
        write_atomic(folder / name, text, durable=False)
    return folder


def base_env() -> dict[str, str]:
    """Return the environment that every confined process begins with."""
    folders = [str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]
    kept = {name: os.environ[name] for name in ("LABKIT_MOSQUITTO", "CONDA_PREFIX") if name in os.environ}
    return {
        "PATH": os.pathsep.join([*folders, "/sbin", "/bin"]),
        "LANG": "C.UTF-8",
        "LABKIT_HOME": str(home()),
        # Numerical libraries take memory for each core, whether they count or not.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "LABKIT_NO_WIDGETS": "1",
        **kept,
    }


def _bwrap(view: View) -> list[str]:
    words = [
        "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-net", "--unshare-ipc",
        "--unshare-uts", "--hostname", "lab", "--die-with-parent", "--new-session", "--clearenv",
        "--dev", "/dev", "--size", str(16 << 20), "--tmpfs", _SHARED, "--proc", "/proc", "--dir", TMP,
    ]  # fmt: skip
    binds = {inside: ("--ro-bind", place) for inside, place in {**system(), **view.readable}.items()}
    binds |= {inside: ("--bind", place) for inside, place in view.writable.items()}
    # Folders before what lies in them: the course may live below /tmp, which is the sandbox's own.
    for inside, (how, place) in sorted(binds.items(), key=lambda bind: len(Path(bind[0]).parts)):
        if place.is_symlink() and place.parent == Path("/"):
            words += ["--symlink", str(place.readlink()), inside]
        else:
            words += [how, str(place), inside]
    words += ["--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in view.env.items():
        words += ["--setenv", name, value]
    return [*words, "--chdir", view.cwd]


def around_answers(sandbox: Sandbox) -> list[str]:
    """Return the command behind which a judge, confined itself, calls a student's function.

    The function sees the system and labkit: not the other files of the student, and nothing that the judge started or
    keeps. Nor can it reach the judge's process.

    Args:
        sandbox: What confines the judge; only in bubblewrap can there be another one.
    """
    if sandbox.kind != BWRAP:
        return []
    words = [
        sandbox.program, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent",
        "--new-session", "--dev", "/dev", "--size", str(16 << 20), "--tmpfs", TMP,
    ]  # fmt: skip
    for inside in system():
        words += ["--ro-bind", inside, inside]
    return [*words, "--chdir", TMP, "--"]


def _container(program: str, kind: str, view: View, inner: list[str]) -> list[str]:
    words = [
        program, "run", "--rm", "--interactive", "--network", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--pids-limit", "512", "--hostname", "lab", "--init",
        "--workdir", view.cwd, "--tmpfs", f"{TMP}:size=64m" if TMP not in view.writable else "/run:size=1m",
    ]  # fmt: skip
    if view.name:
        words += ["--name", view.name]
    if view.memory:
        words += ["--memory", str(view.memory)]
    mounts = [(place.resolve(), inside, "ro") for inside, place in {**system(), **view.readable}.items()]
    mounts += [(place, inside, "rw") for inside, place in view.writable.items()]
    for place, inside, mode in mounts:
        words += ["--volume", f"{place}:{inside}:{mode}"]
    for name, value in view.env.items():
        words += ["--env", f"{name}={value}"]
    # An image without a file: the system's own folders stand in for one.
    where = ["--rootfs", str(_empty())] if kind == PODMAN else [_empty_image(program)]
    return [*words, *where, *inner]


@cache
def _empty() -> Path:
    folder = home() / "empty-root"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _empty_image(program: str) -> str:
    name = "labkit-empty:1"
    nothing = bytes(10240)  # a tar file without a member
    subprocess.run(
        [program, "import", "-", name], input=nothing, capture_output=True, check=False, timeout=_TRIAL
    )
    return name
