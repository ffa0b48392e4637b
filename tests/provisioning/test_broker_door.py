"""The broker's four questions: answered by the registry and the access rules, and to the broker alone."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from labkit.mqtt import Identity, client_context
from labkit.pki import Operators
from labkit.provisioning.client import Client
from labkit.scenarios.provisioning import NAME, ProvisioningSite, provisioning_site
from labkit.serving.peer import CONNECTIONS_PER_ADDRESS

if TYPE_CHECKING:
    from labkit.pki import IdentityFiles, Store

FORM = "application/x-www-form-urlencoded"
ANN = {"username": "ann", "vhost": "/", "client_id": "ann"}
QUEUE = {**ANN, "resource": "queue", "name": "mqtt-subscription-annqos1", "permission": "configure"}
EXCHANGE = {**ANN, "resource": "exchange", "name": "amq.topic", "permission": "write"}
WRITE = {
    **ANN,
    "resource": "topic",
    "name": "amq.topic",
    "permission": "write",
    "routing_key": "devices.ann.status",
}
READ = {**WRITE, "permission": "read", "routing_key": "devices.ann.commands.#"}


@pytest.fixture(scope="module")
def house(office: ProvisioningSite) -> ProvisioningSite:
    """Return the service with two devices, `ann` and `bob`, and an identity for a broker."""
    office.token("ann")
    office.token("bob")
    Operators(office.store.workspace).broker()
    return office


def as_(office: ProvisioningSite, files: IdentityFiles | None) -> Client:
    """Return a client of the service."""
    identity = Identity(files.certificate, files.key) if files else None
    return Client(office.service.url, trust=office.store.trust_anchor, identity=identity, name=NAME)


def ask(office: ProvisioningSite, question: str, fields: dict[str, str]) -> str:
    """Ask as the broker, and return the answer."""
    broker = Operators(office.store.workspace).broker()
    reply = as_(office, broker).send(
        "POST", f"/broker-auth/{question}", urlencode(fields).encode(), media_type=FORM
    )
    assert 200 == reply.status
    return reply.body.decode()


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("user", {"username": "ann"}),
        ("user", {"username": "admin"}),
        ("vhost", ANN),
        ("resource", QUEUE),
        ("resource", EXCHANGE),
        ("topic", WRITE),
        ("topic", READ),
        ("topic", {**READ, "username": "admin", "client_id": "admin", "routing_key": "#"}),
    ],
)
def test_what_is_allowed(house: ProvisioningSite, question: str, fields: dict[str, str]) -> None:
    """A device of the fleet comes in, uses its own queues and topics; the operator reads everything."""
    assert "allow" == ask(house, question, fields)


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("user", {"username": "eve"}),
        ("user", {"username": "guest"}),
        ("user", {"username": "broker"}),
        ("user", {}),
        ("user", {"username": "ann", "password": "anything"}),
        ("user", {"username": "ann", "password": ""}),
        ("user", {"username": "admin", "password": "none"}),
        ("user", {"username": "ANN"}),
        ("vhost", {**ANN, "vhost": "other"}),
        ("vhost", {**ANN, "client_id": "bob"}),
        ("vhost", {"username": "ann", "vhost": "/"}),
        ("resource", {**QUEUE, "name": "mqtt-subscription-bobqos1"}),
        ("resource", {**QUEUE, "client_id": "bob"}),
        ("resource", {**QUEUE, "vhost": "other"}),
        ("resource", {**EXCHANGE, "permission": "configure"}),
        ("resource", {**EXCHANGE, "name": ""}),
        ("resource", {**EXCHANGE, "name": "amq.rabbitmq.log"}),
        ("topic", {**WRITE, "routing_key": "devices.bob.status"}),
        ("topic", {**WRITE, "routing_key": "devices.ann.commands.x"}),
        ("topic", {**WRITE, "routing_key": "devices.ann.telemetry.*"}),
        ("topic", {**WRITE, "routing_key": ""}),
        ("topic", {**WRITE, "name": "amq.direct"}),
        ("topic", {**WRITE, "permission": "configure"}),
        ("topic", {**READ, "routing_key": "#"}),
        ("topic", {**READ, "routing_key": "devices.*.commands.#"}),
        ("topic", {**READ, "routing_key": "devices.#"}),
        ("topic", {**READ, "routing_key": "devices.#.commands.#"}),
    ],
)
def test_what_is_not_allowed(house: ProvisioningSite, question: str, fields: dict[str, str]) -> None:
    """Strangers, passwords, other client ids, other queues, other topics and wide subscriptions are refused."""
    assert "deny" == ask(house, question, fields)


def test_a_device_out_of_service_is_refused_from_the_next_question_on(house: ProvisioningSite) -> None:
    """Quarantine in the registry is quarantine at the broker, with nothing in between that could be late."""
    house.token("carl")
    carl = {"username": "carl", "vhost": "/", "client_id": "carl"}
    topic = {**WRITE, **carl, "routing_key": "devices.carl.status"}
    assert ["allow"] * 3 == [
        ask(house, *asked) for asked in (("user", carl), ("vhost", carl), ("topic", topic))
    ]
    house.act("carl", "quarantine", {"reason": "unspecified"})
    assert ["deny"] * 3 == [
        ask(house, *asked) for asked in (("user", carl), ("vhost", carl), ("topic", topic))
    ]


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("nobody", 401, "certificate-missing"),
        ("operator", 403, "not-a-broker"),
        ("device", 403, "not-a-broker"),
    ],
)
def test_only_the_broker_may_ask(house: ProvisioningSite, who: str, status: int, code: str) -> None:
    """Who knows what a device may do knows the fleet: nobody but the broker is answered, not even an operator."""
    files = {
        "nobody": None,
        "operator": Operators(house.store.workspace).identity("admin"),
        "device": house.store.identity("ann"),
    }[who]
    for question in ("user", "vhost", "resource", "topic"):
        reply = as_(house, files).send(
            "POST", f"/broker-auth/{question}", urlencode({"username": "ann"}).encode(), media_type=FORM
        )
        assert (status, code) == (reply.status, reply.json()["code"])
    assert "allow" == ask(house, "user", {"username": "ann"})


def test_the_broker_is_no_operator(house: ProvisioningSite) -> None:
    """The broker's certificate comes from the operators' authority and opens nothing of theirs."""
    client = as_(house, Operators(house.store.workspace).broker())
    for method, path in (("GET", "/devices"), ("GET", "/devices/ann"), ("POST", "/devices/ann/ship")):
        reply = client.send(method, path)
        assert (403, "not-an-operator") == (reply.status, reply.json()["code"])
    assert "made" == house.show("ann")["state"]


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"username=ann&username=bob", FORM, 400),
        (b"username", FORM, 400),
        (b"username=%ff", FORM, 400),
        (b"\xff", FORM, 400),
        (b"&".join(b"a%d=1" % number for number in range(40)), FORM, 400),
        (b'{"username": "ann"}', "application/json", 415),
    ],
)
def test_what_is_no_form_is_no_question(
    house: ProvisioningSite, body: bytes, media_type: str, status: int
) -> None:
    """A name twice, broken text or another format gets no answer that a broker could take for one."""
    client = as_(house, Operators(house.store.workspace).broker())
    reply = client.send("POST", "/broker-auth/user", body, media_type=media_type)
    assert status == reply.status
    assert not reply.body.lower().startswith((b"allow", b"deny"))


def test_the_broker_may_ask_as_often_as_it_likes(store: Store) -> None:
    """A fleet that comes back after a power cut is not held up by the limit that strangers have."""
    with provisioning_site(store, limits={"requests_per_minute": 12}) as office:
        office.token("ann")
        assert ["allow"] * 30 == [ask(office, "user", {"username": "ann"}) for _ in range(30)]
        statuses = [office.anyone.send("GET", "/healthz").status for _ in range(15)]
    assert 429 == statuses[-1]


def test_the_broker_may_come_over_as_many_connections_as_it_likes(house: ProvisioningSite) -> None:
    """A broker with a whole fleet before its door opens more connections than one address may have; others still may not."""
    broker = Operators(house.store.workspace).broker()
    ann = house.store.identity("ann")
    with ExitStack() as held:
        for _ in range(CONNECTIONS_PER_ADDRESS + 20):
            held.enter_context(closing(connected(house, broker)))
        assert "allow" == ask(house, "user", {"username": "ann"})
        with pytest.raises((ConnectionError, ssl.SSLEOFError)):  # thrown out before the handshake
            for _ in range(CONNECTIONS_PER_ADDRESS + 20):
                held.enter_context(closing(connected(house, ann)))


def connected(office: ProvisioningSite, files: IdentityFiles) -> ssl.SSLSocket:
    """Return a connection whose handshake both sides have finished."""
    context = client_context(
        office.store.trust_anchor, Identity(files.certificate, files.key), name=NAME, tls="1.2"
    )
    return context.wrap_socket(socket.create_connection(("127.0.0.1", office.service.port), timeout=10))
