"""What stands before every service: limits before parsing, one log line a decision, problem details for every refusal."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.clock import SYSTEM_CLOCK
from labkit.serving.limits import RateLimit
from labkit.serving.peer import peer_certificate
from labkit.serving.problems import MEDIA_TYPE, Problem, common

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("labkit.serving")

BODY_BYTES = 16 * 1024
"""Longest body that is looked at."""

DRAINED_BYTES = 1024 * 1024
"""How much of a longer one is read and thrown away, so that the refusal is seen and not the reset of the connection."""

PIECE_BYTES = 64 * 1024
"""Longer bodies are written in pieces of this size, each when the one before is on its way."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one address may ask for.

    Attributes:
        requests_per_minute: All requests; 0 sets no limit.
        failures_per_minute: Refusals of a token or of a password; 0 sets no limit.
    """

    requests_per_minute: float = 600
    failures_per_minute: float = 10


class Decision:
    """What is known of one request; those who handle it add to it, and its log line is written at the end.

    Attributes:
        code: The stable code of the decision.
        actor: Who asked, as far as that was proven.
        subject: About which device.
        failed_secret: Whether a token or password was wrong, so that it counts against the address.
    """

    __slots__ = ("actor", "code", "failed_secret", "subject")

    def __init__(self) -> None:
        self.code = ""
        self.actor = ""
        self.subject = ""
        self.failed_secret = False


class DecisionLog:
    """The log of decisions: one line of JSON each, appended whole, also by several processes.

    Args:
        path: The file; None keeps no log.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **values: Any) -> None:
        """Append a line."""
        if self._file is not None:
            line = json.dumps({"at": SYSTEM_CLOCK.now().isoformat(timespec="milliseconds"), **values}) + "\n"
            os.write(self._file, line.encode())


class Refused(Exception):  # noqa: N818 - it is no error: it carries the answer
    """Ends the handling of a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class Gate:
    """An ASGI application that stands before another.

    Args:
        application: The one behind it.
        limits: How much an address may ask for.
        log: Where decisions are written.
        body_bytes: Returns how long the body of a request may be, by what its connection says of who asks.
        unlimited: Returns whether who presents a certificate may ask as often as it likes, over as many connections as
            it likes: a broker asks for its whole fleet.
    """

    def __init__(
        self,
        application: Application,
        *,
        limits: Limits,
        log: DecisionLog,
        body_bytes: Callable[[Scope], int] = lambda _: BODY_BYTES,
        unlimited: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.unlimited = unlimited
        self._application = application
        self._body_bytes = body_bytes
        self._requests = RateLimit(limits.requests_per_minute)
        self._failures = RateLimit(limits.failures_per_minute)
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or pass on what is none."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = time.monotonic()
        decision = Decision()
        scope.setdefault("state", {})["decision"] = decision
        address = (scope.get("client") or ("", 0))[0]

        def note(status: int) -> None:
            self._log.write(
                code=decision.code or ("ok" if status < 400 else "refused"),
                status=status,
                method=scope["method"],
                path=scope["path"][:200],
                address=address,
                actor=decision.actor,
                subject=decision.subject,
                ms=round((time.monotonic() - started) * 1000, 1),
            )

        answer = _Answer(send, note)
        problem = await self._handle(scope, receive, answer, decision, address)
        if problem is not None and not answer.begun:
            decision.code = decision.code or problem.code
            await answer.refuse(problem)
        answer.end()

    async def _handle(
        self, scope: Scope, receive: Receive, answer: _Answer, decision: Decision, address: str
    ) -> Problem | None:
        certificate = peer_certificate(scope)
        if certificate is None or not self.unlimited(certificate):
            wait = max(self._requests.wait(address), self._failures.wait(address))
            if wait:
                return common("rate-limited", Retry_After=str(math.ceil(wait)))
            self._requests.count(address)
        try:
            body = await _whole_body(scope, receive, self._body_bytes(scope))
            await self._application(scope, _replay(body, receive), answer)
        except Refused as refused:
            return refused.problem
        except _GoneError:
            decision.code = "gone"
        except Exception:
            decision.code = "internal"
            logger.exception("%s %s", scope["method"], scope["path"][:200])
            return common("internal")
        if decision.failed_secret:
            self._failures.count(address)
        return None


class _Answer:
    """The way out, which remembers what went through it, and sees to it that the log knows before the other side does."""

    def __init__(self, send: Send, note: Callable[[int], None]) -> None:
        self._send = send
        self._note = note
        self._ended = False
        self._left: int | None = None
        self.begun = False
        self.status = 0

    def end(self) -> None:
        """Write the line, unless it is written."""
        if not self._ended:
            self._ended = True
            self._note(self.status)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            told = next(
                (text for name, text in message.get("headers", ()) if name.lower() == b"content-length"), b""
            )
            self._left = int(told) if told.isdigit() else None
            if self._left == 0 or self.status in {204, 304}:
                self.end()  # the other side waits for no body
            # Nothing here is for a browser, and none of it is for a cache unless it says so.
            names = {name.lower() for name, _ in message.get("headers", ())}
            extra = [] if b"cache-control" in names else [(b"cache-control", b"no-store")]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-content-type-options", b"nosniff"),
                *extra,
            ]
        await self._in_pieces(message)

    async def _in_pieces(self, message: Message) -> None:
        body = message.get("body", b"")
        if len(body) <= PIECE_BYTES:
            await self._pass_on(message)
            return
        # Written in one go, a reply of many megabytes would lie in memory once for each client that reads slowly.
        for start in range(0, len(body), PIECE_BYTES):
            more = start + PIECE_BYTES < len(body) or message.get("more_body", False)
            await self._pass_on({**message, "body": body[start : start + PIECE_BYTES], "more_body": more})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            if self._left is not None:
                self._left -= len(message.get("body", b""))
            if self._left == 0 or not message.get("more_body"):
                self.end()
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        body = problem.body()
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
        if problem.code in {"body-too-large", "request-timeout"}:
            headers["connection"] = "close"
        encoded = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        await self({"type": "http.response.start", "status": problem.kind.status, "headers": encoded})
        await self({"type": "http.response.body", "body": body})


class _GoneError(Exception):
    """The other side went away in the middle of its request."""


async def _whole_body(scope: Scope, receive: Receive, longest: int) -> bytes:
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    too_long = told.isdigit() and int(told) > longest
    parts: list[bytes] = []
    kept = thrown = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        if too_long or kept + len(part) > longest:
            too_long, thrown = True, thrown + len(part)
            parts.clear()
        else:
            parts.append(part)
            kept += len(part)
        if thrown > max(DRAINED_BYTES, 2 * longest) or not message.get("more_body"):
            break
    if too_long:
        raise Refused(common("body-too-large", f"More than {longest} bytes."))
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    parts = [body]

    async def again() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return again
