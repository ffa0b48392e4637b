"""The program that owns network namespaces: a router, a host in each zone, and sockets in all of them.

It runs as `python -I worker.py FD`, imports the standard library alone, and speaks over the socket that it is given: four
bytes of length and a JSON object each way, sometimes with a file descriptor. The namespaces have no names and no files: they exist as long
as this process holds them open, so its end, however it comes, is theirs. The network of whoever started it is never
touched: everything below happens after a namespace of our own was entered, and it is checked that it was.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

Spec = dict[str, Any]
"""A request, an answer, or a part of one."""

NEWNET, NEWUSER = 0x40000000, 0x10000000
LONGEST = 1 << 24
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
FIRST_PORT, LAST_PORT = 32768, 60999
FENCES = 12
"""Rounds after which nothing can be on its way any more; see `Measurement`."""

FENCE = "fence"
"""A namespace without rules, for fences; no node may be called so."""

OPEN, DROPPED, REJECTED = "open", "dropped", "rejected"


class RefusedError(Exception):
    """A program that we ran said no."""


class Worker:
    """The namespaces and what is in them."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.names: dict[str, int] = {}
        self.listeners: list[socket.socket] = []
        self.settings: dict[str, str] = {}
        self.port = FIRST_PORT
        self.home = os.readlink("/proc/self/ns/net")

    # --- namespaces -----------------------------------------------------------------------------------------------

    def isolate(self, *, user: bool) -> None:
        """Leave the network that we were started in; as a plain user with a user namespace first."""
        flags = NEWNET
        if user:
            uid, gid = os.geteuid(), os.getegid()
            flags |= NEWUSER
        self.call("unshare", flags)
        if user:
            put("/proc/self/setgroups", "deny")
            put("/proc/self/uid_map", f"0 {uid} 1")
            put("/proc/self/gid_map", f"0 {gid} 1")
        self.check_isolated()

    def check_isolated(self) -> None:
        """Insist that we are not where we came from."""
        if os.readlink("/proc/self/ns/net") == self.home:
            raise RefusedError("still in the network that we were started in")

    def call(self, name: str, *args: int) -> None:
        """Make a system call and raise what went wrong."""
        if getattr(self.libc, name)(*args) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"{name}: {os.strerror(error)}")

    def make(self, name: str) -> None:
        """Make a namespace and keep it open."""
        self.call("unshare", NEWNET)
        self.check_isolated()
        self.names[name] = os.open("/proc/self/ns/net", os.O_RDONLY)

    def enter(self, name: str) -> None:
        """Go into a namespace."""
        self.call("setns", self.names[name], NEWNET)

    def run(self, node: str, argv: list[str], text: str = "") -> str:
        """Run a program in a namespace."""
        self.enter(node)
        self.check_isolated()
        ended = subprocess.run(argv, input=text, text=True, capture_output=True, timeout=60, check=False)
        if ended.returncode != 0:
            raise RefusedError(f"{argv[0]}: {(ended.stderr or ended.stdout).strip()[:2000]}")
        return ended.stdout

    # --- commands -------------------------------------------------------------------------------------------------

    def do_build(self, spec: Spec) -> Spec:
        """Leave the network that we were started in, and make a namespace for each node; tell where they are."""
        self.isolate(user=spec["user"])
        self.settings = spec["settings"]
        for name in [*spec["nodes"], FENCE]:
            self.make(name)
            self.tune(name, spec["router"])
        self.run(FENCE, ["ip", "link", "set", "lo", "up"])
        return {"pid": os.getpid(), "descriptors": self.names}

    def tune(self, node: str, router: str) -> None:
        """Set what the kernel does in a namespace."""
        self.enter(node)
        forward = "1" if node == router else "0"
        for name, value in {**self.settings, **dict.fromkeys(FORWARDING, forward)}.items():
            with contextlib.suppress(OSError):
                put(f"/proc/sys/net/{name}", value)
        if forward == "1" and get("/proc/sys/net/ipv4/ip_forward") != "1":
            raise RefusedError("the router can't be told to forward")

    def do_listen(self, spec: Spec) -> Spec:
        """Listen on nodes, on every address, for as long as we live."""
        for node, kind, port in spec["listeners"]:
            self.enter(node)
            self.listeners += [listener(family, kind, port) for family in (4, 6)]
        return {}

    def bind(self, sock: socket.socket, claimed: str) -> int:
        """Bind a client's socket to the next port in turn, and return it.

        In turn, because connection tracking remembers for a while: a port that comes back too soon is no new connection.
        """
        while True:
            self.port = self.port + 1 if self.port < LAST_PORT else FIRST_PORT
            with contextlib.suppress(OSError):
                sock.bind((claimed, self.port))
                return self.port

    def do_load(self, spec: Spec) -> Spec:
        """Give a program a rule set, in one namespace."""
        return {"said": [self.run(spec["node"], argv, text) for argv, text in spec["programs"]]}

    def do_socket(self, spec: Spec) -> Spec:
        """Begin a TCP connection in a namespace and hand it over."""
        self.enter(spec["node"])
        made = socket.socket(socket.AF_INET if spec["family"] == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        made.settimeout(0)
        made.connect_ex((spec["address"], spec["port"]))  # its error, if any, waits in the socket
        return {"fd": made}

    def do_measure(self, spec: Spec) -> Spec:
        """Try connections, all at once, and tell what became of each."""
        return {"results": Measurement(self, spec["attempts"], spec["patience"]).run()}

    def serve(self) -> None:
        """Answer until whoever asks is gone."""
        commands = {
            "build": self.do_build, "listen": self.do_listen, "load": self.do_load, "socket": self.do_socket,
            "measure": self.do_measure,
        }  # fmt: skip
        while True:
            request = receive(self.channel)
            if request is None:
                return
            try:
                answer = commands[request["do"]](request)
            except (OSError, RefusedError, subprocess.SubprocessError) as error:
                answer = {"error": str(error)}
            made = answer.pop("fd", None)
            send(self.channel, answer, [made.fileno()] if made else [])
            if made:
                made.close()


class Measurement:
    """All attempts at once, and a way to know when there is nothing more to wait for.

    The process stays on one processor. Packets between namespaces, and those of the loopback interface, wait in one
    queue of that processor and leave it in order. So a packet that we send to ourselves *after* the others, a fence,
    comes out after they have all moved one step; after a dozen fences without news they have arrived, been answered,
    or are gone. Where silence is the answer, this takes a millisecond instead of a timeout.
    """

    def __init__(self, worker: Worker, attempts: list[Spec], patience: float) -> None:
        self.worker = worker
        self.attempts = attempts
        self.patience = patience
        self.results: list[str | None] = [None] * len(attempts)
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.opened: list[socket.socket] = []
        self.waiting: dict[tuple[str, int, int, int], int] = {}
        self.knocking: dict[socket.socket, int] = {}

    def run(self) -> list[str]:
        """Return the results in order."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            self.watch_listeners()
            self.watch_errors()
            self.dial_all()
            self.settle()
        finally:
            os.sched_setaffinity(0, before)
            for each in self.opened:
                each.close()
            self.poll.close()
        return [found or DROPPED for found in self.results]

    def settle(self) -> None:
        """Let everything happen that is going to happen."""
        self.worker.enter(FENCE)
        with fence_pair() as (one, other):
            quiet, end = 0, time.monotonic() + self.patience
            while quiet < FENCES or time.monotonic() < end:
                events = self.poll.poll(0)
                for fd, _ in events:
                    self.handlers[fd]()
                quiet = 0 if events else quiet + 1
                self.look_at_knocks()
                other.sendto(b".", one.getsockname())
                one.recv(8)
                if quiet >= FENCES and self.patience:
                    self.poll.poll(min(0.02, max(0.0, end - time.monotonic())))
                if None not in self.results:
                    break

    def watch(self, sock: socket.socket, handler: Callable[[], None], mask: int = select.EPOLLIN) -> None:
        """Call a handler when there is news on a socket."""
        sock.settimeout(0)
        self.poll.register(sock.fileno(), mask)
        self.handlers[sock.fileno()] = handler

    def watch_listeners(self) -> None:
        """Answer whoever gets through."""
        for sock in self.worker.listeners:
            drain(sock)
            self.watch(sock, partial(self.answer, sock))

    def answer(self, sock: socket.socket) -> None:
        """Say one byte to who has connected, or send back what came."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if sock.type == socket.SOCK_STREAM:
                peer, _ = sock.accept()
                self.opened.append(peer)
                with contextlib.suppress(OSError):
                    peer.send(b"y")
                # Leaves no connection behind that waits for its end.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                data, peer = sock.recvfrom(64)
                with contextlib.suppress(OSError):  # our own OUTPUT may forbid it
                    sock.sendto(data, peer)

    def watch_errors(self) -> None:
        """Listen for errors of the network in every namespace that asks.

        A TCP socket is busy connecting when the error comes on a wire as short as ours, and the kernel forgets it.
        """
        for node, family in {(each["node"], each["family"]) for each in self.attempts}:
            self.worker.enter(node)
            kind, protocol = ((socket.AF_INET, 1), (socket.AF_INET6, 58))[family == 6]
            sock = socket.socket(kind, socket.SOCK_RAW, protocol)
            self.opened.append(sock)
            self.watch(sock, partial(self.error, sock, node, family))

    def error(self, sock: socket.socket, node: str, family: int) -> None:
        """Find the attempt that an ICMP error speaks of, by the beginning of its packet that it quotes."""
        with contextlib.suppress(BlockingIOError):
            data = sock.recv(2048)
            if family == 4:
                data = data[(data[0] & 15) * 4 :]
                if len(data) < 8 + 20 + 4 or data[0] != 3:
                    return
                quoted = data[8:]
                protocol, rest = quoted[9], quoted[(quoted[0] & 15) * 4 :]
            else:
                if len(data) < 8 + 40 + 4 or data[0] != 1:
                    return
                protocol, rest = data[8 + 6], data[8 + 40 :]
            found = self.waiting.get((node, family, protocol, struct.unpack("!H", rest[:2])[0]))
            if found is not None:
                self.results[found] = REJECTED

    def dial_all(self) -> None:
        """Send every attempt on its way."""
        for number in sorted(range(len(self.attempts)), key=lambda n: self.attempts[n]["node"]):
            self.dial(number)

    def dial(self, number: int) -> None:
        """Send one attempt on its way."""
        attempt = self.attempts[number]
        self.worker.enter(attempt["node"])
        tcp = attempt["protocol"] == "tcp"
        family = socket.AF_INET if attempt["family"] == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.opened.append(sock)
        sock.settimeout(0)
        port = self.worker.bind(sock, attempt["claimed"] or "")
        self.waiting[attempt["node"], attempt["family"], 6 if tcp else 17, port] = number
        if tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # News once only: a soft error stays, and would be news for ever.
        mask, handler = select.EPOLLIN | select.EPOLLET, self.hear
        if attempt["guest"]:
            mask, handler = mask | select.EPOLLOUT, self.knock
        self.watch(sock, partial(handler, sock, number), mask)
        try:
            sock.connect((attempt["address"], attempt["port"]))
            if not tcp:
                sock.send(b"y")
        except BlockingIOError:
            pass
        except PermissionError:
            pass  # our own OUTPUT dropped it; a rejection is heard of as well
        except OSError as error:
            self.note(number, error)

    def hear(self, sock: socket.socket, number: int) -> None:
        """Take an answer, or an error."""
        try:
            data = sock.recv(8)
        except BlockingIOError:
            return
        except OSError as error:
            self.note(number, error)
            data = b""
        else:
            if data:
                self.results[number] = OPEN
        self.poll.unregister(sock.fileno())
        # Its number may be another socket's soon, and then nobody must be told the wrong thing.
        self.handlers.pop(sock.fileno(), None)

    def knock(self, sock: socket.socket, number: int) -> None:
        """Send a byte to a program that is not ours and may not answer; its kernel does when the byte has arrived."""
        if sock in self.knocking:
            return
        try:
            sock.send(b"\0")
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self.note(number, error)
        else:
            self.knocking[sock] = number

    def look_at_knocks(self) -> None:
        """Find out which bytes have been acknowledged: nothing is left to be sent."""
        for sock, number in self.knocking.items():
            if self.results[number] is None:
                left = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
                if left == 0 and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    self.results[number] = OPEN

    def note(self, number: int, error: OSError) -> None:
        """Take an error for a rejection, unless the exchange was over."""
        if self.results[number] is None and not isinstance(error, TimeoutError):
            self.results[number] = REJECTED


def receive(channel: socket.socket) -> Spec | None:
    """Return the next request, or None when whoever asks is gone."""
    try:
        length = struct.unpack("!I", exactly(channel, 4))[0]
        request: Spec = json.loads(exactly(channel, min(length, LONGEST)))
    except (ConnectionError, struct.error):
        return None
    return request


def exactly(channel: socket.socket, size: int) -> bytes:
    """Return so many bytes, or fewer at the end."""
    found = b""
    while len(found) < size and (piece := channel.recv(size - len(found))):
        found += piece
    return found


def send(channel: socket.socket, answer: Spec, fds: list[int]) -> None:
    """Send an answer; what is handed over comes with its first bytes."""
    data = json.dumps(answer).encode()
    socket.send_fds(channel, [struct.pack("!I", len(data))], fds)
    channel.sendall(data)


def listener(family: int, kind: str, port: int) -> socket.socket:
    """Return a socket that listens on every address of the namespace that we are in."""
    inet = socket.AF_INET if family == 4 else socket.AF_INET6
    made = socket.socket(inet, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == 6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.settimeout(0)
    made.bind(("", port))
    if kind == "tcp":
        made.listen(512)
    return made


def drain(sock: socket.socket) -> None:
    """Throw away what an earlier measurement left."""
    with contextlib.suppress(OSError):
        while True:
            if sock.type == socket.SOCK_STREAM:
                sock.accept()[0].close()
            else:
                sock.recv(64)


@contextlib.contextmanager
def fence_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets that send each other packets over the loopback interface of where we are."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        one.settimeout(5)
        yield one, other


def get(path: str) -> str:
    """Read a file of the kernel's."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def put(path: str, value: str) -> None:
    """Write to a file of the kernel's."""
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


def main() -> None:
    """Serve the socket that we were given."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the notebook's stop button is not meant for us
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Worker(channel).serve()


if __name__ == "__main__":
    main()
