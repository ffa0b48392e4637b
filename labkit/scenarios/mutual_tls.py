"""A broker that lets in who can prove who they are, and everybody who should and should not try it."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from labkit import broker as brokers
from labkit.broker import DEVICE_ACL, Broker, decide
from labkit.broker.guarded import OPENSSL_CONF, RESUMABLE_CONF
from labkit.errors import NotRefusedError
from labkit.mqtt import Endpoint, Identity, Session, delivered, open_session, probe
from labkit.pki import flawed
from labkit.pki import openssl as openssl_tool
from labkit.scenarios.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker import Acl, BrokerConfig
    from labkit.outcome import Outcome
    from labkit.pki import IdentityFiles, Issued, Store
    from labkit.pki.openssl import Verdict

OBSERVER = "admin"
"""The operator who may read everything, and whose eyes decide whether a message was delivered."""

FENCE = "devices/observer/commands/fence"
"""A topic that the observer may write and read."""

VICTIM = "sensor-001"
"""The device that intruders pretend to be."""

INTRUDERS = ("expired", "not-yet-valid", "rogue", "self-signed", "server")
"""Intruders with a certificate that `Site.intruders` knows how to make."""


class Site:
    """A running broker and those who deal with it. Get one from `mutual_tls`.

    Args:
        store: The authority.
        broker: The running broker. To attempt and to publish, one that another process started will do (`attach`).
    """

    def __init__(self, store: Store, broker: Broker) -> None:
        self.store = store
        self.broker = broker
        self._sessions = ExitStack()
        self._observer: Session | None = None

    def __repr__(self) -> str:
        return f"<Site with {self.broker!r}>"

    @property
    def host(self) -> str:
        """Where the broker listens."""
        return self.broker.host

    @property
    def port(self) -> int:
        """On which port."""
        return self.broker.port

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return Endpoint(self.broker.host, self.broker.port)

    @property
    def trust(self) -> Path:
        """The root's certificate: whom clients believe."""
        return self.store.trust_anchor

    @property
    def crlfile(self) -> Path | None:
        """The list of revoked certificates that the broker goes by, if any."""
        return self.broker.config.listeners[0].crlfile if self.broker.config else None

    def identity(self, name: str) -> IdentityFiles:
        """Return the identity of a device or an operator; issued where there is none."""
        return self.store.identity(name)

    def intruders(self, *labels: str) -> dict[str, IdentityFiles]:
        """Make intruders who pretend to be our device, each with one thing wrong.

        Args:
            *labels: Which; all of `INTRUDERS` without any.

        Returns:
            Their identities by label, in the order asked for.
        """
        authority = self.store.authority()
        makers: dict[str, Callable[[str], Issued]] = {
            "expired": partial(flawed.expired, authority),
            "not-yet-valid": partial(flawed.not_yet_valid, authority),
            "rogue": partial(flawed.rogue, authority),
            "self-signed": flawed.self_signed,
        }
        return {
            label: self.store.server()
            if label == "server"
            else self.store.save_intruder(label, makers[label](VICTIM))
            for label in labels or INTRUDERS
        }

    def attempt(
        self,
        identity: IdentityFiles | None,
        *,
        tls: str | None = None,
        publish: str | None = None,
        username: str | None = None,
        client_id: str = "",
    ) -> Outcome:
        """Try one connection and collect what all three witnesses say of it.

        Args:
            identity: Who tries it; None shows no certificate.
            tls: `1.2` or `1.3` for exactly that version.
            publish: A topic to publish to.
            username: A user name to claim.
            client_id: A client id to claim.

        Returns:
            The outcome, with the broker's log lines and the verdict of `openssl verify` in its detail.

        Raises:
            BrokerGoneError: The broker has died, so that every refusal would be one for the wrong reason.
            IdentityRefusedError: The files can't be used.
        """
        self.broker.check()
        mark = self.broker.log.mark()
        who = Identity(identity.certificate, identity.key) if identity else None
        outcome = probe(
            self.endpoint,
            trust=self.trust,
            identity=who,
            tls=tls,
            publish=publish,
            username=username,
            client_id=client_id,
        )
        lines = self.broker.log.story_of(outcome.detail.get("local_port", 0), since=mark)
        verdict = self.verify(identity) if identity else None
        return diagnose(outcome, broker_lines=lines, verdict=verdict)

    def verify(self, identity: IdentityFiles) -> Verdict:
        """Ask `openssl verify` about a client's certificate, with the broker's view of whom to trust."""
        return openssl_tool.verify(
            identity.certificate,
            trust=self.trust,
            # What the broker knows, and what the client presents behind its own certificate.
            untrusted=(self.store.intermediate, identity.certificate),
            purpose="sslclient",
            crls=[self.crlfile] if self.crlfile else [],
        )

    def publish(self, name: str, topic: str, payload: str) -> Outcome:
        """Publish as a device, and judge by what the observer receives.

        Args:
            name: The device; it gets an identity where it has none.
            topic: Where to.
            payload: What.

        Returns:
            An outcome at stage `authorised`, with the broker's log lines in its detail.

        Raises:
            NotConnectedError: The device or the observer can't open a session; it carries the outcome.
        """
        self.broker.check()
        observer = self._observed()
        mark = self.broker.log.mark()
        with self.session(name) as publisher:
            outcome = delivered(publisher, observer, topic, payload, fence=FENCE)
        lines = [event.text for event in self.broker.log.since(mark) if name in event.text]
        return diagnose(outcome, broker_lines=lines)

    @contextmanager
    def session(
        self, name: str | IdentityFiles, *, client_id: str = "", protocol: int = 5, keep: int = 0
    ) -> Iterator[Session]:
        """Open a session as a device or an operator, for the length of the block.

        Args:
            name: Whose; or the identity itself, an intruder's for example.
            client_id: A client id to claim.
            protocol: MQTT 5 or 4 (which is 3.1.1).
            keep: Seconds for which the broker keeps the session afterwards; see `open_session`.

        Raises:
            NotConnectedError: It was refused; the error carries the outcome.
        """
        files = self.identity(name) if isinstance(name, str) else name
        who = Identity(files.certificate, files.key)
        with open_session(
            self.endpoint, trust=self.trust, identity=who, client_id=client_id, protocol=protocol, keep=keep
        ) as session:
            yield session

    def reload(self, acl: Acl) -> None:
        """Put new access rules in force, and see with our own eyes that something forbidden is refused.

        Args:
            acl: The new rules.

        Raises:
            AclError, ReloadRefusedError: The old rules are in force; see `Broker.reload`.
            BrokerGoneError: The broker has died.
        """
        self.broker.reload(acl, confirm=lambda: self._confirm(acl))

    def _confirm(self, acl: Acl) -> None:
        topic = f"labkit/canary/{secrets.token_hex(8)}"
        if decide(acl, username=OBSERVER, client_id=OBSERVER, topic=topic, access="write"):
            return  # rules that allow everything can't be told from none
        self.close()  # the probe takes the observer's client id
        outcome = self.attempt(self.identity(OBSERVER), publish=topic)
        if outcome.reason != "not-authorised":
            raise NotRefusedError(
                f"a message that the rules forbid was not refused ({outcome})",
                advice="The broker does not go by its rules. Stop it: labkit broker stop",
                expected="not-authorised",
                outcome=outcome,
            )

    def _observed(self) -> Session:
        if self._observer is None:
            self._observer = self._sessions.enter_context(self.session(OBSERVER))
            self._observer.subscribe("#")
        return self._observer

    def close(self) -> None:
        """End the observer's session."""
        self._sessions.close()
        self._observer = None


def configuration(
    store: Store,
    folder: Path,
    *,
    port: int,
    require_certificate: bool = True,
    crlfile: Path | None = None,
    cafile: Path | None = None,
    capath: Path | None = None,
    bind_client_id: bool = True,
) -> BrokerConfig:
    """Return the configuration of a broker for the identities of an authority.

    Args:
        store: The authority.
        folder: The broker's folder.
        port: The port.
        require_certificate: False shows what goes wrong then.
        crlfile: A list of revoked certificates to go by.
        cafile: Whom to believe, instead of the authority's bundle.
        capath: The same as a folder; then there is no `cafile`.
        bind_client_id: Take the client id from the certificate; False shows what goes wrong then.
    """
    complete = brokers.mutual_tls(
        port=port,
        cafile=cafile or store.trust_bundle,
        certfile=store.server_chain,
        keyfile=store.server().key,
        acl_file=folder / "acl.conf",
        crlfile=crlfile,
        require_certificate=require_certificate,
    )
    changed = replace(
        complete.listeners[0],
        cafile=None if capath else complete.listeners[0].cafile,
        capath=capath,
        use_username_as_clientid=bind_client_id or None,
    )
    return replace(complete, listeners=(changed,))


@contextmanager
def mutual_tls(
    store: Store,
    *,
    acl: Acl = DEVICE_ACL,
    require_certificate: bool = True,
    port: int | None = None,
    folder: str = "broker",
    crlfile: Path | None = None,
    cafile: Path | None = None,
    capath: Path | None = None,
    bind_client_id: bool = True,
    resumption: bool = False,
) -> Iterator[Site]:
    """Stage a broker with mutual TLS for the length of the block.

    Args:
        store: The authority, which must have been made.
        acl: Who may read and write what.
        require_certificate: False shows what goes wrong then.
        port: The port; a free one without it.
        folder: The broker's folder in the workspace, for a second broker beside the first.
        crlfile: A list of revoked certificates to go by.
        cafile: Whom the broker believes, instead of intermediate and root.
        capath: The same as a folder.
        bind_client_id: Take the client id from the certificate; False shows what goes wrong then.
        resumption: Hand out tickets, as OpenSSL does when nobody says otherwise; True shows what goes wrong then.

    Raises:
        ToolMissingError: There is no Mosquitto.
        BrokerStartError, PortTakenError, BrokerRunningError: See `Broker.start`.
    """
    home = store.workspace.path(folder)

    def make_config(chosen: int) -> BrokerConfig:
        return configuration(
            store,
            home,
            port=chosen,
            require_certificate=require_certificate,
            crlfile=crlfile,
            cafile=cafile,
            capath=capath,
            bind_client_id=bind_client_id,
        )

    settings = RESUMABLE_CONF if resumption else OPENSSL_CONF
    with Broker(home, make_config, acl=acl, port=port, openssl_conf=settings) as broker:
        site = Site(store, broker)
        try:
            yield site
        finally:
            site.close()
