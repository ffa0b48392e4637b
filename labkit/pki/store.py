"""The lab's authority on disk: the folders of the syllabus, a ledger, and keys that only their owner can read."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import (
    AlreadyIssuedError,
    AuthorityMissingError,
    DiskFullError,
    IssuanceRefusedError,
    NotIssuedError,
    PassphraseError,
)
from labkit.pki import hsm
from labkit.pki.authority import BATCH, Authority, Issued
from labkit.pki.describe import Branch, describe_tree
from labkit.pki.file_ledger import FileLedger
from labkit.pki.identities import (
    IdentityFiles,
    damaged,
    read_certificate,
    save_quickly,
    verify_issuer,
    verify_pair,
)
from labkit.pki.keys import Key
from labkit.pki.ledger import MemoryLedger
from labkit.pki.names import OPERATORS
from labkit.pki.profiles import DEVICE, INTERMEDIATE, OPERATOR, ROOT, SERVER, choose
from labkit.pki.register import Register
from labkit.pki.template import common_name
from labkit.workspace import make_folder, os_errors, write_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from cryptography import x509

    from labkit.workspace import Workspace

PASSPHRASE = "root/passphrase"  # noqa: S105 - a file name
DNS_NAMES = ("localhost", "broker.local")
IP_ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Names:
    """What the authorities are called."""

    root: str = "IoT Labs Root CA"
    intermediate: str = "IoT Labs Device CA"


def new_passphrase() -> bytes:
    """Return a random passphrase of 128 bits."""
    return secrets.token_hex(16).encode()


class Store:
    """The lab's authority in a workspace.

    Args:
        workspace: The folder.
        clock: What time it is.
        names: What the authorities are called, when they are made.
    """

    def __init__(
        self, workspace: Workspace, *, clock: Clock = SYSTEM_CLOCK, names: Names | None = None
    ) -> None:
        self.workspace = workspace
        self.ledger = FileLedger(workspace)
        self._clock = clock
        self._wanted = names or Names()

    def __repr__(self) -> str:
        return f"<Store in {self.workspace.root}>"

    @property
    def exists(self) -> bool:
        """Whether the authority has been made; the last file of `create` decides."""
        return self.workspace.path("server/broker.crt").exists()

    @property
    def trust_anchor(self) -> Path:
        """The root's certificate: all that a client has to know."""
        return self.workspace.path("root/ca.crt")

    @property
    def intermediate(self) -> Path:
        """The intermediate's certificate."""
        return self.workspace.path("intermediate/intermediate.crt")

    @property
    def trust_bundle(self) -> Path:
        """Intermediate and root in one file: the broker's `cafile`, so that devices send their leaf alone."""
        return self.workspace.path("intermediate/trust-bundle.crt")

    @property
    def server_chain(self) -> Path:
        """The broker's certificate and the intermediate: what the broker presents."""
        return self.workspace.path("server/broker-fullchain.crt")

    @property
    def names(self) -> Names:
        """What the authorities are called, read off their certificates."""
        root, intermediate = self.certificate("root"), self.certificate("intermediate")
        return Names(root=common_name(root.subject), intermediate=common_name(intermediate.subject))

    def create(
        self,
        *,
        passphrase: bytes,
        rsa: bool = False,
        keep_passphrase: bool = False,
        dns_names: Sequence[str] = DNS_NAMES,
        ip_addresses: Sequence[str] = IP_ADDRESSES,
    ) -> Authority:
        """Make root, intermediate and the broker's certificate.

        Args:
            passphrase: Encrypts the root's key.
            rsa: RSA-4096 and RSA-2048 as in the syllabus, instead of P-384 and P-256.
            keep_passphrase: Write it beside the key (0600), for a lesson that must not stop to ask. It protects
                nothing then, and the lesson says so.
            dns_names: The broker's host names.
            ip_addresses: The broker's addresses.

        Returns:
            The intermediate, which signs from now on.

        Raises:
            IssuanceRefusedError: An authority is there already (`rule` is `authority-exists`).
            PassphraseError: The passphrase is empty.
        """
        self.refuse_second_authority()
        if not passphrase:
            raise PassphraseError(
                "The root's key needs a passphrase.",
                advice="Give one at the prompt, or with LABKIT_CA_PASSPHRASE.",
                path=self.workspace.path("root/ca.key"),
            )
        # RSA keys take seconds, so everything is made first, and put on record and on disk in one transaction. What
        # an earlier attempt that was cut off left behind was never in use, and is renewed.
        draft = MemoryLedger()
        root = Authority.new_root(
            self._wanted.root, profile=choose(ROOT, rsa=rsa), ledger=draft, clock=self._clock
        )
        middle = root.new_intermediate(self._wanted.intermediate, profile=choose(INTERMEDIATE, rsa=rsa))
        server = middle.issue_server(dns_names, ip_addresses, profile=choose(SERVER, rsa=rsa))
        with self.workspace.transaction():
            self.refuse_second_authority()
            self.ledger.record(draft.entries(), now=self._clock.now(), renew=True)
            self.workspace.write("root/ca.key", root.key.pem(passphrase), secret=True)
            if keep_passphrase:
                self.workspace.write(PASSPHRASE, passphrase, secret=True)
            self.save_authorities(root, middle, server)
        return self.authority()

    def ensure_authority(self) -> Authority:
        """Return the authority; make what is missing or has run out, the broker's certificate included.

        For lessons, which must run again and again without asking: the root's passphrase is random and lies beside
        its key, where it protects nothing.

        Raises:
            WorkspaceCorruptError, DiskFullError: See `create` and `authority`.
        """
        if not self.exists and not self._in_use():
            return self.create(passphrase=new_passphrase(), keep_passphrase=True)
        if not self.exists or self.certificate("broker").not_valid_after_utc <= self._clock.now():
            self.issue_server(renew=True)
        return self.authority()

    def identity(self, name: str) -> IdentityFiles:
        """Return the identity of a device or an operator, issued where there is none or where it has run out.

        Raises:
            NameRefusedError: It is neither a device id nor an operator's name.
            WorkspaceCorruptError: Its files are damaged, or don't belong together.
        """
        issue = self.issue_operator if name in OPERATORS else self.issue_device
        try:
            found = self.device(name)
        except NotIssuedError:
            try:
                return issue(name)
            except AlreadyIssuedError:
                # On record without files: a crash came in between. The record stays, the name gets a new one.
                return issue(name, renew=True)
        if verify_pair(found).not_valid_after_utc <= self._clock.now():
            return issue(name, renew=True)
        return found

    def refuse_second_authority(self) -> None:
        """Raise if an authority is there already, or its ledger tells of devices that would be orphaned.

        Raises:
            IssuanceRefusedError: It is (`rule` is `authority-exists`).
        """
        # Files without the broker's certificate, which comes last, are of a `create` that was cut off.
        if self.exists or self._in_use():
            raise IssuanceRefusedError(
                f"{self.workspace.root} has an authority already; a second one would orphan every device.",
                advice="Use it (labkit ca show), or start over: labkit reset",
                rule="authority-exists",
            )

    def _in_use(self) -> bool:
        return any(entry.profile in {DEVICE.name, OPERATOR.name} for entry in self.ledger.entries())

    def save_authorities(self, root: Authority, middle: Authority, server: Issued) -> None:
        """Write all but the root's key; the broker's certificate comes last, and says that the rest is there."""
        write = self.workspace.write
        write("root/ca.crt", _pem(root.certificate))
        write("intermediate/intermediate.key", middle.key.pem(), secret=True)
        write("intermediate/intermediate.crt", _pem(middle.certificate))
        write("intermediate/trust-bundle.crt", _pem(middle.certificate) + _pem(root.certificate))
        self._save_server(server)

    def _save_server(self, server: Issued) -> None:
        self.workspace.write("server/broker.key", server.key_pem, secret=True)
        self.workspace.write("server/broker-fullchain.crt", server.chain_pem)
        self.workspace.write("server/broker.crt", server.certificate_pem)

    def authority(self) -> Authority:
        """Return the intermediate, rebuilt from its files.

        Raises:
            AuthorityMissingError: There is none yet.
            WorkspaceCorruptError: A file is damaged.
        """
        return self._load("intermediate/intermediate", passphrase=None)

    def root(self, passphrase: bytes) -> Authority:
        """Return the root, rebuilt from its files; where its key is in a hardware module, the passphrase is the PIN.

        Raises:
            PassphraseError, HsmError: The passphrase does not open the key, or the module refuses.
            AuthorityMissingError: There is none yet.
            WorkspaceCorruptError: A file is damaged.
        """
        return self._load("root/ca", passphrase=passphrase)

    @property
    def revocations(self) -> Register:
        """What the intermediate has revoked: devices, operators, the broker."""
        return Register(self.workspace, "intermediate", self.authority, ledger=self.ledger, clock=self._clock)

    def root_revocations(self, passphrase: bytes) -> Register:
        """Return what the root has revoked: intermediates. Signing asks for the root's passphrase."""
        return Register(
            self.workspace, "root", lambda: self.root(passphrase), ledger=self.ledger, clock=self._clock
        )

    def kept_passphrase(self) -> bytes:
        """Return the passphrase of the root's key where it was kept beside it, as lessons do.

        Raises:
            PassphraseError: It was not: somebody knows it by heart.
        """
        try:
            return self._read(self.workspace.path(PASSPHRASE))
        except AuthorityMissingError as error:
            raise PassphraseError(
                "The passphrase of this root's key was not kept on disk, and that is right.",
                advice="Give it yourself: store.root(b'…'), or LABKIT_CA_PASSPHRASE for a command.",
                path=self.workspace.path("root/ca.key"),
            ) from error

    def _load(self, stem: str, *, passphrase: bytes | None) -> Authority:
        certificate = self._certificate(f"{stem}.crt")
        path = self.workspace.path(f"{stem}.key")
        key = hsm.key_beside(path, passphrase) or Key.load(self._read(path), path=path, passphrase=passphrase)
        verify_issuer(certificate, self.certificate("root"), path=path.with_suffix(".crt"))
        try:
            return Authority(certificate, key, ledger=self.ledger, clock=self._clock)
        except IssuanceRefusedError as error:
            if error.rule == "key-mismatch":
                raise damaged(path, f"it does not belong to {path.with_suffix('.crt').name}") from error
            raise damaged(path.with_suffix(".crt"), "it is not the certificate of an authority") from error

    def issue_device(self, device_id: str, *, renew: bool = False) -> IdentityFiles:
        """Issue a device's identity and store it; see `Authority.issue_device`."""
        with self.workspace.transaction():
            return self._save(self.authority().issue_device(device_id, renew=renew))

    def issue_operator(self, name: str, *, renew: bool = False) -> IdentityFiles:
        """Issue an operator's identity and store it; see `Authority.issue_operator`."""
        with self.workspace.transaction():
            return self._save(self.authority().issue_operator(name, renew=renew))

    def issue_server(
        self,
        *,
        dns_names: Sequence[str] = DNS_NAMES,
        ip_addresses: Sequence[str] = IP_ADDRESSES,
        renew: bool = False,
    ) -> IdentityFiles:
        """Issue the broker's identity and store it; see `Authority.issue_server`."""
        with self.workspace.transaction():
            self._save_server(self.authority().issue_server(dns_names, ip_addresses, renew=renew))
        return self.server()

    def issue_devices(
        self,
        device_ids: Iterable[str],
        *,
        renew: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Issue many devices' identities and store them, two files a device.

        Args:
            device_ids: The ids.
            renew: Issue although valid ones exist.
            progress: Called with the number that is done.

        Returns:
            How many were issued.

        Raises:
            NameRefusedError, AlreadyIssuedError, DiskFullError: Those before it are issued and stored. After a
                crash a device may be on record without files: renew it.
        """
        authority = self.authority()
        folder = make_folder(self.workspace.path("devices"), private=True)
        remaining = iter(device_ids)
        done = 0
        while batch := list(islice(remaining, BATCH)):
            # Record and files in one transaction: of two renewals at once, the later record's files are on disk.
            with self.workspace.transaction():
                for name, issued in zip(batch, authority.issue_many(batch, renew=renew), strict=True):
                    save_quickly(folder, name, issued)
                    done += 1
                    progress(done)
        return done

    def _save(self, issued: Issued, *, folder: str = "devices", name: str | None = None) -> IdentityFiles:
        name = name or issued.name
        place = make_folder(self.workspace.path(folder), private=True)
        files = IdentityFiles(name, place / f"{name}.crt", place / f"{name}.key")
        try:
            write_together(
                [(files.key, issued.key_pem, True), (files.certificate, issued.certificate_pem, False)]
            )
        except DiskFullError as error:
            advice = f"Free some space (df -h shows where), then: labkit ca issue {name} --renew"
            raise DiskFullError(error.message, advice=advice, path=error.path) from error
        return files

    def save_intruder(self, label: str, issued: Issued, *, with_chain: bool = False) -> IdentityFiles:
        """Store what an intruder made, under `intruders/`.

        Args:
            label: What to call it; plain letters, digits and `-`.
            issued: The identity.
            with_chain: Present the authorities above it too, which the broker may not know.
        """
        if not label.replace("-", "").isalnum():
            text = f"a label is letters, digits and '-': {label!r}"
            raise ValueError(text)
        files = self._save(issued, folder="intruders", name=label)
        if with_chain:
            self.workspace.write(f"intruders/{label}.crt", issued.chain_pem)
        return files

    def server(self) -> IdentityFiles:
        """Return the broker's identity."""
        return self._files("server", "broker")

    def device(self, name: str) -> IdentityFiles:
        """Return the identity of a device or an operator.

        Raises:
            NotIssuedError: It has none here.
        """
        return self._files("devices", name)

    def _files(self, folder: str, name: str) -> IdentityFiles:
        files = IdentityFiles(
            name, self.workspace.path(folder, f"{name}.crt"), self.workspace.path(folder, f"{name}.key")
        )
        if not (files.certificate.is_file() and files.key.is_file()):
            raise NotIssuedError(
                f"{name} has no identity in {self.workspace.root}.",
                advice=f"Issue one: labkit ca issue {name}   (--renew if it is on record and its files are gone)",
                name=name,
            )
        return files

    def devices(self) -> list[str]:
        """Return the names that have an identity here, sorted."""
        folder = self.workspace.path("devices")
        return sorted(path.stem for path in folder.glob("*.crt")) if folder.is_dir() else []

    def certificate(self, name: str) -> x509.Certificate:
        """Return the certificate of `root`, `intermediate`, `broker`, a device or an operator."""
        places = {
            "root": "root/ca.crt",
            "intermediate": "intermediate/intermediate.crt",
            "broker": "server/broker.crt",
        }
        if name not in places:
            self.device(name)
        return self._certificate(places.get(name, f"devices/{name}.crt"))

    def tree(self, *, limit: int = 12) -> tuple[Branch, ...]:
        """Return who vouches for whom, roots first.

        Args:
            limit: At most so many devices; a fleet does not fit a picture.
        """
        names = ["root", "intermediate", "broker", *self.devices()[:limit]]
        return describe_tree([self.certificate(name) for name in names])

    def _certificate(self, relative: str) -> x509.Certificate:
        path = self.workspace.path(relative)
        try:
            return read_certificate(path)
        except FileNotFoundError as error:
            raise _missing(path) from error

    def _read(self, path: Path) -> bytes:
        try:
            with os_errors(path):
                return path.read_bytes()
        except FileNotFoundError as error:
            raise _missing(path) from error


def _missing(path: Path) -> AuthorityMissingError:
    return AuthorityMissingError(
        f"There is no {path.name} in {path.parent}.",
        advice="Make an authority first: labkit ca init",
        path=path,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
