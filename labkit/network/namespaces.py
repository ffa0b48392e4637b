"""The real kernel, in namespaces of our own: zones, rules that are in force, and measurements.

The network of this machine is not touched: everything happens in a child process (`worker.py`) that leaves it first, as
root or as a plain user, and whose end is the end of all that it made.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from labkit.clock import Deadline
from labkit.errors import NamespaceError, NamespacesUnavailableError
from labkit.network import iptables_text, nftables, wiring
from labkit.network.reachability import DROPPED, Attempt, Cell, Matrix, Reply, attempt_of, cells
from labkit.network.zones import FAMILIES, ROUTER
from labkit.processes import find_tool, install_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.network.reachability import Topology
    from labkit.network.rules import Firewall

NFT, IPTABLES = "nft", "iptables"
"""The programs that rules can be loaded with."""

OFF = "LABKIT_NO_NAMESPACES"
"""An environment variable: if it is set, namespaces are not tried, and everything is predicted only."""

_WORKER = Path(__file__).with_name("worker.py")
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
_TOOLS = (
    ("ip", "iproute2"), ("nft", "nftables"), ("iptables-restore", "iptables"), ("ip6tables-restore", "iptables"),
    ("nsenter", "util-linux"),
)  # fmt: skip
_TRIAL = "table inet trial {\n chain c {\n type filter hook input priority 0; ct state established counter accept;\n }\n}\n"
"""Some kernels have namespaces and no firewall in them."""

_ACQUAINTANCE = 3.0
"""Seconds for neighbours to find each other."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether namespaces can be had.

    Attributes:
        kind: `root`, `user`, or empty if they can't.
        why: In a sentence.
    """

    kind: str
    why: str

    def __bool__(self) -> bool:
        return bool(self.kind)


def availability() -> Availability:
    """Find out whether this machine lets us have network namespaces, by having one.

    Containers often don't (their seccomp profile refuses), nor do Ubuntu's AppArmor rules for plain users; macOS and
    Windows have none.
    """
    if os.environ.get(OFF):
        return Availability("", f"{OFF} is set")
    if sys.platform != "linux":
        return Availability("", "network namespaces are a part of Linux")
    for tool, package in _TOOLS:
        if find_tool(tool, folders=_SBIN) is None:
            return Availability("", f"{tool} is not on this machine; install it: {install_line(package)}")
    if not Path("/proc/sys/net/ipv6").exists():
        return Availability("", "this kernel has no IPv6")
    why = "the kernel or its rules forbid them"
    for kind in ("root", "user") if os.geteuid() == 0 else ("user",):
        try:
            with _Child() as child:
                child.ask(
                    {
                        "do": "build",
                        "nodes": [ROUTER],
                        "router": ROUTER,
                        "user": kind == "user",
                        "settings": {},
                    }
                )
                child.ask({"do": "load", "node": ROUTER, "programs": [[["nft", "-f", "-"], _TRIAL]]})
        except NamespaceError as error:
            why = error.output
        else:
            return Availability(
                kind, "namespaces of root" if kind == "root" else "user namespaces, without root"
            )
    return Availability("", f"this machine does not let us have any: {why}")


class _Child:
    """The worker's process and the socket to it."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WORKER), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={
                    **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    "PATH": folders,
                },
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._channel.settimeout(120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()  # the worker reads the end of its input, and goes
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr  # noqa: S101 - opened as a pipe
        self._process.stderr.close()

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """Return the worker's answer, and what it handed over.

        Raises:
            NamespaceError: It could not, or is gone.
        """
        message = json.dumps(request).encode()
        try:
            self._channel.sendall(struct.pack("!I", len(message)) + message)
            head, fds, _, _ = socket.recv_fds(self._channel, 4, 1)
            data = self._exactly(struct.unpack("!I", head)[0]) if len(head) == 4 else b""
        except OSError as error:
            raise _failed(request["do"], str(error)) from error
        if not data:
            assert self._process.stderr  # noqa: S101 - opened as a pipe
            last = self._process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            raise _failed(request["do"], last[0] if last else "the worker is gone")
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            raise _failed(request["do"], answer["error"])
        return answer, list(fds)

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (piece := self._channel.recv(size - len(found))):
            found += piece
        return found if len(found) == size else b""


def _failed(what: str, why: str) -> NamespaceError:
    return NamespaceError(
        f"The network in namespaces can't {what}: {why}.",
        advice="Its text is a program's own. Without namespaces everything is predicted: labkit network matrix --simulate",
        output=why,
    )


def _not_built() -> RuntimeError:
    return RuntimeError("the testbed is not built; use it inside `with`")


class Testbed:
    """Zones in the real kernel, for as long as the `with` block lasts.

    Each zone is a host in a network namespace of its own, wired to a router in another one. On every host, and on the
    router, something listens on every port of `ports`. These are subnets on wires of their own, without VLAN tags.

    Args:
        topology: The zones, and further addresses of their hosts.
        ports: Where everybody listens: `("tcp", 8883)` and so on.
        free: Ports that are left to a program of yours: `("backend", "tcp", 8883)`. It is reached when its kernel has
            acknowledged a byte; everybody else has to answer.
        fixed_neighbours: Tell everybody who their neighbours are, so that rules that forbid looking for them do no harm.

    Raises:
        NamespacesUnavailableError: They can't be had here; the error says why.
        NamespaceError: Something else went wrong.
    """

    __test__ = False  # pytest, this is no test

    def __init__(
        self,
        topology: Topology,
        ports: Sequence[tuple[str, int]],
        *,
        free: Sequence[tuple[str, str, int]] = (),
        fixed_neighbours: bool = False,
    ) -> None:
        self.topology = topology
        self.ports = tuple(ports)
        self.kind = ""
        self.firewalls: dict[str, Firewall] = {}
        self._programs: dict[str, str] = {}
        self._free = [list(each) for each in free]
        self._fixed = fixed_neighbours
        self._places: dict[str, str] = {}
        self._pid = 0
        self._child: _Child | None = None

    def __repr__(self) -> str:
        return f"<Testbed of {len(self.topology.nodes)} nodes, {self.kind or 'not built'}>"

    def __enter__(self) -> Self:
        found = availability()
        if not found:
            raise NamespacesUnavailableError(
                f"There are no network namespaces here: {found.why}.",
                advice="Everything can be predicted without them: labkit network matrix --simulate",
                why=found.why,
            )
        self.kind = found.kind
        self._child = _Child()
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        child, self._child = self._child, None
        if child:
            child.__exit__()

    def _build(self) -> None:
        topology = self.topology
        found = self._ask(
            "build", nodes=topology.nodes, router=ROUTER, user=self.kind == "user", settings=wiring.SETTINGS
        )
        self._places = {name: f"/proc/{found['pid']}/fd/{fd}" for name, fd in found["descriptors"].items()}
        self._pid = found["pid"]
        self._tell_ip(ROUTER, wiring.wires(topology, self._places))
        for zone in topology.plan.zones:
            self._tell_ip(zone.name, wiring.ends(topology, zone))
        self._tell_ip(ROUTER, wiring.ways_back(topology))
        if self._fixed:
            for node in topology.nodes:
                self._tell_ip(node, wiring.neighbours(topology, node))
        listeners = [[node, *port] for node in topology.nodes for port in self.ports]
        self._ask("listen", listeners=[each for each in listeners if each not in self._free])
        self._acquaint()

    def _tell_ip(self, node: str, lines: Sequence[str]) -> None:
        self.load_text(node, [[["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines)]])

    def _acquaint(self) -> None:
        """Let all hosts find the router, and it them, before any rule can forbid it.

        While a neighbour is looked for, the kernel keeps only a few packets for it and drops the others.
        """
        # Nobody listens on port 1, so that everybody who is reached says no.
        waiting = [attempt_of(self.topology, cell) for cell in cells(self.topology, [("tcp", 1)])]
        deadline = Deadline(_ACQUAINTANCE)
        while waiting and not deadline.passed:
            found = self.measure(waiting, patience=0.02)
            waiting = [each for each, reply in zip(waiting, found, strict=True) if reply.result == DROPPED]

    def _ask(self, do: str, **values: Any) -> dict[str, Any]:
        if self._child is None:
            raise _not_built()
        return self._child.ask({"do": do, **values})[0]

    # --- rules ----------------------------------------------------------------------------------------------------

    def load(self, node: str, firewall: Firewall, *, program: str = NFT) -> None:
        """Put rules in force on a node, in place of those that were there.

        Args:
            node: The router, or a zone's host.
            firewall: The rules.
            program: `nft`, or `iptables` for iptables-restore and ip6tables-restore.

        Raises:
            NamespaceError: The program refused them, or is not here.
        """
        if program == NFT:
            self.load_text(node, [[["nft", "-f", "-"], "flush ruleset\n" + nftables.render(firewall)]])
        else:
            clear = (
                [[["nft", "-f", "-"], "flush ruleset\n"]] if self._programs.get(node, IPTABLES) == NFT else []
            )
            four, six = (iptables_text.render_restore(firewall, family) for family in FAMILIES)
            self.load_text(node, [*clear, [["iptables-restore"], four], [["ip6tables-restore"], six]])
        self.firewalls[node], self._programs[node] = firewall, program

    def load_text(self, node: str, programs: Sequence[Sequence[Any]]) -> list[str]:
        """Run programs on a node, each with a text to read, and return what they print.

        What they change is not known to `firewalls`; `note` tells it.

        Args:
            node: The node.
            programs: Pairs of an argument list and a text.

        Raises:
            NamespaceError: One of them failed; those before it have had their effect.
        """
        said: list[str] = self._ask("load", node=node, programs=[list(each) for each in programs])["said"]
        return said

    def note(self, node: str, firewall: Firewall) -> None:
        """Write down which rules are in force on a node, after `load_text`."""
        self.firewalls[node], self._programs[node] = firewall, NFT

    def clear(self, node: str) -> None:
        """Take all rules off a node."""
        self.load_text(node, [[["nft", "-f", "-"], "flush ruleset\n"]])
        self.firewalls.pop(node, None)

    def counters(self, node: str) -> list[tuple[str, str, int]]:
        """Return chain, comment and packets of each rule of our table on a node that counts, in order."""
        text = self.load_text(node, [[["nft", "-j", "list", "table", "inet", nftables.TABLE], ""]])[0]
        rules = [item["rule"] for item in json.loads(text)["nftables"] if "rule" in item]
        return [
            (rule["chain"], rule.get("comment", ""), int(part["counter"]["packets"]))
            for rule in rules
            for part in rule["expr"]
            if isinstance(part.get("counter"), dict)
        ]

    # --- measuring ------------------------------------------------------------------------------------------------

    def measure(self, attempts: Sequence[Attempt], *, patience: float = 0.0) -> list[Reply]:
        """Try connections, all at once, and return what became of each.

        Args:
            attempts: The attempts.
            patience: Seconds to wait for what seems to stay silent. Without it the wait ends as soon as nothing can be
                on its way any more.
        """
        asked = [
            {
                "node": each.source, "address": str(each.destination), "protocol": each.protocol, "port": each.port,
                "family": each.family, "claimed": str(each.claimed) if each.claimed else "",
                "guest": self._is_guest(each),
            }
            for each in attempts
        ]  # fmt: skip
        results: list[str] = []
        for start in range(0, len(asked), 200):
            part = asked[start : start + 200]
            results += self._ask("measure", attempts=part, patience=patience)["results"]
        return [Reply(result) for result in results]

    def _is_guest(self, attempt: Attempt) -> bool:
        """Return whether a program of the caller's is asked: it may not answer a stranger, its kernel does."""
        looped = attempt.destination.is_loopback
        owner = attempt.source if looped else self.topology.owner(attempt.destination)
        return [owner, attempt.protocol, attempt.port] in self._free

    def matrix(self, wanted: Sequence[Cell], *, patience: float = 0.0) -> Matrix:
        """Return the measured matrix of pairs."""
        replies = self.measure([attempt_of(self.topology, cell) for cell in wanted], patience=patience)
        return dict(zip(wanted, replies, strict=True))

    # --- guests ---------------------------------------------------------------------------------------------------

    def dial(self, node: str, address: tuple[str, int], timeout: float) -> socket.socket:
        """Return a connection from a node to an address, usable in this process.

        Raises:
            OSError: It was not to be had.
        """
        if self._child is None:
            raise _not_built()
        family = 6 if ":" in address[0] else 4
        request = {"do": "socket", "node": node, "family": family, "address": address[0], "port": address[1]}
        _, fds = self._child.ask(request)
        made = socket.socket(fileno=fds[0])
        try:
            waiting = select.poll()
            waiting.register(made, select.POLLOUT)
            if not waiting.poll(timeout * 1000):
                raise TimeoutError(errno.ETIMEDOUT, "timed out")
            if error := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, os.strerror(error))
        except BaseException:
            made.close()
            raise
        made.settimeout(timeout)
        return made

    def inside(self, node: str) -> list[str]:
        """Return the beginning of a command line that runs a program in a node's network.

        Raises:
            ToolMissingError: `nsenter` is not on this machine.
        """
        from labkit.processes import require_tool

        words = [str(require_tool("nsenter", folders=_SBIN))]
        if self.kind == "user":
            words += [f"--user=/proc/{self._pid}/ns/user", "--preserve-credentials"]
        return [*words, f"--net={self._places[node]}", "--"]
