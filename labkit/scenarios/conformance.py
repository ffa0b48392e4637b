"""The same questions to every broker: who gets in, who may say and hear what, and what anybody is told of it.

A broker is judged by what arrives, never by what it acknowledges. Everything is asked in MQTT 3.1.1, which every broker
speaks, and each refusal has its counterpart that must succeed on the same broker.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from labkit.broker import DEVICE_ACL
from labkit.broker.rabbit_nodes import RabbitCluster
from labkit.broker.rabbitmq import Authorisation
from labkit.mqtt import Endpoint, Identity, open_session, probe
from labkit.mqtt.packets import V311
from labkit.pki import IdentityFiles, Operators
from labkit.scenarios.access import arrives_before
from labkit.scenarios.mutual_tls import OBSERVER, VICTIM, configuration, mutual_tls
from labkit.scenarios.provisioning import provisioning_site
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker import BrokerConfig
    from labkit.mqtt import Session, Will
    from labkit.outcome import Outcome
    from labkit.pki import Store
    from labkit.scenarios.provisioning import ProvisioningSite

ILL = "ill-"
"""How a device is called that is to fall ill: it enrols with the service, so that its certificate is on record."""

Must = Literal["yes", "no", "told"]
"""Whether it has to happen, has to be refused, or is only told because brokers may differ."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one question.

    Attributes:
        happened: Whether it came true.
        told: What the client was told, in a few words.
    """

    happened: bool
    told: str = ""

    def __str__(self) -> str:
        return ("yes" if self.happened else "no") + (f" ({self.told})" if self.told else "")


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        text: What is tried, as a sentence that comes true or does not.
        must: Whether it has to.
        ask: Tries it.
    """

    text: str
    must: Must
    ask: Callable[[Subject], Seen]

    def held(self, seen: Seen) -> bool:
        """Return whether a broker did what it must."""
        return self.must == "told" or seen.happened == (self.must == "yes")


@dataclass
class Subject:
    """A broker that is asked.

    Attributes:
        name: Which.
        endpoint: Where devices connect.
        elsewhere: Where the observer connects: another node, where there is one.
        store: The authority behind everybody's certificates.
        office: The provisioning service, whose registry has the devices.
        intruders: Identities with one thing wrong.
        put_list: Puts a revocation list where the broker finds it.
        reload: Has it read its files again.
        check: Raises if it has died.
    """

    name: str
    endpoint: Endpoint
    elsewhere: Endpoint
    store: Store
    office: ProvisioningSite
    intruders: dict[str, IdentityFiles]
    put_list: Callable[[bytes], None]
    reload: Callable[[], None]
    check: Callable[[], None]
    _held: ExitStack = field(default_factory=ExitStack, repr=False)
    _observer: Session | None = field(default=None, repr=False)

    def device(self, name: str) -> IdentityFiles:
        """Return the identity of a device that the registry knows, or of the operator."""
        if name.startswith(ILL):  # its certificates have to be on record, or they could not be revoked
            slots = self.office.slots(name)
            slot = slots.current or self.office.enrolled(name).current
            assert slot is not None  # noqa: S101 - it has enrolled
            return IdentityFiles(name, slot.chain, slot.key)
        if name != OBSERVER:
            self.office.known(name)
        return self.store.identity(name)

    def attempt(self, who: str | IdentityFiles | None, **how: Any) -> Outcome:
        """Try one connection."""
        self.check()
        files = self.device(who) if isinstance(who, str) else who
        how = {"protocol": V311, "client_id": files.name if files else VICTIM, **how}
        identity = Identity(files.certificate, files.key) if files else None
        return probe(self.endpoint, trust=self.store.trust_anchor, identity=identity, **how)

    @contextmanager
    def session(
        self,
        name: str,
        *,
        client_id: str = "",
        keep: int = 0,
        will: Will | None = None,
        login: tuple[str, str] | None = None,
        here: bool = False,
    ) -> Iterator[Session]:
        """Open a session, with the client id that the name has unless another is given.

        Args:
            name: Whose.
            client_id: A client id to claim.
            keep: See `open_session`.
            will: See `open_session`.
            login: See `open_session`.
            here: Whether the operator too connects where devices do.
        """
        files = self.device(name)
        with open_session(
            self.elsewhere if name == OBSERVER and not here else self.endpoint,
            trust=self.store.trust_anchor,
            identity=Identity(files.certificate, files.key),
            client_id=client_id or name,
            protocol=V311,
            keep=keep,
            will=will,
            login=login,
        ) as session:
            yield session

    @property
    def observer(self) -> Session:
        """The operator's session, which hears everything; opened when it is first needed, or has ended."""
        if self._observer is None or self._observer.ended:
            self._observer = self._held.enter_context(self.session(OBSERVER))
            self._observer.subscribe("#")
        return self._observer

    def arrives(self, payload: str) -> bool:
        """Return whether the observer receives a payload before a message that it sends itself now."""
        found = arrives_before(self.observer, self.observer, payload)
        if found is None:
            text = f"{self.name}: the observer does not hear itself, so that its silence proves nothing"
            raise RuntimeError(text)
        return found

    def close(self) -> None:
        """End the observer's session."""
        self._held.close()
        self._observer = None


@dataclass(frozen=True, slots=True)
class Row:
    """One question and every broker's answer.

    Attributes:
        question: The question.
        answers: What was seen, by broker.
    """

    question: Question
    answers: dict[str, Seen]

    @property
    def held(self) -> bool:
        """Whether every broker did what it must."""
        return all(self.question.held(seen) for seen in self.answers.values())

    @property
    def differs(self) -> bool:
        """Whether the brokers differ in what happened."""
        return len({seen.happened for seen in self.answers.values()}) > 1

    def cells(self) -> tuple[str, ...]:
        """Return the row in words."""
        must = {"yes": "yes", "no": "no", "told": "may differ"}[self.question.must]
        mark = {True: "", False: "FAILS: "}
        answers = (mark[self.question.held(seen)] + str(seen) for seen in self.answers.values())
        return (self.question.text, must, *answers)


@contextmanager
def subjects(store: Store, *, only: str = "") -> Iterator[list[Subject]]:
    """Stage the brokers for the length of the block: Mosquitto, and RabbitMQ in two nodes that ask the registry.

    Args:
        store: The authority, which must have been made; its registry gets some devices.
        only: `mosquitto` or `rabbitmq` for one of them.

    Raises:
        ToolMissingError: One of them is not on this computer.
        BrokerStartError, ServiceStartError: One did not come up.
    """
    crlfile = store.revocations.path
    store.revocations.ensure()
    with ExitStack() as held:
        office = held.enter_context(provisioning_site(store, limits={"requests_per_minute": 0}))
        mosquitto = held.enter_context(mutual_tls(store, crlfile=crlfile))
        intruders = mosquitto.intruders()
        made: list[Subject] = []

        def add(name: str, endpoints: list[Endpoint], **acts: Any) -> None:
            subject = Subject(name, endpoints[0], endpoints[-1], store, office, intruders, **acts)
            held.callback(subject.close)
            made.append(subject)

        if only in {"", "mosquitto"}:
            broker = mosquitto.broker
            add(
                f"Mosquitto {broker.version}",
                [mosquitto.endpoint],
                put_list=lambda pem: _put(crlfile, pem),
                reload=broker.reload,
                check=broker.check,
            )
        if only in {"", "rabbitmq"}:
            cluster = held.enter_context(rabbit_cluster(store, office))
            add(
                f"RabbitMQ {cluster.version}, {len(cluster.nodes)} nodes",
                [Endpoint("127.0.0.1", node.port) for node in cluster.nodes],
                put_list=cluster.revoke,
                reload=lambda: None,
                check=cluster.check,
            )
        yield made


def _put(path: Path, pem: bytes) -> None:
    write_atomic(path, pem)


@contextmanager
def rabbit_cluster(
    store: Store, office: ProvisioningSite, *, size: int = 2, remember: int = 0
) -> Iterator[RabbitCluster]:
    """Stage a RabbitMQ cluster that asks a provisioning service what its clients may do.

    Args:
        store: The authority.
        office: The service.
        size: How many nodes.
        remember: For how many seconds they go by an answer; see `Authorisation`.

    Raises:
        ToolMissingError: There is no RabbitMQ.
        BrokerStartError: A node did not come up.
    """
    store.revocations.ensure()
    authorisation = asking(store, f"https://localhost:{office.service.port}", remember=remember)

    def make_config(port: int) -> BrokerConfig:
        folder = store.workspace.path("broker")
        return configuration(store, folder, port=port, crlfile=store.revocations.path)

    with RabbitCluster(make_config, acl=DEVICE_ACL, authorisation=authorisation, size=size) as cluster:
        yield cluster


def asking(store: Store, url: str, *, remember: int = 0) -> Authorisation:
    """Return how RabbitMQ asks a provisioning service, with the identity that is made for that.

    Args:
        store: The authority.
        url: Where the service is.
        remember: See `Authorisation`.
    """
    files = Operators(store.workspace).broker()
    return Authorisation(
        url=f"{url}/broker-auth",
        cafile=store.trust_anchor,
        certfile=files.certificate,
        keyfile=files.key,
        remember=remember,
    )
