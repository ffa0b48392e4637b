"""Show every specimen of the zoo to its three judges: our linter, `openssl verify`, and a real peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import broker as brokers
from labkit.broker import Broker
from labkit.clock import SYSTEM_CLOCK, Deadline
from labkit.errors import IdentityRefusedError, ToolFailedError
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import openssl
from labkit.pki.identities import IdentityFiles
from labkit.pki.zoo import BROKER_DIED, ZOO, Exhibit, Keeper, Specimen, findings
from labkit.scenarios.diagnosis import diagnose
from labkit.scenarios.mutual_tls import Site, mutual_tls
from labkit.scenarios.separate import separate_authority

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import BrokerConfig
    from labkit.outcome import Outcome
    from labkit.pki import Store
    from labkit.workspace import Workspace

_LENIENT = "DEFAULT:@SECLEVEL=0"
"""What the intruder's own library allows: a thief does not forbid himself weak keys."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What the judges said of one specimen.

    Attributes:
        specimen: Which.
        rules: The linter's rules that found something, in their order.
        openssl: The number of the error of `openssl verify`; 0 where it accepts, -1 where it can't read it.
        openssl_words: The same in words.
        peer: The reason of the peer; `local: …` where our library would not load it.
        outcome: The peer's whole outcome, where there is one.
    """

    specimen: Specimen
    rules: tuple[str, ...]
    openssl: int
    openssl_words: str
    peer: str
    outcome: Outcome | None

    def row(self) -> tuple[str, str, str, str]:
        """Return what is wrong, and the three verdicts."""
        return self.specimen.defect, ", ".join(self.rules) or "nothing", self.openssl_words, self.peer


def visit_zoo(workspace: Workspace) -> list[Visit]:
    """Make the whole zoo under an authority of its own, and show each specimen to its judges.

    Args:
        workspace: The lab's.

    Raises:
        ToolMissingError, BrokerStartError: There is no openssl or no broker.
        RuntimeError: A broker refuses a good device, so that its verdicts would say nothing.
    """
    store = separate_authority(workspace, "zoo")
    keeper = Keeper(store.root(store.kept_passphrase()), store.authority(), SYSTEM_CLOCK)
    with mutual_tls(store) as site:
        _control(site)
        visits = [_visit(site, specimen, keeper) for specimen in ZOO]
        _control(site)
    return visits


def _visit(site: Site, specimen: Specimen, keeper: Keeper) -> Visit:
    exhibit = specimen.make(keeper)
    files = _stored(site.store, specimen, exhibit)
    code, words = _openssl(site.store, specimen, exhibit, files)
    if exhibit.listed is not None:
        with mutual_tls(site.store, folder="broker/listed", crlfile=_list_of(site.store, exhibit)) as listed:
            peer, outcome = _shown(listed, files)
    elif specimen.alone:
        peer, outcome = _risked(site.store, files)
    elif specimen.role == "server":
        peer, outcome = _served(site.store, files)
    else:
        peer, outcome = _shown(site, files)
    rules = tuple(dict.fromkeys(finding.rule for finding in findings(specimen, exhibit, keeper)))
    return Visit(specimen, rules, code, words, peer, outcome)


def _control(site: Site) -> None:
    outcome = site.attempt(site.identity("sensor-002"))
    if not outcome.accepted:
        text = f"the broker of the zoo refuses a good device: {outcome}"
        raise RuntimeError(text)


def _stored(store: Store, specimen: Specimen, exhibit: Exhibit) -> IdentityFiles:
    label = specimen.name.replace("_", "-")
    above = store.intermediate.read_bytes() if specimen.role == "server" else b""
    certificate = store.workspace.write(f"intruders/{label}.crt", exhibit.certificate + exhibit.chain + above)
    return IdentityFiles(
        label, certificate, store.workspace.write(f"intruders/{label}.key", exhibit.key, secret=True)
    )


def _list_of(store: Store, exhibit: Exhibit) -> Path:
    assert exhibit.listed is not None  # noqa: S101 - asked before
    return store.workspace.write("intruders/crl.pem", exhibit.listed.pem)


def _openssl(store: Store, specimen: Specimen, exhibit: Exhibit, files: IdentityFiles) -> tuple[int, str]:
    helpers = store.workspace.write("intruders/above.pem", exhibit.chain + store.intermediate.read_bytes())
    purpose = {"server": "sslserver", "intermediate": None}.get(specimen.role, "sslclient")
    try:
        verdict = openssl.verify(
            files.certificate,
            trust=store.trust_anchor,
            untrusted=helpers,
            purpose=purpose,
            crls=[_list_of(store, exhibit)] if exhibit.listed is not None else [],
        )
    except ToolFailedError:
        return -1, "can't read it"
    return verdict.code, str(verdict)


def _shown(site: Site, files: IdentityFiles) -> tuple[str, Outcome | None]:
    mark = site.broker.log.mark()
    who = Identity(files.certificate, files.key)
    try:
        outcome = probe(site.endpoint, trust=site.trust, identity=who, ciphers=_LENIENT)
    except IdentityRefusedError as error:
        return f"local: {error.rule}", None
    lines = site.broker.log.story_of(outcome.detail.get("local_port", 0), since=mark)
    found = diagnose(outcome, broker_lines=lines, verdict=site.verify(files))
    return found.reason, found


def _risked(store: Store, files: IdentityFiles) -> tuple[str, Outcome | None]:
    """Show a specimen to a broker of its own, and see whether the broker survives."""
    with mutual_tls(store, folder="broker/risked") as site:
        reason, outcome = _shown(site, files)
        deadline = Deadline(1.0)
        while outcome and not outcome.accepted and site.broker.alive and not deadline.passed:
            deadline.pause(0.02)  # its guard notices a moment later
        return (reason, outcome) if site.broker.alive else (BROKER_DIED, outcome)


def _served(store: Store, files: IdentityFiles) -> tuple[str, Outcome]:
    home = store.workspace.path("broker/served")

    def make_config(port: int) -> BrokerConfig:
        return brokers.mutual_tls(
            port=port,
            cafile=store.trust_bundle,
            certfile=files.certificate,
            keyfile=files.key,
            acl_file=home / "acl.conf",
        )

    device = store.identity("sensor-002")
    with Broker(home, make_config) as broker:
        outcome = probe(
            Endpoint(broker.host, broker.port, "localhost"),
            trust=store.trust_anchor,
            identity=Identity(device.certificate, device.key),
        )
    return outcome.reason, outcome
