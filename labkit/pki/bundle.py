"""An identity, packed for whoever is to use it: separate PEM files, or one PKCS #12 file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from labkit.errors import PassphraseError, WorkspaceUnwritableError
from labkit.pki.identities import verify_pair
from labkit.pki.keys import Key
from labkit.workspace import make_folder, os_errors, write_together

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki.identities import IdentityFiles
    from labkit.pki.store import Store


def export_files(store: Store, name: str, folder: Path, *, replace: bool = False) -> tuple[Path, ...]:
    """Write what a client needs into a folder: `client.key` (0600), `client.crt` with its chain, and `ca.crt`.

    Args:
        store: The authority.
        name: A device, an operator, or `broker`.
        folder: Where to; it is made for its owner alone if it is not there.
        replace: Write over files of an earlier export.

    Raises:
        NotIssuedError: It has no identity here.
        WorkspaceCorruptError: Its files are damaged, or don't belong together.
        WorkspaceUnwritableError: A file is there already, or the folder can't be written; nothing has changed.
    """
    files = _identity(store, name)
    leaf = verify_pair(files).public_bytes(Encoding.PEM)
    chain = leaf + store.certificate("intermediate").public_bytes(Encoding.PEM)
    content = [
        (folder / "client.key", files.key.read_bytes(), True),
        (folder / "client.crt", chain, False),
        (folder / "ca.crt", store.certificate("root").public_bytes(Encoding.PEM), False),
    ]
    paths = tuple(path for path, _, _ in content)
    _refuse_to_overwrite(paths, replace=replace)
    make_folder(folder, private=True)
    write_together(content)
    return paths


def export_pkcs12(store: Store, name: str, target: Path, *, passphrase: bytes, replace: bool = False) -> Path:
    """Write key, certificate and chain into one file under a passphrase (RFC 7292).

    Args:
        store: The authority.
        name: A device, an operator, or `broker`.
        target: The file.
        passphrase: Encrypts all of it.
        replace: Write over a file of that name.

    Raises:
        PassphraseError: The passphrase is empty.
        NotIssuedError, WorkspaceCorruptError, WorkspaceUnwritableError: See `export_files`.
    """
    if not passphrase:
        raise PassphraseError(
            "The file holds a private key and needs a passphrase.",
            advice="Give one at the prompt, or with LABKIT_EXPORT_PASSPHRASE.",
            path=target,
        )
    files = _identity(store, name)
    certificate = verify_pair(files)
    with os_errors(files.key):
        key = Key.load(files.key.read_bytes(), path=files.key)
    _refuse_to_overwrite((target,), replace=replace)
    above = [store.certificate("intermediate"), store.certificate("root")]
    data = pkcs12.serialize_key_and_certificates(
        name.encode(), key.private, certificate, above, BestAvailableEncryption(passphrase)
    )  # fmt: skip
    make_folder(target.parent)
    write_together([(target, data, True)])
    return target


def _identity(store: Store, name: str) -> IdentityFiles:
    return store.server() if name == "broker" else store.device(name)


def _refuse_to_overwrite(paths: tuple[Path, ...], *, replace: bool) -> None:
    for path in paths:
        if path.exists() and not replace:
            raise WorkspaceUnwritableError(
                f"{path} is there already.",
                advice="Choose another place, or write over it on purpose: --replace",
                path=path,
            )
