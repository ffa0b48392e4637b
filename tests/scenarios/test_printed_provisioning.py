"""The attacks on provisioning: each succeeds on the printed server, and is refused by ours for its reason."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.pki import Key, Store, make_request
from labkit.pki.template import common_name
from labkit.scenarios import printed_provisioning as attacks
from labkit.scenarios.printed_provisioning import ATTACKS, OurService, PrintedService, printed_service
from labkit.scenarios.provisioning import provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tool

REASONS = {
    "from nothing to admin": "certificate-missing",
    "another's name": "subject-ignored",
    "a token, many times at once": "token-spent",
    "a spent token again": "token-spent",
    "your certificate, my key": "own-key",
    "a name that is a path": "malformed",
    "one idle client": "served",
    "a weak key": "key-rsa-too-short",
}
"""Why our service refuses each; the last word of the attack on it."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return an authority for all attacks."""
    store = Store(Workspace.open(tmp_path_factory.mktemp("printed") / "workspace"))
    store.ensure_authority()
    return store


@pytest.fixture(scope="module")
def ours(shared: Store) -> Iterator[OurService]:
    """Return our service, without limits so that each attack meets its own reason."""
    with provisioning_site(shared, limits={"requests_per_minute": 0, "failures_per_minute": 0}) as office:
        yield OurService(office)


@pytest.fixture
def printed(shared: Store, openssl: Path) -> Iterator[PrintedService]:
    """Return the printed server as it is printed."""
    with printed_service(shared) as running:
        yield running


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "a token, many times at once"])
def test_the_printed_server_falls(printed: PrintedService, name: str) -> None:
    """Each attack succeeds on the server as it is printed."""
    outcome = ATTACKS[name](printed)
    assert outcome.accepted, outcome


@pytest.mark.parametrize("name", ATTACKS)
def test_ours_does_not(ours: OurService, shared: Store, name: str) -> None:
    """The same attack is refused by our service for its reason, and an honest device is served afterwards."""
    before = shared.intermediate.read_bytes()
    outcome = ATTACKS[name](ours)
    assert (False, REASONS[name]) == (outcome.accepted, outcome.reason), outcome
    assert before == shared.intermediate.read_bytes()
    made = ours.provision(ours.token("honest"), make_request(Key.generate(), "honest"))
    assert "honest" == common_name(made.subject)


def test_a_bug_hides_a_bug(shared: Store, printed: PrintedService) -> None:
    """As printed, several certificates are signed for one token and a crash hides it; with that mended, they come out."""
    tokens = 0
    while (
        tokens < 40 and printed.signed <= tokens
    ):  # it is a race: on a busy machine a round may pass in order
        hidden = attacks.double_spend(printed, rounds=4)
        tokens += 4
    assert printed.signed > tokens, "more were signed than there were tokens"
    with printed_service(shared, own_files=True, label="museum-2") as mended:
        shown = attacks.double_spend(mended)
    assert shown.accepted
    assert shown.detail["certificates"] > 1
    assert "status-500" in (hidden.detail.get("verdicts") or {"status-500": 1})


def test_the_admin_is_one(shared: Store, printed: PrintedService) -> None:
    """What the first attack brings in is a certificate under our own intermediate, and it is not on our record."""
    outcome, loot = attacks.zero_to_admin(printed)
    assert outcome.accepted
    assert loot
    loot.certificate.verify_directly_issued_by(shared.certificate("intermediate"))
    serial = f"{loot.certificate.serial_number:x}"
    assert serial not in {entry.serial for entry in shared.ledger.entries()}


def test_an_honest_device_is_served(printed: PrintedService) -> None:
    """The control: the printed server does what it is for."""
    made = printed.provision(printed.token("sensor-001"), make_request(Key.generate(), "sensor-001"))
    assert "sensor-001" == common_name(made.subject)
    with pytest.raises(RefusedError) as caught:
        printed.provision("0" * 32, make_request(Key.generate(), "sensor-001"))
    assert "status-403" == caught.value.code


def test_the_museum_has_walls(printed: PrintedService, tmp_path: Path) -> None:
    """An id that leads out of the museum is stopped, and nothing is written there."""
    depth = "../" * 20
    for name in (f"{depth}{tmp_path}/x", "../../up"):
        token = printed.token(name)
        with pytest.raises(RefusedError, match="museum stops") as caught:
            printed.provision(token, make_request(Key.generate(), "x"))
        assert "status-403" == caught.value.code
    assert [] == list(tmp_path.iterdir())


def test_the_museum_is_on_loopback_and_closes(shared: Store, openssl: Path) -> None:
    """It listens on 127.0.0.1 alone, and is gone after its block."""
    before = set(psutil.Process().children())
    with printed_service(shared, label="museum-3") as running:
        (child,) = set(psutil.Process().children()) - before
        assert "labkit.scenarios.printed_server" in child.cmdline()
        found = [c.laddr.ip for c in child.net_connections() if c.status == psutil.CONN_LISTEN]
        assert ["127.0.0.1"] == found
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", running.port))
    with pytest.raises(ServiceUnreachableError):
        running.post("/provision", {})
