"""labkit.scenarios.printed_authority: what tutorials print works, and is wrong in the ways that we claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from labkit.pki import Key, make_request, openssl
from labkit.pki.identities import read_certificate
from labkit.scenarios import mutual_tls
from labkit.scenarios.printed_authority import (
    PrintedAuthority,
    printed_authority,
    race,
    sign_as_asked,
)

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki import Store

pytestmark = pytest.mark.tool


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> PrintedAuthority:
    """Return an authority as tutorials print it."""
    return printed_authority(tmp_path_factory.mktemp("printed") / "ca")


def test_its_root_says_nothing_about_itself(openssl: object, printed: PrintedAuthority) -> None:
    """Without the system's configuration the root has no extension that makes it an authority."""
    root = x509.load_pem_x509_certificate(printed.root.read_bytes())
    assert not [e for e in root.extensions if e.oid == x509.BasicConstraints.oid]


def test_its_intermediate_is_not_critical(openssl: object, printed: PrintedAuthority) -> None:
    """Constraints are there, and a verifier that does not know them may pass over them."""
    constraints = read_certificate(printed.intermediate).extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert (True, 0, False) == (constraints.value.ca, constraints.value.path_length, constraints.critical)


def test_a_strict_verifier_refuses_it(printed: PrintedAuthority) -> None:
    """openssl verify -x509_strict finds fault with it, whereas the chain in one file is not even read."""
    strict = openssl.verify(printed.device, trust=printed.root, untrusted=printed.intermediate)
    assert not strict.ok
    assert openssl.verify(printed.fullchain, trust=printed.root).code == 20


def test_the_race_loses_certificates(printed: PrintedAuthority) -> None:
    """Everything that was asked for is accounted for, and what came out has guessable serial numbers."""
    found = race(printed, asked=40)
    assert found.asked == 40
    assert 0 < found.serials <= found.issued <= found.asked
    assert found.consecutive > 0
    alone = race(printed, asked=6, workers=1)
    assert (6, 6, ()) == (alone.issued, alone.serials, alone.words)


def test_it_can_be_made_again(openssl: object, tmp_path: Path) -> None:
    """A second time over the same folder works too: that is one of its faults."""
    first = printed_authority(tmp_path / "x").device.read_bytes()
    assert first != printed_authority(tmp_path / "x").device.read_bytes()


@pytest.mark.broker
def test_whoever_asks_is_admin(store: Store, mosquitto: object) -> None:
    """A request that wishes to be admin is signed as it stands, and the broker obeys; the ledger knows nothing."""
    key, before = Key.generate("p256"), store.ledger.entries()
    usurper = sign_as_asked(store, make_request(key, "admin"), key)
    with mutual_tls(store) as site:
        topic = "devices/sensor-001/commands/open-valve"
        assert site.attempt(usurper, publish=topic).accepted
        assert site.attempt(store.issue_device("sensor-009"), publish=topic).reason == "not-authorised"
    assert len(before) + 1 == len(store.ledger.entries())
