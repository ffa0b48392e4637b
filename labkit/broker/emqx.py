"""EMQX's configuration, rendered from the same data as Mosquitto's.

Held against EMQX's documentation of version 5, and not run: no package of it can be had where this course is tested.
Since 5.9 its licence allows a single node without a key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit.broker.config import mutual_listener, one_line
from labkit.errors import AclError, BrokerConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker.acl import Acl, Rule
    from labkit.broker.config import BrokerConfig

NAME = "EMQX"

_ACTIONS = {"read": "subscribe", "write": "publish", "readwrite": "all", "deny": "all"}
_PLACES = {"%u": "${username}", "%c": "${clientid}"}


def render(config: BrokerConfig, acl: Acl, *, acl_file: Path) -> dict[str, str]:
    """Return EMQX's files by name.

    Args:
        config: Mosquitto's configuration: one listener with mutual TLS.
        acl: The access rules.
        acl_file: Where the file of rules will be.

    Raises:
        BrokerConfigError: The configuration has what EMQX can't do. A revocation list in a file is among that: EMQX
            fetches lists from the address in a certificate, and the course's certificates have none.
        AclError: The rules have what its rules can't say.

    Does not check: that EMQX does as it is told.
    """
    listener = mutual_listener(config, NAME)
    if listener.crlfile:
        raise BrokerConfigError(
            "EMQX reads no revocation list from a file; it fetches the one that the certificate names.",
            advice="Render without `crlfile`, and give devices certificates that live for days.",
            line=0,
            key="crlfile",
        )
    files = {"cacertfile": listener.cafile, "certfile": listener.certfile, "keyfile": listener.keyfile}
    lines = [
        "listeners.tcp.default.enable = false",
        "listeners.ws.default.enable = false",
        "listeners.wss.default.enable = false",
        "listeners.ssl.default {",
        f"  bind = {_string(f'{listener.host}:{listener.port}')}",
        "  ssl_options {",
        *[f"    {name} = {_string(one_line(name, str(path)))}" for name, path in files.items()],
        "    verify = verify_peer",
        "    fail_if_no_peer_cert = true",
        "    depth = 2",
        "    reuse_sessions = false",
        '    versions = ["tlsv1.3", "tlsv1.2"]',
        f"    ciphers = {json.dumps([*listener.ciphers_tls13, *listener.ciphers])}",
        "  }",
        "}",
        "mqtt.peer_cert_as_username = cn",
        *(["mqtt.peer_cert_as_clientid = cn"] if listener.use_username_as_clientid else []),
        "authorization {",
        "  no_match = deny",
        "  deny_action = ignore",
        f"  sources = [{{ type = file, enable = true, path = {_string(one_line('acl_file', str(acl_file)))} }}]",
        "}",
    ]
    return {"emqx.conf": "\n".join(lines) + "\n", "acl.conf": render_rules(acl)}


def render_rules(acl: Acl) -> str:
    """Return the file of rules. The first that fits decides, so denials come first, and the last denies everything.

    Raises:
        AclError: A rule is for clients without a user name, whom EMQX can't single out.
    """
    denials = [_line(rule) for rule in acl.rules if rule.access == "deny"]
    grants = [_line(rule) for rule in acl.rules if rule.access != "deny"]
    return "\n".join([*denials, *grants, "{deny, all}."]) + "\n"


def _line(rule: Rule) -> str:
    if rule.user is None and not rule.pattern:
        raise AclError(
            f"EMQX can't single out clients without a user name, and {rule.topic} is for those.",
            advice="Name the users in the rules.",
            line=0,
        )
    who = "all" if rule.pattern else f"{{user, {_string(rule.user or '')}}}"
    topic = "/".join(_PLACES.get(level, level) if rule.pattern else level for level in rule.topic.split("/"))
    verdict = "deny" if rule.access == "deny" else "allow"
    return f"{{{verdict}, {who}, {_ACTIONS[rule.access]}, [{_string(topic)}]}}."


def _string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
