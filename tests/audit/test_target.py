"""Targets: only what is ours is tried; what a target does not have is not applicable, what it can't show fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from labkit.audit import ITEMS, Target, Tool, Verdict, audit, verify_ours
from labkit.audit.shelf import save
from labkit.audit.workspaces import address_target, board_target, flash_target, workspace_target
from labkit.board.board_files import BoardFiles
from labkit.board.chips import find_chip
from labkit.devices import new_token
from labkit.errors import BrokerNotRunningError, ItemUnknownError, TargetRefusedError
from labkit.firmware.update import KeySigner, Version, sign_update
from labkit.mqtt import Endpoint, Identity
from labkit.scenarios import Site, mutual_tls

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.pki import Store


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_is_ours(host: str) -> None:
    """Loopback needs no word of anybody."""
    verify_ours(host)


@pytest.mark.parametrize(
    ("host", "owned"),
    [
        ("192.0.2.1", ""),
        ("192.0.2.1", "192.0.2.2"),
        ("example.org", ""),
        ("127.0.0.1.example.org", ""),
    ],
)
def test_others_are_left_alone(host: str, owned: str) -> None:
    """Any other address is refused, unless it was named word for word."""
    with pytest.raises(TargetRefusedError) as refused:
        verify_ours(host, owned=owned)
    assert host == refused.value.host
    verify_ours(host, owned=host)  # the control


def test_nothing_is_tried_before_the_address_is_verified(tmp_path: Path) -> None:
    """An audit of somebody else's door, service or tool ends before a single packet is sent."""
    there = Endpoint("192.0.2.1", 8883)
    for target in (
        Target(title="x", parts=frozenset({"door"}), doors=(there,)),
        Target(title="x", parts=frozenset({"service"}), service=there),
        Target(title="x", parts=frozenset({"tools"}), tools=(Tool("x", "http://192.0.2.1:80", ("/",)),)),
    ):
        with pytest.raises(TargetRefusedError) as refused:
            audit(target)
        assert "192.0.2.1" == refused.value.host


def test_parts_decide_what_applies() -> None:
    """A target without parts has nothing to judge; one with a part and nothing to show for it fails those items."""
    empty = audit(Target(title="nothing", parts=frozenset()))
    assert {Verdict.NOT_APPLICABLE} == {judged.verdict for judged in empty.judged}
    for part in ("door", "registry", "board", "updates", "network", "monitoring", "documents"):
        report = audit(Target(title=part, parts=frozenset({part})))
        concerned = {item.id for item in ITEMS if part in item.scope}
        assert concerned == set(report.failed()), part


def test_a_part_must_exist() -> None:
    """A part that nobody has heard of is a mistake of whoever wrote it."""
    with pytest.raises(ValueError, match="no part magic"):
        Target(title="x", parts=frozenset({"magic"}))


def test_an_item_must_exist() -> None:
    """An item that is not on the checklist is refused, with those that are."""
    with pytest.raises(ItemUnknownError) as refused:
        audit(Target(title="x", parts=frozenset()), items=["communication-9"])
    assert ("communication-9", True) == (refused.value.item, "communication-1" in refused.value.advice)


@pytest.mark.broker
def test_a_broker_at_an_address(site: Site) -> None:
    """A broker that is known by its address alone is audited at its door, and at its door only."""
    files = site.identity("sensor-001")
    target = address_target(
        site.host, site.port, trust=site.trust, device=Identity(files.certificate, files.key)
    )
    report = audit(target)
    assert () == report.failed()
    judged = {each.item.id for each in report.judged if each.verdict is Verdict.PASS}
    assert {"communication-1", "communication-2", "communication-3", "communication-4", "access-2"} == judged


@pytest.mark.broker
def test_the_workspaces_own_plant(mosquitto: Mosquitto, store: Store) -> None:
    """The workspace's broker is audited with its certificates; without a broker there is nothing to audit."""
    store.issue_devices(["sensor-001", "sensor-002"])
    store.issue_operator("admin")
    with pytest.raises(BrokerNotRunningError):
        workspace_target(store)
    store.revocations.ensure()
    with mutual_tls(store, crlfile=store.revocations.path):
        report = audit(workspace_target(store))
    # A plant without a registry fails for that; boards and papers it does not pretend to have.
    assert ("communication-6", "identity-4", "access-4", "monitoring-3") == report.failed()
    assert Verdict.NOT_APPLICABLE == report["monitoring-4"].verdict
    assert Verdict.PASS == report["access-1"].verdict
    assert save(store.workspace, report).is_file()


def test_a_board_fresh_from_the_maker_fails(tmp_path: Path) -> None:
    """A new virtual board has nothing burnt: its items about the chip fail, those about plants don't apply."""
    folder = tmp_path / "board"
    BoardFiles(folder).create(find_chip("esp32c3"))
    report = audit(board_target(folder))
    assert {"firmware-1", "firmware-2", "firmware-4", "firmware-5"} <= set(report.failed())
    assert Verdict.NOT_APPLICABLE == report["communication-1"].verdict
    assert any("SECURE_BOOT_EN" in each.what for each in report["firmware-1"].faults)


def test_updates_with_a_signed_header(tmp_path: Path) -> None:
    """An update with the course's signed header passes with its key; another key, another byte and no key fail."""
    private, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    keys = [tmp_path / "ours.pem", tmp_path / "theirs.pem"]
    for path, key in zip(keys, (private, stranger), strict=True):
        path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signer, version = KeySigner(private), Version.parse("1.4.0")
    good = sign_update(bytes(2000), product="sensor-node", version=version, signer=signer)
    folder = tmp_path / "updates"
    folder.mkdir()

    def judged(data: bytes, *trusted: Path) -> tuple[Verdict, str]:
        (folder / "update.upd").write_bytes(data)
        target = Target(title="x", parts=frozenset({"updates"}), updates=folder, signing_keys=trusted)
        found = audit(target, items=["firmware-3"])["firmware-3"]
        return found.verdict, found.evidence[0].what

    assert (Verdict.PASS, "version 1.4.0 of sensor-node is signed") == judged(good, keys[0])
    for data, key, why in (
        (good, keys[1], "key-unknown"),
        (good[:-1] + b"x", keys[0], "image-digest"),
        (good[:150] + bytes([good[150] ^ 1]) + good[151:], keys[0], "signature-wrong"),
        (good[:20], keys[0], "header-short"),
    ):
        verdict, told = judged(data, key)
        assert (Verdict.FAIL, True) == (verdict, why in told), told


def test_a_dump_is_a_target(tmp_path: Path) -> None:
    """An image with a token in it fails, and the report does not show the token."""
    token = new_token()
    image = tmp_path / "firmware.bin"
    image.write_bytes(b"\xe9" + b"\0" * 100 + token.encode() + b"\0" * 100)
    report = audit(flash_target(image))
    assert "identity-3" in report.failed()
    assert token not in str(report)
    image.write_bytes(b"\xe9" + b"\0" * 300)
    assert "identity-3" not in audit(flash_target(image)).failed()
