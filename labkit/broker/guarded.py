"""Start a process under a guard: it ends when we stop it, and also when we can't any more."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.broker.guard import remove_control
from labkit.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.broker.mosquitto import Mosquitto

OPENSSL_CONF = """\
# Mosquitto has no option for these. A resumed session skips the check of the certificate, so that one that expired
# today would be let back in for two hours; and tickets cost a third of the processor time of a mutual handshake.
# -SessionTicket ends the tickets of TLS 1.2 and only makes those of 1.3 stateful; NumTickets ends those too. What is
# left is the session cache of TLS 1.2, for which OpenSSL has no setting. A restart empties it; so does a reload, but only
# of a listener that goes by a revocation list.
openssl_conf = lab
[lab]
ssl_conf = modules
[modules]
system_default = defaults
[defaults]
MinProtocol = TLSv1.2
CipherString = DEFAULT:@SECLEVEL=2
Options = -SessionTicket
NumTickets = 0
"""

RESUMABLE_CONF = OPENSSL_CONF.replace("Options = -SessionTicket\nNumTickets = 0\n", "")
"""What OpenSSL does when nobody says otherwise: it hands out tickets. For lessons about resumption, and for nothing else."""

_GUARD = Path(__file__).with_name("guard.py")

# The broker reads what strangers send it, so it is told nothing that it does not need: our environment may hold the
# authority's passphrase, and tokens of other programs.
_PASSED_ON = frozenset({
    "PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR", "TEMP", "TMP",
    "SYSTEMROOT", "WINDIR", "PATHEXT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
})  # fmt: skip


def environment(mosquitto: Mosquitto, openssl_conf: Path) -> dict[str, str]:
    """Return the environment of a broker's process.

    Args:
        mosquitto: The program, which may need libraries of its own.
        openssl_conf: The file of OpenSSL settings.
    """
    return {**_ours(), **mosquitto.env, "OPENSSL_CONF": str(openssl_conf)}


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON}


@dataclass(frozen=True, slots=True)
class Guarded:
    """A process under a guard.

    Attributes:
        pid: The process.
        guard: The guard's process.
        control: The control socket: a path, a loopback port, or None.
        token: What a loopback control port wants to hear; empty with a socket.
    """

    pid: int
    guard: int
    control: str | int | None
    token: str
    _child: subprocess.Popen[bytes]

    @property
    def ended(self) -> bool:
        """Whether the guard is gone, and with it the process."""
        return self._child.poll() is not None

    def close(self) -> None:
        """End the process and its guard."""
        assert self._child.stdin  # noqa: S101 - opened as a pipe
        assert self._child.stdout  # noqa: S101 - opened as a pipe
        with suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(10.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        remove_control(self.control)  # a guard that was killed could not


def start_guarded(
    argv: Sequence[str],
    *,
    env: dict[str, str],
    log: Path,
    state: Path | None = None,
    control: Path | None = None,
) -> Guarded:
    """Start a process under a guard.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.
        log: The file that what it prints is appended to.
        state: A file that the guard removes at the end.
        control: Where the control socket should be; without it there is none. On Windows it is a loopback port.

    Raises:
        BrokerStartError: The program or the log can't be opened.
    """
    token = "" if control is None or os.name == "posix" else secrets.token_hex(16)
    address = False if control is None else str(control) if os.name == "posix" else None
    spec = {
        "argv": list(argv), "env": env, "log": str(log), "state": str(state) if state else None,
        "parent": os.getpid(), "control": address, "token": token,
    }  # fmt: skip
    child = _spawn()
    try:
        answer = _tell(child, spec)
    except BaseException:
        _close(child)  # the end of its input is the end of whatever it has started by now
        raise
    if "error" in answer:
        _close(child)
        raise BrokerStartError(
            f"The broker's guard could not start it: {answer['error']}.",
            advice="Look at that file or folder, and try again.",
            log=str(answer["error"]),
        )
    return Guarded(answer["pid"], answer["guard"], answer["control"], token, child)


def _spawn() -> subprocess.Popen[bytes]:
    # A session of its own keeps the notebook's stop button away; without `site` it is there in half the time.
    detached: dict[str, Any] = {"start_new_session": True}
    if os.name != "posix":
        detached = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_ours(),
        **detached,
    )


def _tell(child: subprocess.Popen[bytes], spec: dict[str, Any]) -> dict[str, Any]:
    assert child.stdin  # noqa: S101 - opened as a pipe
    assert child.stdout  # noqa: S101 - opened as a pipe
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(spec).encode() + b"\n")
        child.stdin.flush()
    answer: dict[str, Any] = json.loads(child.stdout.readline() or b'{"error": "the guard died"}')
    return answer


def _close(child: subprocess.Popen[bytes]) -> None:
    with child:  # closes the pipes and waits
        pass
