"""VerneMQ's configuration, rendered from the same data as Mosquitto's.

Held against VerneMQ's schema (`vmq_server.schema`) and its documentation, and not run: no package of it can be had
where this course is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.broker.config import mutual_listener, one_line
from labkit.errors import AclError

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker.acl import Acl, Rule
    from labkit.broker.config import BrokerConfig

NAME = "VerneMQ"


def render(config: BrokerConfig, acl: Acl, *, acl_file: Path) -> dict[str, str]:
    """Return VerneMQ's files by name.

    Args:
        config: Mosquitto's configuration: one listener with mutual TLS.
        acl: The access rules.
        acl_file: Where the file of rules will be.

    Raises:
        BrokerConfigError: The configuration has what VerneMQ can't do.
        AclError: The rules have what its rules can't say: a denial, or a rule for clients without a name.

    Does not check: that VerneMQ does as it is told. It takes the *claimed* client id, as Mosquitto does without
        `use_username_as_clientid`.
    """
    listener = mutual_listener(config, NAME)
    lines = {
        "allow_anonymous": "off",
        # Nobody needs a password beside a certificate that was verified; this opens no door on any other listener.
        "listener.ssl.default.allow_anonymous_override": "on",
        "listener.ssl.default": f"{listener.host}:{listener.port}",
        "listener.ssl.default.cafile": str(listener.cafile),
        "listener.ssl.default.certfile": str(listener.certfile),
        "listener.ssl.default.keyfile": str(listener.keyfile),
        **({"listener.ssl.default.crlfile": str(listener.crlfile)} if listener.crlfile else {}),
        "listener.ssl.default.ciphers": ":".join(listener.ciphers),
        "listener.ssl.default.tls_version": "tlsv1.2",
        "listener.ssl.default.require_certificate": "on",
        "listener.ssl.default.use_identity_as_username": "on",
        "plugins.vmq_passwd": "off",
        "plugins.vmq_acl": "on",
        "vmq_acl.acl_file": str(acl_file),
        "log.console": "console",
    }
    text = "".join(f"{name} = {one_line(name, value)}\n" for name, value in lines.items() if value)
    return {"vernemq.conf": text, "vmq.acl": render_rules(acl)}


def render_rules(acl: Acl) -> str:
    """Return the file of rules: Mosquitto's format, less `readwrite` and `deny`.

    Raises:
        AclError: See `render`. A rule without a user is for *everybody* in VerneMQ, and for nobody with a name in
            Mosquitto.
    """
    lines: list[str] = []
    for rule in acl.rules:
        if rule.access == "deny":
            raise _cannot(f"it knows no denial, and {rule.topic} is denied to {rule.user}")
        if rule.user is None and not rule.pattern:
            raise _cannot(f"a rule without a user is for everybody there: {rule.topic}")
    for user in dict.fromkeys(rule.user for rule in acl.rules if not rule.pattern):
        lines.append(f"user {user}")
        lines += [
            line
            for rule in acl.rules
            if rule.user == user and not rule.pattern
            for line in _lines(rule, "topic")
        ]
    lines += [line for rule in acl.rules if rule.pattern for line in _lines(rule, "pattern")]
    return "\n".join(lines) + "\n"


def _lines(rule: Rule, word: str) -> list[str]:
    ways = ("read", "write") if rule.access == "readwrite" else (rule.access,)
    return [f"{word} {way} {rule.topic}" for way in ways]


def _cannot(why: str) -> AclError:
    return AclError(
        f"VerneMQ's rules can't say that: {why}.",
        advice="Name the users in the rules, or use a plugin that asks a service (vmq_webhooks).",
        line=0,
    )
