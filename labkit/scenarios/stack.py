"""The broker of `docker/compose.yaml`: its folder, filled from an authority."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.broker import DEVICE_ACL, acl, staging
from labkit.broker.guarded import OPENSSL_CONF
from labkit.clock import Deadline
from labkit.errors import BrokerStartError, PortTakenError
from labkit.mqtt import Endpoint, Identity, probe
from labkit.ports import LOOPBACK, is_listening
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import BrokerConfig
    from labkit.broker.compose import Compose
    from labkit.outcome import Outcome
    from labkit.pki import Store

PORT = 8883
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container; compose publishes it on 127.0.0.1 only
HEALTH = "healthcheck"
"""The device that the broker's health check is: it may do what any device may, and no more."""

HOME = "broker/stack"
"""Where the workspace keeps the stack's access rules."""

RULES = "acl.conf"
"""The file of the rules, in there."""


def render(store: Store, folder: Path, *, port: int = PORT, host: str = EVERYWHERE) -> BrokerConfig:
    """Fill the folder that the broker's container mounts, and return the configuration in it.

    A second time changes what has changed: a certificate that had run out, the rules in `broker/stack/acl.conf`, the
    revocation list, which there always is.

    Args:
        store: The authority.
        folder: The folder.
        port: The port inside the container.
        host: The address inside the container.

    Raises:
        AuthorityMissingError: There is no authority.
        AclError: The rules can't be read; nothing has changed.
        DiskFullError, WorkspaceUnwritableError: There is no place for the files.

    Does not check: that a broker reads them. A running one has to be told: SIGHUP.
    """
    store.authority()
    make_folder(store.workspace.path("broker"), private=True)
    home = make_folder(store.workspace.path(HOME), private=True)
    rules = home / RULES
    if rules.exists():
        acl.parse(rules.read_text(encoding="utf-8"))
    else:
        write_atomic(rules, acl.render(DEVICE_ACL), secret=True)
    store.revocations.ensure()
    health = store.identity(HEALTH)
    made = configuration(store, home, port=port, crlfile=store.revocations.path)
    made = replace(made, listeners=tuple(replace(each, host=host) for each in made.listeners))
    more = {
        "health.crt": health.certificate.read_bytes(),
        "health.key": health.key.read_bytes(),
        "health-root.crt": store.trust_anchor.read_bytes(),
    }
    return staging.stage(made, folder, openssl_conf=OPENSSL_CONF, more=more)


def up(store: Store, compose: Compose, *, port: int = PORT, patience: float = 30.0) -> dict[str, Any]:
    """Start the stack's broker with an authority of this machine, and wait until it lets its health check in.

    Args:
        store: The authority.
        compose: What starts it.
        port: Its port on 127.0.0.1.
        patience: Seconds to wait for it.

    Returns:
        Where it is, and whether it ran already and has read its files again.

    Raises:
        ToolFailedError, ToolTimeoutError: It can't be built or started.
        PortTakenError: Another program has the port.
        BrokerStartError: It does not let in whom it must; the error has its log.
    """
    folder = store.workspace.path(HOME, staging.FOLDER)
    render(store, folder)
    ran = _answers(store, port).accepted
    if ran:
        compose.reload()
    elif is_listening(port):
        raise PortTakenError(
            f"Port {port} is taken by another program, or by the broker of another authority.",
            advice="Choose another: labkit broker up --port 18883; or stop that one: labkit broker down",
            port=port,
        )
    else:
        compose.up(files=folder, port=port)
    deadline = Deadline(patience)
    while not (seen := _answers(store, port)).accepted:
        if deadline.passed:
            raise BrokerStartError(
                f"The broker's container does not let its health check in: {seen}.",
                advice="Its log says why. Begin afresh: labkit broker down, then labkit broker up",
                log=compose.logs(),
            )
        deadline.pause(0.2)
    return {"host": LOOPBACK, "port": port, "files": str(folder), "engine": compose.engine, "reloaded": ran}


def _answers(store: Store, port: int) -> Outcome:
    health = store.identity(HEALTH)
    who = Identity(health.certificate, health.key)
    return probe(Endpoint(LOOPBACK, port), trust=store.trust_anchor, identity=who)
