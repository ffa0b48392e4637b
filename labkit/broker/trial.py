"""Try new rules on a second Mosquitto before the running one reads them."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.broker import config as configuration
from labkit.broker.guarded import environment, start_guarded
from labkit.broker.log_file import LogFile
from labkit.errors import ReloadRefusedError
from labkit.ports import reserve_port
from labkit.workspace import os_errors, write_atomic

if TYPE_CHECKING:
    from labkit.broker.config import BrokerConfig
    from labkit.broker.mosquitto import Mosquitto

START_TIME = 10.0
"""Seconds until a broker must say that it runs; 0.15 is usual."""

SCRATCH = ".try-"
"""How the names of the folders begin in which rules are tried."""


def try_rules(folder: Path, config: BrokerConfig, acl_text: str, mosquitto: Mosquitto) -> None:
    """Start a second broker with new rules on scratch ports, see that it runs, and stop it.

    At its start 2.0 refuses a rule that it can't read; at a reload it drops all rules and goes on. Certificates and
    revocation lists are tried in the same way.

    Args:
        folder: The running broker's folder.
        config: Its configuration.
        acl_text: The new rules.
        mosquitto: The program.

    Raises:
        ReloadRefusedError: It does not start; the error has its words.
        BrokerStartError: It can't be started at all.
        DiskFullError, WorkspaceUnwritableError: There is no place to try.
    """
    with ExitStack() as held:
        with os_errors(folder):
            place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder)))
        listeners = tuple(
            dataclasses.replace(each, port=held.enter_context(reserve_port())) for each in config.listeners
        )
        write_atomic(place / "acl.conf", acl_text, secret=True)
        trial = dataclasses.replace(config, listeners=listeners, acl_file=place / "acl.conf")
        write_atomic(place / "mosquitto.conf", configuration.render(trial), secret=True)
        log = LogFile(place / "log")
        child = start_guarded(
            mosquitto.command(place / "mosquitto.conf", folder / "openssl.cnf"),
            env=environment(mosquitto, folder / "openssl.cnf"),
            log=log.path,
        )
        held.callback(child.close)
        if not log.wait_for(
            lambda event: event.kind == "running",
            timeout=max(START_TIME, mosquitto.patience),
            give_up=lambda: child.ended,
        ):
            raise reload_refused(log.tail(1) or "Mosquitto said nothing", log.tail())


def reload_refused(why: str, log: str) -> ReloadRefusedError:
    """Return the error of rules that were refused."""
    return ReloadRefusedError(
        f"The new rules were refused: {why}. The old ones are in force.",
        advice="Mend the rule and reload again.",
        log=log,
    )
