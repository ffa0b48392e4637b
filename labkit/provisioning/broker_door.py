"""What a broker asks before it lets a client do something, and the answers: the registry's, and the access rules'.

RabbitMQ asks four questions (`rabbitmq_auth_backend_http`): may this user come in; into this virtual host; use this
queue or exchange; use this topic. With that a fleet of 100,000 devices needs no user rows in the broker: the registry
is asked, so that a device that is taken out of service is refused from the next question on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.broker.acl import decide, decide_subscription
from labkit.broker.rabbitmq import EXCHANGE, VHOST, subscription_queues, topic_of
from labkit.devices.lifecycle import IN_LIFE
from labkit.errors import DeviceUnknownError
from labkit.pki.names import DEVICE_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.broker.acl import Acl
    from labkit.devices import Registry

VERSION = (2, 1)
"""Whose reading of patterns to follow: Mosquitto 2.1 is the stricter one."""


class BrokerDoor:
    """Decides on a broker's questions.

    Args:
        registry: The fleet.
        acl: Who may read and write what. Users that its rules name, such as the operator, need not be in the registry.
    """

    def __init__(self, registry: Registry, acl: Acl) -> None:
        self._registry = registry
        self._acl = acl
        self._named = {rule.user for rule in acl.rules if rule.user and not rule.pattern}

    def user(self, asked: Mapping[str, str]) -> bool:
        """Return whether a user may come in.

        A broker that took the name from a certificate sends no password. One that sends a password was given a *name* by
        the client, which proves nothing here, whatever the password is.

        Does not check: the certificate. The broker's TLS layer did: chain, dates, purpose, revocation.
        """
        return "password" not in asked and self._welcome(asked.get("username", ""))

    def vhost(self, asked: Mapping[str, str]) -> bool:
        """Return whether a user may use the virtual host, under this client id.

        The client id has to be the user's own name: with another's, it would push that one off the line.
        """
        name = asked.get("username", "")
        return asked.get("vhost") == VHOST and asked.get("client_id") == name and self._welcome(name)

    def resource(self, asked: Mapping[str, str]) -> bool:
        """Return whether a user may use a queue or an exchange: its own subscriptions, and the one for MQTT."""
        name, wanted = asked.get("username", ""), (asked.get("resource"), asked.get("name"))
        if asked.get("vhost") != VHOST or asked.get("client_id", name) != name or not self._welcome(name):
            return False
        if wanted == ("exchange", EXCHANGE):
            return asked.get("permission") in {"read", "write"}
        return wanted in {("queue", queue) for queue in subscription_queues(name)}

    def topic(self, asked: Mapping[str, str]) -> bool:
        """Return whether a user may publish to a topic, or subscribe with a filter."""
        name, key = asked.get("username", ""), asked.get("routing_key", "")
        if (asked.get("vhost"), asked.get("name")) != (VHOST, EXCHANGE) or not key or not self._welcome(name):
            return False
        if asked.get("permission") == "read":
            return decide_subscription(
                self._acl, username=name, client_id=name, pattern=topic_of(key), version=VERSION
            )
        if asked.get("permission") != "write" or set(key) & set("*+#"):
            return False
        return decide(
            self._acl, username=name, client_id=name, topic=topic_of(key), access="write", version=VERSION
        )

    def _welcome(self, name: str) -> bool:
        if name in self._named:
            return True
        if not DEVICE_ID.fullmatch(name):
            return False
        try:
            with self._registry.read() as tx:
                return tx.fleet.get(name).state in IN_LIFE
        except DeviceUnknownError:
            return False
