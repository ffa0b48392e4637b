"""Runs alone, where there is no sandbox: starts a command, and ends everything that came of it.

It runs as `python -I -S keeper.py MARK COMMAND…`. On Linux orphans of its descendants become its own children
(PR_SET_CHILD_SUBREAPER, prctl(2)), so that a daemon can't get away by forking twice; elsewhere it looks for the mark in
the environment. When it is told to stop, or whoever started it is gone, it kills them all and goes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TICK = 0.05
ROUNDS = 200


def family(pid: int) -> list[int]:
    """Return all descendants of a process, as far as /proc tells."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                    children = [int(word) for word in file.read().split()]
                found += children
                waiting += children
    return found


def marked(mark: str) -> list[int]:
    """Return all processes that carry our mark in their environment (where there is no /proc: by `ps`)."""
    if os.path.isdir("/proc/self/task"):
        return []
    ended = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, check=False)
    lines = ended.stdout.decode(errors="replace").splitlines()
    return [int(line.split(None, 1)[0]) for line in lines if f"LABKIT_MARK={mark}" in line]


def end_all(mark: str) -> None:
    """Kill until nobody is left."""
    for _ in range(ROUNDS):
        others = [pid for pid in {*family(os.getpid()), *marked(mark)} if pid != os.getpid()]
        for pid in others:  # stopped first, so that they can't fork while we count
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        for pid in others:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not others:
            return
        time.sleep(TICK)


def main() -> int:
    """Keep one command."""
    mark, command = sys.argv[1], sys.argv[2:]
    parent = os.getppid()
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, env={**os.environ, "LABKIT_MARK": mark}, start_new_session=True)
    # Ours is the only copy that is left of the pipes: whoever reads them sees the end when the child has gone.
    for handle in (0, 1):
        os.close(handle)
    while child.poll() is None and not stopping and os.getppid() == parent:
        time.sleep(TICK)
    end_all(mark)
    return child.returncode if child.returncode is not None and child.returncode >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
