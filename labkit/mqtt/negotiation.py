"""Which versions and suites does a listener really take? One connection for each, judged by what it says on the wire.

The client is the `openssl` command, which can offer exactly one suite, weak ones included; the verdict is read from a
recording. A suite that this openssl can't even offer is told apart from one that was refused.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError, NotConnectedError
from labkit.mqtt.handshake import read_handshake
from labkit.mqtt.relay import Relay
from labkit.mqtt.suites import SUITES, Suite
from labkit.outcome import ACCEPTED, Outcome
from labkit.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from labkit.mqtt.contexts import Endpoint
    from labkit.mqtt.handshake import Handshake

_FLAGS = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that was offered, and the answer.

    Attributes:
        version: The version of TLS.
        suite: The only suite that was offered; None for all that the version has.
        verdict: `accepted`, the name of the alert that refused it, `closed` where there was none, or `not-offered`
            where this machine's openssl can't.
    """

    version: str
    suite: Suite | None
    verdict: str

    @property
    def accepted(self) -> bool:
        """Whether the listener chose it."""
        return self.verdict == "accepted"

    @property
    def outcome(self) -> Outcome:
        """The same as an outcome at stage `tls`."""
        reason = ACCEPTED if self.accepted else self.verdict.replace("_", "-")
        return Outcome("tls", accepted=self.accepted, reason=reason, detail={"offered": self.row()[1]})

    def row(self) -> tuple[str, str, str, str]:
        """Return version, suite, verdict, and what is wrong with the suite."""
        name = self.suite.name if self.suite else "any"
        return self.version, name, self.verdict, ", ".join(self.suite.faults) if self.suite else ""


def offer_versions(endpoint: Endpoint) -> list[Offer]:
    """Offer each version of TLS alone, with every suite that this machine has for it.

    Raises:
        ToolMissingError: There is no openssl.
    """
    return _all(endpoint, [(version, None) for version in _FLAGS])


def offer_suites(endpoint: Endpoint, suites: Iterable[Suite] = tuple(SUITES.values())) -> list[Offer]:
    """Offer each suite alone.

    Args:
        endpoint: The listener.
        suites: Which.

    Raises:
        ToolMissingError: There is no openssl.

    Does not check: whether the listener lets us in afterwards; it may still ask for a certificate.
    """
    return _all(endpoint, [("1.2" if "_WITH_" in suite.name else "1.3", suite) for suite in suites])


def offer_together(endpoint: Endpoint, suites: Sequence[Suite]) -> Offer:
    """Offer some suites of TLS 1.2 together and nothing else, in one connection.

    Args:
        endpoint: The listener.
        suites: Which.

    Returns:
        The answer, with the suite that was chosen; without one if none of them was.

    Raises:
        ToolMissingError: There is no openssl.
    """
    known = {suite.name: suite for suite in suites}
    seen = _seen(endpoint, "1.2", ":".join(suite.openssl for suite in suites))
    if isinstance(seen, str):
        return Offer("1.2", None, seen)
    if seen.version == "1.2" and seen.suite in known:
        return Offer("1.2", known[seen.suite], "accepted")
    return Offer("1.2", None, _refusal(seen))


def _all(endpoint: Endpoint, wanted: list[tuple[str, Suite | None]]) -> list[Offer]:
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(lambda each: _offer(endpoint, *each), wanted))


def _offer(endpoint: Endpoint, version: str, suite: Suite | None) -> Offer:
    seen = _seen(endpoint, version, suite.openssl if suite else "")
    if isinstance(seen, str):
        return Offer(version, suite, seen)
    if seen.version == version and (suite is None or seen.suite == suite.name):
        return Offer(version, suite, "accepted")
    return Offer(version, suite, _refusal(seen))


def _seen(endpoint: Endpoint, version: str, suites: str) -> Handshake | str:
    """Offer suites in openssl's words, all that the version has without any; return what went by, or `not-offered`."""
    with Relay(endpoint) as relay:
        # SECLEVEL=0 is for the client alone, so that it may offer what it should not.
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.endpoint.port}", _FLAGS[version]]
        if version == "1.3":
            argv += ["-ciphersuites", suites] if suites else []
        else:
            argv += ["-cipher", f"{suites or 'ALL'}:@SECLEVEL=0"]
        run(argv, check=False, timeout=10)
        try:
            seen = read_handshake(relay.last(timeout=2.0))
        except (FormatError, NotConnectedError):
            return "not-offered"
    return seen if seen.find("ClientHello") else "not-offered"


def _refusal(seen: Handshake) -> str:
    alerts = [alert for side, alert in seen.alerts if side == "server"]
    return alerts[0] if alerts else "closed"
