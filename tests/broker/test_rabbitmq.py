"""labkit.broker.rabbitmq: the same rules and the same listener, in RabbitMQ's words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.broker import DEVICE_ACL, Acl, BrokerConfig, Rule, decide, mutual_tls
from labkit.broker.acl import decide_subscription
from labkit.broker.rabbitmq import (
    Authorisation,
    permission,
    render,
    render_definitions,
    routing_key,
    subscription_queues,
    topic_of,
)
from labkit.errors import AclError, BrokerConfigError

HERE = Path("/lab")
SERVICE = Authorisation(
    url="https://localhost:8444/broker-auth",
    cafile=HERE / "root.crt",
    certfile=HERE / "broker.crt",
    keyfile=HERE / "broker.key",
)

level = st.sampled_from(["a", "b-1", "devices", "x.y", "ann", ""])
place = st.sampled_from(["a", "devices", "%u", "%c"])
topics = st.lists(st.sampled_from(["a", "b-1", "devices", "ann", "bob"]), min_size=1, max_size=4).map(
    "/".join
)


def filters(levels: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return topic filters made of the levels, an empty one never alone."""
    made = st.lists(levels | st.just("+"), min_size=1, max_size=3).map("/".join).filter(bool)
    return st.builds(lambda text, end: f"{text}/#" if end else text, made, st.booleans()) | st.just("#")


rules = st.builds(Rule, st.sampled_from(["read", "write", "readwrite"]), filters(level), user=st.just("ann"))
rules |= st.builds(
    lambda access, topic: Rule(access, topic, pattern=True),
    st.sampled_from(["read", "write"]),
    filters(place),
)


def config(**changes: Any) -> BrokerConfig:
    """Return the course's configuration, with changes to its listener."""
    made = mutual_tls(
        port=8883, cafile=HERE / "ca.pem", certfile=HERE / "server.pem", keyfile=HERE / "server.key",
        acl_file=HERE / "acl.conf", crlfile=HERE / "crl" / "1234.r0",
    )  # fmt: skip
    return replace(made, listeners=(replace(made.listeners[0], **changes),))


def fits(pattern: str, key: str, name: str) -> bool:
    """Return whether RabbitMQ would find that a routing key fits, for a client of that name."""
    filled = pattern.replace("{username}", name).replace("{client_id}", name)
    return re.search(filled, key) is not None


@given(st.lists(rules, max_size=4), topics)
def test_rows_allow_what_the_rules_allow(made: list[Rule], topic: str) -> None:
    """For any rules and any topic, RabbitMQ's row for writing says what our rules say."""
    acl = Acl(tuple(made))
    wanted = decide(acl, username="ann", client_id="ann", topic=topic, access="write", version=(2, 1))
    assert wanted == fits(permission(acl, "ann").write, routing_key(topic), "ann")


@given(st.lists(rules, max_size=4), filters(st.sampled_from(["a", "b-1", "devices", "ann", "bob"])))
def test_rows_grant_no_subscription_that_is_too_wide(made: list[Rule], pattern: str) -> None:
    """A subscription that a row grants is one that a single rule covers whole, and the other way round."""
    acl = Acl(tuple(rule for rule in made if "." not in rule.topic))
    wanted = decide_subscription(acl, username="ann", client_id="ann", pattern=pattern)
    assert wanted == fits(permission(acl, "ann").read, routing_key(pattern), "ann")


@pytest.mark.parametrize("access", ["read", "write"])
def test_who_has_no_rule_gets_a_row_that_allows_nothing(access: Literal["read", "write"]) -> None:
    """Without a row RabbitMQ would allow everything, so that nobody is left without one."""
    row = permission(Acl((Rule("readwrite", "a", user="bob"),)), "ann")
    assert "^$" == getattr(row, access)


def test_a_denial_of_everything_is_a_row_that_allows_nothing() -> None:
    """The switch that silences a user can be said in rows."""
    assert not fits(permission(DEVICE_ACL.denying("ann"), "ann").write, "devices.ann.status", "ann")
    assert fits(permission(DEVICE_ACL, "ann").write, "devices.ann.status", "ann")


def test_any_other_denial_is_refused() -> None:
    """Rows know no denial, so one that matters is never dropped in silence."""
    acl = Acl((*DEVICE_ACL.rules, Rule("deny", "devices/+/commands/stop", user="admin")))
    with pytest.raises(AclError, match="denied devices"):
        permission(acl, "admin")
    assert permission(acl, "ann") == permission(DEVICE_ACL, "ann")


def test_a_subscription_to_many_words_does_not_hide_in_a_plus() -> None:
    """`#` in the middle of a routing key means many words, which MQTT has no word for: no row lets it through."""
    row = permission(Acl((Rule("read", "devices/+/status", user="ann"),)), "ann")
    assert fits(row.read, "devices.*.status", "ann")
    assert not fits(row.read, "devices.#.status", "ann")


def test_topics_and_routing_keys() -> None:
    """A topic becomes a routing key and comes back; a dot and a slash become one."""
    assert "devices.*.commands.#" == routing_key("devices/+/commands/#")
    assert "devices/+/commands/#" == topic_of("devices.*.commands.#")
    assert routing_key("devices/a/status") == routing_key("devices.a/status")


def test_the_files_with_a_service_to_ask() -> None:
    """With a service to ask there are no rows, every port speaks TLS, and the service is verified."""
    files = render(config(), DEVICE_ACL, authorisation=SERVICE, peers=["lab1@localhost", "lab2@localhost"])
    lines = dict(line.split(" = ", 1) for line in files["rabbitmq.conf"].splitlines())
    assert {"rabbitmq.conf", "advanced.config", "enabled_plugins"} == set(files)
    assert ("none", "none") == (lines["listeners.tcp"], lines["mqtt.listeners.tcp"])
    assert "127.0.0.1:8883" == lines["mqtt.listeners.ssl.default"]
    assert ("false", "true") == (lines["mqtt.allow_anonymous"], lines["mqtt.ssl_cert_login"])
    assert "https://localhost:8444/broker-auth/topic" == lines["auth_http.topic_path"]
    assert "lab2@localhost" == lines["cluster_formation.classic_config.nodes.2"]
    service = files["advanced.config"].partition("rabbitmq_auth_backend_http")[2]
    assert "{verify,verify_peer}" in service
    assert "{fail_if_no_peer_cert,true}" in files["advanced.config"]
    assert "{crl_check,peer}" in files["advanced.config"]
    assert f'{{dir,"{HERE / "crl"}"}}' in files["advanced.config"]
    assert "rabbitmq_auth_backend_http" in files["enabled_plugins"]


def test_answers_may_be_remembered() -> None:
    """Where answers are remembered, the memory stands before the service; where nobody says so, there is none."""
    strict = render(config(), DEVICE_ACL, authorisation=SERVICE)
    lazy = render(config(), DEVICE_ACL, authorisation=replace(SERVICE, remember=60))
    assert "auth_backends.1 = http\n" in strict["rabbitmq.conf"]
    assert "cache" not in "".join(strict.values()).replace("crl_cache", "")
    assert "auth_backends.1 = cache\n" in lazy["rabbitmq.conf"]
    assert "auth_cache.cached_backend = http\nauth_cache.cache_ttl = 60000\n" in lazy["rabbitmq.conf"]
    assert "rabbitmq_auth_backend_cache" in lazy["enabled_plugins"]


def test_the_files_without_a_service() -> None:
    """Without one there is a row for each user, and nobody has a password."""
    files = render(config(), DEVICE_ACL, users=["ann"], definitions=HERE / "rows.json")
    rows = json.loads(files["definitions.json"])
    assert [""] == [user["password_hash"] for user in rows["users"]]
    assert "load_definitions = /lab/rows.json" in files["rabbitmq.conf"]
    assert "rabbitmq_auth_backend_http" not in "".join(files.values())


def test_a_user_may_use_its_own_queues_alone() -> None:
    """The row for queues fits the subscriptions of the client id that is the user's name, and no longer name."""
    (row,) = json.loads(render_definitions(DEVICE_ACL, ["ann"]))["permissions"]
    assert all(re.search(row["configure"], queue) for queue in subscription_queues("ann"))
    assert not any(re.search(row["configure"], queue) for queue in subscription_queues("anna"))
    assert re.search(row["write"], "amq.topic")
    assert not re.search(row["configure"], "amq.topic")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"require_certificate": False}, "require_certificate"),
        ({"use_identity_as_username": None}, "use_identity_as_username"),
        ({"keyfile": None}, "keyfile"),
        ({"tls_version": "tlsv1.1"}, "tls_version"),
        ({"cafile": Path("/lab/a\nb")}, "a path"),
    ],
)
def test_what_rabbitmq_can_not_do_is_refused(changes: dict[str, Any], key: str) -> None:
    """A configuration that would come out weaker than it went in is refused, with the word that is in the way."""
    with pytest.raises(BrokerConfigError) as caught:
        render(config(**changes), DEVICE_ACL)
    assert key == caught.value.key


def test_paths_are_quoted_for_erlang() -> None:
    """Quotes, backslashes and letters from everywhere survive in a path."""
    text = render(config(cafile=Path('/läb "x" \\ y/ca.pem')), DEVICE_ACL)["advanced.config"]
    assert r'{cacertfile,"/läb \"x\" \\ y/ca.pem"}' in text
