"""Replace an intermediate that was stolen: its devices keep their keys and their trust anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.pki.csr import Request
from labkit.pki.identities import verify_pair
from labkit.pki.keys import check_policy
from labkit.pki.ledger import Entry, MemoryLedger
from labkit.pki.names import OPERATORS
from labkit.pki.profiles import INTERMEDIATE
from labkit.pki.register import LIST, REGISTER
from labkit.pki.revocation import Reason
from labkit.workspace import write_together

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from labkit.pki.authority import Authority, Issued
    from labkit.pki.store import Store


@dataclass(frozen=True, slots=True)
class Rollover:
    """What became of an intermediate that was replaced.

    Attributes:
        retired: Its certificate, on the root's revocation list now.
        successor: The one that signs from now on.
        reissued: Devices and operators who have a new certificate over the key that they had.
        skipped: Those who have none, because the old one was revoked or has run out.
        archive: Where the old certificate, its list and its register are kept.
    """

    retired: x509.Certificate
    successor: Authority
    reissued: tuple[str, ...]
    skipped: tuple[str, ...]
    archive: Path


def replace_intermediate(
    store: Store,
    *,
    passphrase: bytes,
    now: dt.datetime,
    name: str | None = None,
    reason: Reason = Reason.CA_COMPROMISE,
) -> Rollover:
    """Revoke the intermediate, make another below the same root, and issue everything again.

    Keys of devices stay where they are: a certificate is public, so a new one over the old key can be sent to a device
    that nobody touches. The trust anchor of the devices is the root, so they believe the broker's new certificate.

    Args:
        store: The authority.
        passphrase: Opens the root's key.
        now: The time; certificates that have run out are not issued again.
        name: What the successor is called; the old name and the next number without it.
        reason: Why the old one goes.

    Returns:
        What was done. Restart the broker: Mosquitto reads `cafile` only when it starts.

    Raises:
        PassphraseError: The passphrase does not open the root's key; nothing has changed.
        WorkspaceCorruptError: A device's files are damaged; nothing has changed.
        DiskFullError, WorkspaceUnwritableError: The old one is revoked, and the new one may not be there yet: run it
            again.

    Does not check: that anybody still believes the old intermediate. Mosquitto looks up leaves only, see the lesson
    about revocation.
    """
    with store.workspace.transaction():
        old, root = store.authority(), store.root(passphrase)
        draft = MemoryLedger()
        root.ledger = draft
        successor = root.new_intermediate(name or _next_name(old.name))
        server = successor.issue_server(*_server_names(store.certificate("broker")))
        reissued, skipped = _reissue(store, successor, now)
        public = check_policy(old.certificate.public_key())
        entry = Entry.of(old.certificate, public, name=old.name, profile=INTERMEDIATE.name, issuer=root.name)
        above, serial = store.root_revocations(passphrase), f"{old.certificate.serial_number:x}"
        if serial not in above.revoked():
            above.revoke_entries([entry], reason)
        store.ledger.record(draft.entries(), now=now, renew=True)
        archive = _archive(store, old)
        write_together(_files(store, root, successor, server, reissued))
        # Last of all: while the old one is at work, so is its list. Its serial numbers mean nothing to the successor.
        for name_of_old in (LIST, REGISTER):
            store.workspace.path("intermediate", name_of_old).unlink(missing_ok=True)
    names = tuple(issued.name for issued in reissued)
    return Rollover(old.certificate, store.authority(), names, skipped, archive)


def _next_name(name: str) -> str:
    stem, _, number = name.rpartition(" ")
    return f"{stem} {int(number) + 1}" if number.isdigit() and stem else f"{name} 2"


def _server_names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return list(names.get_values_for_type(x509.DNSName)), addresses


def _reissue(store: Store, successor: Authority, now: dt.datetime) -> tuple[list[Issued], tuple[str, ...]]:
    revoked = store.revocations.revoked()
    reissued, skipped = [], []
    for name in store.devices():
        certificate = verify_pair(store.device(name))
        if certificate.not_valid_after_utc <= now or f"{certificate.serial_number:x}" in revoked:
            skipped.append(name)
            continue
        # Proof of possession was given when the old certificate was issued over this key.
        request = Request(check_policy(certificate.public_key()), ())
        issue = successor.issue_operator if name in OPERATORS else successor.issue_device
        reissued.append(issue(name, request=request))
    return reissued, tuple(skipped)


def _archive(store: Store, old: Authority) -> Path:
    folder = f"intermediate/retired/{old.certificate.serial_number:x}"
    store.workspace.write(f"{folder}/intermediate.crt", _pem(old.certificate))
    for name in (LIST, REGISTER):
        path = store.workspace.path("intermediate", name)
        if path.exists():
            store.workspace.write(f"{folder}/{name}", path.read_bytes())
    return store.workspace.path(folder)


def _files(
    store: Store, root: Authority, successor: Authority, server: Issued, reissued: list[Issued]
) -> list[tuple[Path, bytes, bool]]:
    path = store.workspace.path
    own = _pem(successor.certificate)
    files = [
        (path("intermediate/intermediate.key"), successor.key.pem(), True),
        (path("intermediate/intermediate.crt"), own, False),
        (path("intermediate/trust-bundle.crt"), own + _pem(root.certificate), False),
        (path("server/broker.key"), server.key_pem, True),
        (path("server/broker-fullchain.crt"), server.chain_pem, False),
        (path("server/broker.crt"), server.certificate_pem, False),
    ]
    return files + [(store.device(each.name).certificate, each.certificate_pem, False) for each in reissued]


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
