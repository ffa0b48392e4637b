"""RabbitMQ's configuration, rendered from the same data as Mosquitto's: listener, access rules, revocation list.

RabbitMQ translates topics into routing keys of AMQP (`/` becomes `.`, `+` becomes `*`) and decides when somebody
publishes or *subscribes*, not when it delivers. It can ask a service (`Authorisation`), or go by rows of its own.
Written for 3.10, which Debian 12 has, and held against it by the tests.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.broker.config import cannot, mutual_listener, one_line
from labkit.errors import AclError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from labkit.broker.acl import Acl, Rule
    from labkit.broker.config import BrokerConfig, Listener

NAME = "RabbitMQ"

EXCHANGE = "amq.topic"
"""Where every MQTT message goes through."""

VHOST = "/"
"""RabbitMQ's only virtual host here."""

PLUGINS = ("rabbitmq_mqtt", "rabbitmq_auth_mechanism_ssl")
"""What the configuration needs; with a service to ask, `rabbitmq_auth_backend_http` too."""

PATIENCE = 60
"""Seconds that a question to the service may take. Two thousand devices that come at once wait for longer than the 15 that
RabbitMQ gives by itself, and who is answered too late is thrown out."""

_NOTHING = "^$"
"""A pattern that no routing key matches, as no topic is empty. *No* row would allow everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """The service that RabbitMQ asks, and who RabbitMQ is to it.

    Attributes:
        url: Where the four paths `user`, `vhost`, `resource` and `topic` are.
        cafile: Whom RabbitMQ believes that it is the service.
        certfile: What RabbitMQ presents to it.
        keyfile: The key of that.
        remember: For how many seconds RabbitMQ goes by an answer before it asks again. 0 asks about every message, so
            that a device that is taken out of service is silent from the next one on; a fleet that speaks often wants
            a minute.
    """

    url: str
    cafile: Path
    certfile: Path
    keyfile: Path
    remember: int = 0


@dataclass(frozen=True, slots=True)
class Permission:
    """What one user may do, as regular expressions over routing keys.

    Attributes:
        write: What it may publish to.
        read: What it may subscribe to.
    """

    write: str
    read: str


def routing_key(topic: str) -> str:
    """Return what a topic or topic filter becomes inside RabbitMQ."""
    return topic.replace("/", ".").replace("+", "*")


def topic_of(key: str) -> str:
    """Return the topic or topic filter that a routing key stands for: what subscribers see.

    Two topics may share a routing key: a dot in a topic is a slash to RabbitMQ, an asterisk a plus.
    """
    return key.replace("*", "+").replace(".", "/")


def subscription_queues(client_id: str) -> tuple[str, str]:
    """Return the queues behind the subscriptions of a client, for QoS 0 and QoS 1."""
    return f"mqtt-subscription-{client_id}qos0", f"mqtt-subscription-{client_id}qos1"


def permission(acl: Acl, user: str) -> Permission:
    """Return the regular expressions for one user.

    Patterns of the list keep their places: RabbitMQ fills in `{username}` and `{client_id}` itself.

    Args:
        acl: The access rules.
        user: The user name.

    Raises:
        AclError: The user has a denial of anything but everything, which RabbitMQ's rows can't express. A service
            that is asked can.
    """
    mine = [rule for rule in acl.rules if rule.pattern or rule.user == user]
    denials = {rule.topic for rule in mine if rule.access == "deny"}
    if "#" in denials:
        return Permission(_NOTHING, _NOTHING)
    if denials:
        raise AclError(
            f"RabbitMQ's own rows know no denial, and {user} is denied {min(denials)}.",
            advice="Have RabbitMQ ask the provisioning service, which knows denials.",
            line=0,
        )
    return Permission(_expression(mine, "write"), _expression(mine, "read"))


def _expression(rules: Iterable[Rule], access: str) -> str:
    found = [_regex(rule) for rule in rules if rule.access in {access, "readwrite"}]
    return "^(" + "|".join(dict.fromkeys(found)) + ")$" if found else _NOTHING


def _regex(rule: Rule) -> str:
    """Return the expression of one rule's routing keys.

    `+` stands for one word, which may be the `*` of a subscription, but never its `#`: that is many words.
    """
    words = rule.topic.split("/")
    many = words[-1] == "#"
    places = {"+": "[^.#]*"} | ({"%u": "{username}", "%c": "{client_id}"} if rule.pattern else {})
    text = r"\.".join(places.get(word, re.escape(word)) for word in (words[:-1] if many else words))
    if not many:
        return text
    return rf"{text}(\..*)?" if text else ".*"


def render(
    config: BrokerConfig,
    acl: Acl,
    *,
    authorisation: Authorisation | None = None,
    users: Iterable[str] = (),
    peers: Iterable[str] = (),
    definitions: Path | None = None,
) -> dict[str, str]:
    """Return RabbitMQ's files by name.

    Args:
        config: Mosquitto's configuration: one listener with mutual TLS. Its `crlfile` has to lie alone in a folder,
            under the name that `openssl rehash` gives it: RabbitMQ looks there at each handshake.
        acl: The access rules.
        authorisation: The service to ask. Without it RabbitMQ goes by rows, one for each of `users`.
        users: Who gets a row.
        peers: The nodes of the cluster, this one among them; none for a node that stands alone.
        definitions: Where the file of rows will be.

    Raises:
        BrokerConfigError: The configuration has what RabbitMQ can't do.
        AclError: See `permission`.

    Does not check: that the files exist or belong together; RabbitMQ does when the first client comes, not before.
    """
    listener = mutual_listener(config, NAME)
    lines = {
        "listeners.tcp": "none",
        "mqtt.listeners.tcp": "none",
        "mqtt.listeners.ssl.default": f"{listener.host}:{listener.port}",
        "mqtt.allow_anonymous": "false",
        "mqtt.ssl_cert_login": "true",
        "mqtt.tcp_listen_options.nodelay": str(config.set_tcp_nodelay).lower(),
        "mqtt.tcp_listen_options.backlog": "1024",
        "ssl_cert_login_from": "common_name",
        "log.console": "true",
        "log.console.level": "info",
        "log.file": "false",
    }
    files = {}
    if authorisation is None:
        files["definitions.json"] = render_definitions(acl, users)
        lines |= {"auth_backends.1": "internal"}
        lines |= {"load_definitions": str(definitions)} if definitions else {}
    else:
        lines |= {"auth_backends.1": "http", "auth_http.http_method": "post"}
        lines |= {f"auth_http.{name}_timeout": str(PATIENCE * 1000) for name in ("connection", "request")}
        if authorisation.remember:
            lines |= {
                "auth_backends.1": "cache",
                "auth_cache.cached_backend": "http",
                "auth_cache.cache_ttl": str(authorisation.remember * 1000),
            }
        lines |= {
            f"auth_http.{name}_path": f"{authorisation.url}/{name}"
            for name in ("user", "vhost", "resource", "topic")
        }
    for number, peer in enumerate(peers, start=1):
        lines["cluster_formation.peer_discovery_backend"] = "classic_config"
        lines[f"cluster_formation.classic_config.nodes.{number}"] = peer
    plugins = [*PLUGINS, *(["rabbitmq_auth_backend_http"] if authorisation else [])]
    plugins += ["rabbitmq_auth_backend_cache"] if authorisation and authorisation.remember else []
    return files | {
        "rabbitmq.conf": "".join(f"{name} = {one_line(name, value)}\n" for name, value in lines.items()),
        "advanced.config": _advanced(listener, authorisation),
        "enabled_plugins": f"[{','.join(plugins)}].\n",
    }


def render_definitions(acl: Acl, users: Iterable[str]) -> str:
    """Return the file of users and their rows, for a RabbitMQ that asks nobody.

    The users have no password, so that nobody gets in but by certificate. Each may use only the queues of a client id
    that is its own name; nothing keeps it from *connecting* with another's client id and pushing that one off the line.

    Raises:
        AclError: See `permission`.
    """
    chosen = list(users)
    queues = {user: "|".join(re.escape(queue) for queue in subscription_queues(user)) for user in chosen}
    exchange = re.escape(EXCHANGE)
    rows = {user: permission(acl, user) for user in chosen}
    value = {
        "vhosts": [{"name": VHOST}],
        "users": [
            {"name": user, "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}
            for user in chosen
        ],
        "permissions": [
            {
                "user": user, "vhost": VHOST, "configure": f"^({queues[user]})$",
                "write": f"^({queues[user]}|{exchange})$", "read": f"^({queues[user]}|{exchange})$",
            }
            for user in chosen
        ],
        "topic_permissions": [
            {"user": user, "vhost": VHOST, "exchange": EXCHANGE, "write": row.write, "read": row.read}
            for user, row in rows.items()
        ],
    }  # fmt: skip
    return json.dumps(value, indent=1) + "\n"


def _advanced(listener: Listener, authorisation: Authorisation | None) -> str:
    """Return what has to be said in Erlang: there are no simpler words for revocation lists and for a client's TLS."""
    versions = {"tlsv1.3": ["tlsv1.3"], "tlsv1.2": ["tlsv1.3", "tlsv1.2"], None: ["tlsv1.3", "tlsv1.2"]}
    if listener.tls_version not in versions:
        raise cannot(NAME, "tls_version", f"{listener.tls_version} is too old")
    ciphers = [*listener.ciphers_tls13, *listener.ciphers]
    server = [
        *_files(listener.cafile, listener.certfile, listener.keyfile),
        "{verify,verify_peer}",
        "{fail_if_no_peer_cert,true}",
        "{depth,2}",
        f"{{versions,[{','.join(_atom(each) for each in versions[listener.tls_version])}]}}",
        *([f"{{ciphers,[{','.join(_string(each) for each in ciphers)}]}}"] if ciphers else []),
        # A session that is resumed presents a certificate that nobody looks at again.
        "{reuse_sessions,false}",
        "{session_tickets,disabled}",
        "{client_renegotiation,false}",
    ]
    if listener.crlfile:
        folder = _string(str(listener.crlfile.parent))
        # `peer`: the device's certificate. A list that is missing or has run out refuses everybody.
        server += ["{crl_check,peer}", f"{{crl_cache,{{ssl_crl_hash_dir,{{internal,[{{dir,{folder}}}]}}}}}}"]
    parts = [f" {{rabbit,[{{ssl_options,[\n  {_joined(server)}]}}]}}"]
    if authorisation:
        files = _files(authorisation.cafile, authorisation.certfile, authorisation.keyfile)
        client = [*files, "{verify,verify_peer}", "{depth,2}"]
        parts.append(f" {{rabbitmq_auth_backend_http,[{{ssl_options,[\n  {_joined(client)}]}}]}}")
    return "[\n" + ",\n".join(parts) + "\n].\n"


def _files(cafile: Path | None, certfile: Path | None, keyfile: Path | None) -> list[str]:
    names: Mapping[str, Path | None] = {"cacertfile": cafile, "certfile": certfile, "keyfile": keyfile}
    return [f"{{{name},{_string(str(path))}}}" for name, path in names.items()]


def _joined(terms: list[str]) -> str:
    return ",\n  ".join(terms)


def _string(text: str) -> str:
    escaped = one_line("a path", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _atom(text: str) -> str:
    return f"'{text}'"
