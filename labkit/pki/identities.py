"""An identity on disk: two files, the key for its owner alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from labkit.errors import KeyRefusedError, WorkspaceCorruptError
from labkit.pki.keys import Key, check_policy, fingerprint
from labkit.workspace import os_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki.authority import Issued


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """An identity on disk.

    Attributes:
        name: Whose it is.
        certificate: The certificate, alone: the broker knows the intermediate.
        key: The private key, 0600.
    """

    name: str
    certificate: Path
    key: Path

    def __repr__(self) -> str:
        folder = self.certificate.parent.name
        return f"<{self.name}: {folder}/{self.certificate.name}, {folder}/{self.key.name}>"


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a file.

    Raises:
        WorkspaceCorruptError: It holds none.
        FileNotFoundError: There is no such file.

    Does not check: anything that the certificate says.
    """
    with os_errors(path):
        pem = path.read_bytes()
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise damaged(path, "it holds no certificate in PEM") from error


def verify_issuer(certificate: x509.Certificate, issuer: x509.Certificate, *, path: Path) -> None:
    """Verify that one certificate signed another.

    Args:
        certificate: The certificate in question.
        issuer: Who is said to have signed it; itself for a root.
        path: Where it came from, for the error.

    Raises:
        WorkspaceCorruptError: It did not; what the certificate says can't be relied on.

    Does not check: dates, constraints, or whether the issuer is trusted.
    """
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise damaged(path, "its signature does not hold") from error


def verify_pair(files: IdentityFiles) -> x509.Certificate:
    """Verify that key and certificate belong together; return the certificate.

    Two files can't be replaced in one step, so a renewal that was cut off may leave the new key beside the old
    certificate.

    Raises:
        WorkspaceCorruptError: They don't, or one of them is damaged.
        FileNotFoundError: One of them is missing.

    Does not check: the chain, the dates, the names; `verify_chain` does.
    """
    certificate = read_certificate(files.certificate)
    with os_errors(files.key):
        pem = files.key.read_bytes()
    key = Key.load(pem, path=files.key)
    try:
        fits = fingerprint(check_policy(certificate.public_key())) == key.fingerprint
    except (ValueError, UnsupportedAlgorithm, KeyRefusedError):
        fits = False
    if not fits:
        raise damaged(files.key, f"it is not the key of {files.certificate.name}", renew=files.name)
    return certificate


def save_quickly(folder: Path, name: str, issued: Issued) -> None:
    """Write an identity without waiting for the disk: the bulk path.

    The certificate comes last and appears whole or not at all; without it there is no identity. After a power failure,
    files of the last seconds may be missing or empty; what was issued is in the ledger.

    Raises:
        DiskFullError, WorkspaceUnwritableError: The certificate is not there, or the old one is.
    """
    stem = f"{folder}{os.sep}{name}"
    fresh = f"{stem}.crt.new"
    with os_errors(folder):
        try:
            _put(f"{stem}.key", issued.key_pem, os.O_EXCL, 0o600)
        except FileExistsError:  # a renewal, or what a crash left: the old key goes in one step
            write_atomic(folder / f"{name}.key", issued.key_pem, secret=True, durable=False)
        _put(fresh, issued.certificate_pem, os.O_TRUNC, 0o644)
        os.replace(fresh, f"{stem}.crt")  # noqa: PTH105 - making a Path costs more than the rename


def _put(path: str, data: bytes, flag: int, mode: int) -> None:
    # write_atomic() does this for single files, and more; here its random names and its chmod would cost as much as
    # the signature. Only one writer is in the folder: the caller holds the workspace's transaction.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | flag | getattr(os, "O_BINARY", 0), mode)
    try:
        try:
            rest = memoryview(data)
            while rest:  # a disk that fills up takes a part and says so only at the next write
                rest = rest[os.write(handle, rest) :]
        finally:
            os.close(handle)
    except BaseException:
        os.unlink(path)  # noqa: PTH108
        raise


def damaged(path: Path, why: str, *, renew: str | None = None) -> WorkspaceCorruptError:
    """Return the error for a file that does not hold what it should.

    Args:
        path: The file.
        why: What is wrong with it.
        renew: Whose identity can simply be issued again.
    """
    advice = "Go back to a checkpoint (labkit reset --to NAME), or start afresh (labkit reset)."
    if renew:
        advice = f"Issue it again: labkit ca issue {renew} --renew"
    return WorkspaceCorruptError(f"{path} is damaged: {why}.", advice=advice, path=path)
