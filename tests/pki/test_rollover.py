"""labkit.pki.rollover: an intermediate is replaced, and nobody touches the devices."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from labkit.clock import SYSTEM_CLOCK
from labkit.errors import DiskFullError, PassphraseError, WorkspaceCorruptError
from labkit.pki import Store, openssl, replace_intermediate, rollover, verify_chain
from labkit.scenarios import mutual_tls

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.pki import Rollover

PASSPHRASE = b"correct horse"


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, lock files aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


def replaced(store: Store) -> Rollover:
    """Replace the intermediate of a store."""
    return replace_intermediate(store, passphrase=PASSPHRASE, now=SYSTEM_CLOCK.now())


@pytest.fixture
def fleet(store: Store) -> Store:
    """Return an authority with two good devices, one revoked, and an operator."""
    for name in ("sensor-001", "sensor-002", "sensor-666"):
        store.issue_device(name)
    store.issue_operator("admin")
    store.revocations.revoke("sensor-666", "key-compromise")
    return store


def test_keys_stay_and_certificates_are_new(fleet: Store) -> None:
    """Every key file is as it was; every certificate is new, holds, and its issuer is the successor."""
    keys = {name: fleet.device(name).key.read_bytes() for name in fleet.devices()}
    root = fleet.trust_anchor.read_bytes()
    done = replaced(fleet)
    assert (("admin", "sensor-001", "sensor-002"), ("sensor-666",)) == (done.reissued, done.skipped)
    assert keys == {name: fleet.device(name).key.read_bytes() for name in fleet.devices()}
    assert root == fleet.trust_anchor.read_bytes()
    assert fleet.names.intermediate == "IoT Labs Device CA 2"
    chain = [fleet.certificate("intermediate")], [fleet.certificate("root")]
    for name in done.reissued:
        verify_chain(fleet.certificate(name), *chain, purpose="client", now=SYSTEM_CLOCK.now())
    verify_chain(
        fleet.certificate("broker"), *chain, purpose="server", now=SYSTEM_CLOCK.now(), name="127.0.0.1"
    )


def test_the_old_one_is_on_the_roots_list(fleet: Store) -> None:
    """The root's list has the old intermediate; its own list and register are kept aside, under its serial number."""
    old = fleet.certificate("intermediate")
    done = replaced(fleet)
    assert fleet.root_revocations(PASSPHRASE).ensure().serials == {old.serial_number}
    assert {"crl.pem", "intermediate.crt", "revocations.jsonl"} == {
        path.name for path in done.archive.iterdir()
    }
    assert done.archive.name == f"{old.serial_number:x}"
    assert len(fleet.revocations.ensure()) == 0


@pytest.mark.tool
def test_openssl_looks_up_the_whole_chain(fleet: Store, openssl: object) -> None:
    """With both lists openssl refuses what the old one signed (error 23 at depth 1) and accepts the new."""
    old = fleet.workspace.write("old.crt", fleet.device("sensor-001").certificate.read_bytes())
    before = fleet.revocations.path.read_bytes()
    done = replaced(fleet)
    fleet.revocations.ensure()
    above = fleet.root_revocations(PASSPHRASE).path
    theirs = fleet.workspace.write("old-crl.pem", before)
    assert verdict(fleet, old, done.archive / "intermediate.crt", [above, theirs]) == (23, 1)
    assert verdict(
        fleet, fleet.device("sensor-001").certificate, fleet.intermediate, [above, fleet.revocations.path]
    ) == (0, 0)


def verdict(store: Store, leaf: Path, intermediate: Path, crls: list[Path]) -> tuple[int, int]:
    """Return what openssl verify -crl_check_all says, and where."""
    found = openssl.verify(
        leaf, trust=store.trust_anchor, untrusted=intermediate, crls=crls, whole_chain=True
    )
    return found.code, found.depth


@pytest.mark.broker
def test_the_broker_turns_the_old_one_away(fleet: Store, mosquitto: Mosquitto) -> None:
    """After a restart the thief's certificate is unknown, and the device is in with its old key."""
    thief = fleet.save_intruder("thief", fleet.authority().issue_device("sensor-001", renew=True))
    with mutual_tls(fleet) as site:
        assert site.attempt(thief).accepted
    replaced(fleet)
    with mutual_tls(fleet) as site:
        outcome = site.attempt(thief)
        assert ("tls", "unknown-ca") == (outcome.stage, outcome.reason)
        assert site.publish("sensor-001", "devices/sensor-001/status", "ok").accepted


@pytest.mark.parametrize("fault", ["passphrase", "device", "disk"])
def test_a_fault_leaves_the_old_one_at_work(
    fleet: Store, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong passphrase or a damaged device changes nothing; on a full disk it can be run again."""
    if fault == "device":
        fleet.device("sensor-002").certificate.write_text("junk")
    before = snapshot(fleet.workspace.root)
    wanted = {"passphrase": PassphraseError, "device": WorkspaceCorruptError, "disk": DiskFullError}[fault]

    def full(*_: object) -> None:
        raise DiskFullError("full", advice="", path=fleet.trust_anchor)

    with monkeypatch.context() as patched, pytest.raises(wanted):
        if fault == "disk":
            patched.setattr(rollover, "write_together", full)
        replace_intermediate(
            fleet, passphrase=b"wrong" if fault == "passphrase" else PASSPHRASE, now=SYSTEM_CLOCK.now()
        )
    if fault == "disk":
        assert fleet.names.intermediate == "IoT Labs Device CA"
        assert fleet.certificate("sensor-666").serial_number in fleet.revocations.ensure()
        again = replaced(fleet)
        assert (("admin", "sensor-001", "sensor-002"), ("sensor-666",)) == (again.reissued, again.skipped)
    else:
        assert before == snapshot(fleet.workspace.root)


def test_expired_devices_are_left_behind(fleet: Store) -> None:
    """A year later nothing is valid any more, and nothing is issued again."""
    later = SYSTEM_CLOCK.now() + dt.timedelta(days=400)
    done = replace_intermediate(fleet, passphrase=PASSPHRASE, now=later, name="Second CA")
    assert ((), "Second CA") == (done.reissued, fleet.names.intermediate)


def test_numbers_go_on(fleet: Store) -> None:
    """The third is called the third."""
    replaced(fleet)
    assert replaced(fleet).successor.name == "IoT Labs Device CA 3"
