"""The judge's own broker, set up as a student says, and everybody who comes to it.

The configuration is rendered again from the student's values: files that the judge has copied, a port of the judge's
own, and a second listener behind which the judge hears everything, under a name that nobody can guess.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

from labkit.broker import Acl, Broker, BrokerConfig, Listener, Rule
from labkit.course.exercises import mtls_setup_config as configs
from labkit.course.exercises import mtls_setup_files as files
from labkit.course.lesson import RejectedError
from labkit.course.work import Work, explained
from labkit.errors import BrokerStartError, IdentityRefusedError, NotConnectedError
from labkit.mqtt import Endpoint, Identity, open_session, probe
from labkit.pki.authority import Authority
from labkit.ports import reserve_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from labkit.course.lab import Lab
    from labkit.mqtt import Session
    from labkit.outcome import Outcome

PATIENCE = 15.0
"""Seconds for each step of a client's: a grader's machine is busy, and a slow answer is no refusal."""

_EVERYTHING = Acl((Rule("readwrite", "#", pattern=True),))
"""What a broker without rules allows to everybody who is in."""


class Stage:
    """A running broker that is set up as a student says. Get one from `stage_of`, or from `rehearsal`.

    Attributes:
        names: Both devices and the operator.
        visitor: The name of a device that the student knows nothing of.
        observer: The name under which the judge hears everything.
        trust: The student's root: whom clients believe.
        rules: The student's rules, where the configuration names some.
        broker: The broker.
    """

    def __init__(self, work: Work, config: BrokerConfig) -> None:
        self._work = work
        self._judge = Authority.new_root("Judge")
        self.names = files.names(work)
        self.visitor, self.observer = (f"{word}-{secrets.token_hex(6)}" for word in ("visitor", "judge"))
        self.trust = self._copy("root.crt")
        self.rules = configs.read_rules(work, config)
        copied, hidden = self._copied(config.listeners[0]), self._hidden()
        self._inner = 0

        def make_config(port: int) -> BrokerConfig:
            with reserve_port() as self._inner:
                pass
            outer = replace(copied, port=port, host="127.0.0.1")
            return BrokerConfig(
                listeners=(outer, replace(hidden, port=self._inner)), allow_anonymous=config.allow_anonymous
            )

        self.broker = Broker(
            work.scratch.path("broker"), make_config, acl=self._extended(self.rules or _EVERYTHING)
        )

    def __repr__(self) -> str:
        return f"<Stage with {self.broker!r}>"

    def _extended(self, acl: Acl) -> Acl:
        # Rules add up, so these give the judge its own topics and take nothing from what the student's rules say.
        ours = [Rule("readwrite", "#", user=self.observer)]
        for name in (*self.names, self.visitor):
            ours += [Rule("read", self.fence, user=name), Rule("readwrite", self.aside, user=name)]
        return Acl((*acl.rules, *ours))

    @property
    def fence(self) -> str:
        """A topic that everybody may hear: what has not come before a message there never comes."""
        return f"{self.observer}/fence"

    @property
    def aside(self) -> str:
        """A topic that everybody may use, whatever the student's rules say."""
        return f"{self.observer}/aside"

    @property
    def endpoint(self) -> Endpoint:
        """Where the student's clients come in."""
        return Endpoint(self.broker.host, self.broker.port)

    @property
    def _inner_endpoint(self) -> Endpoint:
        return Endpoint(self.broker.host, self._inner)

    def _copy(self, name: str, *, secret: bool = False) -> Path:
        content = files.content(self._work, name)
        return self._work.scratch.write(f"copied/{name}", content, secret=secret)

    def _copied(self, listener: Listener) -> Listener:
        """Return the listener with the judge's copies of the files that it names."""
        paths: dict[str, Any] = {
            field: self._copy(files.inside(path), secret=field == "keyfile")
            for field in ("cafile", "certfile", "keyfile", "crlfile")
            if (path := getattr(listener, field)) is not None
        }
        folder = None
        if listener.capath:
            name = files.inside(listener.capath)
            for entry, target in configs.folder_entries(self._work, name):
                content = files.content(self._work, f"{name}/{target}")
                self._work.scratch.write(f"copied/{name}/{entry}", content)
            folder = self._work.scratch.path("copied", name)
        return replace(listener, capath=folder, **paths)

    def _hidden(self) -> Listener:
        """Return the judge's own listener, which believes the judge's authority alone."""
        write, server = self._work.scratch.write, self._judge.issue_server(["localhost"], ["127.0.0.1"])
        root = self._judge.certificate.public_bytes(serialization.Encoding.PEM)
        return Listener(
            port=1,
            cafile=write("judge/ca.crt", root),
            certfile=write("judge/server.crt", server.certificate_pem),
            keyfile=write("judge/server.key", server.key_pem, secret=True),
            require_certificate=True,
            use_identity_as_username=True,
        )

    def client(self, name: str) -> Identity:
        """Return what a client of the student's shows: `name.crt`, as it is, and `name.key`."""
        return Identity(self._copy(f"{name}.crt"), self._copy(f"{name}.key", secret=True))

    def attempt(
        self,
        who: str | Identity | None,
        *,
        tls: str | None = None,
        publish: str | None = None,
        username: str | None = None,
        client_id: str | None = None,
    ) -> Outcome:
        """Try one connection, and say where the verdict fell and why.

        Args:
            who: The name of a certificate in the folder, an identity, or None for a client without one.
            tls: `1.2` or `1.3` for exactly that version.
            publish: A topic to publish to.
            username: A user name to claim.
            client_id: A client id to claim; its own name without one.

        Raises:
            RejectedError: The certificate or the key can't be used (`fault` is `identity-unusable`).
            BrokerGoneError: The broker has died, so that every refusal would be one for the wrong reason.
        """
        self.broker.check()
        identity = self.client(who) if isinstance(who, str) else who
        own = who if isinstance(who, str) else ""
        try:
            return probe(
                self.endpoint,
                trust=self.trust,
                identity=identity,
                tls=tls,
                publish=publish,
                username=username,
                client_id=own if client_id is None else client_id,
                timeout=PATIENCE,
            )
        except IdentityRefusedError as error:
            raise RejectedError(
                "identity-unusable",
                f"{who if isinstance(who, str) else 'a client'}: {error.message.rpartition(': ')[2]}",
                expected="a certificate and its key, which OpenSSL can use",
                advice="openssl x509 -noout -text shows the one, openssl pkey -noout -text_pub the other",
            ) from error

    def user_of(self, outcome: Outcome) -> str:
        """Return the user name that the broker gave to an accepted client, from its log."""
        port = str(outcome.detail.get("local_port"))
        seen = self.broker.log.wait_for(
            lambda e: e.kind == "connected" and e["peer_port"] == port, timeout=PATIENCE
        )
        return seen["user"] if seen else ""

    def session(self, name: str, *, client_id: str | None = None) -> AbstractContextManager[Session]:
        """Open a session of one of the student's clients."""
        own = name if client_id is None else client_id
        return open_session(
            self.endpoint, trust=self.trust, identity=self.client(name), client_id=own, timeout=PATIENCE
        )

    def judges(self, name: str) -> AbstractContextManager[Session]:
        """Open a session on the judge's own listener, under any name."""
        issued = self._judge.issue_device(name, renew=True)
        write = self._work.scratch.write
        identity = Identity(
            write(f"judge/{name}.crt", issued.certificate_pem),
            write(f"judge/{name}.key", issued.key_pem, secret=True),
        )
        trust = self._work.scratch.path("judge/ca.crt")
        return open_session(
            self._inner_endpoint, trust=trust, identity=identity, client_id=name, timeout=PATIENCE
        )


@contextmanager
def staged(work: Work) -> Iterator[Stage]:
    """Start a broker as a student's files say, for the length of the block.

    Raises:
        RejectedError: A file is missing or refused, or Mosquitto did not start with them.
        ToolMissingError: There is no Mosquitto.
    """
    config = configs.read_config(work)
    configs.hold_listener(config)
    stage = Stage(work, config)
    try:
        stage.broker.start()
    except BrokerStartError as error:
        raise RejectedError(
            "does-not-start",
            error.message,
            expected="a broker that starts",
            advice="Mosquitto's own words stand above; which line of mosquitto.conf, or which file, is it about?",
        ) from error
    try:
        yield stage
    finally:
        stage.broker.stop()


def stage_of(work: Work) -> Stage:
    """Return the broker of a judgement: one for all checks that share a `Work`."""
    return work.once("stage", lambda: work.enter(staged(work)))


@contextmanager
def rehearsal(lab: Lab) -> Iterator[Stage]:
    """Start a broker as the judge would, so that you can try your files; see `staged`.

    It is on a free port of its own: whatever else runs on yours does not matter.

    Raises:
        NotebookError: A file is missing or refused, or Mosquitto did not start with them.
    """
    with Work.of(lab) as work:
        try:
            stage = stage_of(work)
        except RejectedError as rejected:
            raise explained(rejected, lab.workspace.path(files.FOLDER)) from rejected
        yield stage


def hold_control(stage: Stage, *, tls: str | None = None) -> dict[str, Outcome]:
    """Let everybody in who must get in. A refusal proves something only beside this.

    Raises:
        RejectedError: The student's own clients can't get in, or don't believe the broker.
    """
    found = {name: stage.attempt(name, tls=tls) for name in stage.names}
    refused = {name: outcome for name, outcome in found.items() if not outcome.accepted}
    if not refused:
        return found
    name, outcome = next(iter(refused.items()))
    if outcome.reason.startswith("server-"):
        raise RejectedError(
            "server-not-believed",
            f"{name} hangs up on the broker: {outcome}",
            expected="a client that knows your root alone believes your broker",
            advice="what does the broker have to send, so that a client gets from its certificate to the root?",
        )
    everybody = len(refused) == len(found)
    raise RejectedError(
        "refuses-everybody" if everybody else "own-client-refused",
        f"{'everybody' if everybody else name} is refused; {name}: {outcome}",
        expected=f"{', '.join(stage.names)} get in",
        advice="a broker that refuses its own clients proves nothing; at which stage did it fall, and why there?",
    )


@contextmanager
def observed(stage: Stage) -> Iterator[Session]:
    """Open the session behind which the judge hears everything."""
    with stage.judges(stage.observer) as observer:
        observer.subscribe("#", timeout=PATIENCE)
        yield observer


def heard(session: Session, stage: Stage, *, timeout: float = PATIENCE) -> set[bytes] | None:
    """Return what a session has heard up to the fence, which must have been sent; None if it never comes."""
    found: set[bytes] = set()
    with suppress(NotConnectedError):
        while (message := session.wait_for("#", timeout=timeout)) is not None:
            if message.topic == stage.fence:
                return found
            found.add(message.payload)
    return None
