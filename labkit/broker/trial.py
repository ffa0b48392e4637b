"""Try new rules on a second Mosquitto before the running one reads them."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.broker import config as configuration
from labkit.broker.log_file import LogFile
from labkit.errors import ReloadRefusedError
from labkit.ports import reserve_port
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from labkit.broker.config import BrokerConfig
    from labkit.broker.mosquitto import Mosquitto

START_TIME = 10.0
"""Seconds until a broker must say that it runs; 0.15 is usual."""

OPENSSL_CONF = """\
# Mosquitto has no option for these. A resumed session skips the check of the certificate, so that one that expired
# today would be let back in for two hours; and tickets cost a third of the processor time of a mutual handshake.
# -SessionTicket ends the tickets of TLS 1.2 and only makes those of 1.3 stateful; NumTickets ends those too. What is
# left is the session cache of TLS 1.2, for which OpenSSL has no setting, and which only a restart empties.
openssl_conf = lab
[lab]
ssl_conf = modules
[modules]
system_default = defaults
[defaults]
MinProtocol = TLSv1.2
CipherString = DEFAULT:@SECLEVEL=2
Options = -SessionTicket
NumTickets = 0
"""


def environment(mosquitto: Mosquitto, folder: Path) -> dict[str, str]:
    """Return the environment of a broker's process: ours, its libraries, and the OpenSSL settings in its folder."""
    return {**os.environ, **mosquitto.env, "OPENSSL_CONF": str(folder / "openssl.cnf")}


def try_rules(folder: Path, config: BrokerConfig, acl_text: str, mosquitto: Mosquitto) -> None:
    """Start a second broker with new rules on a scratch port, see that it runs, and stop it.

    At its start 2.0 refuses a rule that it can't read; at a reload it drops all rules and goes on.

    Args:
        folder: The running broker's folder.
        config: Its configuration.
        acl_text: The new rules.
        mosquitto: The program.

    Raises:
        ReloadRefusedError: It does not start; the error has its words.
    """
    with tempfile.TemporaryDirectory(prefix=".try-", dir=folder) as scratch, reserve_port() as port:
        place = Path(scratch)
        write_atomic(place / "acl.conf", acl_text, secret=True)
        listeners = tuple(dataclasses.replace(each, port=port) for each in config.listeners[:1])
        trial = dataclasses.replace(config, listeners=listeners, acl_file=place / "acl.conf")
        write_atomic(place / "mosquitto.conf", configuration.render(trial), secret=True)
        log = LogFile(place / "log")
        with log.path.open("wb") as file:
            child = subprocess.Popen(
                [str(mosquitto.path), "-c", str(place / "mosquitto.conf")],
                env=environment(mosquitto, folder),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            started = log.wait_for(
                lambda event: event.kind == "running",
                timeout=START_TIME,
                give_up=lambda: child.poll() is not None,
            )
        finally:
            child.kill()
            child.wait()
        if not started:
            raise reload_refused(log.tail(1) or "Mosquitto said nothing", log.tail())


def reload_refused(why: str, log: str) -> ReloadRefusedError:
    """Return the error of rules that were refused."""
    return ReloadRefusedError(
        f"The new rules were refused: {why}. The old ones are in force.",
        advice="Mend the rule and reload again.",
        log=log,
    )
