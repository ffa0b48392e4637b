"""A sound plant passes every item; each fault is found by the items that must find it, and by no others."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.audit import ITEMS, Report, Target, Verdict, audit, compare
from labkit.audit.markdown import markdown
from labkit.audit.page import page
from labkit.broker import Acl, Rule
from labkit.firmware.partitions import COURSE_TABLE
from labkit.pki import Authority
from labkit.ports import reserve_port
from labkit.scenarios.audited_plant import Plant, audited_plant
from labkit.scenarios.plant_faults import FAULTS, MISTAKES, choose_faults, expected_failures, possible
from labkit.scenarios.plant_history import IN_SERVICE
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.broker import BrokerConfig, Mosquitto

pytestmark = [pytest.mark.broker, pytest.mark.tool]


@pytest.fixture(scope="module")
def plant(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Return a sound plant that the module's tests share; faults are planted in it and taken out again."""
    with audited_plant(Workspace.open(tmp_path_factory.mktemp("plant") / "w")) as running:
        yield running


@pytest.fixture(scope="module")
def sound(plant: Plant) -> Report:
    """Return the audit of the sound plant."""
    return audit(plant.target)


@pytest.mark.parametrize("item", [item.id for item in ITEMS])
def test_a_sound_plant_passes(sound: Report, item: str) -> None:
    """The sound plant passes, with evidence; what only a person can say is left to one."""
    judged = sound[item]
    assert (Verdict.PERSON if judged.item.person else Verdict.PASS) == judged.verdict, judged.faults
    assert judged.evidence
    assert all(each.what and each.source for each in judged.evidence)


def first_of(item: str) -> str:
    """Return the fault that stands for an item: the first one that fails it and as little else as possible."""
    fitting = [fault for fault in FAULTS.values() if item in fault.items]
    return min(fitting, key=lambda fault: len(fault.items)).name


CASES = [(item.id, first_of(item.id)) for item in ITEMS]
OTHERS = sorted(FAULTS.keys() - {name for _, name in CASES})


@pytest.mark.parametrize(("item", "name"), CASES)
def test_a_fault_fails_its_item(plant: Plant, sound: Report, item: str, name: str) -> None:
    """With one fault planted its items fail, with evidence; with it taken out again they are as before."""
    check_fault(plant, sound, name)
    assert item in FAULTS[name].items


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_forms_of_a_fault_fail_it_too(plant: Plant, sound: Report, name: str) -> None:
    """What can be wrong in several ways is found in each of them."""
    check_fault(plant, sound, name)


def check_fault(plant: Plant, sound: Report, name: str) -> None:
    """Plant a fault, audit its items, and take it out again."""
    items = sorted(FAULTS[name].items)
    plant.plant({name})
    try:
        report = audit(plant.target, items=items)
    finally:
        plant.plant(())
    assert items == sorted(report.failed())
    for judged in report.judged:
        assert judged.faults
        assert {each.what for each in judged.faults}.isdisjoint(
            e.what for e in sound[judged.item.id].evidence
        )


def test_every_item_can_fail(plant: Plant) -> None:
    """There is a fault for each of the 27 items."""
    assert {item.id for item in ITEMS} == {item for fault in FAULTS.values() for item in fault.items}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_weak_plant_is_seen_through(plant: Plant, seed: int) -> None:
    """Whatever the seed plants is found, and nothing else is reported."""
    faults = choose_faults(seed)
    plant.plant(faults)
    try:
        report = audit(plant.target)
    finally:
        plant.plant(())
    assert expected_failures(faults) == set(report.failed())
    assert set(MISTAKES) == set(report.mistakes())


def test_choices_of_faults_are_possible() -> None:
    """Each seed chooses all six mistakes and seven other faults, of which none hides another; all have their turn."""
    had: set[str] = set()
    for seed in range(300):
        faults = choose_faults(seed)
        assert possible(faults)
        assert 13 == len(faults)
        assert all(faults & set(forms) for forms in MISTAKES.values())
        had |= faults
    # Of a flash that can be read, the mistake old-firmware is the one form that a weak plant always has.
    assert FAULTS.keys() - had == {"plain-flash", "stranger-app"}


def test_mending_shows(plant: Plant, sound: Report) -> None:
    """A comparison names what was mended, what was broken, and what is as it was."""
    items = ["access-2", "access-3", "communication-1"]
    plant.plant({"default-password"})
    before = audit(plant.target, items=items)
    plant.plant({"open-flows"})
    after = audit(plant.target, items=items)
    plant.plant(())
    found = {change.item.id: change.kind for change in compare(before, after)}
    assert {"communication-1": "same", "access-2": "mended", "access-3": "broken"} == found


def test_ciphertext_that_looks_like_an_image_is_none(plant: Plant) -> None:
    """The first byte of an encrypted application is sometimes that of an image; this is no reason to call it unsigned."""
    path = plant.boards[0].flash
    good = path.read_bytes()
    place = COURSE_TABLE.find("ota_0")
    assert place is not None
    path.write_bytes(good[: place.offset] + b"\xe9" + good[place.offset + 1 :])
    try:
        report = audit(plant.target, items=["firmware-1", "firmware-2"])
    finally:
        path.write_bytes(good)
    assert () == report.failed()


def test_no_secret_is_in_a_report(plant: Plant) -> None:
    """A report of a plant full of readable secrets shows none of them: reports travel."""
    plant.plant({"plain-flash", "key-in-image", "password-in-image", "shared-token", "default-password"})
    try:
        report = audit(plant.target)
        told = json.dumps(report.to_json()) + page(report) + markdown(report)
        secret = plant.identity("sensor-001").key.read_text().splitlines()[1]
    finally:
        plant.plant(())
    assert {"identity-2", "identity-3", "firmware-2"} <= set(report.failed())
    assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|labtok_|hunter2", told)
    assert secret not in told


DAMAGED = {
    "flows.json": ("communication-1", "communication-3"),
    "images/application.bin": (),
    "boards/sensor-001-flash.bin": (),
    "boards/sensor-001-efuse.bin": ("firmware-1", "firmware-5"),
    "network/plan.json": ("network-1", "network-2", "network-3", "network-4"),
    "network/router.rules": ("network-2", "network-3", "network-4"),
    "alerts.json": ("monitoring-2",),
    "documents/incident-response.md": ("monitoring-4",),
    "updates/sensor-node-1.4.0.bin": ("firmware-3",),
    "updates/trusted-key.digest": ("firmware-3",),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00" * 50, b'{"a": ' * 5000], ids=["empty", "bytes", "deep"]
)
def test_damaged_artefacts_fail_and_raise_nothing(plant: Plant, name: str, data: bytes) -> None:
    """Whatever stands in a file, the audit comes to its end, and items that rest on the file fail."""
    path = plant.folder / name
    good = path.read_bytes()
    path.write_bytes(data)
    try:
        items = DAMAGED[name] or ("identity-3", "identity-1", "firmware-2", "firmware-4")
        report = audit(plant.target, items=items)
    finally:
        path.write_bytes(good)
    assert set(DAMAGED[name]) <= set(report.failed())


def broken(plant: Plant, item: str, config: BrokerConfig, acl: Acl | None = None) -> list[str]:
    """Return the faults that an item finds with another configuration or other rules, and take them back."""
    usual, rules = plant.config, plant.broker.acl
    plant.restart_broker(config, acl)
    try:
        return [each.what for each in audit(plant.target, items=[item])[item].faults]
    finally:
        plant.restart_broker(usual, rules)


def test_a_stranger_among_the_authorities_is_found(plant: Plant, tmp_path: Path) -> None:
    """A broker that believes an office's authority, too, fails, though it refuses every intruder of ours."""
    first = plant.config.listeners[0]
    assert first.cafile is not None
    office = Authority.new_root("Office VPN CA")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(first.cafile.read_bytes() + office.certificate.public_bytes(Encoding.PEM))
    config = replace(plant.config, listeners=(replace(first, cafile=bundle), *plant.config.listeners[1:]))
    found = broken(plant, "communication-4", config)
    assert (1, True) == (len(found), "Office VPN CA" in found[0])


def test_a_right_of_a_third_device_is_found(plant: Plant) -> None:
    """A rule for a device that no session is opened as fails the item, and names device and topic."""
    third = IN_SERVICE[2]
    wide = Acl((*plant.broker.acl.rules, Rule("write", "devices/+/commands/#", user=third)))
    found = broken(plant, "access-1", plant.config, wide)
    assert (True, {third}) == (bool(found), {what.split()[3] for what in found}), found


def test_a_second_door_without_a_list_is_found(plant: Plant) -> None:
    """A TLS door that goes by no revocation list fails, whatever list the first one has."""
    first = plant.config.listeners[0]
    with reserve_port() as port:
        second = replace(first, port=port, crlfile=None)
    found = broken(plant, "communication-4", replace(plant.config, listeners=(first, second)))
    assert {"goes by no revocation list", "lets a device that was revoked in"} == set(found)


def test_a_weak_key_hides_no_certificate(tmp_path: Path) -> None:
    """A certificate whose key we would never certify is in service all the same, and judged."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sensor-009")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(9).not_valid_before(now).not_valid_after(now + dt.timedelta(days=4000))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "sensor-009.crt").write_bytes(made.public_bytes(Encoding.PEM))
    report = audit(
        Target(title="x", parts=frozenset({"pki"}), certificates=(tmp_path,)), items=["communication-5"]
    )
    assert ["sensor-009 is valid for 4000 days"] == [each.what for each in report["communication-5"].faults]


def test_a_registry_that_is_none_fails(plant: Plant, tmp_path: Path) -> None:
    """A registry that is damaged or gone is no registry; nothing is made in its place."""
    path = tmp_path / "fleet.db"
    path.write_bytes(b"no database at all" * 100)
    items = ["communication-6", "identity-4", "access-4", "monitoring-3"]
    report = audit(replace(plant.target, registry=str(path)), items=items)
    assert items == list(report.failed())
    gone = tmp_path / "gone.db"
    assert items == list(audit(replace(plant.target, registry=str(gone)), items=items).failed())
    assert not gone.exists()


def test_a_plant_that_stands_still_fails(plant: Plant) -> None:
    """With the broker stopped nothing that is asked of it passes: no evidence is no pass."""
    plant.broker.stop()
    try:
        report = audit(
            plant.target, items=["communication-1", "communication-2", "communication-4", "access-1"]
        )
    finally:
        plant.broker.start()
    assert 4 == len(report.failed())
