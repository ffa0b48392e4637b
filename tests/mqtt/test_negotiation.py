"""labkit.mqtt.negotiation: what listeners take, against a strict broker and one that takes everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.broker.config import AEAD_TLS12, AEAD_TLS13
from labkit.mqtt import Endpoint
from labkit.mqtt.negotiation import Offer, offer_suites, offer_together, offer_versions
from labkit.mqtt.suites import SUITES
from labkit.ports import reserve_port
from labkit.processes import run
from labkit.scenarios.eavesdropping import old_broker

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.scenarios import Site
    from labkit.workspace import Workspace

pytestmark = [pytest.mark.broker, pytest.mark.tool]


def accepted(offers: list[Offer]) -> set[str]:
    """Return the names of what was accepted, in openssl's words."""
    return {offer.suite.openssl if offer.suite else offer.version for offer in offers if offer.accepted}


def test_our_broker_takes_aead_with_forward_secrecy_only(site: Site, openssl: object) -> None:
    """Of all suites it takes those of its configuration that its key can sign for, and refuses the others by alert."""
    offers = offer_suites(site.endpoint)
    wanted = {name for name in AEAD_TLS12 if "ECDSA" in name} | set(AEAD_TLS13)
    assert wanted == accepted(offers)
    assert not any(offer.suite.faults for offer in offers if offer.accepted and offer.suite)
    refused = [offer.verdict for offer in offers if not offer.accepted and offer.verdict != "not-offered"]
    assert {"handshake_failure"} == set(refused)
    assert len(refused) > 15


def test_our_broker_takes_two_versions(site: Site, openssl: object) -> None:
    """1.2 and 1.3 are taken; 1.0 and 1.1 are refused as versions."""
    offers = offer_versions(site.endpoint)
    assert accepted(offers) == {"1.2", "1.3"}
    assert {"protocol_version"} == {offer.verdict for offer in offers if not offer.accepted}


def test_an_old_broker_takes_what_it_is_offered(
    workspace: Workspace, mosquitto: Mosquitto, openssl: object
) -> None:
    """Without a list of suites a broker takes static RSA, CBC and SHA-1; with one of two suites it takes those."""
    with old_broker(workspace) as old:
        found = accepted(offer_suites(old.endpoint))
    assert {"AES128-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES128-GCM-SHA256"} <= found
    with old_broker(workspace, ciphers=("ECDHE-RSA-AES128-GCM-SHA256",)) as mended:
        found = accepted(offer_suites(mended.endpoint))
    assert {"ECDHE-RSA-AES128-GCM-SHA256", *AEAD_TLS13} == found


def test_offered_together_one_is_enough(
    site: Site, workspace: Workspace, mosquitto: Mosquitto, openssl: object
) -> None:
    """A broker that takes one of many weak suites chooses it; one that takes none refuses all of them by one alert."""
    weak = [suite for suite in SUITES.values() if suite.faults]
    with old_broker(workspace, ciphers=("ECDHE-RSA-AES128-GCM-SHA256", "AES256-SHA256")) as old:
        chosen = offer_together(old.endpoint, weak)
    assert chosen.suite is not None
    assert ("AES256-SHA256", "accepted") == (chosen.suite.openssl, chosen.verdict)
    assert Offer("1.2", None, "handshake_failure") == offer_together(site.endpoint, weak)


def test_nobody_there_is_not_a_refusal(openssl: object) -> None:
    """Where nobody listens nothing is accepted, and no alert is made up."""
    with reserve_port() as port:
        offers = offer_versions(Endpoint("127.0.0.1", port))
    assert {"closed", "not-offered"} >= {offer.verdict for offer in offers}


def test_our_table_is_openssls(openssl: object) -> None:
    """Numbers and names of all suites are those that openssl ciphers prints."""
    lines = run(
        ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    ).stdout.splitlines()
    theirs = {}
    for line in lines:
        code, _, name, _, openssl_name, *_ = line.split()
        theirs[int(code.replace("0x", "").replace(",", ""), 16)] = (name, openssl_name)
    assert {code: (s.name, s.openssl) for code, s in SUITES.items()}.items() <= theirs.items()


@pytest.mark.parametrize(
    ("openssl_name", "faults"),
    [
        ("AES128-SHA", ("no forward secrecy", "CBC", "SHA-1")),
        ("ECDHE-RSA-AES128-SHA256", ("CBC",)),
        ("NULL-MD5", ("no encryption", "no forward secrecy", "MD5")),
        ("TLS_AES_128_GCM_SHA256", ()),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", ()),
    ],
)
def test_faults_are_read_from_the_name(openssl_name: str, faults: tuple[str, ...]) -> None:
    """What is wrong with a suite stands in its name."""
    (suite,) = [each for each in SUITES.values() if each.openssl == openssl_name]
    assert faults == suite.faults
    assert suite.aead == ("CBC" not in faults and "NULL" not in openssl_name)
