"""VerneMQ and EMQX: the same rules and the same listener in their words, held against their documentation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.broker import DEVICE_ACL, Acl, BrokerConfig, Rule, emqx, mutual_tls, vernemq
from labkit.errors import AclError, BrokerConfigError

ACL_FILE = Path("/etc/lab/rules")
VERNEMQ_WORDS = {
    "allow_anonymous", "plugins.vmq_passwd", "plugins.vmq_acl", "vmq_acl.acl_file", "log.console",
    *(f"listener.ssl.default{end}" for end in (
        "", ".cafile", ".certfile", ".keyfile", ".crlfile", ".ciphers", ".tls_version", ".require_certificate",
        ".use_identity_as_username", ".allow_anonymous_override",
    )),
}  # fmt: skip
"""Words of VerneMQ's schema (apps/vmq_server/priv/vmq_server.schema, apps/vmq_acl/priv/vmq_acl.schema)."""


def config(*, crl: bool = True) -> BrokerConfig:
    """Return the course's configuration."""
    return mutual_tls(
        port=8883, cafile=Path("/l/ca.pem"), certfile=Path("/l/s.pem"), keyfile=Path("/l/s.key"),
        acl_file=Path("/l/acl"), crlfile=Path("/l/crl.pem") if crl else None,
    )  # fmt: skip


def test_vernemq_has_every_lock_of_the_listener() -> None:
    """Certificates are required, names come from them, the list is gone by, and no word is made up."""
    text = vernemq.render(config(), DEVICE_ACL, acl_file=ACL_FILE)["vernemq.conf"]
    lines = dict(line.split(" = ", 1) for line in text.splitlines())
    assert set() == set(lines) - VERNEMQ_WORDS
    listener = "listener.ssl.default"
    assert ("on", "on") == (
        lines[f"{listener}.require_certificate"],
        lines[f"{listener}.use_identity_as_username"],
    )
    assert "/l/crl.pem" == lines[f"{listener}.crlfile"]
    assert ("off", "on") == (lines["allow_anonymous"], lines["plugins.vmq_acl"])


def test_vernemq_rules_have_only_its_words() -> None:
    """Its rules are Mosquitto's, with reading and writing on lines of their own."""
    text = vernemq.render_rules(Acl((*DEVICE_ACL.rules, Rule("readwrite", "a/#", user="admin"))))
    assert "user admin\ntopic read #\n" in text
    assert "topic read a/#\ntopic write a/#\n" in text
    assert "pattern write devices/%u/telemetry/#\n" in text
    assert re.fullmatch(r"((user \S+|(topic|pattern) (read|write) \S+)\n)+", text)


@pytest.mark.parametrize("rule", [Rule("deny", "#", user="eve"), Rule("read", "public/#")])
def test_vernemq_refuses_what_would_come_out_weaker(rule: Rule) -> None:
    """A denial, and a rule that would be for everybody there, are refused and not dropped."""
    vernemq.render_rules(DEVICE_ACL)
    with pytest.raises(AclError, match="VerneMQ"):
        vernemq.render_rules(Acl((*DEVICE_ACL.rules, rule)))


def test_emqx_has_every_lock_of_the_listener() -> None:
    """Certificates are required, names and client ids come from them, no other listener is open, the rest is denied."""
    text = emqx.render(config(crl=False), DEVICE_ACL, acl_file=ACL_FILE)["emqx.conf"]
    for line in (
        "verify = verify_peer", "fail_if_no_peer_cert = true", "mqtt.peer_cert_as_username = cn",
        "mqtt.peer_cert_as_clientid = cn", "listeners.tcp.default.enable = false", "no_match = deny",
        'bind = "127.0.0.1:8883"', 'path = "/etc/lab/rules"',
    ):  # fmt: skip
        assert line in text
    assert text.count("{") == text.count("}")


def test_emqx_rules_deny_first_and_last() -> None:
    """The first rule that fits decides there, so denials stand before grants and everything else is denied."""
    lines = emqx.render_rules(DEVICE_ACL.denying("eve")).splitlines()
    assert '{deny, {user, "eve"}, all, ["#"]}.' == lines[0]
    assert "{deny, all}." == lines[-1]
    assert '{allow, all, publish, ["devices/${username}/telemetry/#"]}.' in lines
    assert '{allow, {user, "admin"}, subscribe, ["#"]}.' in lines


def test_emqx_refuses_a_list_in_a_file() -> None:
    """A revocation list that would be ignored is refused."""
    with pytest.raises(BrokerConfigError) as caught:
        emqx.render(config(), DEVICE_ACL, acl_file=ACL_FILE)
    assert "crlfile" == caught.value.key


def test_emqx_refuses_rules_for_the_nameless() -> None:
    """A rule for clients without a name can't be told from one for everybody."""
    with pytest.raises(AclError, match="without a user name"):
        emqx.render_rules(Acl((Rule("read", "public/#"),)))


@pytest.mark.parametrize("broker", [vernemq, emqx])
@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"allow_anonymous": True}, "allow_anonymous"),
        ({"password_file": Path("/l/p")}, "password_file"),
        ({"listeners": ()}, "listener"),
    ],
)
def test_only_mutual_tls_is_rendered(broker: object, changes: dict[str, object], key: str) -> None:
    """Whatever would let in somebody without a certificate is refused, whichever broker it is for."""
    with pytest.raises(BrokerConfigError) as caught:
        broker.render(replace(config(crl=False), **changes), DEVICE_ACL, acl_file=ACL_FILE)  # type: ignore[attr-defined,arg-type]
    assert key == caught.value.key
