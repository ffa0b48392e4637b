"""Start a cluster of RabbitMQ nodes on this computer, and leave nothing of it behind.

Everything listens on loopback: the MQTT ports, the nodes' talk with each other, and epmd, their directory. The nodes
have a folder of their own under the system's temporary one, with copies of what they need, and a cookie that is for
their owner alone. Started by root they run as the user `rabbitmq`, where there is one.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
import signal
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from labkit.broker import rabbitmq
from labkit.broker.guarded import start_guarded
from labkit.broker.log_file import LogFile
from labkit.clock import Deadline
from labkit.errors import BrokerGoneError, BrokerStartError, ToolMissingError
from labkit.ports import LOOPBACK, is_listening, reserve_port
from labkit.processes import install_line, require_tool, run
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.broker.acl import Acl
    from labkit.broker.config import BrokerConfig
    from labkit.broker.guarded import Guarded
    from labkit.broker.rabbitmq import Authorisation

START_TIME = 180.0
"""Seconds that a node may take to start; it took ten where this was written, and a minute beside other work."""

SESSIONS = 50
"""Connections that a node keeps to the service that it asks, and questions that may wait for each."""

ARGUMENTS = (
    "+sbwt none +sbwtdcpu none +sbwtdio none "
    # Erlang's client keeps two connections; for each question beyond, it would shake hands anew.
    f"-eval httpc:set_options([{{max_sessions,{SESSIONS}}},{{max_keep_alive_length,{SESSIONS}}}])"
)
"""What every node's Erlang is started with."""

USER = "rabbitmq"
"""Whom the nodes run as when root starts them."""

_PLACES = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
_VARIABLE = "LABKIT_RABBITMQ"
_READY = "Server startup complete"
_TOLD = 30
"""Lines of a log that an error carries."""


@dataclass(frozen=True, slots=True)
class RabbitMq:
    """A RabbitMQ that is installed here.

    Attributes:
        path: The program that starts a node; not Debian's wrapper, which insists on the system's own folders.
        version: Its version.
    """

    path: Path
    version: str


def find_rabbitmq() -> RabbitMq:
    """Find RabbitMQ. The environment variable LABKIT_RABBITMQ overrides the search.

    Raises:
        ToolMissingError: It is not on this computer.
    """
    chosen = os.environ.get(_VARIABLE)
    found = [Path(chosen)] if chosen else sorted(Path("/").glob(_PLACES[1:]))
    for path in reversed(found):
        version = re.search(r"rabbitmq_server-([0-9.]+)", str(path.resolve()))
        if os.access(path, os.X_OK) and version:
            return RabbitMq(path, version[1])
    raise ToolMissingError(
        "RabbitMQ is not on this machine.",
        advice=f"Install it: {install_line('rabbitmq-server')} (the lessons do without it)",
        tool="rabbitmq-server",
    )


@dataclass(frozen=True, slots=True)
class Node:
    """One running node.

    Attributes:
        name: Its name in the cluster.
        port: Where it speaks MQTT.
        pid: Its process.
        log: Its log.
        home: Its folder.
    """

    name: str
    port: int
    pid: int
    log: LogFile
    home: Path


class RabbitCluster:
    """A RabbitMQ cluster of our own, for as long as the `with` block lasts and never longer.

    Args:
        make_config: Returns Mosquitto's configuration for a port; it is rendered for RabbitMQ.
        acl: Who may read and write what.
        authorisation: The service that the nodes ask. Without it they go by rows, one for each of `users`.
        users: Who gets a row.
        size: How many nodes.
    """

    def __init__(
        self,
        make_config: Callable[[int], BrokerConfig],
        *,
        acl: Acl,
        authorisation: Authorisation | None = None,
        users: Sequence[str] = (),
        size: int = 2,
    ) -> None:
        self.nodes: list[Node] = []
        self._make_config = make_config
        self._acl = acl
        self._authorisation = authorisation
        self._users = users
        self._size = size
        self._program: RabbitMq | None = None
        self._guarded: list[Guarded] = []
        self._held = ExitStack()
        self._home = Path()
        self._epmd = 0

    def __repr__(self) -> str:
        return f"<RabbitCluster on ports {', '.join(str(node.port) for node in self.nodes)}>"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """RabbitMQ's version."""
        self._program = self._program or find_rabbitmq()
        return self._program.version

    @property
    def alive(self) -> bool:
        """Whether every node runs."""
        return bool(self.nodes) and all(_lives(node.pid) for node in self.nodes)

    def check(self) -> None:
        """Raise if a node has died.

        Raises:
            BrokerGoneError: With the end of its log.
        """
        for node in self.nodes:
            if not _lives(node.pid):
                raise BrokerGoneError(
                    f"The node {node.name} is not running any more.",
                    advice="Its last words are in the error's log; start the cluster again.",
                    log=node.log.tail(_TOLD),
                )

    def revoke(self, crl: bytes) -> None:
        """Put a new revocation list in force: RabbitMQ looks at the file at each handshake, and needs no reload.

        Args:
            crl: The list, in PEM.
        """
        for node in self.nodes:
            (place,) = (node.home / "crl").glob("*.r0")
            self._give(write_atomic(place, crl, secret=True))

    def _start(self) -> None:
        self._program = self._program or find_rabbitmq()
        self._home = Path(tempfile.mkdtemp(prefix="labkit-rabbitmq-"))
        self._held.callback(shutil.rmtree, self._home, ignore_errors=True)
        self._give(self._home)
        self._give(write_atomic(self._home / ".erlang.cookie", secrets.token_hex(32), secret=True))
        self._epmd = self._held.enter_context(reserve_port())
        self._guard([str(require_tool("epmd")), "-address", LOOPBACK, "-port", str(self._epmd)], "epmd")
        _wait(lambda: is_listening(self._epmd), "epmd", LogFile(self._home / "epmd.log"), 10.0)
        for number in range(1, self._size + 1):
            self._launch(number)  # one after the other: each joins those that are there

    def _launch(self, number: int) -> None:
        assert self._program  # noqa: S101 - found at the start
        home = self._home / f"node{number}"
        home.mkdir(mode=0o700)
        port = self._held.enter_context(reserve_port())
        names = [f"lab{each}@localhost" for each in range(1, number + 1)]
        furnish(
            home,
            self._make_config(port),
            self._acl,
            authorisation=self._authorisation,
            users=self._users,
            # The first finds nobody yet: asked for others it would look for five seconds.
            peers=names if number > 1 else (),
        )
        for path in (home, *home.rglob("*")):
            self._give(path)
        distribution = self._held.enter_context(reserve_port())
        environment = self._environment(home, names[-1], distribution)
        guarded = self._guard([str(self._program.path)], f"node{number}", environment)
        log = LogFile(self._home / f"node{number}.log")
        _wait(
            lambda: any(_READY in line for line in log.lines()),
            "RabbitMQ",
            log,
            START_TIME,
            lambda: not guarded.ended,
        )
        self.nodes.append(Node(names[-1], port, guarded.pid, log, home))

    def _environment(self, home: Path, name: str, distribution: int) -> dict[str, str]:
        """Return the whole environment of a node: nothing of ours, which may hold passphrases, and nothing of /etc."""
        loopback = "{" + LOOPBACK.replace(".", ",") + "}"
        return {
            "PATH": os.defpath + ":/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self._home),  # where the cookie is
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._epmd),
            "RABBITMQ_NODENAME": name,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "no-such-file"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-kernel inet_dist_use_interface {loopback} -start_epmd false {ARGUMENTS}"
            ),
            # Someone else supervises it, as systemd would: then the start script makes way for the node itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _guard(self, argv: list[str], label: str, env: dict[str, str] | None = None) -> Guarded:
        if _is_root_and_may_become(USER):
            # Changing who one is takes back that the kernel ends us with our guard, so setpriv asks for it again.
            argv = [
                "setpriv",
                f"--reuid={USER}",
                f"--regid={USER}",
                "--clear-groups",
                "--pdeathsig",
                "KILL",
                *argv,
            ]
        guarded = start_guarded(argv, env=env or {"PATH": os.defpath}, log=self._home / f"{label}.log")
        self._guarded.append(guarded)
        return guarded

    @staticmethod
    def _give(path: Path) -> None:
        if _is_root_and_may_become(USER):
            shutil.chown(path, USER, USER)

    def stop(self) -> None:
        """Stop every node and remove the folder. Harmless when it is stopped."""
        for guarded in reversed(self._guarded):
            # What is in the nodes dies with them anyhow, and a polite goodbye takes each of them seconds.
            with suppress(OSError):
                os.kill(guarded.pid, signal.SIGKILL)
        for guarded in self._guarded:
            guarded.close()
        self._guarded.clear()
        self.nodes.clear()
        self._held.close()


def furnish(
    home: Path,
    config: BrokerConfig,
    acl: Acl,
    *,
    authorisation: Authorisation | None,
    users: Sequence[str] = (),
    peers: Sequence[str] = (),
    seen_as: Path | None = None,
) -> None:
    """Put everything into a folder that a node needs: its files, and copies of what they speak of, for its owner alone.

    Args:
        home: The folder; it is there.
        config: Mosquitto's configuration.
        acl: Who may read and write what.
        authorisation: The service that the node asks; without it the node goes by rows.
        users: Who gets a row.
        peers: See `rabbitmq.render`.
        seen_as: Where the node finds the folder, if that is elsewhere: in a container.

    Raises:
        BrokerConfigError, AclError: See `rabbitmq.render`.
    """
    (listener,) = config.listeners
    there = seen_as or home

    def copy(source: Path | None, name: str) -> Path | None:
        if source is None:
            return None
        write_atomic(home / name, source.read_bytes(), secret=True)
        return there / name

    if listener.crlfile:
        (home / "crl").mkdir(mode=0o700, exist_ok=True)
        word = run(["openssl", "crl", "-hash", "-noout", "-in", listener.crlfile]).stdout.strip()
    copied = dataclasses.replace(
        listener,
        cafile=copy(listener.cafile, "cafile"),
        certfile=copy(listener.certfile, "certfile"),
        keyfile=copy(listener.keyfile, "keyfile"),
        crlfile=copy(listener.crlfile, f"crl/{word}.r0") if listener.crlfile else None,
    )
    if authorisation:
        names = ("cafile", "certfile", "keyfile")
        copies = {name: copy(getattr(authorisation, name), f"auth-{name}") for name in names}
        authorisation = dataclasses.replace(authorisation, **copies)  # type: ignore[arg-type] # paths, all three
    files = rabbitmq.render(
        dataclasses.replace(config, listeners=(copied,)),
        acl,
        authorisation=authorisation,
        users=users,
        peers=peers,
        definitions=there / "definitions.json",
    )
    for name, text in {**files, "arguments": ARGUMENTS}.items():
        write_atomic(home / name, text, secret=True)


def _is_root_and_may_become(user: str) -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    import pwd  # not on Windows

    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _lives(pid: int) -> bool:
    # Not by psutil: the image that writes the containers' folders, by `furnish`, has none.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _wait(
    ready: Callable[[], bool],
    what: str,
    log: LogFile,
    seconds: float,
    going: Callable[[], bool] = lambda: True,
) -> None:
    deadline = Deadline(seconds)
    while not ready():
        if deadline.passed or not going():
            raise BrokerStartError(
                f"{what} did not start; it {'took too long' if deadline.passed else 'ended'}.",
                advice="Its last words are in the error's log. Is there memory left? A node takes 150 MB.",
                log=log.tail(_TOLD),
            )
        deadline.pause(0.1)
