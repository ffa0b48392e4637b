"""labkit.pki.store: an authority on disk."""

from __future__ import annotations

import datetime as dt
import errno
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from labkit.clock import FixedClock
from labkit.errors import (
    AlreadyIssuedError,
    AuthorityMissingError,
    DiskFullError,
    IssuanceRefusedError,
    NameRefusedError,
    NotIssuedError,
    PassphraseError,
    WorkspaceCorruptError,
)
from labkit.pki import Key, Names, Store, describe, identities
from labkit.pki.identities import verify_pair
from labkit.pki.keys import fingerprint
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CAS = ("IoT Labs Root CA", "IoT Labs Device CA", "localhost")


class CutOff:
    """The os module, until it has answered so many calls that change a file; then it is as if Ctrl-C came."""

    def __init__(self, left: Iterator[int]) -> None:
        self._left = left

    def __getattr__(self, name: str) -> Any:
        if name in {"open", "write", "replace"} and next(self._left, None) is None:
            raise KeyboardInterrupt
        return getattr(os, name)


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
    assert (
        repr(store.issue_device("sensor-001"))
        == "<sensor-001: devices/sensor-001.crt, devices/sensor-001.key>"
    )


@pytest.mark.slow
def test_the_syllabus_in_rsa(workspace: Workspace) -> None:
    """--rsa gives RSA-4096 above and RSA-2048 below, and the devices stay P-256."""
    store = Store(workspace)
    store.create(passphrase=b"x", rsa=True)
    store.issue_device("sensor-001")
    kinds = [
        describe(store.certificate(name)).key for name in ("root", "intermediate", "broker", "sensor-001")
    ]
    assert kinds == ["rsa4096", "rsa2048", "rsa2048", "p256"]


def test_cut_off_creation_is_made_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file the creation was cut off at, it can be repeated, and what stands then fits together."""
    real = Workspace.write
    for survivors in range(8):
        left = iter(range(survivors))

        def cut(self: Workspace, *args: Any, left: Iterator[int] = left, **options: Any) -> Path:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(self, *args, **options)

        monkeypatch.setattr(Workspace, "write", cut)
        with pytest.raises(KeyboardInterrupt):
            Store(workspace).create(passphrase=b"x")
    monkeypatch.undo()
    store = Store(workspace)
    store.create(passphrase=b"x")
    assert store.root(b"x").path_length is None
    assert store.issue_device("sensor-001").certificate.exists()
    assert store.certificate("broker") == verify_pair(store.server())


def test_two_creations_make_one_authority(workspace: Workspace) -> None:
    """Of two processes that make an authority at once, one is refused, and nothing is mixed."""
    program = (
        "import sys; from labkit.pki import Store; from labkit.workspace import Workspace\n"
        "from labkit.errors import IssuanceRefusedError\n"
        "try: Store(Workspace.open(sys.argv[1])).create(passphrase=b'x'); print('made')\n"
        "except IssuanceRefusedError as error: print(error.rule)"
    )
    argv = [sys.executable, "-c", program, str(workspace.root)]
    racers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(racer.communicate(timeout=60)[0].strip() for racer in racers)
    assert said == ["authority-exists", "authority-exists", "made"]
    assert len(Store(workspace).ledger.entries()) == 3
    assert Store(workspace).root(b"x").key.fingerprint


def test_lost_broker_certificate_orphans_nobody(store: Store) -> None:
    """Without the broker's certificate, devices that are on record keep their authority; a lesson heals it."""
    store.issue_device("sensor-001")
    store.server().certificate.unlink()
    root = store.trust_anchor.read_bytes()
    with pytest.raises(IssuanceRefusedError) as caught:
        store.create(passphrase=b"other")
    assert caught.value.rule == "authority-exists"
    store.ensure_authority()
    assert store.exists
    assert root == store.trust_anchor.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX matter")
def test_killed_bulk_leaves_whole_identities(store: Store) -> None:
    """After SIGKILL in the middle of a fleet, every certificate is whole, has its key and is on record."""
    program = (
        "import itertools, sys; from labkit.pki import Store; from labkit.workspace import Workspace\n"
        "names = (f'd-{n}' for n in itertools.count())\n"
        "Store(Workspace.open(sys.argv[1])).issue_devices(names, progress=lambda n: print(n, flush=True))"
    )
    argv = [sys.executable, "-c", program, str(store.workspace.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        next(line for line in child.stdout if int(line) > 700)
        child.send_signal(signal.SIGKILL)
    known = {entry.name: entry.key for entry in store.ledger.entries()}
    for name in store.devices():
        assert known[name] == fingerprint(verify_pair(store.device(name)).public_key())  # type: ignore[arg-type]
    assert len(store.devices()) > 700
    store.issue_devices(known.keys() - {*store.devices(), *CAS}, renew=True)
    assert known.keys() - {*CAS} == set(store.devices())


def test_interrupted_bulk_goes_on_with_renew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off at any system call, a batch leaves no half identity, and renewing it completes it."""
    for survivors in range(10):  # open and write a key, open and write and rename a certificate; twice
        fleet = [f"d-{survivors}-1", f"d-{survivors}-2"]
        monkeypatch.setattr(identities, "os", CutOff(iter(range(survivors))))
        with pytest.raises(KeyboardInterrupt):
            store.issue_devices(fleet)
        monkeypatch.undo()
        for name in store.devices():
            assert store.device(name).certificate.read_bytes().endswith(b"-----END CERTIFICATE-----\n")
        assert not [p for p in store.workspace.files() if p.suffix == ".key" and not p.read_bytes()]
        assert store.issue_devices(fleet, renew=True) == 2
        assert all(verify_pair(store.device(name)) for name in fleet)


def test_full_disk_hands_nothing_out(store: Store) -> None:
    """A disk that fills up in the middle of the ledger's line leaves the ledger as it was."""
    pytest.importorskip("resource")
    program = (
        "import resource, signal, sys; from labkit.errors import DiskFullError; from labkit.pki import Store\n"
        "from labkit.workspace import Workspace; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = Store(Workspace.open(sys.argv[1])); full = int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))\n"
        "try: store.issue_device('sensor-001')\n"
        "except DiskFullError: sys.exit(42)"
    )
    before = snapshot(store.workspace.root)
    full = len(before["ledger.jsonl"]) + 100
    argv = [sys.executable, "-c", program, str(store.workspace.root), str(full)]
    assert subprocess.run(argv, check=False).returncode == 42
    assert before == snapshot(store.workspace.root)
    assert store.issue_device("sensor-001").certificate.exists()


def test_foreign_pair_is_noticed(store: Store) -> None:
    """A key that is not the certificate's is damage; the advice renews the name, and that mends it."""
    files = store.identity("sensor-001")
    files.key.write_bytes(Key.generate().pem())
    with pytest.raises(WorkspaceCorruptError) as caught:
        store.identity("sensor-001")
    assert "labkit ca issue sensor-001 --renew" in caught.value.advice
    store.issue_device("sensor-001", renew=True)
    assert files == store.identity("sensor-001")


def test_leaf_in_the_authoritys_place_is_damage(store: Store) -> None:
    """A device's certificate in the place of the authority's makes no authority."""
    device = store.issue_device("sensor-001")
    path = store.intermediate
    path.write_bytes(device.certificate.read_bytes())
    with pytest.raises(WorkspaceCorruptError) as caught:
        store.authority()
    assert path == caught.value.path


def test_flipped_bits_in_the_authority_are_noticed(store: Store) -> None:
    """Whichever byte of the authority's file is damaged, it is refused, or the certificate is still the same."""
    path, true = store.intermediate, store.certificate("intermediate")
    good = path.read_bytes()
    refused = 0
    for position in range(0, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        try:
            assert true == store.authority().certificate  # a line feed, say, that became another blank
        except WorkspaceCorruptError as error:
            assert path == error.path
            refused += 1
    assert refused > 0.9 * len(good) / 7
    path.write_bytes(good)
    assert store.issue_device("sensor-001").certificate.exists()


def test_operators_are_issued_and_renewed(store: Store) -> None:
    """An operator's identity lies beside the devices', and follows the same rules."""
    first = store.issue_operator("admin").certificate.read_bytes()
    with pytest.raises(AlreadyIssuedError):
        store.issue_operator("admin")
    assert first != store.issue_operator("admin", renew=True).certificate.read_bytes()


def test_pair_with_a_foreign_kind_of_key_is_damage(store: Store) -> None:
    """A certificate over a key that policy refuses belongs to no key of ours."""
    files = store.issue_device("sensor-001")
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([])
    born = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, born, born + dt.timedelta(days=1))
    files.certificate.write_bytes(builder.sign(key, None).public_bytes(serialization.Encoding.PEM))
    with pytest.raises(WorkspaceCorruptError, match="not the key of"):
        verify_pair(files)


def test_a_full_disk_leaves_the_old_identity(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a renewal finds no space, the old key and certificate stay together, and the advice says how to go on."""
    files = store.issue_device("sensor-001")
    before = (files.key.read_bytes(), files.certificate.read_bytes())
    from labkit import workspace as module

    real, calls = module._write_beside, iter((True, False))

    def full(*words: Any, **options: Any) -> str:
        if next(calls):
            return real(*words, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_write_beside", full)
    with pytest.raises(DiskFullError) as caught:
        store.issue_device("sensor-001", renew=True)
    assert "labkit ca issue sensor-001 --renew" in caught.value.advice
    assert before == (files.key.read_bytes(), files.certificate.read_bytes())
    assert sorted(path.name for path in files.key.parent.iterdir()) == ["sensor-001.crt", "sensor-001.key"]
