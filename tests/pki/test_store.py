"""labkit.pki.store: an authority on disk."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.clock import FixedClock
from labkit.errors import (
    AlreadyIssuedError,
    AuthorityMissingError,
    IssuanceRefusedError,
    NameRefusedError,
    NotIssuedError,
    PassphraseError,
    WorkspaceCorruptError,
)
from labkit.pki import Key, Names, Store, describe
from labkit.workspace import Workspace


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes, lock files aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


def test_layout_is_the_syllabus(store: Store) -> None:
    """The folders and files are those that the syllabus prints."""
    store.issue_device("sensor-001")
    made = {str(p.relative_to(store.workspace.root)) for p in store.workspace.files()}
    assert made >= {
        "root/ca.key", "root/ca.crt", "intermediate/intermediate.key", "intermediate/intermediate.crt",
        "server/broker.key", "server/broker.crt", "server/broker-fullchain.crt",
        "devices/sensor-001.key", "devices/sensor-001.crt", "ledger.jsonl",
    }  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_private_keys_are_for_their_owner_alone(store: Store) -> None:
    """Every private key is 0600, single or in bulk, and the root's is encrypted."""
    store.issue_device("sensor-001")
    store.issue_devices(["d-1", "d-2"])
    keys = [path for path in store.workspace.files() if path.suffix == ".key"]
    assert len(keys) == 6
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in keys}
    assert b"ENCRYPTED" in (store.workspace.root / "root/ca.key").read_bytes()
    assert not (store.workspace.root / "root/passphrase").exists()


def test_second_authority_is_refused(store: Store) -> None:
    """An authority that exists is not overwritten."""
    before = snapshot(store.workspace.root)
    with pytest.raises(IssuanceRefusedError) as caught:
        store.create(passphrase=b"other")
    assert caught.value.rule == "authority-exists"
    assert before == snapshot(store.workspace.root)


def test_empty_passphrase_is_refused(workspace: Workspace) -> None:
    """Without a passphrase no root is made."""
    with pytest.raises(PassphraseError):
        Store(workspace).create(passphrase=b"")
    assert workspace.files() == []


def test_root_opens_with_its_passphrase_only(store: Store) -> None:
    """A wrong passphrase is one clear error; the right one gives the root."""
    with pytest.raises(PassphraseError) as caught:
        store.root(b"wrong")
    assert caught.value.path.name == "ca.key"
    assert store.root(b"correct horse").is_root


def test_reloaded_authority_goes_on(store: Store) -> None:
    """An authority read from disk issues like the one that was made."""
    again = Store(Workspace.open(store.workspace.root))
    assert again.authority().path_length == 0
    assert again.issue_device("sensor-001").certificate.exists()
    assert again.names == Names()


def test_issue_renew_and_refuse(store: Store) -> None:
    """An id is issued once; again only to renew; and a refusal changes nothing on disk."""
    first = store.issue_device("sensor-001").certificate.read_bytes()
    before = snapshot(store.workspace.root)
    with pytest.raises(AlreadyIssuedError):
        store.issue_device("sensor-001")
    with pytest.raises(NameRefusedError):
        store.issue_device("../../escaped")
    assert before == snapshot(store.workspace.root)
    assert first != store.issue_device("sensor-001", renew=True).certificate.read_bytes()


def test_unknown_device_and_missing_authority(workspace: Workspace) -> None:
    """What is not there is named with the command that makes it."""
    store = Store(workspace)
    with pytest.raises(AuthorityMissingError) as missing:
        store.authority()
    assert "ca init" in missing.value.advice
    with pytest.raises(NotIssuedError) as unknown:
        store.device("sensor-001")
    assert "ca issue sensor-001" in unknown.value.advice


@pytest.mark.parametrize("damage", [b"", b"not a certificate", b"\0" * 100])
@pytest.mark.parametrize("name", ["intermediate/intermediate.crt", "intermediate/intermediate.key"])
def test_damaged_files_are_named_and_left(store: Store, name: str, damage: bytes) -> None:
    """A damaged file is named, nothing is issued, and nothing else changes."""
    path = store.workspace.root / name
    path.write_bytes(damage)
    before = snapshot(store.workspace.root)
    with pytest.raises(WorkspaceCorruptError) as caught:
        store.issue_device("sensor-001")
    assert path == caught.value.path
    assert before == snapshot(store.workspace.root)


def test_foreign_key_is_noticed(store: Store) -> None:
    """A key that does not belong to the certificate is damage, not an authority."""
    path = store.workspace.root / "intermediate/intermediate.key"
    path.write_bytes(Key.generate().pem())
    with pytest.raises(WorkspaceCorruptError, match="does not belong"):
        store.authority()


def test_torn_last_line_is_cut_off(store: Store) -> None:
    """A line that a crash left half-written was never handed out, and goes."""
    ledger = store.workspace.root / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"serial": "12')
    again = Store(store.workspace)
    assert len(again.ledger.entries()) == 3
    again.issue_device("sensor-001")
    lines = ledger.read_bytes().splitlines()
    assert whole.splitlines() == lines[:3]
    assert json.loads(lines[3])["name"] == "sensor-001"


@pytest.mark.parametrize("line", [b"garbage", b"{}", b"[]", b'{"serial": 1}', b"\xff\xfe"])
def test_damaged_ledger_is_named_by_its_line(store: Store, line: bytes) -> None:
    """A damaged line is named by number, and is left for somebody to look at."""
    ledger = store.workspace.root / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines()
    ledger.write_bytes(b"\n".join([lines[0], line, *lines[1:]]) + b"\n")
    before = ledger.read_bytes()
    with pytest.raises(WorkspaceCorruptError, match="line 2"):
        Store(store.workspace).issue_device("sensor-001")
    assert before == ledger.read_bytes()


def test_two_processes_lose_nothing(store: Store) -> None:
    """Two processes that issue at once end with every certificate on record, and one winner an id."""
    program = (
        "import sys; from labkit.pki import Store; from labkit.workspace import Workspace\n"
        "from labkit.errors import AlreadyIssuedError\n"
        "store = Store(Workspace.open(sys.argv[1])); won = 0\n"
        "for n in range(25):\n"
        "    try: store.issue_device(f'd-{n}'); won += 1\n"
        "    except AlreadyIssuedError: pass\n"
        "print(won)"
    )
    argv = [sys.executable, "-c", program, str(store.workspace.root)]
    racers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    won = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(won) == 25
    entries = store.ledger.entries()
    assert len({entry.serial for entry in entries}) == len(entries) == 28


def test_identity_is_there_or_made(store: Store) -> None:
    """Asking for an identity issues it once, for devices and operators."""
    first = store.identity("sensor-001").certificate.read_bytes()
    assert first == store.identity("sensor-001").certificate.read_bytes()
    assert describe(store.certificate(store.identity("admin").name)).name == "admin"


def test_identity_survives_lost_files(store: Store) -> None:
    """An id on record whose files are gone, as after a crash, is issued anew."""
    store.identity("sensor-001").certificate.unlink()
    assert store.identity("sensor-001").certificate.exists()
    assert [e.name for e in store.ledger.entries()].count("sensor-001") == 2


def test_what_has_run_out_is_renewed(workspace: Workspace) -> None:
    """A year later a lesson still runs: broker and device get new certificates."""
    clock = FixedClock(dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    store = Store(workspace, clock=clock)
    store.ensure_authority()
    old = store.identity("sensor-001").certificate.read_bytes()
    clock.advance(dt.timedelta(days=400))
    store.ensure_authority()
    assert old != store.identity("sensor-001").certificate.read_bytes()
    assert store.certificate("broker").not_valid_after_utc > clock.now()


def test_bulk_writes_two_files_a_device(store: Store) -> None:
    """A batch leaves a key and a certificate a device, reports progress, and renews over old files."""
    seen: list[int] = []
    assert store.issue_devices((f"d-{n}" for n in range(20)), progress=seen.append) == 20
    assert seen == list(range(1, 21))
    old = store.device("d-7").certificate.read_bytes()
    store.issue_devices(["d-7"], renew=True)
    assert old != store.device("d-7").certificate.read_bytes()
    assert len(list((store.workspace.root / "devices").iterdir())) == 40


def test_tree_shows_who_signed_whom(store: Store) -> None:
    """The tree hangs leaves below the authority whose key signed them."""
    store.issue_device("sensor-001")
    (root,) = store.tree()
    (middle,) = root.below
    assert (root.certificate.role, middle.certificate.role) == ("root", "intermediate")
    assert {"server", "device"} == {leaf.certificate.role for leaf in middle.below}


def test_intruders_have_a_folder_of_their_own(store: Store) -> None:
    """What an intruder made is stored apart, under a label that can't lead elsewhere."""
    issued = store.authority().issue_device("sensor-001")
    assert store.save_intruder("impostor", issued).certificate.parent.name == "intruders"
    with pytest.raises(ValueError, match="label"):
        store.save_intruder("../impostor", issued)


def test_files_say_little_of_themselves(store: Store) -> None:
    """The repr of an identity shows names and no place of this machine."""
    assert repr(store.issue_device("sensor-001")) == "<sensor-001: devices/sensor-001.crt, devices/sensor-001.key>"


@pytest.mark.slow
def test_the_syllabus_in_rsa(workspace: Workspace) -> None:
    """--rsa gives RSA-4096 above and RSA-2048 below, and the devices stay P-256."""
    store = Store(workspace)
    store.create(passphrase=b"x", rsa=True)
    store.issue_device("sensor-001")
    kinds = [describe(store.certificate(name)).key for name in ("root", "intermediate", "broker", "sensor-001")]
    assert kinds == ["rsa4096", "rsa2048", "rsa2048", "p256"]
